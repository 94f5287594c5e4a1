"""What must hold when a machine is at rest, read off its tables as they stand: free lists, per-CPU lists, caches,
rings.

No history is needed for this, so it works on every machine, and costs nothing until it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..engine.layout import Kernel
from ..mm.layout import NONE, NR_FRAG_CACHES, NR_ORDERS, NR_PCP_LISTS, PG_BUDDY, PG_PCP
from ..net.pool_layout import PP_ALLOC_CACHE_SIZE

Breach = tuple[str, str]
"""Rule and what breaks it."""


def breaches(k: Kernel) -> Iterator[Breach]:
    """Every breach that the tables show."""
    if not k.machine[0].scripted:
        for zone in range(k.machine[0].zones):
            yield from buddy_lists(k, zone)
            yield from cpu_lists(k, zone)
    yield from fragment_caches(k)
    for pool in range(k.pools[0].count):
        if k.pool[pool].alive:
            yield from pool_places(k, pool)


def _list(k: Kernel, first: int, limit: int) -> Iterator[int]:
    """Pages of a list, from ``first`` on; one more than ``limit`` when it goes in circles."""
    pfn, seen = first, 0
    while pfn != NONE and seen <= limit:
        yield pfn
        seen += 1
        pfn = k.pages[pfn].next


def buddy_lists(k: Kernel, zone: int) -> Iterator[Breach]:
    """MM-03 to MM-08 for the free lists of a zone."""
    z = k.zone[zone]
    pages = k.arrays["pages"]
    total = 0
    covered = np.zeros(z.end - z.start, bool)
    for order in range(NR_ORDERS):
        area = k.free_area[zone * NR_ORDERS + order]
        blocks = list(_list(k, area.head, area.nr_free))
        if len(blocks) != area.nr_free:
            yield "MM-06", f"zone {zone}, order {order}: nr_free is {area.nr_free}, the list has {len(blocks)} blocks"
            return
        total += area.nr_free << order
        free = set(blocks)
        for pfn in blocks:
            p = k.pages[pfn]
            if p.refcount:
                yield "MM-03", f"page {pfn} is on the free list of order {order} with {p.refcount} references"
            if pfn % (1 << order) or p.order != order or not p.flags & PG_BUDDY:
                yield "MM-04", f"page {pfn} is on the free list of order {order}, but is no free block of that order"
            here = covered[pfn - z.start : pfn - z.start + (1 << order)]
            if here.any() or (pages["refcount"][pfn : pfn + (1 << order)] != 0).any():
                yield "MM-08", f"the free block of order {order} at page {pfn} overlaps another or a page in use"
            here[:] = True
            if order < NR_ORDERS - 1 and (pfn ^ (1 << order)) in free and pfn & (1 << order):
                yield "MM-05", f"the blocks of order {order} at pages {pfn ^ (1 << order)} and {pfn} are not merged"
    if total != z.free:
        yield "MM-07", f"zone {zone} counts {z.free} free pages, its lists hold {total}"


def cpu_lists(k: Kernel, zone: int) -> Iterator[Breach]:
    """PC-01 and PC-03 for the per-CPU lists of a zone."""
    for cpu in range(k.machine[0].cpus):
        row = zone * k.machine[0].cpus + cpu
        pcp = k.pcp[row]
        held = 0
        for index in range(NR_PCP_LISTS):
            for pfn in _list(k, k.pcp_list[row * NR_PCP_LISTS + index].head, pcp.count):
                p = k.pages[pfn]
                held += 1 << p.order if index else 1
                if p.refcount or not p.flags & PG_PCP:
                    yield "MM-03", f"page {pfn} is on a list of CPU {cpu} with {p.refcount} references"
                if p.zone != zone:
                    yield "PC-03", f"page {pfn} of zone {p.zone} is on a list of zone {zone}"
        if held != pcp.count:
            yield "PC-01", f"CPU {cpu}, zone {zone}: count is {pcp.count}, the lists hold {held} pages"


def fragment_caches(k: Kernel) -> Iterator[Breach]:
    """PF-01 and PF-02 for all page fragment caches."""
    for row in range(k.machine[0].cpus * NR_FRAG_CACHES):
        nc = k.page_frag_cache[row]
        if nc.page == 0 or nc.size == 0:
            continue
        page = k.pages[nc.page - 1]
        if nc.bias <= 0 or not 0 <= nc.offset <= nc.size:
            yield "PF-02", f"page {nc.page - 1}: bias {nc.bias}, offset {nc.offset} of {nc.size}"
        elif page.refcount < nc.bias:
            yield "PF-01", f"page {nc.page - 1} has {page.refcount} references, its cache counts on {nc.bias}"


def pool_places(k: Kernel, pool: int) -> Iterator[Breach]:
    """PP-03 and PP-04 for the cache and the ring of a pool."""
    p = k.pool[pool]
    base = pool * PP_ALLOC_CACHE_SIZE
    kept = k.arrays["pool_cache"][base : base + p.cache_count].tolist()
    count = (p.producer - p.consumer_head) % p.ring_size
    if count == 0 and k.pool_ring[p.ring_base + p.consumer_head]:
        count = p.ring_size
    kept += [k.pool_ring[p.ring_base + (p.consumer_head + i) % p.ring_size] - 1 for i in range(count)]
    if len(set(kept)) != len(kept):
        twice = next(pfn for pfn in kept if kept.count(pfn) > 1)
        yield "PP-03", f"page {twice} is twice in cache and ring of page_pool {pool}"
    for pfn in kept:
        page = k.pages[pfn]
        if page.refcount != 1:
            yield "PP-04", f"page {pfn} in cache or ring of page_pool {pool} has {page.refcount} references"
        elif page.pp != pool + 1:
            yield "PP-04", f"page {pfn} in cache or ring of page_pool {pool} does not carry its signature"
        elif k.era[0].pool_frag == 2 and page.frag_count != 1:
            yield "PP-16", f"page {pfn} in cache or ring of page_pool {pool} counts {page.frag_count} fragments"
