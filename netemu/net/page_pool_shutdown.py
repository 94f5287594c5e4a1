"""The end of a page_pool: its users, its books of pages in flight, and the wait for the last of them.

Source: net/core/page_pool.c, v4.19 to v6.12; the branches of v6.1 are held to the vectors.
"""

from __future__ import annotations

from ..engine.events import event_kind, tracepoint
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.log import message, printk, printk_about
from ..mm.layout import NONE
from .page_pool import page_pool_return_page, pop_cache
from .page_pool_frag import page_pool_free_frag
from .pool_layout import DEFER_TIME_MS, DEFER_WARN_INTERVAL_MS, PP_FLAG_DMA_MAP
from .ptr_ring import ring_consume

NEGATIVE_INFLIGHT = message("negative_inflight", "Negative({a}) inflight packet-pages")
RING_REFCNT_VIOLATION = message("ring_refcnt_violation", "page_pool_empty_ring() page_pool refcnt {a} violation")
STALLED_SHUTDOWN = message(
    "stalled_shutdown", "page_pool_release_retry() stalled pool shutdown: id {c}, {a} inflight {b} sec"
)

POOL_FREED = event_kind("pool_freed")  # (pool)

FORCED_AFTER = 120
"""Retries after which v5.3 frees a pool that still has pages out."""


@kernel_function(traced=False, entry=True)
def page_pool_use_xdp_mem(k: Kernel, cpu: int, pool: int) -> None:
    """One more user, a registered memory model, which hears of the end of the pool."""
    p = k.pool[pool]
    p.users += 1
    p.disconnect = 1


@inlined
def page_pool_inflight(k: Kernel, cpu: int, pool: int) -> int:
    """Pages held by the pool and its users: hold - release as a signed 32-bit number."""
    p = k.pool[pool]
    distance = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
    if distance >= 0x80000000:
        distance -= 0x100000000
        printk(k, cpu, NEGATIVE_INFLIGHT, distance, 0)
    return distance


@kernel_function(traced=False)
def page_pool_empty_ring(k: Kernel, cpu: int, pool: int) -> None:
    """Give every page in the ring back to the allocator; one with more than the pool's reference is a violation."""
    while True:
        pfn = ring_consume(k, pool)
        if pfn == NONE:
            return
        refs = k.pages[pfn].refcount
        if refs != 1:
            printk(k, cpu, RING_REFCNT_VIOLATION, refs, 0)
        page_pool_return_page(k, cpu, pool, pfn)


@inlined
def page_pool_empty_alloc_cache(k: Kernel, cpu: int, pool: int) -> None:
    """Give every page in the cache back to the allocator."""
    while k.pool[pool].cache_count > 0:
        page_pool_return_page(k, cpu, pool, pop_cache(k, pool))


@kernel_function(traced=False)
def page_pool_scrub(k: Kernel, cpu: int, pool: int) -> None:
    """Empty the cache and the ring; in later rounds, from v5.15, the ring only."""
    p = k.pool[pool]
    if p.destroy_cnt == 0:
        page_pool_empty_alloc_cache(k, cpu, pool)
    elif k.era[0].pool_scrub == 0:
        page_pool_empty_alloc_cache(k, cpu, pool)
    p.destroy_cnt += 1
    page_pool_empty_ring(k, cpu, pool)


@kernel_function(traced=False)
def page_pool_free(k: Kernel, cpu: int, pool: int) -> None:
    """The end of the pool itself."""
    p = k.pool[pool]
    p.disconnected = p.disconnect
    k.pools[0].freed += 1
    p.freed = k.pools[0].freed
    if p.flags & PP_FLAG_DMA_MAP:
        k.pools[0].device_puts += 1
    p.alive = 0
    p.work_pending = 0
    tracepoint(k, POOL_FREED, pool, 0)


@kernel_function(traced=False)
def page_pool_release(k: Kernel, cpu: int, pool: int) -> int:
    """One round of shutdown; frees the pool when nothing is in flight, to v5.0 whatever is.  Returns what is."""
    page_pool_scrub(k, cpu, pool)
    if k.era[0].pool_shutdown == 0:
        page_pool_free(k, cpu, pool)
        return 0
    inflight = page_pool_inflight(k, cpu, pool)
    if inflight == 0:
        page_pool_free(k, cpu, pool)
    return inflight


@inlined
def schedule_release(k: Kernel, pool: int) -> None:
    """Ask for another round of shutdown in a second."""
    p = k.pool[pool]
    w = k.work[0]
    p.work_pending = 1
    p.work_due = w.now + DEFER_TIME_MS
    w.scheduled += 1
    p.work_order = w.scheduled


@inlined
def seconds_between(start: int, now: int) -> int:
    """Whole seconds from ``start`` to ``now`` (ms), from the low 32 bits of both as a signed number."""
    ms = (now - start) & 0xFFFFFFFF
    if ms >= 0x80000000:
        return -((0x100000000 - ms) // 1000)
    return ms // 1000


@kernel_function(traced=False, entry=True)
def page_pool_release_retry(k: Kernel, cpu: int, pool: int) -> None:
    """The delayed work of a pool in shutdown."""
    p = k.pool[pool]
    p.work_pending = 0
    inflight = page_pool_release(k, cpu, pool)
    how = k.era[0].pool_shutdown
    if inflight == 0 or (how == 3 and inflight < 0):
        return
    now = k.work[0].now
    if now >= p.defer_warn:
        printk_about(k, cpu, STALLED_SHUTDOWN, pool + 1, inflight, seconds_between(p.defer_start, now))
        p.defer_warn = now + DEFER_WARN_INTERVAL_MS
    if how == 1 and p.destroy_cnt > FORCED_AFTER:
        page_pool_free(k, cpu, pool)
        return
    schedule_release(k, pool)


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_unlink_napi(k: Kernel, cpu: int, pool: int) -> None:
    """Nobody is the pool's consumer any more (v6.4; page_pool_disable_direct_recycling from v6.9 on)."""
    p = k.pool[pool]
    p.napi = 0
    p.napi_cpu = 0


@kernel_function(traced=False, entry=True)
def page_pool_destroy(k: Kernel, cpu: int, pool: int) -> None:
    """Drop one user; the last one shuts the pool down, at once or as soon as its pages are back."""
    p = k.pool[pool]
    p.users -= 1
    if k.era[0].pool_users == 0:
        p.users = 0  # nobody counts: the first to destroy the pool is the last
    if p.users != 0:
        return
    if k.era[0].pool_unlink != 0:
        page_pool_unlink_napi(k, cpu, pool)
    page_pool_free_frag(k, cpu, pool)
    if page_pool_release(k, cpu, pool) == 0:
        return
    now = k.work[0].now
    p.defer_start = now
    p.defer_warn = now + DEFER_WARN_INTERVAL_MS
    schedule_release(k, pool)
