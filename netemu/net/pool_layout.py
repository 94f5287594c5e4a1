"""State of page_pools, and what changed about them from release to release."""

from __future__ import annotations

from ..engine.era import switch
from ..engine.layout import table
from ..engine.spinlock import lock_class

PP_ALLOC_CACHE_SIZE = 128
PP_ALLOC_CACHE_REFILL = 64
DEFAULT_RING_SIZE = 1024
MAX_RING_SIZE = 32768
CLAMPED_RING_SIZE = 16384

PP_FLAG_DMA_MAP = 1
PP_FLAG_DMA_SYNC_DEV = 2
PP_FLAG_PAGE_FRAG = 4
PP_FLAG_ALL = 7

DMA_BIDIRECTIONAL = 0
DMA_FROM_DEVICE = 2

BIAS_MAX = 2**63 - 1
"""LONG_MAX: the fragment count of a page that the pool still cuts pieces from (half of it from 6.8)."""

DEFER_TIME_MS = 1000
DEFER_WARN_INTERVAL_MS = 60_000

MAX_POOLS = 256
RING_LOCKS = lock_class("ptr_ring.producer_lock", MAX_POOLS)

table(
    "pool",
    [
        ("alive", "i4"),
        ("order", "i4"),
        ("flags", "i4"),
        ("nid", "i4"),  # preferred node, -1: the CPU's own
        ("dma_dir", "i4"),
        ("max_len", "u4"),
        ("offset", "u4"),
        ("init_callback", "i4"),
        ("hold_cnt", "u4"),  # pages ever taken from the page allocator
        ("release_cnt", "u4"),  # pages ever given back or let go
        ("cache_count", "i4"),
        # the ptr_ring
        ("ring_base", "i4"),  # first slot in k.pool_ring
        ("ring_size", "i4"),
        ("ring_batch", "i4"),
        ("producer", "i4"),
        ("consumer_head", "i4"),
        ("consumer_tail", "i4"),
        # the fragment interface
        ("frag_page", "i4"),  # + 1; 0: none
        ("frag_offset", "u4"),
        ("frag_users", "i8"),
        # life
        ("users", "i4"),
        ("destroy_cnt", "i4"),
        ("work_pending", "i4"),
        ("work_due", "i8"),  # ms
        ("work_order", "i8"),
        ("defer_start", "i8"),  # ms
        ("defer_warn", "i8"),
        ("disconnect", "i4"),  # 1: a memory model wants to hear of the end
        ("disconnected", "i4"),  # 1: and has heard of it
        ("freed", "i4"),  # the how manieth pool of the machine to be freed; 0: not yet
        ("rxq", "i4"),  # receive queue that the pool serves + 1; 0: none known
        ("napi_cpu", "i4"),  # CPU that consumes the pool + 1; 0: none known
        ("napi", "i4"),  # NAPI that a driver has named as the consumer (v6.4) + 1
        # statistics, netlink names
        ("alloc_fast", "i8"),
        ("alloc_slow", "i8"),
        ("alloc_slow_high_order", "i8"),
        ("alloc_empty", "i8"),
        ("alloc_refill", "i8"),
        ("alloc_waive", "i8"),
        ("recycle_cached", "i8"),
        ("recycle_cache_full", "i8"),
        ("recycle_ring", "i8"),
        ("recycle_ring_full", "i8"),
        ("recycle_released_refcnt", "i8"),
    ],
)
table("pool_cache", "i4")  # [pool * PP_ALLOC_CACHE_SIZE + i] -> pfn
table("pool_ring", "i4")  # slots of all rings: pfn + 1, 0: empty
table(
    "pools",
    [
        ("count", "i4"),
        ("frag_offset", "i4"),  # of the fragment handed out last
        ("init_callbacks", "i8"),
        ("device_gets", "i8"),
        ("device_puts", "i8"),
        ("freed", "i4"),  # pools freed so far
    ],
)
table("work", [("now", "i8"), ("scheduled", "i8")])  # the clock of delayed work, ms; how many items were ever scheduled

switch(
    "pool_alloc",
    "ring_first cache_in_softirq cache_first",
    "what page_pool_alloc_pages looks at first: the ring, so that with an empty ring the cached pages are stranded "
    "(to v5.3); the cache, in softirq only (v5.4); the cache always (v5.5)",
)
switch(
    "pool_refill_lock",
    "consumer_lock none",
    "whether taking pages out of the ring costs its consumer lock (to v5.15), once for up to 64 of them",
)
switch(
    "pool_slow",
    "single bulk_local bulk_nid",
    "how an empty pool is filled: one page at a time, 64 at once from the local node (v5.13), or from the pool's "
    "node (v5.17)",
)
switch(
    "pool_accounting",
    "no yes",
    "whether pages in flight are counted (v5.3); without it a pool knows nothing of what it handed out",
)
switch(
    "pool_pfmemalloc",
    "recycled refused",
    "whether pages of the emergency reserve go back into the pool (refused from v5.5)",
)
switch(
    "pool_direct",
    "serving_softirq in_softirq trusted",
    "when a return may go to the lockless cache: asked for and in softirq, the same with bottom halves off (v5.19), "
    "or whenever asked for, and by itself on the CPU of the pool's NAPI (v6.8)",
)
switch(
    "pool_frag",
    "none frag_count ref_count",
    "how a page split between packets is counted: not by the pool, with a fragment count (v5.15), or with a "
    "reference count on every pool page (v6.8)",
)
switch("pool_skb_recycle", "no yes", "whether freeing an skb can return its pages to their pool (v5.14)")
switch(
    "pool_skb_direct",
    "never napi",
    "whether pages of an skb freed in the pool's own NAPI go to the lockless cache (v6.4) or always to the ring",
)
switch(
    "pool_unlink",
    "never at_destroy",
    "whether page_pool_destroy forgets the NAPI (v6.4) and the CPU (v6.9) of the consumer, so that late pages go to "
    "the ring, where they are found",
)
switch(
    "pool_shutdown",
    "at_once forced patient patient_sane",
    "destroying a pool with pages in flight: freed all the same, after 120 retries (v5.3), never, it waits for them "
    "(v5.4), unless the count is negative (v6.12; v6.1 and v6.6 by backport)",
)
switch(
    "pool_users",
    "uncounted counted",
    "whether a pool lives until its last user, driver or registered memory model, is gone (v5.3), or dies with the "
    "first page_pool_destroy",
)
switch(
    "pool_scrub",
    "every_round first_round",
    "whether each retry of a shutdown empties the alloc cache again, or the first only (v5.15): a page that comes back "
    "there later stalls the pool",
)
switch(
    "pool_ring_limit",
    "refused clamped",
    "a ring larger than 32768 is refused with E2BIG, or one larger than 16384 cut to that (v6.18; v6.1 and v6.12 by "
    "backport)",
)
switch(
    "pool_dma_map",
    "syncs skips_sync",
    "whether mapping a new page syncs all of it for the device as well (to v5.0), which costs time where DMA is not "
    "coherent",
)
switch(
    "pool_dma_sync",
    "no yes",
    "whether a pool can sync returned pages for the device itself, and only the part that was touched (v5.5)",
)
switch("pool_dma_dir_check", "always when_mapping", "whether dma_dir is validated even without DMA_MAP (to v5.4)")
