"""One emulated machine: memory, CPUs, an era and a platform, and the objects that live on it.

The objects (:class:`Page`, :class:`SkBuff`, :class:`PagePool`, :class:`NetDevice`) are handles over the
machine's state; what they do is done by the same kernel functions that a replay runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import kernel as _kernel
from .engine.era import SWITCHES, set_switch
from .engine.faults import raise_fault
from .engine.kernel import MAX_FUNCTIONS
from .engine.layout import MAX_DEVICES, Kernel
from .engine.log import LOG_ROWS, messages_since
from .engine.path import MAX_NODES
from .engine.spinlock import LOCK_INTERVALS, MAX_LOCKS
from .errors import UsageError
from .mm.layout import MAX_ORDER, NONE, NR_FRAG_CACHES, NR_ORDERS, NR_PCP_LISTS, PAGE_ARRAY_ROWS, PAGE_SIZE
from .mm.zone_setup import free_zone, low_watermark, pcp_batch
from .net import page_pool, page_pool_shutdown, rss, skbuff
from .net.device_layout import MAX_QUEUES, NR_OPS
from .net.plugin import Driver, Nic
from .net.plugin_loader import OPERATIONS, blaming, load_driver
from .net.pool_layout import MAX_POOLS, PP_ALLOC_CACHE_SIZE
from .net.pool_setup import create_page_pool
from .net.skb_layout import NAPI_SKB_CACHE_SIZE
from .profiles.eras import check_switch, era_switches
from .profiles.platforms import DEFAULT as DEFAULT_PLATFORM
from .profiles.platforms import apply_platform, load_platform

DEFAULT_ERA = "v6.1"
DEFAULT_MEMORY_MB = 1024
MAX_CPUS = 128
MAX_NODES_OF_MEMORY = 8
HELD_ROWS = 1 << 16
MOST_BUFFERS = 1 << 20
"""Receive buffers of one queue, more than any driver has."""


@dataclass(frozen=True)
class PoolStatistics:
    """Counters of a page_pool, by their field names in the kernel's ``struct page_pool_stats``."""

    alloc_fast: int
    alloc_slow: int
    alloc_slow_high_order: int
    alloc_empty: int
    alloc_refill: int
    alloc_waive: int
    recycle_cached: int
    recycle_cache_full: int
    recycle_ring: int
    recycle_ring_full: int
    recycle_released_refcnt: int


class Machine:
    """An emulated machine.

    ``era`` names a kernel release, ``switches`` overrides single mechanisms of it.  ``cpus`` share ``nodes``
    memory nodes of ``memory_mb`` MiB each, in turn.  ``platform`` prices operations; ``seed`` feeds every
    random draw.  Raises :class:`netemu.UsageError` for values that make no sense.
    """

    def __init__(
        self,
        *,
        era: str = DEFAULT_ERA,
        switches: Mapping[str, str] | None = None,
        cpus: int = 1,
        nodes: int = 1,
        memory_mb: int = DEFAULT_MEMORY_MB,
        platform: str = DEFAULT_PLATFORM,
        seed: int = 1,
        skbs: int = 1 << 17,
    ) -> None:
        if not 1 <= cpus <= MAX_CPUS:
            raise UsageError(f"a machine has 1 to {MAX_CPUS} CPUs, not {cpus}")
        if not 1 <= nodes <= MAX_NODES_OF_MEMORY:
            raise UsageError(f"a machine has 1 to {MAX_NODES_OF_MEMORY} memory nodes, not {nodes}")
        if not 4 <= memory_mb <= 1 << 18:
            raise UsageError(f"a memory node has 4 to {1 << 18} MiB, not {memory_mb}")
        self.era = era
        self.switches = era_switches(era)
        for name, value in (switches or {}).items():
            check_switch(name, value)
            self.switches[name] = value
        self.cpus = cpus
        self.nodes = nodes
        self.seed = seed
        self.platform = load_platform(platform)
        pages = (memory_mb << 20) // PAGE_SIZE
        self.k = Kernel(
            {
                "pages": pages * nodes,
                "zone": nodes,
                "free_area": nodes * NR_ORDERS,
                "pcp": nodes * cpus,
                "pcp_list": nodes * cpus * NR_PCP_LISTS,
                "page_frag_cache": cpus * NR_FRAG_CACHES,
                "page_array": PAGE_ARRAY_ROWS,
                "cpu": cpus,
                "lock": MAX_LOCKS,
                "busy": MAX_LOCKS * LOCK_INTERVALS,
                "node": MAX_NODES,
                "child": MAX_NODES * MAX_FUNCTIONS,
                "path_cost": cpus * MAX_NODES,
                "cost": MAX_FUNCTIONS,
                "log": LOG_ROWS,
                "pool": MAX_POOLS,
                "pool_cache": MAX_POOLS * PP_ALLOC_CACHE_SIZE,
                **skbuff.table_lengths(skbs),
                "softnet": cpus,
                "napi_skb_cache": cpus * NAPI_SKB_CACHE_SIZE,
                "ops": MAX_DEVICES * NR_OPS,
                "netdev": MAX_DEVICES,
                "rxq": MAX_QUEUES,
                "txq": MAX_QUEUES,
                "napi": MAX_QUEUES,
                "softirq": cpus,
                "agenda": cpus,
                "poll_list": cpus * MAX_QUEUES,
                "held": cpus * HELD_ROWS,
                "rss_table": rss.INDIRECTION,
                "toeplitz": rss.INPUT_BYTES * 256,
            }
        )
        self._set_up(pages, skbs)
        self._logged = 0
        self.devices: list[NetDevice] = []

    # -- set-up --------------------------------------------------------------------------------------------------

    def _set_up(self, pages: int, skbs: int) -> None:
        k = self.k
        m = k.machine[0]
        m.cpus, m.zones, m.pages, m.skbs = self.cpus, self.nodes, pages * self.nodes, skbs
        skbuff.set_up(k)
        for name, value in self.switches.items():
            set_switch(k, name, value)
        apply_platform(k, self.platform)
        k.arrays["free_area"]["head"] = NONE
        k.arrays["free_area"]["tail"] = NONE
        k.arrays["pcp_list"]["head"] = NONE
        k.arrays["pcp_list"]["tail"] = NONE
        for zone in range(self.nodes):
            free_zone(k, zone, zone * pages, (zone + 1) * pages)
        for cpu in range(self.cpus):
            k.cpu[cpu].numa_node = cpu % self.nodes
        self._size_pcps(pages)
        k.recycle[0].state = (self.seed * 2654435761 + 88172645463325252) & 0xFFFFFFFF or 1
        k.arrays["toeplitz"][:] = rss.toeplitz_table()
        k.dma[0].align = 1
        k.run[0].held_mask = HELD_ROWS - 1

    def _size_pcps(self, pages: int) -> None:
        """Batch and high of every per-CPU list (zone_batchsize, zone_highsize)."""
        k = self.k
        batch = pcp_batch(pages)
        for zone in range(self.nodes):
            local = max(sum(1 for c in range(self.cpus) if c % self.nodes == zone), 1)
            for cpu in range(self.cpus):
                row = k.pcp[zone * self.cpus + cpu]
                row.batch = max(1, batch)
                if self.switches["pcp_high"] == "batch":
                    row.high = 6 * batch
                else:
                    low = low_watermark(pages, pages * self.nodes)
                    row.high = max(low // local, 4 * row.batch)
                row.high_min = row.high
                row.high_max = row.high
                if self.switches["pcp_high"] == "auto":
                    row.high_max = max(pages // 8 // local, row.high_min)

    # -- contexts ------------------------------------------------------------------------------------------------

    @contextmanager
    def softirq(self, cpu: int = 0) -> Iterator[None]:
        """Run what is inside as if in softirq on ``cpu``."""
        c = self.k.cpu[cpu]
        c.serving_softirq += 1
        try:
            yield
        finally:
            c.serving_softirq -= 1

    def check(self) -> None:
        """Raise what emulated code has noted (:class:`netemu.KernelBug`, :class:`netemu.EmulatorError`)."""
        raise_fault(self.k)

    def messages(self) -> list[str]:
        """Kernel messages since the last call."""
        new = messages_since(self.k, self._logged)
        self._logged = self.k.log_count[0]
        return [text for _name, _a, _b, text in new]

    # -- objects -------------------------------------------------------------------------------------------------

    def page_pool(
        self,
        *,
        order: int = 0,
        ring_size: int = 0,
        flags: int = 0,
        nid: int = -1,
        max_len: int = 0,
        offset: int = 0,
        dma_dir: int = 2,
        cpu: int = 0,
    ) -> PagePool:
        """``page_pool_create``.  ``cpu`` is the consumer's."""
        if not 0 <= order <= MAX_ORDER:
            raise UsageError(f"page_pool order is 0..{MAX_ORDER}, not {order}")
        if ring_size < 0:
            raise UsageError(f"page_pool ring_size is 0 (1024 slots) or positive, not {ring_size}")
        number = create_page_pool(
            self.k,
            cpu,
            order=order,
            size=ring_size,
            flags=flags,
            nid=nid,
            max_len=max_len,
            offset=offset,
            dma_dir=dma_dir,
            napi_cpu=cpu,
        )
        return PagePool(self, number, cpu)

    def alloc_pages(self, order: int = 0, *, cpu: int = 0, nid: int = -1, compound: bool = True) -> Page | None:
        """A block of ``1 << order`` pages from the page allocator; None: no memory."""
        pfn = _kernel.page_alloc.alloc_pages_node(self.k, cpu, nid, order, int(compound))
        self.check()
        return None if pfn == NONE else Page(self, pfn)

    def _skb(self, number: int) -> SkBuff:
        self.check()
        if number == NONE:
            raise MemoryError("no memory for an sk_buff")
        return SkBuff(self, number)

    def build_skb(self, page: Page, *, frag_size: int = PAGE_SIZE, offset: int = 0, cpu: int = 0) -> SkBuff:
        """``build_skb``: takes over one reference of ``page``; ``frag_size`` includes the shared info (320 bytes)."""
        return self._skb(skbuff.build_skb(self.k, cpu, page.pfn, offset, frag_size))

    def napi_build_skb(self, page: Page, *, frag_size: int = PAGE_SIZE, offset: int = 0, cpu: int = 0) -> SkBuff:
        """``napi_build_skb``: as :meth:`build_skb`, the struct from the napi cache of ``cpu``."""
        with self.softirq(cpu):
            return self._skb(skbuff.napi_build_skb(self.k, cpu, page.pfn, offset, frag_size))

    def alloc_skb(self, size: int, *, cpu: int = 0) -> SkBuff:
        """``alloc_skb``: the head is a small object."""
        return self._skb(skbuff.alloc_skb(self.k, cpu, size, 0))

    def napi_alloc_skb(self, length: int, *, cpu: int = 0) -> SkBuff:
        """``napi_alloc_skb``: a receive buffer with 64 bytes of headroom."""
        with self.softirq(cpu):
            return self._skb(skbuff.napi_alloc_skb(self.k, cpu, length))

    def netdev_alloc_skb(self, length: int, *, cpu: int = 0) -> SkBuff:
        """``netdev_alloc_skb``: the same from any context."""
        return self._skb(skbuff.netdev_alloc_skb(self.k, cpu, length))

    def napi_consume_skb(self, skb: SkBuff, budget: int = 64, *, cpu: int = 0) -> None:
        """Free from a poll loop on ``cpu`` (in softirq); budget 0: from anywhere."""
        with self.softirq(cpu):
            skbuff.napi_consume_skb(self.k, cpu, skb.number, budget)
        self.check()

    def consume_skb(self, skb: SkBuff, *, cpu: int = 0) -> None:
        """Drop one user of a delivered packet."""
        skbuff.consume_skb(self.k, cpu, skb.number)
        self.check()

    def kfree_skb(self, skb: SkBuff, *, cpu: int = 0) -> None:
        """Drop one user of a packet that is dropped."""
        skbuff.kfree_skb(self.k, cpu, skb.number)
        self.check()

    def netdev(
        self, driver: str | Driver, *, queues: int = 1, mtu: int = 1500, options: Mapping[str, str] | None = None
    ) -> NetDevice:
        """A network device with an emulated driver (a name, a file, or a :class:`~netemu.net.plugin.Driver`)."""
        plugin = load_driver(driver) if isinstance(driver, str) else driver
        apply_platform(self.k, self.platform)  # the driver may have declared functions of its own
        made = NetDevice(self, plugin, queues, mtu, options or {})
        self.devices.append(made)
        return made


class Page:
    """A page (or the head of a block) of a machine."""

    __slots__ = ("machine", "pfn")

    def __init__(self, machine: Machine, pfn: int) -> None:
        self.machine = machine
        self.pfn = pfn

    def __repr__(self) -> str:
        return f"<Page {self.pfn} refcount={self.refcount}>"

    @property
    def refcount(self) -> int:
        """References held by anybody."""
        count: int = self.machine.k.pages[self.pfn].refcount
        return count

    def get(self) -> Page:
        """``get_page``: one more plain reference."""
        self.machine.k.pages[self.pfn].refcount += 1
        return self

    def put(self, *, cpu: int = 0) -> None:
        """``put_page``: drop one plain reference."""
        _kernel.page_alloc.drop_page(self.machine.k, cpu, self.pfn)
        self.machine.check()

    def frag_free(self, *, cpu: int = 0) -> None:
        """``page_frag_free``: drop the reference of a fragment."""
        _kernel.page_frag.page_frag_free(self.machine.k, cpu, self.pfn)
        self.machine.check()


class SkBuff:
    """A packet buffer of a machine."""

    __slots__ = ("machine", "number")

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine = machine
        self.number = number

    def __repr__(self) -> str:
        return f"<SkBuff {self.number} users={self.users} len={self.len}>"

    def _row(self) -> Any:
        return self.machine.k.skb[self.number]

    @property
    def users(self) -> int:
        """Users of the struct."""
        users: int = self._row().users
        return users

    @property
    def len(self) -> int:
        """Bytes of the packet."""
        length: int = self._row().len
        return length

    @property
    def truesize(self) -> int:
        """Bytes of memory accounted to the packet."""
        size: int = self._row().truesize
        return size

    @property
    def dataref(self) -> int:
        """Raw reference count of the data (header-only references in the upper 16 bits)."""
        count: int = self.machine.k.shinfo[self._row().shinfo].dataref
        return count

    def mark_for_recycle(self) -> SkBuff:
        """``skb_mark_for_recycle``: freeing returns pages to their pools (eras from v5.14)."""
        skbuff.skb_mark_for_recycle(self.machine.k, 0, self.number)
        return self

    def get(self) -> SkBuff:
        """``skb_get``: one more user."""
        skbuff.skb_get(self.machine.k, 0, self.number)
        self.machine.check()
        return self

    def clone(self, *, cpu: int = 0) -> SkBuff:
        """``skb_clone``: a second struct on the same data."""
        return self.machine._skb(skbuff.skb_clone(self.machine.k, cpu, self.number))

    def reserve(self, n: int) -> SkBuff:
        """``skb_reserve``: headroom for an empty buffer."""
        row = self._row()
        if row.tail + n > row.end:
            raise UsageError(f"skb_reserve({n}): the buffer ends {row.end - row.tail} bytes ahead")
        row.data += n
        row.tail += n
        return self

    def put(self, n: int) -> SkBuff:
        """``skb_put``: ``n`` more bytes of linear data."""
        row = self._row()
        if row.tail + n > row.end:
            raise UsageError(f"skb_put({n}): {row.end - row.tail} bytes of tailroom")
        row.tail += n
        row.len += n
        return self

    def add_rx_frag(self, page: Page, *, offset: int = 0, size: int, truesize: int) -> SkBuff:
        """``skb_add_rx_frag``: append a fragment; takes over one reference of ``page``."""
        skbuff.skb_add_rx_frag(self.machine.k, 0, self.number, page.pfn, offset, size, truesize)
        self.machine.check()
        return self


class PagePool:
    """A page_pool; ``cpu`` is its consumer, in softirq for every call that says so."""

    def __init__(self, machine: Machine, number: int, cpu: int) -> None:
        self.machine = machine
        self.number = number
        self.cpu = cpu

    def alloc_pages(self) -> Page:
        """``page_pool_alloc_pages`` by the consumer.  Raises MemoryError when there is no page."""
        with self.machine.softirq(self.cpu):
            pfn = page_pool.page_pool_alloc_pages(self.machine.k, self.cpu, self.number)
        self.machine.check()
        if pfn == NONE:
            raise MemoryError("the page_pool found no page")
        return Page(self.machine, pfn)

    def put_page(
        self, page: Page, *, direct: bool = False, sync: int = page_pool.EVERYTHING, cpu: int | None = None
    ) -> None:
        """``page_pool_put_page``; ``direct`` only from the consumer."""
        where = self.cpu if cpu is None else cpu
        with self.machine.softirq(where):
            page_pool.page_pool_put_page(self.machine.k, where, self.number, page.pfn, sync, int(direct))
        self.machine.check()

    def recycle_direct(self, page: Page) -> None:
        """``page_pool_recycle_direct``."""
        self.put_page(page, direct=True)

    def release_page(self, page: Page) -> None:
        """``page_pool_release_page``: the page is no longer the pool's; its reference stays with the caller."""
        page_pool.page_pool_release_page(self.machine.k, self.cpu, self.number, page.pfn)

    def destroy(self) -> None:
        """``page_pool_destroy``."""
        page_pool_shutdown.page_pool_destroy(self.machine.k, self.cpu, self.number)
        self.machine.check()

    @property
    def alive(self) -> bool:
        """False once the pool has been freed."""
        return bool(self.machine.k.pool[self.number].alive)

    @property
    def inflight(self) -> int:
        """Pages taken from the allocator and not given back: in cache, in ring, and outside."""
        p = self.machine.k.pool[self.number]
        distance: int = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
        return distance - (1 << 32) if distance >= 1 << 31 else distance

    def statistics(self) -> PoolStatistics:
        """All counters."""
        p = self.machine.k.pool[self.number]
        return PoolStatistics(*(getattr(p, name) for name in PoolStatistics.__dataclass_fields__))


class NetDevice:
    """A network device: a driver's queues, rings and pools on a machine."""

    def __init__(self, machine: Machine, driver: Driver, queues: int, mtu: int, options: Mapping[str, str]) -> None:
        if not 1 <= queues <= driver.max_queues:
            raise UsageError(f"driver {driver.name} has 1 to {driver.max_queues} queues, not {queues}")
        if not 68 <= mtu <= driver.max_mtu:
            raise UsageError(f"driver {driver.name} takes an MTU of 68 to {driver.max_mtu}, not {mtu}")
        k = machine.k
        number = len(machine.devices)
        if number >= MAX_DEVICES:
            raise UsageError(f"a machine has at most {MAX_DEVICES} devices")
        taken = sum(d.nic.queues for d in machine.devices)
        if taken + queues > MAX_QUEUES:
            raise UsageError(f"a machine has at most {MAX_QUEUES} queues; {taken} are taken")
        self.machine = machine
        self.driver = driver
        self.number = number
        row = k.netdev[number]
        row.alive = 1
        row.mtu = mtu
        row.hw_mtu = driver.largest_frame(mtu)
        row.queues = queues
        row.rxq0 = row.txq0 = taken
        row.ps_per_byte = round(8000 / driver.link_gbps)
        row.egress = number
        row.fn_poll, row.fn_tx, row.fn_rx, row.fn_refill = driver.poll, driver.poll_tx, driver.poll_rx, driver.refill
        row.tx_cq_budget = driver.tx_cq_budget
        k.machine[0].devices = number + 1
        for index in range(queues):
            for table, extra in (("rxq", {"pool": NONE}), ("txq", {}), ("napi", {})):
                entry = getattr(k, table)[taken + index]
                entry.dev = number
                for field, value in extra.items():
                    setattr(entry, field, value)
            k.rxq[taken + index].index = k.txq[taken + index].index = index
            k.rxq[taken + index].napi = k.txq[taken + index].napi = taken + index
            napi = k.napi[taken + index]
            napi.cpu = index % machine.cpus
            napi.rxq = napi.txq = taken + index
            softirq = k.softirq[napi.cpu]
            napi.next_on_cpu = softirq.first_napi
            softirq.first_napi = taken + index + 1
        self.nic: Nic = Nic(k, number, queues, mtu, driver.check_options(options))
        for op, operation in OPERATIONS.items():
            with blaming(driver, f"{operation} cannot be compiled"):
                k.ops[number * NR_OPS + op] = getattr(driver, operation).address(k)
        with blaming(driver, "open"):
            driver.open(self.nic)
        for index in range(queues):
            cpu = self.nic.cpu(index)
            with machine.softirq(cpu):
                _fill(driver, self.nic, index)
        machine.check()

    def stop(self) -> None:
        """``ndo_stop``: give back every buffer and destroy the pools."""
        with blaming(self.driver, "stop"):
            self.driver.stop(self.nic)
        self.machine.check()

    def ethtool(self) -> dict[str, int]:
        """``ethtool -S``: the driver's private counters."""
        with blaming(self.driver, "statistics"):
            return self.driver.statistics(self.nic)

    def pages_held(self) -> list[int]:
        """Page numbers in the driver's receive buffers and private caches."""
        with blaming(self.driver, "pages_held"):
            return list(self.driver.pages_held(self.nic))


def _fill(driver: Driver, nic: Nic, index: int) -> None:
    """Post receive buffers until the driver has no more to post: it says so twice where it posts in bulk."""
    idle = 0
    for _ in range(MOST_BUFFERS):
        with blaming(driver, "rx_refill"):
            left = driver.rx_refill(nic.k, nic.cpu(index), nic.rxq(index), 0)
        if left < 0:
            raise UsageError(f"driver {driver.name}: the machine's memory is too small for receive queue {index}")
        idle = 0 if left else idle + 1
        if idle == 2:
            return
    raise UsageError(f"driver {driver.name}: rx_refill has posted {MOST_BUFFERS} buffers and does not return 0")


__all__ = ["SWITCHES", "Machine", "NetDevice", "Page", "PagePool", "PoolStatistics", "SkBuff"]
