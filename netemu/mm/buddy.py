"""zone->lock and what it protects: the buddy free lists.

Source: mm/page_alloc.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.cacheline import fetch_line
from ..engine.kernel import cost_point, inlined, kernel_function, prefetch
from ..engine.layout import Kernel
from ..engine.path import charge
from ..engine.spinlock import lock_class, spin_lock, spin_unlock
from .layout import MAX_ORDER, MAX_ZONES, NONE, NR_ORDERS, PG_BUDDY

MERGE = cost_point("buddy_merge")
SPLIT = cost_point("buddy_split")
BUDDY_PAGE = cost_point("buddy_page")  # one page onto or off a buddy list

ZONE_LOCK = lock_class("zone->lock", MAX_ZONES)


# -- zone->lock ------------------------------------------------------------------------------------------------------


@inlined
def zone_lock(k: Kernel, cpu: int, zone: int) -> None:
    """Take zone->lock."""
    spin_lock(k, cpu, ZONE_LOCK + zone)
    k.zone[zone].acquisitions += 1


@inlined
def zone_unlock(k: Kernel, cpu: int, zone: int) -> None:
    """Let go of zone->lock."""
    spin_unlock(k, cpu, ZONE_LOCK + zone)


# -- buddy free lists (zone->lock held) ------------------------------------------------------------------------------


@inlined
def touch_page(k: Kernel, cpu: int, pfn: int) -> None:
    """Write to a struct page, which another CPU may have written last."""
    k.pages[pfn].line = fetch_line(k, cpu, k.pages[pfn].line)


@inlined
def touch_free_area(k: Kernel, cpu: int, zone: int, order: int) -> None:
    """Write to the head of a free list."""
    area = k.free_area[zone * NR_ORDERS + order]
    area.line = fetch_line(k, cpu, area.line)


@inlined
def add_to_free_list(k: Kernel, cpu: int, zone: int, pfn: int, order: int, at_tail: int) -> None:
    """Put the free block at ``pfn`` at the head (or tail) of its order's list."""
    area = k.free_area[zone * NR_ORDERS + order]
    touch_page(k, cpu, pfn)
    touch_free_area(k, cpu, zone, order)
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
        touch_page(k, cpu, area.tail)
        k.pages[area.tail].next = pfn
        area.tail = pfn
    else:
        p.prev = NONE
        p.next = area.head
        touch_page(k, cpu, area.head)
        k.pages[area.head].prev = pfn
        area.head = pfn


@inlined
def del_page_from_free_list(k: Kernel, cpu: int, zone: int, pfn: int, order: int) -> None:
    """Take the free block at ``pfn`` off its list."""
    area = k.free_area[zone * NR_ORDERS + order]
    touch_page(k, cpu, pfn)
    touch_free_area(k, cpu, zone, order)
    p = k.pages[pfn]
    if p.prev == NONE:
        area.head = p.next
    else:
        touch_page(k, cpu, p.prev)
        k.pages[p.prev].next = p.next
    if p.next == NONE:
        area.tail = p.prev
    else:
        touch_page(k, cpu, p.next)
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
        del_page_from_free_list(k, cpu, zone, buddy, order)
        pfn &= buddy
        order += 1
    at_tail = 0
    if order < MAX_ORDER - 1:
        combined = pfn & ~(1 << order)
        if page_is_buddy(k, zone, combined ^ (1 << (order + 1)), order + 1):
            at_tail = 1
    add_to_free_list(k, cpu, zone, pfn, order, at_tail)


@kernel_function(traced=False)
def __rmqueue_smallest(k: Kernel, cpu: int, zone: int, order: int) -> int:
    """Take the smallest free block that holds ``order``; put the upper halves back.  NONE: there is none."""
    current = order
    while current < NR_ORDERS:
        pfn = k.free_area[zone * NR_ORDERS + current].head
        if pfn != NONE:
            charge(k, cpu, BUDDY_PAGE)
            del_page_from_free_list(k, cpu, zone, pfn, current)
            prefetch(k.pages, k.free_area[zone * NR_ORDERS + current].head)
            while current > order:
                current -= 1
                charge(k, cpu, SPLIT)
                add_to_free_list(k, cpu, zone, pfn + (1 << current), current, 0)
            k.zone[zone].free -= 1 << order
            k.pages[pfn].order = order
            return pfn
        current += 1
    return NONE
