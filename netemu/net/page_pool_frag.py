"""Pieces of pool pages: a driver asks for bytes, and several packets share a page.

Source: net/core/page_pool.c (page_pool_alloc_frag, page_pool_drain_frag, page_pool_free_frag), v5.15 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel
from ..engine.log import message, printk
from ..mm.layout import NONE, PAGE_SIZE
from ..mm.page_alloc import page_is_pfmemalloc
from .page_pool import (
    EVERYTHING,
    page_pool_alloc_pages,
    page_pool_defrag_page,
    page_pool_dma_sync_for_device,
    page_pool_fragment_page,
    page_pool_return_page,
)
from .pool_layout import BIAS_MAX, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_PAGE_FRAG

ALLOC_FRAG_ARGS = message("alloc_frag_args", "page_pool_alloc_frag() with a size of {a} on a pool that cannot give it")


@kernel_function(traced=False)
def page_pool_drain_frag(k: Kernel, cpu: int, pool: int, pfn: int) -> int:
    """The current fragment page has no room: reuse it if every fragment is back, else forget it (NONE)."""
    if page_pool_defrag_page(k, cpu, pfn, BIAS_MAX - k.pool[pool].frag_users) != 0:
        return NONE
    if k.pages[pfn].refcount == 1 and not page_is_pfmemalloc(k, pfn):
        if k.pool[pool].flags & PP_FLAG_DMA_SYNC_DEV:
            page_pool_dma_sync_for_device(k, cpu, pool, EVERYTHING)
        return pfn
    page_pool_return_page(k, cpu, pool, pfn)
    return NONE


@kernel_function(traced=False)
def page_pool_free_frag(k: Kernel, cpu: int, pool: int) -> None:
    """Let the current fragment page go."""
    p = k.pool[pool]
    pfn = p.frag_page - 1
    p.frag_page = 0
    if pfn == NONE or page_pool_defrag_page(k, cpu, pfn, BIAS_MAX - p.frag_users) != 0:
        return
    page_pool_return_page(k, cpu, pool, pfn)


@kernel_function(entry=True, rare=True)
def page_pool_alloc_frag(k: Kernel, cpu: int, pool: int, size: int) -> int:
    """A piece of ``size`` bytes, its offset in ``k.pools[0].frag_offset``.  NONE: none to be had.  Consumer only."""
    p = k.pool[pool]
    whole = PAGE_SIZE << p.order
    pfn = p.frag_page - 1
    whole_only = k.era[0].pool_frag != 2 and not p.flags & PP_FLAG_PAGE_FRAG
    if whole_only or size > whole:
        printk(k, cpu, ALLOC_FRAG_ARGS, size, 0)
        return NONE
    align = max(k.dma[0].align, 8)
    size = (size + align - 1) // align * align
    offset = p.frag_offset
    fresh = False
    if pfn != NONE and offset + size > whole:
        pfn = page_pool_drain_frag(k, cpu, pool, pfn)
        if pfn != NONE:
            p.alloc_fast += 1
            fresh = True
    if pfn == NONE:
        pfn = page_pool_alloc_pages(k, cpu, pool)
        if pfn == NONE:
            p.frag_page = 0
            return NONE
        p.frag_page = pfn + 1
        fresh = True
    if fresh:
        p.frag_users = 1
        offset = 0
        page_pool_fragment_page(k, cpu, pfn, BIAS_MAX)
    else:
        p.frag_users += 1
        p.alloc_fast += 1
    p.frag_offset = offset + size
    k.pools[0].frag_offset = offset
    return pfn
