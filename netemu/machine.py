"""One emulated machine: memory, CPUs, an era and a platform, and the objects that live on it.

The objects (:class:`Page`, :class:`PagePool`, :class:`~netemu.SkBuff`, :class:`NetDevice`) are handles over the
machine's state; what they do is done by the same kernel functions that a replay runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from . import kernel as _kernel
from .checks.checker import Checker, raise_reports, stock_reports
from .checks.history import Recorder
from .checks.reports import Report
from .engine.agenda import agenda_lengths, set_up_agenda
from .engine.era import SWITCHES, set_switch
from .engine.faults import raise_fault
from .engine.inject import MAX_SITES
from .engine.kernel import MAX_FUNCTIONS
from .engine.layout import MAX_DEVICES, Kernel
from .engine.log import LOG_ROWS, messages_since
from .engine.path import MAX_NODES, PATH_ROWS
from .engine.spinlock import LOCK_INTERVALS, MAX_LOCKS
from .engine.watch import Watch
from .errors import UsageError
from .handles import Page, PagePool
from .injection import Injection, arm
from .interleaving import Interruption, interleave, interrupted
from .mm.layout import (
    MAX_ORDER,
    NAPI_FRAGS,
    NONE,
    NR_FRAG_CACHES,
    NR_ORDERS,
    NR_PCP_LISTS,
    PAGE_ARRAY_ROWS,
    PAGE_SIZE,
    PG_PFMEMALLOC,
    PG_TAIL,
)
from .mm.zone_setup import free_zone, low_watermark, zone_batchsize
from .net import cable_setup, rss, skbuff, xdp_setup
from .net.bql import NO_SLACK_YET
from .net.device_layout import MAX_QUEUES, NETDEV_BUDGET, NEVER, NR_OPS
from .net.local import MAX_STREAMS
from .net.plugin import Driver
from .net.plugin_loader import load_driver
from .net.pool_layout import MAX_POOLS, PP_ALLOC_CACHE_SIZE
from .net.pool_setup import create_page_pool
from .net.pool_work import advance
from .net.skb_layout import NAPI_SKB_CACHE_SIZE
from .netdevice import DeviceSettings, NetDevice
from .packets import PacketOperations
from .polling import NapiStruct
from .profiles.eras import check_switch, era_switches
from .profiles.platforms import DEFAULT as DEFAULT_PLATFORM
from .profiles.platforms import apply_platform, load_platform
from .programs import ObjectFile, XdpProgram
from .redirect_maps import CpuMap, DevMap, Socket, XskMap
from .rings import RxRing, TxRing

DEFAULT_ERA = "v6.1"
DEFAULT_MEMORY_MB = 1024
MAX_CPUS = 128
MAX_NODES_OF_MEMORY = 8
HELD_ROWS = 1 << 16
CHECK_LEVELS = ("off", "quiesce", "every")
MAX_PCP_PAGES = 1 << 20


class Machine(PacketOperations):
    """An emulated machine.

    ``era`` names a kernel release, ``switches`` overrides single mechanisms of it.  ``cpus`` share ``nodes``
    memory nodes of ``memory_mb`` MiB each, in blocks.  ``platform`` prices operations; ``seed`` feeds every
    random draw.  ``pcp_batch`` and ``pcp_high`` (pages) override what the kernel computes from the memory.
    ``check``: ``"off"``, ``"quiesce"`` (:meth:`quiesce` and :meth:`assert_clean` look at the state as it stands), or
    ``"every"`` (every operation is followed, in plain Python, and reports come with the history of the page or packet);
    ``collect``: reports are kept in :attr:`reports` instead of being raised.  ``watched``: run every kernel function as
    plain Python, for whoever follows them (``k.watch``).  Raises :class:`netemu.UsageError` for values that make no
    sense.
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
        pcp_batch: int | None = None,
        pcp_high: int | None = None,
        check: str = "off",
        collect: bool = False,
        watched: bool = False,
    ) -> None:
        if check not in CHECK_LEVELS:
            raise UsageError(f"check is one of {', '.join(CHECK_LEVELS)}, not {check!r}")
        for name, pages, least in (("pcp_batch", pcp_batch, 1), ("pcp_high", pcp_high, 0)):
            if pages is not None and not least <= pages <= MAX_PCP_PAGES:
                raise UsageError(f"{name} is {least} to {MAX_PCP_PAGES} pages, not {pages}")
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
        super().__init__()
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
                "path_cost": cpus * PATH_ROWS,
                "cost": MAX_FUNCTIONS,
                "inject": MAX_SITES,
                "first_request": MAX_SITES * MAX_NODES,
                "log": LOG_ROWS,
                "pool": MAX_POOLS,
                "pool_cache": MAX_POOLS * PP_ALLOC_CACHE_SIZE,
                **skbuff.table_lengths(skbs),
                "softnet": cpus,
                "napi_skb_cache": cpus * NAPI_SKB_CACHE_SIZE,
                "ops": MAX_DEVICES * NR_OPS,
                "netdev": MAX_DEVICES,
                "rxq": MAX_QUEUES,
                "shelf": MAX_QUEUES,
                "txq": 3 * MAX_QUEUES,  # behind the device's own: one of XDP_TX and one of redirect for each
                "napi": MAX_QUEUES,
                "completion_queue": cpus,
                "softirq": cpus,
                **agenda_lengths(cpus),
                "dql": MAX_QUEUES,
                "stream": MAX_STREAMS,
                "poll_list": cpus * MAX_QUEUES,
                "repoll_list": cpus * MAX_QUEUES,
                "held": cpus * HELD_ROWS,
                "wire": MAX_DEVICES,
                "cable": MAX_DEVICES,
                "rss_table": MAX_DEVICES * rss.INDIRECTION,
                **xdp_setup.table_lengths(cpus),
                "toeplitz": rss.INPUT_BYTES * 256,
            }
        )
        self.check_level = check
        self.checker = Checker(self.k, collect=collect) if check == "every" else None
        if watched and self.k.watch is None:
            self.k.watch = Watch(lambda: None)
        self._told: list[Report] = []
        self._set_up(pages, skbs, pcp_batch, pcp_high)
        self._logged = 0
        self.devices: list[NetDevice] = []
        self.sockets: list[Socket] = []
        self.pools: dict[int, PagePool] = {}
        self._rings = 0

    # -- set-up --------------------------------------------------------------------------------------------------

    def _set_up(self, pages: int, skbs: int, pcp_batch: int | None, pcp_high: int | None) -> None:
        k = self.k
        set_up_agenda(k, self.cpus)
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
            k.cpu[cpu].numa_node = self.node_of(cpu)
        self._size_pcps(pages, pcp_batch, pcp_high)
        k.recycle[0].state = (self.seed * 2654435761 + 88172645463325252) & 0xFFFFFFFF or 1
        k.arrays["toeplitz"][:] = rss.toeplitz_table()
        k.dma[0].align = 1
        k.run[0].held_mask = HELD_ROWS - 1
        k.run[0].limit = NEVER
        k.run[0].netdev_budget = NETDEV_BUDGET
        k.arrays["napi"]["irq_due"] = NEVER
        k.arrays["softirq"]["irq_due"] = NEVER
        k.arrays["dql"]["lowest_slack"] = NO_SLACK_YET

    def node_of(self, cpu: int) -> int:
        """Memory node of a CPU: the nodes have consecutive CPUs, as many each."""
        return cpu * self.nodes // self.cpus

    def _size_pcps(self, pages: int, batch: int | None, high: int | None) -> None:
        """Batch and high of every per-CPU list (zone_batchsize, zone_highsize), unless they are given."""
        k = self.k
        if batch is None:
            batch = zone_batchsize(pages)
        for zone in range(self.nodes):
            local = max(sum(self.node_of(c) == zone for c in range(self.cpus)), 1)
            for cpu in range(self.cpus):
                row = k.pcp[zone * self.cpus + cpu]
                row.batch = max(1, batch)
                if high is not None:
                    row.high = high
                elif self.switches["pcp_high"] == "batch":
                    row.high = 6 * batch
                else:
                    low = low_watermark(pages, pages * self.nodes)
                    row.high = max(low // local, 4 * row.batch)
                row.high_min = row.high
                row.high_max = row.high
                if self.switches["pcp_high"] == "auto" and high is None:
                    row.high_max = max(pages // 8 // local, row.high_min)

    # -- what went wrong -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what emulated code has noted (:class:`netemu.KernelBug`, :class:`netemu.EmulatorError`)."""
        if self.checker is None:
            raise_fault(self.k)
        else:
            self.checker.deliver()

    @property
    def reports(self) -> list[Report]:
        """Everything that was found so far."""
        return self._told if self.checker is None else self.checker.reports

    def quiesce(self) -> list[Report]:
        """Look at everything, while nothing is in the middle of anything; what was found by that.

        Raises :class:`netemu.KernelBug` for it, unless the machine collects.
        """
        return self._at_rest(leaks=False)

    def assert_clean(self) -> None:
        """:meth:`quiesce`, and nobody holds a packet, or a page outside of pools, device rings and caches.

        Raises :class:`netemu.KernelBug`, whose text says of each who holds it and since when.
        """
        raise_reports(self._at_rest(leaks=True))

    def inject(
        self,
        site: str,
        *,
        nth: int | None = None,
        every: int | None = None,
        fraction: float | None = None,
        off: bool = False,
    ) -> Injection:
        """Make requests at ``site`` fail from now on: the ``nth``, ``every``-th, or a seeded ``fraction`` of them.

        Sites: ``page`` (page allocations, a bulk one counts once), ``skb`` (structs), ``data`` (kmalloc heads), ``dma``
        (mappings), ``ring`` (returns to the ring of a page_pool), ``tx`` (posts to a transmit ring).  The answer counts
        requests and failures.
        """
        return arm(self.k, site, nth=nth, every=every, fraction=fraction, seed=self.seed, off=off)

    def wind_up(self) -> None:
        """Bring the machine to its end: devices stop, pools are destroyed, what the kernel keeps for later is freed."""
        for device in self.devices:
            if device.is_open:
                device.stop()
        for cpu in range(self.cpus):
            self.net_tx_action(cpu=cpu)
            self.defer_free_flush(cpu=cpu)
            self.page_frag_cache_drain(cpu=cpu)
        with self.process():  # whoever takes a device down may sleep
            for pool in self.pools.values():
                if pool.alive and pool.users > 0 and not pool.destroyed:
                    pool.destroy()
        self.advance(ms=1_000)

    def _at_rest(self, *, leaks: bool) -> list[Report]:
        held = [pfn for device in self.devices if device.is_open for pfn in device.pages_held()]
        if self.checker is None:
            found = [] if self.check_level == "off" else self._stock(held, leaks=leaks)
            self._told += found
            raise_reports(found)
            return found
        before = len(self.checker.reports)
        self.checker.quiesce(self.devices)
        if leaks:
            self.checker.leaks(held)
        self.checker.deliver()
        return self.checker.reports[before:]

    def _stock(self, held: Sequence[int], *, leaks: bool) -> list[Report]:
        return stock_reports(self.k, Recorder(self.k), self.devices, held, leaks=leaks)

    def interleave(self, *tasks: tuple[int, Callable[[], object]], schedule: Sequence[int] = ()) -> list[object]:
        """Run ``(cpu, function)`` tasks side by side, by a schedule: :func:`netemu.interleaving.interleave`."""
        return interleave(self, tasks, schedule)

    def interrupted(
        self,
        place: str,
        function: Callable[[], object],
        *,
        inside: str | None = None,
        returning: bool = False,
        nth: int = 1,
    ) -> AbstractContextManager[Interruption]:
        """Let ``function`` run at a named place inside a kernel function: :func:`netemu.interleaving.interrupted`."""
        return interrupted(self, place, function, inside=inside, returning=returning, nth=nth)

    def touched(self, pfn: int, device: bool) -> None:
        """Somebody reads or writes a page: a checked machine says whether it may."""
        if self.checker is not None:
            self.checker.touched(pfn, device)
            self.check()

    def messages(self) -> list[str]:
        """Kernel messages since the last call."""
        new = messages_since(self.k, self._logged)
        self._logged = self.k.log_count[0]
        return [text for _name, _a, _b, text in new]

    def keep_contents(self) -> None:
        """Keep the bytes of packets from now on: an output file or a program will look at them."""
        k = self.k
        if not k.run[0].keep_contents:
            k.run[0].keep_contents = 1
            k.replace("memory", np.zeros((k.machine[0].pages + k.arrays["object"].size) * PAGE_SIZE, np.uint8))

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
        pool = self.pools[number] = PagePool(self, number, cpu)
        return pool

    def alloc_pages(
        self, order: int = 0, *, cpu: int | None = None, nid: int = -1, compound: bool = True
    ) -> Page | None:
        """A block of ``1 << order`` pages from the page allocator; None: no memory."""
        pfn = _kernel.page_alloc.alloc_pages_node(self.k, self.where(cpu), nid, order, int(compound))
        self.check()
        return None if pfn == NONE else Page(self, pfn)

    def page_frag_alloc(self, size: int, *, cpu: int | None = None) -> Page:
        """``napi_alloc_frag``: a piece of ``size`` bytes of the CPU's page fragment cache, at ``.offset`` in the page.

        :meth:`Page.frag_free` gives it back.  Raises MemoryError when there is no page.
        """
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            at = _kernel.page_frag.page_frag_alloc(self.k, where, NAPI_FRAGS, size)
        self.check()
        if at == NONE:
            raise MemoryError("no memory for a page fragment")
        page = Page(self, at // PAGE_SIZE)
        head = self.k.pages[page.pfn].head if self.k.pages[page.pfn].flags & PG_TAIL else page.pfn
        fragment = Page(self, head, at - head * PAGE_SIZE)
        if self.checker is not None:
            fragment.fragment_ref = self.checker.memory.fragment(at)
        return fragment

    def page_frag_cache_drain(self, *, cpu: int | None = None) -> None:
        """``__page_frag_cache_drain``: let go of what the CPU's page fragment caches still hold."""
        for which in range(NR_FRAG_CACHES):
            _kernel.page_frag.page_frag_cache_drain(self.k, self.where(cpu), which)
        self.check()

    def advance(self, *, ms: int) -> int:
        """Let time pass for delayed work (pools in shutdown); how many pieces of work ran."""
        ran = advance(self.k, self.where(None), ms)
        self.check()
        return ran

    def rx_ring(self, size: int = 256) -> RxRing:
        """The receive ring of a driver that the script plays."""
        self._rings += 1
        return RxRing(self, size, f"receive ring {self._rings}")

    def tx_ring(self, size: int = 256) -> TxRing:
        """The transmit ring of a driver that the script plays."""
        self._rings += 1
        queue = MAX_QUEUES - self._rings  # the last rows: devices have the first
        if queue < sum(device.nic.queues for device in self.devices):
            raise UsageError(f"a machine has at most {MAX_QUEUES} queues and rings")
        return TxRing(self, size, f"transmit ring {self._rings}", queue)

    def napi_struct(self, cpu: int = 0) -> NapiStruct:
        """A NAPI of ``cpu`` that the script schedules, polls and completes."""
        return NapiStruct(self, cpu)

    @contextmanager
    def memory_pressure(self) -> Iterator[None]:
        """Pages that are allocated inside come from the emergency reserve."""
        m = self.k.machine[0]
        before, m.new_page_flags = m.new_page_flags, m.new_page_flags | PG_PFMEMALLOC
        try:
            yield
        finally:
            m.new_page_flags = before

    def netdev(
        self,
        driver: str | Driver,
        *,
        queues: int = 1,
        mtu: int = 1500,
        options: Mapping[str, str] | None = None,
        settings: DeviceSettings | None = None,
        xdp: XdpProgram | ObjectFile | str | None = None,
    ) -> NetDevice:
        """A network device with an emulated driver (a name, a file, or a :class:`~netemu.net.plugin.Driver`).

        ``xdp``: a program for :meth:`NetDevice.attach_xdp`, attached before the device is opened.
        """
        plugin = load_driver(driver) if isinstance(driver, str) else driver
        apply_platform(self.k, self.platform)  # the driver may have declared functions of its own
        made = NetDevice(self, plugin, queues, mtu, options or {}, settings or DeviceSettings(), xdp)
        self.devices.append(made)
        return made

    def cable(self, left: NetDevice, right: NetDevice, *, delay_ns: float = 0) -> None:
        """What each of two devices transmits arrives at the other, ``delay_ns`` after its wire is done with it.

        The link runs at the highest speed that both have.  Raises UsageError.
        """
        for device in (left, right):
            if device.machine is not self:
                raise UsageError("a cable joins devices of one machine")
            if device.peer is not None:
                raise UsageError(f"device {device.number} has a cable already, to device {device.peer.number}")
        if left is right:
            raise UsageError(f"a cable joins two devices, not device {left.number} to itself")
        if not 0 <= delay_ns < cable_setup.LONGEST_DELAY_NS:
            raise UsageError(f"the delay of a cable is 0 to {cable_setup.LONGEST_DELAY_NS} ns, not {delay_ns}")
        cable_setup.connect(self.k, left.number, right.number, round(delay_ns * 1000))

    def devmap(self, size: int) -> DevMap:
        """A redirect map of devices: ``m[key] = device``."""
        return DevMap(self, size)

    def cpumap(self, size: int) -> CpuMap:
        """A redirect map of CPUs: ``m.add(key, cpu=2, queue_size=192)``."""
        return CpuMap(self, size)

    def xskmap(self, size: int) -> XskMap:
        """A redirect map of sockets that Python reads: ``socket = m.add(key)``."""
        return XskMap(self, size)

    def drain_sockets(self) -> None:
        """Move what packets wait in the rings of sockets to where Python keeps them."""
        for socket in self.sockets:
            socket.drain()
        self.k.xdp[0].drain = 0


__all__ = ["SWITCHES", "Machine"]
