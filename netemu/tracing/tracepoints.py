"""The kernel's tracepoints, as a watched machine comes to them: names and arguments of its era.

Addresses are where x86-64 would have the objects: struct pages in the memory map, functions in the kernel's text.  Of
gfp flags netemu knows __GFP_COMP, of drop reasons none, of migrate types UNMOVABLE.
Source: include/trace/events/{page_pool,kmem,napi,net,skb,xdp,irq}.h, v4.19 to v6.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..engine.layout import MAX_DEVICES, Kernel
from ..engine.watch import Body, Watch
from ..mm import buddy, page_alloc, pcp
from ..mm.layout import NONE
from ..net import cpumap, driver, napi, page_pool, page_pool_shutdown, qdisc, redirect, skb_release, stack, xdp
from ..net.device_layout import NAPI_POLL_WEIGHT, NET_RX_ACTION
from ..net.xdp_layout import MAX_CPUMAP_ENTRIES, TO_CPUMAP, TO_DEVMAP, VERDICTS
from .moment import Clock, Moment

VMEMMAP = 0xFFFFEA0000000000
STRUCT_PAGE = 64
TEXT = 0xFFFFFFFF81000000
TEXT_STEP = 0x100
OBJECTS = 0xFFFF888100000000
OBJECT_STEP = {"skb": 0x100, "pool": 0x1000, "napi": 0x400}
OBJECT_BASE = {"skb": 0x10000000, "pool": 0x1000000, "napi": 0x2000000}

RMQUEUE_SMALLEST = buddy.__rmqueue_smallest  # a class body would read these names as its own
ALLOC_PAGES = page_alloc.__alloc_pages

UNMOVABLE = 0
VECTOR = {True: "vec=3 [action=NET_RX]", False: "vec=2 [action=NET_TX]"}
NETDEV_TX_BUSY = 16
ETH_HLEN = 14
NO_MAP = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a trace.  ``locked``: under zone->lock, with interrupts off; ``task``: (name, pid)."""

    moment: Moment
    name: str
    arguments: str
    task: tuple[str, int]
    locked: bool


def kernel_version(era: str) -> tuple[int, int]:
    """``(6, 1)`` for ``"v6.1"``."""
    major, minor = era.removeprefix("v").split(".")
    return int(major), int(minor)


class Tracepoints:
    """Keeps an event for each tracepoint that a machine of kernel ``era`` comes to, in ``events``."""

    def __init__(self, k: Kernel, watch: Watch, clock: Clock, era: str) -> None:
        self.k = k
        self.clock = clock
        self.version = kernel_version(era)
        self.events: list[Event] = []
        self._locked = False
        self._running: dict[int, int] = {}  # CPU -> receive queue whose packet its program has seen last
        self._verdict: dict[int, int] = {}  # CPU -> what the program said
        self._key: dict[int, tuple[int, int]] = {}  # CPU -> redirect map and key that its program asked for
        self._protocols: dict[int, int] = {}  # packet -> EtherType
        for function, hook in self._hooks():
            watch.wrap(function, hook)

    def _hooks(self) -> list[tuple[Any, Any]]:
        return [
            (buddy.zone_lock, self.zone_lock),
            (buddy.zone_unlock, self.zone_unlock),
            (RMQUEUE_SMALLEST, self.rmqueue_smallest),
            (ALLOC_PAGES, self.alloc_pages),
            (page_alloc.free_pages_prepare, self.free_pages_prepare),
            (pcp.pcp_pop_tail, self.pcp_pop_tail),
            (page_pool.adopt_page, self.adopt_page),
            (page_pool.page_pool_release_page, self.release_page),
            (page_pool.page_pool_update_nid, self.update_nid),
            (page_pool_shutdown.page_pool_inflight, self.inflight),
            (napi.softirq_enter, self.softirq_enter),
            (napi.softirq_leave, self.softirq_leave),
            (napi.poll_end, self.poll_end),
            (stack.netif_receive_skb_internal, self.netif_receive_skb),
            (qdisc.dev_queue_xmit, self.dev_queue_xmit),
            (qdisc.sch_direct_xmit, self.sch_direct_xmit),
            (skb_release.kfree_skb, self.kfree_skb),
            (skb_release.consume_skb, self.consume_skb),
            (skb_release.napi_consume_skb, self.napi_consume_skb),
            (driver.post_completion, self.post_completion),
            (xdp.xdp_verdict, self.xdp_verdict),
            (xdp.bpf_prog_run_xdp, self.run_xdp),
            (xdp.trace_xdp_exception, self.xdp_exception),
            (redirect.bpf_redirect_map, self.redirect_map),
            (redirect.xdp_do_redirect, self.do_redirect),
            (redirect.bq_xmit_all, self.devmap_xmit),
            (cpumap.bq_flush_to_queue, self.cpumap_enqueue),
        ]

    # -- events ------------------------------------------------------------------------------------------------------

    def emit(self, name: str, arguments: str) -> None:
        """The CPU that runs has come to a tracepoint."""
        self._add(self.clock.now(), name, arguments)

    def mark(self, text: str) -> None:
        """A note between the events of each CPU, as a write to trace_marker leaves it."""
        for cpu in range(self.k.machine[0].cpus):
            self._add(self.clock.on(cpu), "tracing_mark_write", text)

    def _add(self, moment: Moment, name: str, arguments: str) -> None:
        self.events.append(Event(moment, name, arguments, task_of(moment), self._locked))

    def report(self) -> list[dict[str, Any]]:
        """Every event in order of virtual time: ``time_ns``, ``cpu``, ``task``, ``pid``, ``context``, ``event``..."""
        made = [
            {
                "time_ns": self.clock.time(event.moment) / 1000,
                "cpu": max(event.moment.cpu, 0),
                "task": event.task[0],
                "pid": event.task[1],
                "context": event.moment.context,
                "locked": event.locked,
                "event": event.name,
                "args": event.arguments,
            }
            for event in self.events
        ]
        return sorted(made, key=lambda event: event["time_ns"])

    # -- words -------------------------------------------------------------------------------------------------------

    def _page(self, pfn: int) -> str:
        address = 0 if pfn == NONE else VMEMMAP + STRUCT_PAGE * pfn
        number = 0 if pfn == NONE else pfn
        return f"page={address:016x} pfn={self._pfn(number)}"

    def _pfn(self, pfn: int) -> str:
        return f"{pfn:#x}" if self.version >= (5, 14) else str(pfn)

    def _pool_page(self, pfn: int, comma: str) -> str:
        address = f"{VMEMMAP + STRUCT_PAGE * pfn:016x}"
        if self.version >= (6, 12):
            return f"netmem={address} is_net_iov=0{comma} pfn={self._pfn(pfn)}"
        if self.version >= (6, 11):
            return f"netmem={address} pfn={self._pfn(pfn)}"
        return f"page={address} pfn={self._pfn(pfn)}" if self.version >= (5, 5) else f"page={address}"

    @property
    def _pools_are_traced(self) -> bool:
        return self.version >= (5, 3)

    def _location(self) -> str:
        """Where a packet is freed: the caller, by its address or (v6.3) its symbol."""
        node = self.k.cpu[self.clock.watch.cpu].node
        if self.version < (6, 3):
            return f"{TEXT + TEXT_STEP * self.k.node[node].function:016x}"
        path = self.clock.path(node)
        return f"{path[-1] if path else 'netemu'}+0x0/{TEXT_STEP:#x}"

    # -- mm ----------------------------------------------------------------------------------------------------------

    def zone_lock(self, body: Body, k: Kernel, cpu: int, zone: int) -> None:
        body(k, cpu, zone)
        self._locked = True

    def zone_unlock(self, body: Body, k: Kernel, cpu: int, zone: int) -> None:
        self._locked = False
        body(k, cpu, zone)

    def rmqueue_smallest(self, body: Body, k: Kernel, cpu: int, zone: int, order: int) -> int:
        pfn: int = body(k, cpu, zone, order)
        if pfn != NONE:
            if self.version >= (6, 0):
                refill = int(pcp.pcp_allowed_order(k, order))
            else:
                refill = int(order == 0)
            self.emit(
                "mm_page_alloc_zone_locked",
                f"{self._page(pfn)} order={order} migratetype={UNMOVABLE} percpu_refill={refill}",
            )
        return pfn

    def alloc_pages(self, body: Body, k: Kernel, cpu: int, nid: int, order: int, comp: int) -> int:
        pfn: int = body(k, cpu, nid, order, comp)
        flags = "GFP_ATOMIC|__GFP_COMP" if comp and order else "GFP_ATOMIC"
        self.emit("mm_page_alloc", f"{self._page(pfn)} order={order} migratetype={UNMOVABLE} gfp_flags={flags}")
        return pfn

    def free_pages_prepare(self, body: Body, k: Kernel, cpu: int, pfn: int, order: int) -> bool:
        self.emit("mm_page_free", f"{self._page(pfn)} order={order}")
        good: bool = body(k, cpu, pfn, order)
        return good

    def pcp_pop_tail(self, body: Body, k: Kernel, row: int, index: int) -> int:
        pfn: int = body(k, row, index)
        self.emit("mm_page_pcpu_drain", f"{self._page(pfn)} order={k.pages[pfn].order} migratetype={UNMOVABLE}")
        return pfn

    # -- page_pool ---------------------------------------------------------------------------------------------------

    def adopt_page(self, body: Body, k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
        taken: bool = body(k, cpu, pool, pfn)
        if taken and self._pools_are_traced:
            self.emit(
                "page_pool_state_hold",
                f"{_object('page_pool', 'pool', pool)} {self._pool_page(pfn, ',')} hold={k.pool[pool].hold_cnt}",
            )
        return taken

    def release_page(self, body: Body, k: Kernel, cpu: int, pool: int, pfn: int) -> None:
        body(k, cpu, pool, pfn)
        if self._pools_are_traced:
            self.emit(
                "page_pool_state_release",
                f"{_object('page_pool', 'pool', pool)} {self._pool_page(pfn, '')} release={k.pool[pool].release_cnt}",
            )

    def update_nid(self, body: Body, k: Kernel, cpu: int, pool: int, nid: int) -> None:
        if self.version >= (5, 5):
            now = k.pool[pool].nid
            self.emit("page_pool_update_nid", f"{_object('page_pool', 'pool', pool)} pool_nid={now} new_nid={nid}")
        body(k, cpu, pool, nid)

    def inflight(self, body: Body, k: Kernel, cpu: int, pool: int) -> int:
        count: int = body(k, cpu, pool)
        p = k.pool[pool]
        text = f"{_object('page_pool', 'pool', pool)} inflight={count} hold={p.hold_cnt} release={p.release_cnt}"
        if self.version >= (5, 5):
            self.emit("page_pool_release", f"{text} cnt={p.destroy_cnt}")
        elif self._pools_are_traced:
            self.emit("page_pool_inflight", text)
        return count

    # -- softirq and NAPI --------------------------------------------------------------------------------------------

    def softirq_enter(self, body: Body, k: Kernel, cpu: int, action: int, function: int) -> None:
        body(k, cpu, action, function)
        self.emit("softirq_entry", VECTOR[action == NET_RX_ACTION])

    def softirq_leave(self, body: Body, k: Kernel, cpu: int) -> None:
        self.emit("softirq_exit", VECTOR[k.softirq[cpu].running == NET_RX_ACTION])
        body(k, cpu)

    def poll_end(self, body: Body, k: Kernel, cpu: int, napi: int) -> None:
        body(k, cpu, napi)
        n = k.napi[napi]
        self.emit(
            "napi_poll",
            f"napi poll on napi struct {_address('napi', napi):016x} for device eth{n.dev} "
            f"work {n.work} budget {NAPI_POLL_WEIGHT}",
        )

    # -- packets -----------------------------------------------------------------------------------------------------

    def netif_receive_skb(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        self.emit("netif_receive_skb", self._packet(k.skb[skb].dev, skb))
        body(k, cpu, skb)

    def dev_queue_xmit(self, body: Body, k: Kernel, cpu: int, dev: int, skb: int) -> None:
        self.emit("net_dev_queue", self._packet(dev, skb))
        body(k, cpu, dev, skb)

    def sch_direct_xmit(self, body: Body, k: Kernel, cpu: int, txq: int, skb: int) -> bool:
        sent = self._packet(k.txq[txq].dev, skb)
        taken: bool = body(k, cpu, txq, skb)
        self.emit("net_dev_xmit", f"{sent} rc={0 if taken else NETDEV_TX_BUSY}")
        return taken

    def _packet(self, dev: int, skb: int) -> str:
        return f"dev=eth{dev} {_object('skbaddr', 'skb', skb)} len={self.k.skb[skb].len}"

    def kfree_skb(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        if k.skb[skb].users == 1:
            rx_sk = f" rx_sk={0:016x}" if self.version >= (6, 11) else ""
            reason = " reason: NOT_SPECIFIED" if self.version >= (5, 17) else ""
            protocol = self._protocols.get(k.skb_packet[skb], 0)
            self.emit(
                "kfree_skb",
                f"{_object('skbaddr', 'skb', skb)}{rx_sk} protocol={protocol} location={self._location()}{reason}",
            )
        body(k, cpu, skb)

    def consume_skb(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        self._consumed(skb)
        body(k, cpu, skb)

    def napi_consume_skb(self, body: Body, k: Kernel, cpu: int, skb: int, budget: int) -> None:
        if budget != 0:  # otherwise consume_skb says it
            self._consumed(skb)
        body(k, cpu, skb, budget)

    def _consumed(self, skb: int) -> None:
        if self.k.skb[skb].users == 1:
            location = f" location={self._location()}" if self.version >= (6, 3) else ""
            self.emit("consume_skb", f"{_object('skbaddr', 'skb', skb)}{location}")

    def post_completion(self, body: Body, k: Kernel, *arguments: int) -> None:
        """Remember what protocol the frame is, as eth_type_trans finds it."""
        f = k.feed[k.run[0].arriving]
        if f.caplen >= ETH_HLEN:
            at = f.offset + ETH_HLEN - 2
            self._protocols[k.run[0].arrived] = (k.feed_data[at] << 8) + k.feed_data[at + 1]
        body(k, *arguments)

    # -- XDP: the program of a device has the device's ifindex as its id -----------------------------------------------

    def xdp_verdict(self, body: Body, k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
        self._running[cpu] = rxq
        verdict: int = body(k, cpu, rxq, xdp)
        self._verdict[cpu] = verdict
        return verdict

    def run_xdp(self, body: Body, k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
        verdict: int = body(k, cpu, rxq, xdp)
        self._verdict[cpu] = verdict
        return verdict

    def xdp_exception(self, body: Body, k: Kernel) -> None:
        body(k)
        cpu = self.clock.watch.cpu
        verdict = self._verdict.get(cpu, 0)
        action = VERDICTS[verdict].upper() if 0 <= verdict < len(VERDICTS) else f"{verdict & 0xFFFFFFFF:#x}"
        ifindex = _ifindex(k.rxq[self._running[cpu]].dev)
        self.emit("xdp_exception", f"prog_id={ifindex} action={action} ifindex={ifindex}")

    def redirect_map(self, body: Body, k: Kernel, cpu: int, number: int, key: int, flags: int) -> int:
        self._key[cpu] = (number + 1, key)
        verdict: int = body(k, cpu, number, key, flags)
        return verdict

    def do_redirect(self, body: Body, k: Kernel, cpu: int, xdp: int) -> int:
        kind, target = k.xdp_cpu[cpu].kind, k.xdp_cpu[cpu].target
        ifindex = _ifindex(k.xdp_buff[xdp].dev)
        error: int = body(k, cpu, xdp)
        if self._key.get(cpu) is None:
            to, map_id, index, name = target, 0 if self.version < (5, 13) else NO_MAP, 0, "xdp_redirect"
        else:
            map_id, index = self._key.pop(cpu)
            to = target if kind == TO_DEVMAP else 0
            name = "xdp_redirect_map" if self.version < (5, 6) else "xdp_redirect"
        text = f"prog_id={ifindex} action=REDIRECT ifindex={ifindex} to_ifindex={to} err={error}"
        if self.version >= (5, 6) or name == "xdp_redirect_map":
            text += f" map_id={map_id} map_index={index}"
        self.emit(f"{name}_err" if error else name, text)
        return error

    def devmap_xmit(self, body: Body, k: Kernel, cpu: int, dev: int) -> None:
        b = k.xdp_bulk[cpu * MAX_DEVICES + dev]
        count = b.count
        come_from = _ifindex(k.xdp_frame[b.frame[0]].dev_rx) if count else 0
        before = k.xdp[0].xmit_drops
        body(k, cpu, dev)
        drops = k.xdp[0].xmit_drops - before
        devices = f"from_ifindex={come_from} to_ifindex={_ifindex(dev)}"
        counts = f"action=REDIRECT sent={count - drops} drops={drops}"
        if self.version >= (5, 6):
            self.emit("xdp_devmap_xmit", f"ndo_xdp_xmit {devices} {counts} err=0")
        else:
            map_id, key = self._map_of(TO_DEVMAP, dev)
            self.emit("xdp_devmap_xmit", f"ndo_xdp_xmit map_id={map_id} map_index={key} {counts} {devices} err=0")

    def _map_of(self, kind: int, target: int) -> tuple[int, int]:
        """Id of the redirect map that leads to a device or cpumap entry, and by which key; (0, 0): none does."""
        slots = self.k.arrays["redirect_slot"]
        for number, row in enumerate(self.k.arrays["redirect_map"]):
            keys = (slots[row["base"] : row["base"] + row["size"]] == target + 1).nonzero()[0]
            if row["kind"] == kind and len(keys):
                return number + 1, int(keys[0])
        return 0, 0

    def cpumap_enqueue(self, body: Body, k: Kernel, cpu: int, entry: int) -> None:
        e = k.cpumap_entry[entry]
        count, before = k.cpumap_bulk[cpu * MAX_CPUMAP_ENTRIES + entry].count, e.drops
        body(k, cpu, entry)
        drops = e.drops - before
        self.emit(
            "xdp_cpumap_enqueue",
            f"enqueue cpu={cpu} map_id={self._map_of(TO_CPUMAP, entry)[0]} action=REDIRECT "
            f"processed={count - drops} drops={drops} to_cpu={e.cpu}",
        )


def task_of(moment: Moment) -> tuple[str, int]:
    """Who runs: softirqs interrupt the idle task, everything else has a task of its own."""
    root = moment.path[0] if moment.path else ""
    if moment.context == "softirq":
        return "<idle>", 0
    if root == "cpu_map_kthread_run":
        return f"cpumap/{moment.cpu}", 200 + moment.cpu
    return ("reader", 1000 + moment.cpu) if root == "recvmsg" else ("netemu", 1)


def _ifindex(dev: int) -> int:
    return dev + 1


def _address(kind: str, number: int) -> int:
    return OBJECTS + OBJECT_BASE[kind] + OBJECT_STEP[kind] * number


def _object(name: str, kind: str, number: int) -> str:
    return f"{name}={_address(kind, number):016x}"
