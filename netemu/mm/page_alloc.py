"""The page allocator: allocation, freeing and references, over per-CPU lists and buddy lists.

One zone per memory node, one migrate type (UNMOVABLE, which all receive pages are).
Source: mm/page_alloc.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.inject import injected, site
from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import charge, spend
from .buddy import __free_one_page, __rmqueue_smallest, touch_page, zone_lock, zone_unlock
from .layout import (
    MAX_ORDER,
    NONE,
    NR_PCP_LISTS,
    PG_BUDDY,
    PG_HEAD,
    PG_PCP,
    PG_PFMEMALLOC,
    PG_TAIL,
    SIGNATURE_CHECKED,
)
from .page_source import source_alloc, source_alloc_bulk, source_free
from .pcp import (
    free_pcppages_bulk,
    frees_high_order,
    nr_pcp_alloc,
    nr_pcp_free,
    nr_pcp_high,
    order_to_pindex,
    pcp_allowed_order,
    pcp_pop_head,
    pcp_push_head,
    pcp_row,
    rmqueue_bulk,
)

FREE_OF_FREE = fault_code("MM-11", "page {a} is freed, but it is free already")
FREE_OF_TAIL = fault_code("MM-11", "page {a} is freed, but it is a tail of the compound page {b}")
FREE_IN_USE = fault_code("MM-03", "page {a} is freed with {b} references left")
FREE_SIGNED = fault_code("MM-10", "page_pool leak: page {a} is freed with the signature of pool {b}")
REFCOUNT = fault_code("MM-01", "page {a}: reference dropped, but it had {b}")
REFCOUNT_FREE = fault_code("MM-01", "page {a}: reference taken, but nobody holds it ({b} references)")

PAGE_SITE = site("page")
BULK_PAGE = cost_point("bulk_alloc_page")  # one page out of a per-CPU list into the caller's array
TAIL_PAGE = cost_point("tail_page")  # one page of a block beyond its first, made ready or checked


# -- allocation ------------------------------------------------------------------------------------------------------


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
def prep_new_page(k: Kernel, cpu: int, pfn: int, order: int, comp: int) -> None:
    """A page as its new owner finds it: one reference, no marks; a compound page if asked for."""
    p = k.pages[pfn]
    touch_page(k, cpu, pfn)
    if order > 0:
        spend(k, cpu, k.cost[TAIL_PAGE] * ((1 << order) - 1))
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
        listed = pcp_allowed_order(k, order)
        if listed:
            pfn = rmqueue_pcplist(k, cpu, zone, order)
        if not listed or (pfn == NONE and k.era[0].pcp_empty != 0):
            pfn = rmqueue_buddy(k, cpu, zone, order)
        if pfn != NONE:
            k.zone[zone].allocated += 1 << order
            return pfn
    return NONE


@kernel_function
def __alloc_pages(k: Kernel, cpu: int, nid: int, order: int, comp: int) -> int:
    """A block of ``1 << order`` pages, nearest to node ``nid``; ``comp``: as a compound page.  NONE: no memory."""
    if order > MAX_ORDER or injected(k, PAGE_SITE):
        return NONE
    if k.machine[0].scripted:
        pfn = source_alloc(k, cpu, nid, order)
    else:
        pfn = get_page_from_freelist(k, cpu, nid, order)
    if pfn == NONE:
        k.zone[nid].failures += 1
        return NONE
    prep_new_page(k, cpu, pfn, order, comp)
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
    """Up to ``count`` order-0 pages of one node into ``k.page_array``; one at least if any node has memory.

    A single page comes from the ordinary allocator.
    """
    if injected(k, PAGE_SITE):
        return 0
    got = 0
    if k.machine[0].scripted:
        got = source_alloc_bulk(k, cpu, nid, count)
    elif count > 1:
        got = rmqueue_pcplist_bulk(k, cpu, nid, count)
    for i in range(got):
        prep_new_page(k, cpu, k.page_array[i], 0, 0)
    if got == 0:
        pfn = __alloc_pages(k, cpu, nid, 0, 0)
        if pfn != NONE:
            k.page_array[0] = pfn
            got = 1
    return got


# -- freeing ---------------------------------------------------------------------------------------------------------


@inlined
def free_pages_prepare(k: Kernel, cpu: int, pfn: int, order: int) -> bool:
    """Can the block be freed?  What the kernel calls a bad page is an error here, and the page is leaked as there."""
    p = k.pages[pfn]
    signed = p.pp != 0 and k.era[0].page_signature == SIGNATURE_CHECKED
    if (p.flags & (PG_BUDDY | PG_PCP | PG_TAIL)) != 0 or p.refcount != 0 or signed:
        bad_page(k, cpu, pfn)
        return False
    if order > 0:
        spend(k, cpu, k.cost[TAIL_PAGE] * ((1 << order) - 1))
    if p.flags & PG_HEAD:
        for tail in range(pfn + 1, pfn + (1 << order)):
            k.pages[tail].flags = 0
    p.flags = 0
    p.pp = 0
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


@inlined
def free_the_page(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """Free by the per-CPU list if it keeps this order."""
    if pcp_allowed_order(k, order):
        free_unref_page(k, cpu, pfn, order)
    else:
        __free_pages_ok(k, cpu, pfn, order)


# -- references ------------------------------------------------------------------------------------------------------


@inlined
def compound_head(k: Kernel, pfn: int) -> int:
    """The head of the compound page that ``pfn`` is part of, or ``pfn`` itself."""
    p = k.pages[pfn]
    if p.flags & PG_TAIL:
        return p.head
    return pfn


@inlined
def page_ref_add(k: Kernel, cpu: int, pfn: int, n: int) -> None:
    """``n`` more plain references on a head page."""
    touch_page(k, cpu, pfn)
    k.pages[pfn].refcount += n


@inlined
def page_ref_sub_and_test(k: Kernel, cpu: int, pfn: int, n: int) -> bool:
    """Drop ``n`` references; True when that was the last.  Below zero it goes on counting, as the kernel does."""
    p = k.pages[pfn]
    if p.refcount < n:
        fault(k, cpu, REFCOUNT, pfn, p.refcount)
    touch_page(k, cpu, pfn)
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


@kernel_function
def __free_pages(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """Drop one plain reference of a block of known order; the last one frees it.

    Of a block that is no compound page only the first page has references: when somebody still holds it, the other
    pages are freed at once (v5.10), or nobody frees them ever.
    """
    compound = k.pages[pfn].flags & PG_HEAD
    if page_ref_sub_and_test(k, cpu, pfn, 1):
        free_the_page(k, cpu, pfn, order)
    elif order > 0 and not compound:
        leave_first_page(k, cpu, pfn, order)


@kernel_function(traced=False, entry=True, rare=True)
def free_pages(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """:func:`__free_pages` for callers outside the kernel."""
    __free_pages(k, cpu, pfn, order)


@kernel_function(traced=False)
def leave_first_page(k: Kernel, cpu: int, pfn: int, order: int) -> None:
    """The upper halves of a block go, one by one, down to its first page, which somebody still holds."""
    k.pages[pfn].order = 0
    if k.era[0].free_pages_tails == 0:
        return
    while order > 0:
        order -= 1
        upper = pfn + (1 << order)
        k.pages[upper].order = order
        free_the_page(k, cpu, upper, order)


@kernel_function(traced=False, entry=True, rare=True)
def get_page(k: Kernel, cpu: int, pfn: int, n: int) -> None:
    """``n`` more plain references on a page that somebody holds already."""
    pfn = compound_head(k, pfn)
    if k.pages[pfn].refcount <= 0:
        fault(k, cpu, REFCOUNT_FREE, pfn, k.pages[pfn].refcount)
    page_ref_add(k, cpu, pfn, n)


@kernel_function(traced=False, entry=True, rare=True)
def alloc_pages_node(k: Kernel, cpu: int, nid: int, order: int, comp: int) -> int:
    """A block near node ``nid``; a negative ``nid`` means this CPU's own node."""
    if nid < 0:
        nid = k.cpu[cpu].numa_node
    return __alloc_pages(k, cpu, nid, order, comp)


@kernel_function(traced=False, entry=True, rare=True)
def drain_pages_zone(k: Kernel, cpu: int, zone: int) -> None:
    """Give every page on this CPU's lists back to the buddy lists."""
    count = k.pcp[pcp_row(k, cpu, zone)].count
    if count > 0:
        free_pcppages_bulk(k, cpu, zone, count, 0)


@kernel_function(traced=False, entry=True, rare=True)
def drop_page(k: Kernel, cpu: int, pfn: int) -> None:
    """:func:`put_page` for callers outside the kernel."""
    put_page(k, cpu, pfn)
