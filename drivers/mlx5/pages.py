"""Receive pages of mlx5: the RX page cache on top of the pool, and what becomes of a page that is done.

Source: en_rx.c (mlx5e_rx_cache_get, mlx5e_rx_cache_put, mlx5e_page_alloc_mapped, mlx5e_page_release), v4.19 to
v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import kernel_function, prefetch
from netemu.engine.layout import Kernel
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.mm.page_alloc import page_is_pfmemalloc, put_page
from netemu.net.dma import dma_map_page_attrs, dma_sync_single_range_for_device, dma_unmap_page_attrs
from netemu.net.journey import DRIVER_CACHE, page_goes
from netemu.net.page_pool import (
    EVERYTHING,
    page_pool_alloc_pages,
    page_pool_defrag_page,
    page_pool_follow,
    page_pool_fragment_page,
    page_pool_put_defragged_page,
    page_pool_recycle_direct,
    page_pool_release_page,
    page_pool_return_page,
    page_pool_verdict,
)
from netemu.net.policy import KEEP, policy_get, policy_put, settle_references
from netemu.net.recycle import park_page, recycle_draw, refuse_page, unpark_page

from .layout import CACHE, CACHE_SIZE, PAGE_BIAS, RQ


@kernel_function(inline=True)
def mlx5e_rx_cache_put(k: Kernel, cpu: int, rxq: int, pfn: int) -> bool:
    """Keep a page, still mapped, for this queue; False when the cache is full or the page unfit."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    following = (r.cache_tail + 1) & (CACHE_SIZE - 1)
    if following == r.cache_head:
        r.cache_full += 1
        return False
    if page_is_pfmemalloc(k, pfn) or k.pages[pfn].nid != k.cpu[cpu].numa_node:
        r.cache_waive += 1
        return False
    CACHE(k, q.dev, q.index * CACHE_SIZE + r.cache_tail).page = pfn
    r.cache_tail = following
    page_goes(k, pfn, DRIVER_CACHE)
    return True


@kernel_function(inline=True)
def mlx5e_rx_cache_get(k: Kernel, cpu: int, rxq: int) -> int:
    """The oldest page of the cache, if nobody else holds it any more.  Younger ones are not looked at."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    if r.cache_head == r.cache_tail:
        r.cache_empty += 1
        return NONE
    pfn = CACHE(k, q.dev, q.index * CACHE_SIZE + r.cache_head).page
    if k.pages[pfn].refcount != 1:
        r.cache_busy += 1
        return NONE
    r.cache_reuse += 1
    r.cache_head = (r.cache_head + 1) & (CACHE_SIZE - 1)
    prefetch(k.pages, CACHE(k, q.dev, q.index * CACHE_SIZE + r.cache_head).page)
    dma_sync_single_range_for_device(k, cpu, PAGE_SIZE)
    return pfn


@kernel_function(traced=False)
def parked_page(k: Kernel, cpu: int, rxq: int) -> int:
    """Forced recycling: a parked page, counted as the cache would count it."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    pfn = unpark_page(k, rxq)
    if pfn != NONE:
        r.cache_reuse += 1
        dma_sync_single_range_for_device(k, cpu, PAGE_SIZE)
    elif q.parked == 0:
        r.cache_empty += 1
    else:
        r.cache_busy += 1
    return pfn


@kernel_function(traced=False)
def kept_page(k: Kernel, cpu: int, rxq: int) -> int:
    """A page that the recycle policy has kept, ready for the NIC; NONE: there is none to be had."""
    pfn = policy_get(k, cpu, rxq)
    if pfn != NONE:
        if k.pages[pfn].dma_addr == 0 and not dma_map_page_attrs(k, cpu, pfn):  # it was redirected meanwhile
            page_pool_return_page(k, cpu, k.rxq[rxq].pool, pfn)
            return NONE
        if k.era[0].mlx5_rx_cache != 0:
            page_pool_fragment_page(k, cpu, pfn, PAGE_BIAS)
        dma_sync_single_range_for_device(k, cpu, PAGE_SIZE)
    return pfn


@kernel_function(inline=True)
def mlx5e_page_alloc_mapped(k: Kernel, cpu: int, rxq: int) -> int:
    """A mapped page for a receive buffer.  NONE: no memory."""
    if k.policy[0].active:
        pfn = kept_page(k, cpu, rxq)
        if pfn != NONE:
            return pfn
    elif k.era[0].mlx5_rx_cache == 0:
        if k.recycle[0].forced:
            pfn = parked_page(k, cpu, rxq)
        else:
            pfn = mlx5e_rx_cache_get(k, cpu, rxq)
        if pfn != NONE:
            return pfn
    pool = k.rxq[rxq].pool
    pfn = page_pool_alloc_pages(k, cpu, pool)
    if pfn == NONE:
        return NONE
    if k.era[0].mlx5_rx_cache != 0:
        page_pool_fragment_page(k, cpu, pfn, PAGE_BIAS)
        return pfn
    if not dma_map_page_attrs(k, cpu, pfn):
        if k.era[0].mlx5_page_drop == 0:
            put_page(k, cpu, pfn)
        else:
            page_pool_recycle_direct(k, cpu, pool, pfn)
        return NONE
    return pfn


@kernel_function(inline=True)
def mlx5e_page_release(k: Kernel, cpu: int, rxq: int, pfn: int) -> None:
    """Done with a page: into the cache; if that is full, unmapped and back to the pool, which lets busy pages go."""
    if k.policy[0].active:
        verdict = policy_put(k, cpu, rxq, pfn)
        if verdict != KEEP:
            dma_unmap_page_attrs(k, cpu, pfn)
            page_pool_follow(k, cpu, k.rxq[rxq].pool, pfn, EVERYTHING, verdict)
        return
    if k.recycle[0].forced:
        if recycle_draw(k):
            park_page(k, rxq, pfn)
            return
        refuse_page(k, pfn)
    elif mlx5e_rx_cache_put(k, cpu, rxq, pfn):
        return
    dma_unmap_page_attrs(k, cpu, pfn)
    page_pool_recycle_direct(k, cpu, k.rxq[rxq].pool, pfn)


@kernel_function(name="mlx5e_page_release_fragmented", inline=True)
def page_release_fragmented(k: Kernel, cpu: int, rxq: int, pfn: int, used: int) -> None:
    """v6.4: drop the driver's unused fragments; the last holder, driver or skb, returns the page to the pool."""
    if k.recycle[0].forced and not recycle_draw(k):
        refuse_page(k, pfn)
    if page_pool_defrag_page(k, cpu, pfn, PAGE_BIAS - used) == 0:
        if k.policy[0].active:
            pool = k.rxq[rxq].pool
            page_pool_follow(k, cpu, pool, pfn, EVERYTHING, page_pool_verdict(k, cpu, pool, pfn))
        else:
            page_pool_put_defragged_page(k, cpu, k.rxq[rxq].pool, pfn, EVERYTHING, 1)


@kernel_function(traced=False, inline=True)
def page_done(k: Kernel, cpu: int, rxq: int, pfn: int, used: int) -> None:
    """Release a receive page the way this era does."""
    if k.era[0].mlx5_rx_cache != 0:
        page_release_fragmented(k, cpu, rxq, pfn, used)
    else:
        mlx5e_page_release(k, cpu, rxq, pfn)


@kernel_function(traced=False)
def page_drop(k: Kernel, cpu: int, rxq: int, pfn: int) -> None:
    """Release a page without recycling (queue teardown)."""
    pool = k.rxq[rxq].pool
    settle_references(k, cpu, pfn)
    if k.era[0].mlx5_rx_cache != 0:
        page_release_fragmented(k, cpu, rxq, pfn, 0)
        return
    if k.pages[pfn].dma_addr != 0:  # zero: kept by a policy after it was redirected
        dma_unmap_page_attrs(k, cpu, pfn)
    if k.era[0].mlx5_page_drop != 0:  # before, the pool is not told
        page_pool_release_page(k, cpu, pool, pfn)
    put_page(k, cpu, pfn)
