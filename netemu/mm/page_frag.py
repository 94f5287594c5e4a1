"""Page fragments: slices of a larger page that are freed one by one, each by address alone.

``page_frag_free`` is where a receive buffer that nobody recycles ends: the function of the 2018 report.
Source: mm/page_alloc.c (page_frag_alloc, __page_frag_cache_refill, page_frag_free), v4.19 to v6.12; the 1 KiB
slices are net/core/skbuff.c, v6.1.
"""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel
from .layout import NAPI_SLICES, NONE, NR_FRAG_CACHES, PAGE_SIZE
from .page_alloc import (
    __alloc_pages,
    __free_pages_ok,
    compound_head,
    free_the_page,
    page_is_pfmemalloc,
    page_ref_add,
    page_ref_sub_and_test,
)

PAGE_FRAG_CACHE_MAX_SIZE = 32768
PAGE_FRAG_CACHE_MAX_ORDER = 3
SLICE = 1024


@kernel_function(entry=True, rare=True, inline=True)
def page_frag_free(k: Kernel, cpu: int, pfn: int) -> None:
    """Drop the reference of one fragment.  Until v5.0 even an order-0 page went past the per-CPU lists."""
    pfn = compound_head(k, pfn)
    if page_ref_sub_and_test(k, cpu, pfn, 1):
        order = k.pages[pfn].order
        if k.era[0].page_frag_free == 0:
            __free_pages_ok(k, cpu, pfn, order)
        else:
            free_the_page(k, cpu, pfn, order)


@kernel_function
def __page_frag_cache_refill(k: Kernel, cpu: int, row: int) -> int:
    """A fresh page for the cache: 32 KiB if there is one, else a single page.  NONE: neither."""
    nc = k.page_frag_cache[row]
    nid = k.cpu[cpu].numa_node
    pfn = __alloc_pages(k, cpu, nid, PAGE_FRAG_CACHE_MAX_ORDER, 1)
    nc.size = PAGE_FRAG_CACHE_MAX_SIZE
    if pfn == NONE:
        pfn = __alloc_pages(k, cpu, nid, 0, 0)
        nc.size = PAGE_SIZE
    nc.page = pfn + 1
    return pfn


@kernel_function(traced=False)
def take_bias(k: Kernel, row: int, pfn: int) -> None:
    """Set the page's references and the cache's share of them afresh; the whole page is free again."""
    nc = k.page_frag_cache[row]
    bias = PAGE_FRAG_CACHE_MAX_SIZE + 1
    if k.era[0].page_frag_bias == 0:
        bias = nc.size
    k.pages[pfn].refcount = bias
    nc.bias = bias
    nc.offset = nc.size


@kernel_function(entry=True, rare=True)
def page_frag_alloc(k: Kernel, cpu: int, which: int, size: int) -> int:
    """A fragment of ``size`` bytes from cache ``which`` of this CPU, cut from the end down.

    Returns its byte address (page * 4096 + offset), or NONE.
    """
    row = cpu * NR_FRAG_CACHES + which
    nc = k.page_frag_cache[row]
    pfn = nc.page - 1
    if pfn != NONE and nc.offset < size:
        if not page_ref_sub_and_test(k, cpu, pfn, nc.bias):
            pfn = NONE  # its fragments own it now
        elif nc.pfmemalloc and k.era[0].page_frag_pfmemalloc != 0:
            free_the_page(k, cpu, pfn, k.pages[pfn].order)
            pfn = NONE
        else:
            take_bias(k, row, pfn)
    if pfn == NONE:
        pfn = __page_frag_cache_refill(k, cpu, row)
        if pfn == NONE:
            return NONE
        take_bias(k, row, pfn)
        nc.pfmemalloc = 1 if page_is_pfmemalloc(k, pfn) else 0
    if nc.offset < size and k.era[0].page_frag_oversize != 0:
        return NONE
    nc.bias -= 1
    nc.offset -= size
    return pfn * PAGE_SIZE + nc.offset


@kernel_function(entry=True, rare=True)
def page_frag_alloc_1k(k: Kernel, cpu: int) -> int:
    """A 1 KiB slice of an order-0 page; each slice owns one reference from the start.  Returns as page_frag_alloc."""
    nc = k.page_frag_cache[cpu * NR_FRAG_CACHES + NAPI_SLICES]
    if nc.offset < SLICE:
        pfn = __alloc_pages(k, cpu, k.cpu[cpu].numa_node, 0, 0)
        if pfn == NONE:
            return NONE
        page_ref_add(k, cpu, pfn, PAGE_SIZE // SLICE - 1)
        nc.page = pfn + 1
        nc.offset = PAGE_SIZE
        nc.pfmemalloc = 1 if page_is_pfmemalloc(k, pfn) else 0
    nc.offset -= SLICE
    return (nc.page - 1) * PAGE_SIZE + nc.offset


@kernel_function(traced=False, entry=True)
def page_frag_cache_drain(k: Kernel, cpu: int, which: int) -> None:
    """Drop what cache ``which`` of this CPU still holds; live fragments keep their page."""
    nc = k.page_frag_cache[cpu * NR_FRAG_CACHES + which]
    pfn = nc.page - 1
    held = nc.offset // SLICE if which == NAPI_SLICES else nc.bias
    nc.page = 0
    nc.offset = 0
    if pfn != NONE and held > 0 and page_ref_sub_and_test(k, cpu, pfn, held):
        free_the_page(k, cpu, pfn, k.pages[pfn].order)
