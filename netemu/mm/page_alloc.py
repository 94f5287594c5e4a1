"""The page allocator: buddy free lists under zone->lock, and per-CPU page lists that spare the lock.

In the order of a page's life: the lock, buddy lists, taking pages out, per-CPU lists, allocation, freeing,
references.  One zone per memory node, one migrate type (UNMOVABLE, which all receive pages are).
Source: mm/page_alloc.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import charge, spend
from .layout import (
    MAX_ORDER,
    NONE,
    NR_ORDERS,
    NR_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
    PG_BUDDY,
    PG_HEAD,
    PG_PCP,
    PG_PFMEMALLOC,
    PG_TAIL,
)
from .page_source import source_alloc, source_alloc_bulk, source_free

PCP_BATCH_SCALE_MAX = 5
"""CONFIG_PCP_BATCH_SCALE_MAX."""
PCP_MIGRATETYPES = 3
"""Lists per order on a CPU; netemu fills the UNMOVABLE one only."""

FREE_OF_FREE = fault_code("MM-11", "page {a} is freed, but it is free already")
FREE_OF_TAIL = fault_code("MM-11", "page {a} is freed, but it is a tail of the compound page {b}")
FREE_IN_USE = fault_code("MM-03", "page {a} is freed with {b} references left")
FREE_SIGNED = fault_code("MM-10", "page_pool leak: page {a} is freed with the signature of pool {b}")
REFCOUNT = fault_code("MM-01", "page {a}: reference dropped, but it had {b}")

MERGE = cost_point("buddy_merge")
SPLIT = cost_point("buddy_split")
BUDDY_PAGE = cost_point("buddy_page")  # one page onto or off a buddy list
BULK_PAGE = cost_point("bulk_alloc_page")  # one page out of a per-CPU list into the caller's array
PCP_PAGE = cost_point("pcp_bulk_page")  # one page moved between a per-CPU list and a private list


# -- zone->lock --------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def _raw_spin_lock(k: Kernel, cpu: int) -> None:
    """The uncontended part of taking a spinlock."""


@kernel_function
def queued_spin_lock_slowpath(k: Kernel, cpu: int, ps: int) -> None:
    """Wait ``ps`` picoseconds for the holders before us."""
    spend(k, cpu, ps)


@inlined
def zone_lock(k: Kernel, cpu: int, zone: int) -> None:
    """Take zone->lock: FIFO in virtual time."""
    _raw_spin_lock(k, cpu)
    z = k.zone[zone]
    z.acquisitions += 1
    wait = z.lock_free_at - k.cpu[cpu].clock
    if wait > 0:
        z.contended += 1
        z.wait += wait
        queued_spin_lock_slowpath(k, cpu, wait)
    z.lock_taken_at = k.cpu[cpu].clock


@inlined
def zone_unlock(k: Kernel, cpu: int, zone: int) -> None:
    """Let go of zone->lock."""
    z = k.zone[zone]
    now = k.cpu[cpu].clock
    z.lock_free_at = now
    z.hold += now - z.lock_taken_at


# -- buddy free lists (zone->lock held) ----------------------------------------------------------------------------


@inlined
def add_to_free_list(k: Kernel, zone: int, pfn: int, order: int, at_tail: int) -> None:
    """Put the free block at ``pfn`` at the head (or tail) of its order's list."""
    area = k.free_area[zone * NR_ORDERS + order]
    p = k.pages[pfn]
    p.flags |= PG_BUDDY
    p.order = order
    area.nr_free += 1
    if area.head == NONE:
        p.next = NONE
        p.prev = NONE
        area.head = pfn
        area.tail = pfn
    elif at_tail:
        p.next = NONE
        p.prev = area.tail
        k.pages[area.tail].next = pfn
        area.tail = pfn
    else:
        p.prev = NONE
        p.next = area.head
        k.pages[area.head].prev = pfn
        area.head = pfn


@inlined
def del_page_from_free_list(k: Kernel, zone: int, pfn: int, order: int) -> None:
    """Take the free block at ``pfn`` off its list."""
    area = k.free_area[zone * NR_ORDERS + order]
    p = k.pages[pfn]
    if p.prev == NONE:
        area.head = p.next
    else:
        k.pages[p.prev].next = p.next
    if p.next == NONE:
        area.tail = p.prev
    else:
        k.pages[p.next].prev = p.prev
    p.flags &= ~PG_BUDDY
    area.nr_free -= 1


@inlined
def page_is_buddy(k: Kernel, zone: int, pfn: int, order: int) -> bool:
    """Is the block at ``pfn`` free as a whole, at this order, in this zone?"""
    z = k.zone[zone]
    if pfn < z.start or pfn >= z.end:
        return False
    p = k.pages[pfn]
    return (p.flags & PG_BUDDY) != 0 and p.order == order


@kernel_function(traced=False)
def __free_one_page(k: Kernel, cpu: int, zone: int, pfn: int, order: int) -> None:
    """Give a block back, merging it with its free buddies; ready to merge again goes to the tail."""
    k.zone[zone].free += 1 << order
    charge(k, cpu, BUDDY_PAGE)
    while order < MAX_ORDER:
        buddy = pfn ^ (1 << order)
        if not page_is_buddy(k, zone, buddy, order):
            break
        charge(k, cpu, MERGE)
        del_page_from_free_list(k, zone, buddy, order)
        pfn &= buddy
        order += 1
    at_tail = 0
    if order < MAX_ORDER - 1:
        combined = pfn & ~(1 << order)
        if page_is_buddy(k, zone, combined ^ (1 << (order + 1)), order + 1):
            at_tail = 1
    add_to_free_list(k, zone, pfn, order, at_tail)


@kernel_function(traced=False)
def __rmqueue_smallest(k: Kernel, cpu: int, zone: int, order: int) -> int:
    """Take the smallest free block that holds ``order``; put the upper halves back.  NONE: there is none."""
    current = order
    while current < NR_ORDERS:
        pfn = k.free_area[zone * NR_ORDERS + current].head
        if pfn != NONE:
            charge(k, cpu, BUDDY_PAGE)
            del_page_from_free_list(k, zone, pfn, current)
            while current > order:
                current -= 1
                charge(k, cpu, SPLIT)
                add_to_free_list(k, zone, pfn + (1 << current), current, 0)
            k.zone[zone].free -= 1 << order
            k.pages[pfn].order = order
            return pfn
        current += 1
    return NONE


# -- per-CPU lists ---------------------------------------------------------------------------------------------------


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


# -- allocation --------------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def rmqueue_pcplist(k: Kernel, cpu: int, zone: int, order: int) -> int:
    """A block from this CPU's list, refilled from the buddy lists when empty.  NONE: the zone has nothing."""
    row = pcp_row(k, cpu, zone)
    index = order_to_pindex(order)
    pcp = k.pcp[row]
    if k.era[0].pcp_free != 0:
        pcp.free_factor >>= 1
        pcp.free_count >>= 1
    if k.pcp_list[row * NR_PCP_LISTS + index].head == NONE:
        wanted = nr_pcp_alloc(k, row, order)
        if rmqueue_bulk(k, cpu, zone, order, wanted) == 0:
            return NONE
    pcp.count -= 1 << order
    return pcp_pop_head(k, row, index)


@kernel_function(traced=False)
def rmqueue_buddy(k: Kernel, cpu: int, zone: int, order: int) -> int:
    """A block straight from the buddy lists: one hold of zone->lock."""
    z = k.zone[zone]
    zone_lock(k, cpu, zone)
    z.acquisitions_alloc += 1
    pfn = __rmqueue_smallest(k, cpu, zone, order)
    if pfn != NONE:
        z.pages_alloc += 1 << order
    zone_unlock(k, cpu, zone)
    return pfn


@inlined
def prep_new_page(k: Kernel, pfn: int, order: int, comp: int) -> None:
    """A page as its new owner finds it: one reference, no marks; a compound page if asked for."""
    p = k.pages[pfn]
    p.refcount = 1
    p.flags = k.machine[0].new_page_flags
    p.order = order
    p.pp = 0
    p.where = 0
    p.frag_count = 0
    if comp and order > 0:
        p.flags |= PG_HEAD
        for tail in range(pfn + 1, pfn + (1 << order)):
            t = k.pages[tail]
            t.flags = PG_TAIL
            t.head = pfn
            t.refcount = 0


@kernel_function(inline=True)
def get_page_from_freelist(k: Kernel, cpu: int, nid: int, order: int) -> int:
    """The first zone, from ``nid`` on, that has a block of this order."""
    zones = k.machine[0].zones
    for step in range(zones):
        zone = nid + step
        if zone >= zones:
            zone -= zones
        pfn = NONE
        if pcp_allowed_order(k, order):
            pfn = rmqueue_pcplist(k, cpu, zone, order)
        else:
            pfn = rmqueue_buddy(k, cpu, zone, order)
        if pfn != NONE:
            k.zone[zone].allocated += 1 << order
            return pfn
    return NONE


@kernel_function
def __alloc_pages(k: Kernel, cpu: int, nid: int, order: int, comp: int) -> int:
    """A block of ``1 << order`` pages, nearest to memory node ``nid``; ``comp``: as a compound page.  NONE: no memory."""
    if order > MAX_ORDER:
        return NONE
    if k.machine[0].scripted:
        pfn = source_alloc(k, cpu, nid, order)
    else:
        pfn = get_page_from_freelist(k, cpu, nid, order)
    if pfn == NONE:
        k.zone[nid].failures += 1
        return NONE
    prep_new_page(k, pfn, order, comp)
    return pfn


@kernel_function(traced=False)
def rmqueue_pcplist_bulk(k: Kernel, cpu: int, nid: int, count: int) -> int:
    """Up to ``count`` order-0 pages of one node from this CPU's list into ``k.page_array``; how many."""
    row = pcp_row(k, cpu, nid)
    pcp = k.pcp[row]
    got = 0
    while got < count:
        if k.pcp_list[row * NR_PCP_LISTS].head == NONE:
            if rmqueue_bulk(k, cpu, nid, 0, nr_pcp_alloc(k, row, 0)) == 0:
                break
        pcp.count -= 1
        charge(k, cpu, BULK_PAGE)
        k.page_array[got] = pcp_pop_head(k, row, 0)
        got += 1
    k.zone[nid].allocated += got
    return got


@kernel_function(name="__alloc_pages_bulk")
def alloc_pages_bulk(k: Kernel, cpu: int, nid: int, count: int) -> int:
    """Up to ``count`` order-0 pages of one node into ``k.page_array``; one at least if any node has memory."""
    if k.machine[0].scripted:
        got = source_alloc_bulk(k, cpu, nid, count)
    else:
        got = rmqueue_pcplist_bulk(k, cpu, nid, count)
    for i in range(got):
        prep_new_page(k, k.page_array[i], 0, 0)
    if got == 0:
        pfn = __alloc_pages(k, cpu, nid, 0, 0)
        if pfn != NONE:
            k.page_array[0] = pfn
            got = 1
    return got


# -- freeing -------------------------------------------------------------------------------------------------------------


@inlined
def free_pages_prepare(k: Kernel, cpu: int, pfn: int, order: int) -> bool:
    """Can the block be freed?  What the kernel calls a bad page is an error here, and the page is leaked as there."""
    p = k.pages[pfn]
    if (p.flags & (PG_BUDDY | PG_PCP | PG_TAIL)) != 0 or p.refcount != 0 or p.pp != 0:
        bad_page(k, cpu, pfn)
        return False
    if p.flags & PG_HEAD:
        for tail in range(pfn + 1, pfn + (1 << order)):
            k.pages[tail].flags = 0
    p.flags = 0
    k.zone[p.zone].freed += 1 << order
    return True


@kernel_function(traced=False)
def bad_page(k: Kernel, cpu: int, pfn: int) -> None:
    """Say which rule the freed page breaks."""
    p = k.pages[pfn]
    if p.flags & PG_TAIL:
        fault(k, cpu, FREE_OF_TAIL, pfn, p.head)
    elif p.flags & (PG_BUDDY | PG_PCP):
        fault(k, cpu, FREE_OF_FREE, pfn, 0)
    elif p.refcount != 0:
        fault(k, cpu, FREE_IN_USE, pfn, p.refcount)
    else:
        fault(k, cpu, FREE_SIGNED, pfn, p.pp - 1)


@kernel_function(inline=True)
def free_one_page(k: Kernel, cpu: int, zone: int, pfn: int, order: int) -> None:
    """One block to the buddy lists: one hold of zone->lock."""
    z = k.zone[zone]
    zone_lock(k, cpu, zone)
    z.acquisitions_free += 1
    z.pages_free += 1 << order
    __free_one_page(k, cpu, zone, pfn, order)
    zone_unlock(k, cpu, zone)


@kernel_function
def __free_pages_ok(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """Free a block past the per-CPU lists, whatever its order."""
    if k.machine[0].scripted:
        source_free(k, pfn)
    elif free_pages_prepare(k, cpu, pfn, order):
        free_one_page(k, cpu, k.pages[pfn].zone, pfn, order)


@kernel_function(inline=True)
def free_unref_page(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """Free a block to this CPU's list; a list that has reached its high mark gives pages back."""
    if k.machine[0].scripted:
        source_free(k, pfn)
        return
    if not free_pages_prepare(k, cpu, pfn, order):
        return
    zone = k.pages[pfn].zone
    row = pcp_row(k, cpu, zone)
    pcp = k.pcp[row]
    index = order_to_pindex(order)
    pcp_push_head(k, row, index, pfn)
    pcp.count += 1 << order
    free_high = 0
    how = k.era[0].pcp_free
    if how >= 2:
        free_high = frees_high_order(k, row, order)
    high = nr_pcp_high(k, row, free_high)
    if pcp.count >= high:
        free_pcppages_bulk(k, cpu, zone, nr_pcp_free(k, row, high, free_high), index)


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


@inlined
def free_the_page(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """Free by the per-CPU list if it keeps this order."""
    if pcp_allowed_order(k, order):
        free_unref_page(k, cpu, pfn, order)
    else:
        __free_pages_ok(k, cpu, pfn, order)


# -- references ----------------------------------------------------------------------------------------------------------


@inlined
def compound_head(k: Kernel, pfn: int) -> int:
    """The head of the compound page that ``pfn`` is part of, or ``pfn`` itself."""
    p = k.pages[pfn]
    if p.flags & PG_TAIL:
        return p.head
    return pfn


@inlined
def page_ref_add(k: Kernel, pfn: int, n: int) -> None:
    """``n`` more plain references on a head page."""
    k.pages[pfn].refcount += n


@inlined
def page_ref_sub_and_test(k: Kernel, cpu: int, pfn: int, n: int) -> bool:
    """Drop ``n`` references; True when that was the last.  Below zero it goes on counting, as the kernel does."""
    p = k.pages[pfn]
    if p.refcount < n:
        fault(k, cpu, REFCOUNT, pfn, p.refcount)
    p.refcount -= n
    return p.refcount == 0


@inlined
def page_is_pfmemalloc(k: Kernel, pfn: int) -> bool:
    """Was the page taken from the emergency reserve?"""
    return (k.pages[pfn].flags & PG_PFMEMALLOC) != 0


@kernel_function
def put_page(k: Kernel, cpu: int, pfn: int) -> None:
    """Drop one plain reference; the last one frees the page."""
    pfn = compound_head(k, pfn)
    if page_ref_sub_and_test(k, cpu, pfn, 1):
        order = k.pages[pfn].order
        if order == 0 or k.era[0].page_frag_free != 0:
            free_the_page(k, cpu, pfn, order)
        else:
            __free_pages_ok(k, cpu, pfn, order)


@kernel_function(traced=False, entry=True)
def alloc_pages_node(k: Kernel, cpu: int, nid: int, order: int, comp: int) -> int:
    """A block near node ``nid``; a negative ``nid`` means this CPU's own node."""
    if nid < 0:
        nid = k.cpu[cpu].numa_node
    return __alloc_pages(k, cpu, nid, order, comp)


@kernel_function(traced=False, entry=True)
def drain_pages_zone(k: Kernel, cpu: int, zone: int) -> None:
    """Give every page on this CPU's lists back to the buddy lists."""
    count = k.pcp[pcp_row(k, cpu, zone)].count
    if count > 0:
        free_pcppages_bulk(k, cpu, zone, count, 0)


@kernel_function(traced=False, entry=True)
def drop_page(k: Kernel, cpu: int, pfn: int) -> None:
    """:func:`put_page` for callers outside the kernel."""
    put_page(k, cpu, pfn)
