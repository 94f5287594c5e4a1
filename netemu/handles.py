"""Handles over a machine's state: pages and pools.  What they do is done by kernel functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .mm import page_alloc, page_frag
from .mm.layout import NONE, PAGE_SIZE, PG_PFMEMALLOC
from .net import dma, page_pool, page_pool_frag, page_pool_shutdown, skb_coalesce

if TYPE_CHECKING:
    from .checks.ledger import Ref
    from .machine import Machine


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

    def __sub__(self, earlier: PoolStatistics) -> PoolStatistics:
        """What happened since ``earlier``."""
        before = asdict(earlier)
        return PoolStatistics(**{name: value - before[name] for name, value in asdict(self).items()})


class Page:
    """A page (or the head of a block) of a machine; ``offset``: where in it the fragment that was handed out starts."""

    __slots__ = ("fragment_ref", "life", "machine", "offset", "pfn")

    def __init__(self, machine: Machine, pfn: int, offset: int = 0) -> None:
        self.machine = machine
        self.pfn = pfn
        self.offset = offset
        self.life = 0 if machine.checker is None else machine.checker.page_life(pfn)
        self.fragment_ref: Ref | None = None
        """What a checked machine knows the fragment by, if this is one of a page fragment cache."""

    def __repr__(self) -> str:
        return f"<Page {self.pfn} refcount={self.refcount}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and (self.machine, self.pfn) == (other.machine, other.pfn)

    def __hash__(self) -> int:
        return hash((id(self.machine), self.pfn))

    def _row(self) -> Any:
        return self.machine.k.pages[self.pfn]

    @property
    def refcount(self) -> int:
        """References held by anybody."""
        count: int = self._row().refcount
        return count

    @property
    def order(self) -> int:
        """The page heads a block of ``1 << order`` pages."""
        order: int = self._row().order
        return order

    @property
    def nid(self) -> int:
        """Memory node."""
        nid: int = self._row().nid
        return nid

    @property
    def fragments(self) -> int:
        """``pp_frag_count``, from v6.8 ``pp_ref_count``."""
        count: int = self._row().frag_count
        return count

    @property
    def dma_mapped(self) -> bool:
        """Has the pool (or a driver) mapped the page for the device?"""
        return bool(self._row().dma_addr)

    @property
    def pool(self) -> PagePool | None:
        """The page_pool that has signed the page."""
        number = self._row().pp - 1
        return self.machine.pools.get(number)

    @property
    def pfmemalloc(self) -> bool:
        """Was it taken from the emergency reserve?"""
        return bool(self._row().flags & PG_PFMEMALLOC)

    @pfmemalloc.setter
    def pfmemalloc(self, on: bool) -> None:
        row = self._row()
        row.flags = row.flags | PG_PFMEMALLOC if on else row.flags & ~PG_PFMEMALLOC

    def get(self, count: int = 1, *, cpu: int | None = None) -> Page:
        """``get_page``: one more plain reference, or several."""
        self._call(page_alloc.get_page, count, cpu=cpu)
        return self

    def put(self, *, cpu: int | None = None) -> None:
        """``put_page``: drop one plain reference."""
        self._call(page_alloc.drop_page, cpu=cpu)

    def free_pages(self, order: int | None = None, *, cpu: int | None = None) -> None:
        """``__free_pages``: drop the reference of whoever allocated the block of this order."""
        self._call(page_alloc.free_pages, self.order if order is None else order, cpu=cpu)

    def frag_free(self, *, cpu: int | None = None) -> None:
        """``page_frag_free``: drop the reference of a fragment."""
        if self.machine.checker is not None and self.fragment_ref is not None and self.checked_life():
            self.machine.checker.memory.fragment_freed(self.pfn, self.fragment_ref)
        self._call(page_frag.page_frag_free, cpu=cpu)

    def fragment(self, count: int) -> Page:
        """``page_pool_fragment_page``: the driver splits the page into fragments that come back one by one."""
        self._call(page_pool.page_pool_fragment_page, count)
        return self

    def defrag(self, count: int = 1) -> int:
        """``page_pool_defrag_page``: take fragments off the count; what is left."""
        return self._call(page_pool.page_pool_defrag_page, count)

    def pool_ref(self) -> Page:
        """``page_pool_ref_page`` (v6.8): one more share of a pool page."""
        self._call(skb_coalesce.page_pool_ref_page)
        return self

    def dma_map(self) -> bool:
        """``dma_map_page`` by the driver itself; False: the DMA layer fails."""
        return bool(self._call(dma.map_page))

    def dma_unmap(self) -> None:
        """``dma_unmap_page`` by the driver itself."""
        self._call(dma.unmap_page)

    def return_skb_page(self, *, napi_safe: bool = False, cpu: int | None = None) -> bool:
        """``page_pool_return_skb_page``: what freeing an skb does with a page; False: it carries no signature."""
        return bool(self._call(page_pool.page_pool_return_skb_page, int(napi_safe), cpu=cpu))

    def touch(self, *, device: bool = False) -> Page:
        """The CPU (or the device, by DMA) reads or writes the page now: a checked machine says if it must not."""
        if self.checked_life():
            if self.machine.checker is not None and self.fragment_ref is not None:
                self.machine.checker.memory.fragment_touched(self.pfn, self.fragment_ref)
            self.machine.touched(self.pfn, device)
        return self

    def checked_life(self) -> bool:
        """False (and a report) when a checked machine has handed the page out again since this handle was made."""
        checker = self.machine.checker
        if checker is None or checker.page_life(self.pfn) == self.life:
            return True
        checker.stale_page(self.pfn)
        self.machine.check()
        return False

    def _call(self, function: Any, *arguments: int, cpu: int | None = None) -> int:
        self.checked_life()
        result: int = function(self.machine.k, self.machine.where(cpu), self.pfn, *arguments)
        self.machine.check()
        return result


class PagePool:
    """A page_pool; ``cpu`` is its consumer, in softirq for every call that says so."""

    def __init__(self, machine: Machine, number: int, cpu: int) -> None:
        self.machine = machine
        self.number = number
        self.cpu = cpu
        self.destroyed = False
        """Has the script called :meth:`destroy`?  Further users are then the script's to drop."""

    def __repr__(self) -> str:
        return f"<PagePool {self.number} inflight={self.inflight}>"

    # -- getting pages ---------------------------------------------------------------------------------------------

    def alloc_pages(self, *, cpu: int | None = None) -> Page:
        """``page_pool_alloc_pages`` by the consumer.  Raises MemoryError when there is no page."""
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            pfn = page_pool.page_pool_alloc_pages(self.machine.k, where, self.number)
        return self._made(pfn)

    def alloc_frag(self, size: int, *, cpu: int | None = None) -> Page:
        """``page_pool_alloc_frag``: a piece of ``size`` bytes at ``.offset``.  Raises MemoryError for none."""
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            pfn = page_pool_frag.page_pool_alloc_frag(self.machine.k, where, self.number, size)
        return self._made(pfn, self.machine.k.pools[0].frag_offset)

    def _made(self, pfn: int, offset: int = 0) -> Page:
        self.machine.check()
        if pfn == NONE:
            raise MemoryError("the page_pool found no page")
        return Page(self.machine, pfn, offset)

    # -- giving pages back -----------------------------------------------------------------------------------------

    def put_page(
        self, page: Page, *, direct: bool = False, sync: int = page_pool.EVERYTHING, cpu: int | None = None
    ) -> None:
        """``page_pool_put_page``; ``direct`` only from the consumer; ``sync``: bytes that were touched."""
        page.checked_life()
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            page_pool.page_pool_put_page(self.machine.k, where, self.number, page.pfn, sync, int(direct))
        self.machine.check()

    def put_full_page(self, page: Page, *, direct: bool = False, cpu: int | None = None) -> None:
        """``page_pool_put_full_page``: the same, with all of the page touched."""
        self.put_page(page, direct=direct, cpu=cpu)

    def recycle_direct(self, page: Page, *, cpu: int | None = None) -> None:
        """``page_pool_recycle_direct``."""
        self.put_page(page, direct=True, cpu=cpu)

    def put_defragged_page(
        self, page: Page, *, direct: bool = False, sync: int = page_pool.EVERYTHING, cpu: int | None = None
    ) -> None:
        """``page_pool_put_defragged_page``: return a page whose fragments the caller has counted himself."""
        page.checked_life()
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            page_pool.page_pool_put_defragged_page(self.machine.k, where, self.number, page.pfn, sync, int(direct))
        self.machine.check()

    def put_page_bulk(self, pages: Sequence[Page], *, cpu: int | None = None) -> None:
        """``page_pool_put_page_bulk``: return several pages under one producer lock."""
        k = self.machine.k
        if len(pages) > len(k.page_array):
            raise UsageError(f"page_pool_put_page_bulk takes up to {len(k.page_array)} pages, not {len(pages)}")
        for n, page in enumerate(pages):
            page.checked_life()
            k.page_array[n] = page.pfn
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            page_pool.page_pool_put_page_bulk(k, where, self.number, len(pages))
        self.machine.check()

    def release_page(self, page: Page, *, cpu: int | None = None) -> None:
        """``page_pool_release_page``: the page is no longer the pool's; its reference stays with the caller."""
        page.checked_life()
        page_pool.page_pool_release_page(self.machine.k, self.machine.where(cpu, self.cpu), self.number, page.pfn)
        self.machine.check()

    # -- life ------------------------------------------------------------------------------------------------------

    def update_nid(self, nid: int, *, cpu: int | None = None) -> None:
        """``page_pool_update_nid``: prefer another node from now on; the cache is emptied.  Consumer only."""
        where = self.machine.where(cpu, self.cpu)
        with self.machine.usually_in_softirq(where):
            page_pool.page_pool_update_nid(self.machine.k, where, self.number, nid)
        self.machine.check()

    def use_xdp_mem(self) -> None:
        """``xdp_rxq_info_reg_mem_model``: one more user; its ``xdp_rxq_info_unreg`` is another :meth:`destroy`."""
        page_pool_shutdown.page_pool_use_xdp_mem(self.machine.k, self.machine.where(None, self.cpu), self.number)
        self.machine.check()

    def unlink_napi(self) -> None:
        """``page_pool_unlink_napi`` (v6.4): no more direct recycling by NAPI."""
        page_pool_shutdown.page_pool_unlink_napi(self.machine.k, self.machine.where(None, self.cpu), self.number)

    def napi_deleted(self) -> None:
        """``netif_napi_del`` of the NAPI that consumes the pool: a direct return is a use of freed memory from now
        on.
        """
        if self.machine.checker is not None:
            self.machine.checker.pools.of(self.number).napi_gone = True

    def device_removed(self) -> None:
        """The device that the pool maps its pages for is gone: nothing may be unmapped from it any more."""
        if self.machine.checker is not None:
            self.machine.checker.pools.of(self.number).device_gone = True

    def destroy(self, *, cpu: int | None = None) -> None:
        """``page_pool_destroy``: drop one user; the last one shuts the pool down."""
        self.destroyed = True
        page_pool_shutdown.page_pool_destroy(self.machine.k, self.machine.where(cpu, self.cpu), self.number)
        self.machine.check()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """False once the pool has been freed."""
        return bool(self.machine.k.pool[self.number].alive)

    @property
    def users(self) -> int:
        """Users that keep the pool from being destroyed."""
        users: int = self.machine.k.pool[self.number].users
        return users

    @property
    def inflight(self) -> int:
        """Pages taken from the allocator and not given back: in cache, in ring, and outside."""
        p = self.machine.k.pool[self.number]
        distance: int = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
        return distance - (1 << 32) if distance >= 1 << 31 else distance

    @property
    def page_size(self) -> int:
        """Bytes of one page of the pool."""
        size: int = PAGE_SIZE << self.machine.k.pool[self.number].order
        return size

    def statistics(self) -> PoolStatistics:
        """All counters."""
        p = self.machine.k.pool[self.number]
        return PoolStatistics(*(getattr(p, name) for name in PoolStatistics.__dataclass_fields__))
