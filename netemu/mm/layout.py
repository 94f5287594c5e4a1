"""State of the page allocator: pages, zones, buddy free lists, per-CPU page lists, page_frag caches."""

from __future__ import annotations

from ..engine.era import switch
from ..engine.layout import table

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
NR_ORDERS = 11
"""Buddy orders 0..10; the largest block is 4 MiB."""
MAX_ORDER = NR_ORDERS - 1
PAGEBLOCK_ORDER = 9
PAGE_ALLOC_COSTLY_ORDER = 3
MAX_ZONES = 8
NR_PCP_LISTS = PAGE_ALLOC_COSTLY_ORDER + 2
"""Per-CPU lists: orders 0..3 and the pageblock order; only order 0 is used before 5.14."""
NONE = -1
"""No page, no row: the end of a list, a failed allocation."""

SIGNATURE_CHECKED = 2
"""Value of the switch page_signature by which a page is looked at when it is freed."""

# page.flags
PG_BUDDY = 1  # head of a free block on a buddy list
PG_PCP = 2  # on a per-CPU list
PG_HEAD = 4  # head of a compound page
PG_TAIL = 8
PG_PFMEMALLOC = 16  # from the emergency reserve

table(
    "pages",
    [
        ("refcount", "i4"),
        ("flags", "i4"),
        ("order", "i2"),  # of the free block or compound page that this page heads
        ("zone", "i2"),
        ("next", "i4"),  # list linkage while PG_BUDDY or PG_PCP
        ("prev", "i4"),
        ("head", "i4"),  # of the compound page, while PG_TAIL
        ("pp", "i4"),  # page_pool that signed the page, + 1; 0: no signature
        ("nid", "i4"),
        ("dma_addr", "i8"),  # 0: not mapped
        ("frag_count", "i8"),  # pp_frag_count, pp_ref_count from 6.8
        ("where", "i4"),  # who parks the page (PARK_*), for the books
        ("serial", "i4"),  # number given by a scripted page source
        ("line", "i4"),  # CPU that wrote this struct page last, + 1
    ],
)
table(
    "zone",
    [
        ("start", "i4"),  # first pfn
        ("end", "i4"),  # one past the last pfn
        ("free", "i8"),  # NR_FREE_PAGES: pages on buddy lists (per-CPU lists excluded)
        ("managed", "i8"),
        ("allocated", "i8"),  # base pages handed out since the start
        ("freed", "i8"),
        ("acquisitions", "i8"),
        ("acquisitions_alloc", "i8"),
        ("acquisitions_free", "i8"),
        ("pages_alloc", "i8"),  # base pages moved out of the buddy lists under the lock
        ("pages_free", "i8"),
        ("failures", "i8"),  # requests that found nothing
    ],
)
table("free_area", [("head", "i4"), ("tail", "i4"), ("nr_free", "i8"), ("line", "i4")])  # [zone * NR_ORDERS + order]
table(
    "pcp",  # [zone * cpus + cpu]
    [
        ("count", "i4"),  # base pages on all lists
        ("high", "i4"),
        ("high_min", "i4"),
        ("high_max", "i4"),
        ("batch", "i4"),
        ("free_factor", "i4"),
        ("alloc_factor", "i4"),
        ("free_count", "i4"),
        ("prev_free_high_order", "i4"),
    ],
)
table("pcp_list", [("head", "i4"), ("tail", "i4")])  # [(zone * cpus + cpu) * NR_PCP_LISTS + list]
table("page_array", "i4")  # an array of pages handed to or filled by a bulk call
table(
    "page_frag_cache",  # [cpu * NR_FRAG_CACHES + which]
    [
        ("page", "i4"),  # + 1; 0: none
        ("offset", "i4"),
        ("bias", "i4"),  # references that the cache still holds
        ("size", "i4"),
        ("pfmemalloc", "i4"),
    ],
)
NR_FRAG_CACHES = 3
NETDEV_FRAGS = 0  # for any context
NAPI_FRAGS = 1  # softirq only
NAPI_SLICES = 2  # 1 KiB slices of order-0 pages (v6.1)
PAGE_ARRAY_ROWS = 4096

switch(
    "page_frag_free",
    "buddy pcp",
    "where an order-0 page goes when its last fragment is freed: straight to the buddy lists, one zone->lock hold "
    "per page, or through the per-CPU list, one hold per batch (65895b67ad27, v5.0)",
)
switch(
    "pcp_orders",
    "order0 costly",
    "which orders the per-CPU lists keep: 0 only, or 0..3 and the pageblock order (v5.14)",
)
switch(
    "pcp_high",
    "batch watermark auto",
    "how long a per-CPU list may get: 6 batches, the low watermark shared by the node's CPUs (v5.14), or tuned "
    "between that and its eightfold (v6.7)",
)
switch(
    "pcp_free",
    "batch factor scale count",
    "how many pages leave a full per-CPU list: one batch, a batch that doubles with every free-only round (v5.14), "
    "the same capped at 5 doublings and emptied by high-order frees (v6.1), or as many as were freed in a row (v6.7)",
)
switch(
    "pcp_refill",
    "batch scaled",
    "how many pages an empty per-CPU list takes at once: one batch, or a batch that doubles with every refill (v6.7)",
)
switch(
    "pcp_drain",
    "before_lock under_lock",
    "whether pages leave the per-CPU list before zone->lock is taken, or while it is held (v5.18), which gets longer",
)
switch(
    "pcp_empty",
    "fails buddy",
    "when a per-CPU list stays empty after its refill: the zone has no page, or the buddy lists are asked again, which "
    "is one more zone->lock hold for each failed request (v6.1)",
)
switch(
    "page_frag_bias",
    "size max",
    "references that a page_frag cache takes at refill: one per byte, or 32768 always (v5.0; fixes 1-byte fragments)",
)
switch(
    "page_frag_pfmemalloc",
    "reused dropped",
    "whether an emergency page stays in a page_frag cache for ever, or is dropped when it is used up (v5.10)",
)
switch(
    "page_frag_oversize",
    "corrupts refused",
    "a fragment larger than the order-0 page that the cache fell back to: overruns it, or fails (v6.1; v5.10 by "
    "backport)",
)
switch(
    "free_pages_tails",
    "leaked freed",
    "a block that is no compound page, freed while somebody still holds its first page: the other pages are lost, or "
    "freed at once (e320d3012d25, v5.10)",
)
switch(
    "page_signature",
    "none unchecked checked",
    "the mark of a page_pool on its pages: none that lasts, one in the word of the emergency mark, which goes with it "
    "(v5.14), or one that is looked for when a page is freed: a page lost by its pool is reported and kept out (v6.8)",
)
