"""Per-CPU page lists: how long they get, and what moves between them and the buddy lists under one lock hold.

Source: mm/page_alloc.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import charge
from .buddy import __free_one_page, __rmqueue_smallest, zone_lock, zone_unlock
from .layout import NONE, NR_PCP_LISTS, PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, PG_PCP

PCP_BATCH_SCALE_MAX = 5
"""CONFIG_PCP_BATCH_SCALE_MAX."""
PCP_MIGRATETYPES = 3
"""Lists per order on a CPU; netemu fills the UNMOVABLE one only."""

PCP_PAGE = cost_point("pcp_bulk_page")  # one page moved between a per-CPU list and a private list


@inlined
def pcp_row(k: Kernel, cpu: int, zone: int) -> int:
    """Row of this CPU's page lists for a zone."""
    return zone * k.machine[0].cpus + cpu


@inlined
def order_to_pindex(order: int) -> int:
    """Which of a CPU's lists keeps blocks of this order."""
    if order > PAGE_ALLOC_COSTLY_ORDER:
        return PAGE_ALLOC_COSTLY_ORDER + 1
    return order


@inlined
def pcp_allowed_order(k: Kernel, order: int) -> bool:
    """Do the per-CPU lists of this era keep blocks of this order?"""
    if order == 0:
        return True
    return k.era[0].pcp_orders != 0 and (order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER)


@inlined
def pcp_push_head(k: Kernel, row: int, index: int, pfn: int) -> None:
    """Put a page at the hot end."""
    a = k.pcp_list[row * NR_PCP_LISTS + index]
    p = k.pages[pfn]
    p.flags |= PG_PCP
    p.prev = NONE
    p.next = a.head
    if a.head == NONE:
        a.tail = pfn
    else:
        k.pages[a.head].prev = pfn
    a.head = pfn


@inlined
def pcp_push_tail(k: Kernel, row: int, index: int, pfn: int) -> None:
    """Put a page at the cold end."""
    a = k.pcp_list[row * NR_PCP_LISTS + index]
    p = k.pages[pfn]
    p.flags |= PG_PCP
    p.next = NONE
    p.prev = a.tail
    if a.tail == NONE:
        a.head = pfn
    else:
        k.pages[a.tail].next = pfn
    a.tail = pfn


@inlined
def pcp_pop_head(k: Kernel, row: int, index: int) -> int:
    """Take the hottest page; the list is not empty."""
    a = k.pcp_list[row * NR_PCP_LISTS + index]
    pfn = a.head
    p = k.pages[pfn]
    a.head = p.next
    if p.next == NONE:
        a.tail = NONE
    else:
        k.pages[p.next].prev = NONE
    p.flags &= ~PG_PCP
    return pfn


@inlined
def pcp_pop_tail(k: Kernel, row: int, index: int) -> int:
    """Take the coldest page; the list is not empty."""
    a = k.pcp_list[row * NR_PCP_LISTS + index]
    pfn = a.tail
    p = k.pages[pfn]
    a.tail = p.prev
    if p.prev == NONE:
        a.head = NONE
    else:
        k.pages[p.prev].next = NONE
    p.flags &= ~PG_PCP
    return pfn


@kernel_function
def rmqueue_bulk(k: Kernel, cpu: int, zone: int, order: int, count: int) -> int:
    """Move up to ``count`` blocks from the buddy lists to this CPU's list, under one hold of zone->lock."""
    row = pcp_row(k, cpu, zone)
    index = order_to_pindex(order)
    z = k.zone[zone]
    zone_lock(k, cpu, zone)
    z.acquisitions_alloc += 1
    got = 0
    while got < count:
        pfn = __rmqueue_smallest(k, cpu, zone, order)
        if pfn == NONE:
            break
        charge(k, cpu, PCP_PAGE)
        pcp_push_tail(k, row, index, pfn)
        got += 1
    z.pages_alloc += got << order
    zone_unlock(k, cpu, zone)
    k.pcp[row].count += got << order
    return got


@kernel_function(traced=False)
def nr_pcp_alloc(k: Kernel, row: int, order: int) -> int:
    """Blocks to take when a per-CPU list is empty."""
    pcp = k.pcp[row]
    batch = pcp.batch
    if k.era[0].pcp_refill == 0:
        if order > 0 and batch > 1:
            return max(batch >> order, 2)
        return batch
    if pcp.high < batch:
        return 1
    least = batch
    if order == 0:
        batch <<= pcp.alloc_factor
    if pcp.high_min != pcp.high_max:  # a longer list would have spared this refill
        pcp.high = min(pcp.high + batch, pcp.high_max)
    if order == 0:
        room = max(pcp.high - pcp.count - least, least)
        if batch <= room and pcp.alloc_factor < PCP_BATCH_SCALE_MAX:
            pcp.alloc_factor += 1
        batch = min(batch, room)
    if batch > 1:
        batch = max(batch >> order, 2)
    return batch


@kernel_function(traced=False)
def free_pcppages_bulk(k: Kernel, cpu: int, zone: int, count: int, index: int) -> None:
    """Move ``count`` base pages, coldest first, from this CPU's lists to the buddy lists, under one hold."""
    row = pcp_row(k, cpu, zone)
    pcp = k.pcp[row]
    z = k.zone[zone]
    count = min(count, pcp.count)
    if k.era[0].pcp_drain == 0:
        drain_before_lock(k, cpu, zone, count)
        return
    zone_lock(k, cpu, zone)
    z.acquisitions_free += 1
    index -= 1  # start at the list just freed to: empty it, then go on to the next
    while count > 0:
        index = index + 1 if index < NR_PCP_LISTS - 1 else 0
        order = pindex_to_order(index)
        while count > 0 and k.pcp_list[row * NR_PCP_LISTS + index].head != NONE:
            pfn = pcp_pop_tail(k, row, index)
            charge(k, cpu, PCP_PAGE)
            count -= 1 << order
            pcp.count -= 1 << order
            z.pages_free += 1 << order
            __free_one_page(k, cpu, zone, pfn, order)
    zone_unlock(k, cpu, zone)


@inlined
def pindex_to_order(index: int) -> int:
    """Order of the blocks on per-CPU list number ``index``."""
    if index > PAGE_ALLOC_COSTLY_ORDER:
        return PAGEBLOCK_ORDER
    return index


@kernel_function(traced=False)
def drain_before_lock(k: Kernel, cpu: int, zone: int, count: int) -> None:
    """The older form of free_pcppages_bulk: collect the pages round robin over the lists, then lock and merge."""
    row = pcp_row(k, cpu, zone)
    pcp = k.pcp[row]
    z = k.zone[zone]
    first = NONE
    last = NONE
    freed = 0
    index = 0
    lists = NR_PCP_LISTS if k.era[0].pcp_orders != 0 else 1
    run = 0
    while freed < count:
        run += PCP_MIGRATETYPES  # every list that is looked at, those of the other migrate types too
        index = index + 1 if index < lists - 1 else 0
        while k.pcp_list[row * NR_PCP_LISTS + index].head == NONE:
            run += PCP_MIGRATETYPES
            index = index + 1 if index < lists - 1 else 0
        if run == lists * PCP_MIGRATETYPES:
            run = count  # a full round without pages elsewhere: the only list that has any
        order = pindex_to_order(index)
        while run > 0 and freed < count and k.pcp_list[row * NR_PCP_LISTS + index].head != NONE:
            pfn = pcp_pop_tail(k, row, index)
            charge(k, cpu, PCP_PAGE)
            p = k.pages[pfn]
            p.order = order
            p.next = NONE
            if first == NONE:
                first = pfn
            else:
                k.pages[last].next = pfn
            last = pfn
            freed += 1 << order
            run -= 1
    pcp.count -= freed
    zone_lock(k, cpu, zone)
    z.acquisitions_free += 1
    z.pages_free += freed
    while first != NONE:
        following = k.pages[first].next
        __free_one_page(k, cpu, zone, first, k.pages[first].order)
        first = following
    zone_unlock(k, cpu, zone)


@kernel_function(traced=False)
def nr_pcp_free(k: Kernel, row: int, high: int, free_high: int) -> int:
    """Base pages to give back when a per-CPU list has reached ``high``."""
    pcp = k.pcp[row]
    batch = pcp.batch
    how = k.era[0].pcp_free
    if how == 0:
        return batch
    if free_high:
        return pcp.count if how < 3 else min(pcp.count, batch << PCP_BATCH_SCALE_MAX)
    if high < batch:
        return 1
    most = high - batch
    if how == 3:
        wanted = pcp.free_count
    else:
        wanted = batch << pcp.free_factor
        if wanted < most and (how == 1 or pcp.free_factor < PCP_BATCH_SCALE_MAX):
            pcp.free_factor += 1
    return min(max(wanted, batch), most)


@kernel_function(traced=False)
def nr_pcp_high(k: Kernel, row: int, free_high: int) -> int:
    """The length at which a per-CPU list gives pages back."""
    pcp = k.pcp[row]
    high = pcp.high
    if k.era[0].pcp_high != 2:
        return 0 if free_high else high
    if high == 0:
        return 0
    if free_high:
        pcp.high = max(high - (pcp.batch << PCP_BATCH_SCALE_MAX), pcp.high_min)
        return 0
    if pcp.high_min != pcp.high_max and pcp.count >= high:
        pcp.high = min(max(pcp.free_count + pcp.batch, high, pcp.high_min), pcp.high_max)
    return high


@kernel_function(traced=False)
def frees_high_order(k: Kernel, row: int, order: int) -> int:
    """Does this free mean that high-order blocks should not linger on the list?"""
    pcp = k.pcp[row]
    costly = order > 0 and order <= PAGE_ALLOC_COSTLY_ORDER
    if k.era[0].pcp_free == 2:
        return 1 if costly and pcp.free_factor != 0 else 0
    pcp.alloc_factor >>= 1
    free_high = 0
    if costly:
        if pcp.free_count >= pcp.batch and pcp.prev_free_high_order != 0:
            free_high = 1
        pcp.prev_free_high_order = 1
    else:
        pcp.prev_free_high_order = 0
    if pcp.free_count < pcp.batch << PCP_BATCH_SCALE_MAX:
        pcp.free_count += 1 << order
    return free_high
