"""page_pool: the recycling allocator that NIC drivers take receive pages from.

In the order of a page's life: creation, the fast path, refill from the ring, the slow path, DMA, return,
the count of fragments, recycle policies.  Who may call what is said in each function; "the consumer" is the one
context (a driver's NAPI) that allocates from the pool.
Source: net/core/page_pool.c, v4.19 to v6.12; the branches of v6.1 are held to the vectors.
"""

from __future__ import annotations

from ..engine.events import event_kind, is_heard, tracepoint
from ..engine.kernel import cost_point, inlined, kernel_function, prefetch
from ..engine.layout import Kernel
from ..engine.log import message, printk
from ..engine.path import charge
from ..engine.spinlock import spin_lock_inlined, spin_unlock
from ..mm.buddy import touch_page
from ..mm.layout import NONE, PAGE_SIZE, PG_PFMEMALLOC
from ..mm.page_alloc import __alloc_pages, alloc_pages_bulk, compound_head, page_is_pfmemalloc, put_page
from .dma import dma_map_page_attrs, dma_sync_single_range_for_device, dma_unmap_page_attrs
from .journey import CACHED, REFUSED_BY_RATE, RELEASED, RING_FULL, RINGED, STILL_HELD, page_goes
from .policy import CACHE, KEEP, RING, policy_put
from .pool_layout import (
    CLAMPED_RING_SIZE,
    DEFAULT_RING_SIZE,
    DMA_BIDIRECTIONAL,
    DMA_FROM_DEVICE,
    MAX_RING_SIZE,
    PP_ALLOC_CACHE_REFILL,
    PP_ALLOC_CACHE_SIZE,
    PP_FLAG_ALL,
    PP_FLAG_DMA_MAP,
    PP_FLAG_DMA_SYNC_DEV,
    PP_FLAG_PAGE_FRAG,
    RING_LOCKS,
)
from .ptr_ring import ring_consume, ring_empty, ring_produce
from .recycle import REFUSED

EINVAL = -22
E2BIG = -7
EVERYTHING = 2**32 - 1
"""dma_sync_size -1: the whole of max_len."""

CREATE_FAILED = message("create_failed", "page_pool_create() gave up with errno {a}")
FRAG_COUNT_NEGATIVE = message("frag_count_negative", "pp_frag_count of page {a} fell to {b}")

PAGE_RELEASED = event_kind("page_released")  # (page, pool): disconnected
POOL_OFFERED = event_kind("pool_offered")  # (page, what became of it), when an skb is freed
NO_SIGNATURE = 0
FRAGMENTS_LEFT = 1
INTO_CACHE = 2
INTO_RING = 3
LET_GO = 4

RING_LOCK = cost_point("ptr_ring_lock")
RING_UNLOCK = cost_point("ptr_ring_unlock")
RING_SLOT = cost_point("ptr_ring_slot")  # one slot written or read
PAGE_TOUCH = cost_point("page_touch")  # struct page of a page that came from the allocator


# -- creation --------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def page_pool_init(k: Kernel, flags: int, size: int, dma_dir: int, max_len: int) -> int:
    """The ring size that a pool of these parameters gets, or a negative error number."""
    era = k.era[0]
    if flags & ~PP_FLAG_ALL:
        return EINVAL
    if flags & PP_FLAG_DMA_SYNC_DEV and era.pool_dma_sync == 0:
        return EINVAL
    if flags & PP_FLAG_PAGE_FRAG and era.pool_frag == 0:
        return EINVAL
    if size == 0:
        size = DEFAULT_RING_SIZE
    if era.pool_ring_limit != 0:
        size = min(size, CLAMPED_RING_SIZE)
    elif size > MAX_RING_SIZE:
        return E2BIG
    bad_direction = dma_dir not in (DMA_BIDIRECTIONAL, DMA_FROM_DEVICE)
    if bad_direction and ((flags & PP_FLAG_DMA_MAP) != 0 or era.pool_dma_dir_check == 0):
        return EINVAL
    if flags & PP_FLAG_DMA_SYNC_DEV:
        if not flags & PP_FLAG_DMA_MAP:
            return EINVAL
        if max_len == 0:
            return EINVAL
    return size


@kernel_function(traced=False, entry=True)
def page_pool_check_params(k: Kernel, cpu: int, flags: int, size: int, dma_dir: int, max_len: int) -> int:
    """What ``page_pool_create`` says of the parameters: the ring size to use, or a negative error number (logged)."""
    answer = page_pool_init(k, flags, size, dma_dir, max_len)
    if answer < 0:
        printk(k, cpu, CREATE_FAILED, answer, 0)
    return answer


# -- getting pages: the consumer only --------------------------------------------------------------------------------


@inlined
def pop_cache(k: Kernel, pool: int) -> int:
    """The page that went into the cache last."""
    p = k.pool[pool]
    p.cache_count -= 1
    top = pool * PP_ALLOC_CACHE_SIZE + p.cache_count
    prefetch(k.pages, k.pool_cache[max(top - 1, 0)])
    return k.pool_cache[top]


@inlined
def push_cache(k: Kernel, pool: int, pfn: int) -> None:
    """Keep a page in the cache, which has room."""
    p = k.pool[pool]
    k.pool_cache[pool * PP_ALLOC_CACHE_SIZE + p.cache_count] = pfn
    p.cache_count += 1


@inlined
def preferred_nid(k: Kernel, cpu: int, pool: int) -> int:
    """The node that the pool wants its pages from."""
    nid = k.pool[pool].nid
    if nid < 0:
        return k.cpu[cpu].numa_node
    return nid


@inlined
def lock_for_refill(k: Kernel, cpu: int) -> None:
    """The ring's consumer lock, in the eras that take it."""
    if k.era[0].pool_refill_lock == 0:
        charge(k, cpu, RING_LOCK)
        charge(k, cpu, RING_UNLOCK)


@kernel_function
def page_pool_refill_alloc_cache(k: Kernel, cpu: int, pool: int) -> int:
    """Move up to 64 pages of the right node from the ring to the cache and hand out the last.  NONE: none there."""
    p = k.pool[pool]
    if ring_empty(k, pool):
        p.alloc_empty += 1
        return NONE
    wanted = preferred_nid(k, cpu, pool)
    lock_for_refill(k, cpu)
    while p.cache_count < PP_ALLOC_CACHE_REFILL:
        pfn = ring_consume(k, pool)
        if pfn == NONE:
            break
        charge(k, cpu, RING_SLOT)
        touch_page(k, cpu, pfn)
        if k.pages[pfn].nid != wanted:
            page_pool_return_page(k, cpu, pool, pfn)
            p.alloc_waive += 1
            break
        push_cache(k, pool, pfn)
    if p.cache_count > 0:
        p.alloc_refill += 1
        return pop_cache(k, pool)
    return NONE


@kernel_function(traced=False)
def get_cached_ring_first(k: Kernel, cpu: int, pool: int) -> int:
    """To v5.3: an empty ring means "nothing cached", whatever the cache holds; a short ring ends up cached."""
    p = k.pool[pool]
    if ring_empty(k, pool):
        p.alloc_empty += 1
        return NONE
    if not k.cpu[cpu].serving_softirq:
        return ring_consume(k, pool)
    if p.cache_count > 0:
        p.alloc_fast += 1
        return pop_cache(k, pool)
    lock_for_refill(k, cpu)
    while True:
        pfn = ring_consume(k, pool)
        if pfn == NONE:
            return NONE
        charge(k, cpu, RING_SLOT)
        touch_page(k, cpu, pfn)
        if p.cache_count == PP_ALLOC_CACHE_REFILL:
            p.alloc_refill += 1
            return pfn
        push_cache(k, pool, pfn)


@kernel_function(traced=False)
def get_cached_in_softirq(k: Kernel, cpu: int, pool: int) -> int:
    """v5.4: the cache first, in softirq only; then one page from the ring and up to 64 more into the cache."""
    p = k.pool[pool]
    if not k.cpu[cpu].serving_softirq:
        return ring_consume(k, pool)
    if p.cache_count > 0:
        p.alloc_fast += 1
        return pop_cache(k, pool)
    if ring_empty(k, pool):
        p.alloc_empty += 1
        return NONE
    lock_for_refill(k, cpu)
    first = ring_consume(k, pool)
    p.alloc_refill += 1
    while p.cache_count < PP_ALLOC_CACHE_REFILL:
        pfn = ring_consume(k, pool)
        if pfn == NONE:
            break
        charge(k, cpu, RING_SLOT)
        touch_page(k, cpu, pfn)
        push_cache(k, pool, pfn)
    return first


@inlined
def page_pool_set_pp_info(k: Kernel, pool: int, pfn: int) -> None:
    """Sign the page."""
    page = k.pages[pfn]
    page.pp = pool + 1
    if k.era[0].pool_frag == 2:
        page.frag_count = 1
    if k.pool[pool].init_callback:
        k.pools[0].init_callbacks += 1


@kernel_function(traced=False)
def page_pool_dma_sync_for_device(k: Kernel, cpu: int, pool: int, size: int) -> None:
    """Give the part that was touched, at most max_len bytes, back to the device."""
    dma_sync_single_range_for_device(k, cpu, min(size, k.pool[pool].max_len))


@kernel_function(traced=False)
def page_pool_dma_map(k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
    """Map a new page for as long as the pool holds it."""
    if not dma_map_page_attrs(k, cpu, pfn):
        return False
    if k.era[0].pool_dma_map == 0:
        dma_sync_single_range_for_device(k, cpu, PAGE_SIZE << k.pool[pool].order)
    if k.pool[pool].flags & PP_FLAG_DMA_SYNC_DEV:
        page_pool_dma_sync_for_device(k, cpu, pool, k.pool[pool].max_len)
    return True


@inlined
def adopt_page(k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
    """Make a page of the allocator one of the pool's; False (and the page is gone) when it cannot be mapped."""
    charge(k, cpu, PAGE_TOUCH)
    if k.pool[pool].flags & PP_FLAG_DMA_MAP and not page_pool_dma_map(k, cpu, pool, pfn):
        put_page(k, cpu, pfn)
        return False
    page_pool_set_pp_info(k, pool, pfn)
    if k.era[0].pool_accounting != 0:
        k.pool[pool].hold_cnt += 1
    return True


@kernel_function
def __page_pool_alloc_page_order(k: Kernel, cpu: int, pool: int) -> int:
    """One block of the pool's order from the page allocator."""
    p = k.pool[pool]
    nid = p.nid if p.nid >= 0 else k.cpu[cpu].numa_node
    pfn = __alloc_pages(k, cpu, nid, p.order, 1)
    if pfn == NONE:
        return NONE
    if not adopt_page(k, cpu, pool, pfn):
        return NONE
    if p.order > 0:
        p.alloc_slow_high_order += 1
    else:
        p.alloc_slow += 1
    return pfn


@kernel_function
def __page_pool_alloc_pages_slow(k: Kernel, cpu: int, pool: int) -> int:
    """Fill the cache from the page allocator and hand out the last page."""
    p = k.pool[pool]
    how = k.era[0].pool_slow
    if p.order > 0 or how == 0:
        return __page_pool_alloc_page_order(k, cpu, pool)
    if p.cache_count > 0:
        return pop_cache(k, pool)
    nid = p.nid
    if how == 1 or nid < 0:
        nid = k.cpu[cpu].numa_node
    got = alloc_pages_bulk(k, cpu, nid, PP_ALLOC_CACHE_REFILL)
    for i in range(got):
        pfn = k.page_array[i]
        if adopt_page(k, cpu, pool, pfn):
            push_cache(k, pool, pfn)
    if p.cache_count == 0:
        return NONE
    p.alloc_slow += 1
    return pop_cache(k, pool)


@kernel_function(entry=True, rare=True, inline=True)
def page_pool_alloc_pages(k: Kernel, cpu: int, pool: int) -> int:
    """A page for the driver: from the cache, the ring, or the page allocator.  NONE: no memory.  Consumer only."""
    p = k.pool[pool]
    how = k.era[0].pool_alloc
    if how == 2:
        if p.cache_count > 0:
            p.alloc_fast += 1
            return pop_cache(k, pool)
        pfn = page_pool_refill_alloc_cache(k, cpu, pool)
    elif how == 1:
        pfn = get_cached_in_softirq(k, cpu, pool)
    else:
        pfn = get_cached_ring_first(k, cpu, pool)
    if pfn != NONE:
        return pfn
    return __page_pool_alloc_pages_slow(k, cpu, pool)


# -- letting pages go ------------------------------------------------------------------------------------------------


@inlined
def page_pool_clear_pp_info(k: Kernel, pfn: int) -> None:
    """Take the signature off.  It shares its word with the emergency mark (from v5.14), which goes with it."""
    page = k.pages[pfn]
    page.pp = 0
    if k.era[0].page_signature != 0:
        page.flags &= ~PG_PFMEMALLOC


@kernel_function(entry=True, rare=True)
def page_pool_release_page(k: Kernel, cpu: int, pool: int, pfn: int) -> None:
    """Disconnect a page from the pool: unmapped, unsigned, off the books.  The caller keeps its reference."""
    tracepoint(k, PAGE_RELEASED, pfn, pool)
    page_goes(k, pfn, RELEASED)
    p = k.pool[pool]
    if p.flags & PP_FLAG_DMA_MAP:
        dma_unmap_page_attrs(k, cpu, pfn)
    page_pool_clear_pp_info(k, pfn)
    if k.era[0].pool_accounting != 0:
        p.release_cnt += 1


@kernel_function
def page_pool_return_page(k: Kernel, cpu: int, pool: int, pfn: int) -> None:
    """Disconnect a page and drop the pool's reference."""
    page_pool_release_page(k, cpu, pool, pfn)
    put_page(k, cpu, pfn)


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_update_nid(k: Kernel, cpu: int, pool: int, nid: int) -> None:
    """Prefer another node from now on; the cache is emptied, the ring is sorted out at refill.  Consumer only."""
    k.pool[pool].nid = nid
    while k.pool[pool].cache_count > 0:
        page_pool_return_page(k, cpu, pool, pop_cache(k, pool))


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_nid_changed(k: Kernel, cpu: int, pool: int, nid: int) -> None:
    """:func:`page_pool_update_nid`, unless the pool prefers ``nid`` already.  Consumer only."""
    if k.pool[pool].nid != nid:
        page_pool_update_nid(k, cpu, pool, nid)


@inlined
def page_pool_recycle_in_cache(k: Kernel, pool: int, pfn: int) -> bool:
    """Consumer only: keep the page at hand, without any lock."""
    p = k.pool[pool]
    if p.cache_count == PP_ALLOC_CACHE_SIZE:
        p.recycle_cache_full += 1
        return False
    push_cache(k, pool, pfn)
    p.recycle_cached += 1
    page_goes(k, pfn, CACHED)
    return True


@inlined
def page_pool_recycle_in_ring(k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
    """Any CPU: append the page to the ring under the producer lock."""
    spin_lock_inlined(k, cpu, RING_LOCKS + pool, RING_LOCK)
    charge(k, cpu, RING_SLOT)
    produced = ring_produce(k, pool, pfn)
    charge(k, cpu, RING_UNLOCK)
    spin_unlock(k, cpu, RING_LOCKS + pool)
    if produced:
        k.pool[pool].recycle_ring += 1
        page_goes(k, pfn, RINGED)
    return produced


@inlined
def consumer_is_here(k: Kernel, cpu: int, pool: int) -> bool:
    """Is the NAPI that consumes the pool scheduled on this CPU (napi->list_owner)?

    For a pool without a device its CPU stands in.
    """
    p = k.pool[pool]
    if p.napi == 0:
        return p.rxq == 0 and p.napi_cpu == cpu + 1
    n = k.napi[p.napi - 1]
    return n.scheduled != 0 and n.cpu == cpu


@inlined
def direct_is_allowed(k: Kernel, cpu: int, pool: int, asked: int) -> bool:
    """May this return go to the consumer's cache?"""
    c = k.cpu[cpu]
    how = k.era[0].pool_direct
    if how == 0:
        return asked != 0 and c.serving_softirq != 0
    in_softirq = c.serving_softirq != 0 or c.bh_disabled != 0
    if how == 1:
        return asked != 0 and in_softirq
    return asked != 0 or (in_softirq and consumer_is_here(k, cpu, pool))


@kernel_function(inline=True)
def __page_pool_put_page(k: Kernel, cpu: int, pool: int, pfn: int, sync: int, direct: int) -> int:
    """Recycle into the cache if allowed.  Returns the page if it is left for the ring, else NONE."""
    page = k.pages[pfn]
    touch_page(k, cpu, pfn)
    refused = k.era[0].pool_pfmemalloc != 0 and page_is_pfmemalloc(k, pfn)
    if page.refcount == 1 and not refused and page.where != REFUSED:
        if k.pool[pool].flags & PP_FLAG_DMA_SYNC_DEV:
            page_pool_dma_sync_for_device(k, cpu, pool, sync)
        if direct_is_allowed(k, cpu, pool, direct) and page_pool_recycle_in_cache(k, pool, pfn):
            return NONE
        return pfn
    k.pool[pool].recycle_released_refcnt += 1
    page_goes(k, pfn, REFUSED_BY_RATE if page.where == REFUSED else STILL_HELD)
    page_pool_release_page(k, cpu, pool, pfn)
    put_page(k, cpu, pfn)
    return NONE


@kernel_function(entry=True, rare=True, inline=True)
def page_pool_put_defragged_page(k: Kernel, cpu: int, pool: int, pfn: int, sync: int, direct: int) -> None:
    """Return a page whose fragments are all back: cache, else ring, else the page allocator."""
    pfn = __page_pool_put_page(k, cpu, pool, pfn, sync, direct)
    if pfn != NONE and not page_pool_recycle_in_ring(k, cpu, pool, pfn):
        k.pool[pool].recycle_ring_full += 1
        page_goes(k, pfn, RING_FULL)
        page_pool_return_page(k, cpu, pool, pfn)


@inlined
def page_pool_is_last_frag(k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
    """Drop one fragment; True when the page is whole again (always, where pages are not split)."""
    how = k.era[0].pool_frag
    if how == 0 or (how == 1 and not k.pool[pool].flags & PP_FLAG_PAGE_FRAG):
        return True
    return page_pool_defrag_page(k, cpu, pfn, 1) == 0


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_put_page(k: Kernel, cpu: int, pool: int, pfn: int, sync: int, direct: int) -> None:
    """Return a page, or one fragment of it.  ``sync``: bytes touched; ``direct``: the caller is the pool's consumer."""
    if page_pool_is_last_frag(k, cpu, pool, pfn):
        if k.policy[0].active and k.pool[pool].rxq != 0:
            page_pool_follow(k, cpu, pool, pfn, sync, page_pool_verdict(k, cpu, pool, pfn))
        else:
            page_pool_put_defragged_page(k, cpu, pool, pfn, sync, direct)


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_recycle_direct(k: Kernel, cpu: int, pool: int, pfn: int) -> None:
    """Return a whole page from the pool's consumer."""
    page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, 1)


@kernel_function(entry=True, rare=True)
def page_pool_put_page_bulk(k: Kernel, cpu: int, pool: int, count: int) -> None:
    """Return the ``count`` pages listed in ``k.page_array``: one producer lock for all that go to the ring."""
    kept = 0
    for i in range(count):
        pfn = compound_head(k, k.page_array[i])
        if not page_pool_is_last_frag(k, cpu, pool, pfn):
            continue
        if k.policy[0].active and k.pool[pool].rxq != 0:
            verdict = page_pool_verdict(k, cpu, pool, pfn)
            if verdict != RING:
                page_pool_follow(k, cpu, pool, pfn, EVERYTHING, verdict)
                continue
        pfn = __page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, 0)
        if pfn != NONE:
            k.page_array[kept] = pfn
            kept += 1
    if kept == 0:
        return
    spin_lock_inlined(k, cpu, RING_LOCKS + pool, RING_LOCK)
    stored = 0
    while stored < kept:
        charge(k, cpu, RING_SLOT)
        if not ring_produce(k, pool, k.page_array[stored]):
            k.pool[pool].recycle_ring_full += 1
            break
        page_goes(k, k.page_array[stored], RINGED)
        stored += 1
    charge(k, cpu, RING_UNLOCK)
    spin_unlock(k, cpu, RING_LOCKS + pool)
    k.pool[pool].recycle_ring += stored
    for i in range(stored, kept):
        page_goes(k, k.page_array[i], RING_FULL)
        page_pool_return_page(k, cpu, pool, k.page_array[i])


@kernel_function(traced=False)
def put_page_and_tell(k: Kernel, cpu: int, pool: int, pfn: int, direct: int) -> None:
    """Return a page, and report what became of it."""
    p = k.pool[pool]
    cached = p.recycle_cached
    ringed = p.recycle_ring
    released = p.release_cnt
    page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, direct)
    fate = FRAGMENTS_LEFT
    if p.recycle_cached != cached:
        fate = INTO_CACHE
    elif p.recycle_ring != ringed:
        fate = INTO_RING
    elif p.release_cnt != released:
        fate = LET_GO
    tracepoint(k, POOL_OFFERED, pfn, fate)


@kernel_function(entry=True, rare=True)
def page_pool_return_skb_page(k: Kernel, cpu: int, pfn: int, napi_safe: int) -> int:
    """What freeing an skb does with a page: 1 if its pool took it, 0 if it carries no signature."""
    pfn = compound_head(k, pfn)
    pool = k.pages[pfn].pp - 1
    if pool < 0:
        tracepoint(k, POOL_OFFERED, pfn, NO_SIGNATURE)
        return 0
    direct = 0
    c = k.cpu[cpu]
    safe = napi_safe != 0 or c.serving_softirq != 0 or c.bh_disabled != 0
    if k.era[0].pool_skb_direct and safe and consumer_is_here(k, cpu, pool):
        direct = 1
    if is_heard(k):
        put_page_and_tell(k, cpu, pool, pfn, direct)
    else:
        page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, direct)
    return 1


# -- fragments -------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_fragment_page(k: Kernel, cpu: int, pfn: int, count: int) -> None:
    """Split a page into ``count`` fragments that are returned one by one."""
    k.pages[pfn].frag_count = count


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_defrag_page(k: Kernel, cpu: int, pfn: int, count: int) -> int:
    """Take ``count`` fragments off a page; what is left.

    The last ones leave the stored count as it is (to v6.6), or as that of a whole page (v6.8).
    """
    page = k.pages[pfn]
    if page.frag_count == count:
        if k.era[0].pool_frag == 2:
            page.frag_count = 1
        return 0
    left = page.frag_count - count
    page.frag_count = left
    if left < 0:
        printk(k, cpu, FRAG_COUNT_NEGATIVE, pfn, left)
    return left


# -- where a recycle policy decides ----------------------------------------------------------------------------------


@kernel_function(traced=False)
def page_pool_follow(k: Kernel, cpu: int, pool: int, pfn: int, sync: int, verdict: int) -> None:
    """Do with a whole page what a recycle policy says; one that it keeps is on its shelf already."""
    if verdict == CACHE and k.pool[pool].napi_cpu == cpu + 1:
        page_pool_put_defragged_page(k, cpu, pool, pfn, sync, 1)
    elif verdict in (CACHE, RING):
        page_pool_put_defragged_page(k, cpu, pool, pfn, sync, 0)
    elif verdict != KEEP:
        page_pool_return_page(k, cpu, pool, pfn)


@kernel_function(traced=False)
def page_pool_verdict(k: Kernel, cpu: int, pool: int, pfn: int) -> int:
    """What the recycle policy of the pool's queue says about a whole page."""
    foreign = k.pool[pool].napi_cpu != cpu + 1  # the shelf is the consumer's: other CPUs need the ring's lock for it
    if foreign:
        spin_lock_inlined(k, cpu, RING_LOCKS + pool, RING_LOCK)
    verdict = policy_put(k, cpu, k.pool[pool].rxq - 1, pfn)
    if foreign:
        spin_unlock(k, cpu, RING_LOCKS + pool)
    return verdict
