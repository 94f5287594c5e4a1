"""Handles over a machine's state: pages, packet buffers, pools.  What they do is done by kernel functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import kernel as _kernel
from .errors import UsageError
from .mm.layout import NONE
from .net import page_pool, page_pool_shutdown, skbuff

if TYPE_CHECKING:
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
