"""State of packet buffers: sk_buff structs, the shared info behind each head, slabs and small objects."""

from __future__ import annotations

from ..engine.era import switch
from ..engine.layout import table

SK_BUFF_SIZE = 256
"""sizeof(struct sk_buff), rounded to cache lines."""
SHARED_INFO_SIZE = 320
MAX_SKB_FRAGS = 17
SMP_CACHE_BYTES = 64
NET_SKB_PAD = 64
NET_IP_ALIGN = 0
NAPI_SKB_CACHE_SIZE = 64
NAPI_SKB_CACHE_BULK = 16
NAPI_SKB_CACHE_HALF = NAPI_SKB_CACHE_SIZE // 2
SKB_DATAREF_SHIFT = 16
SKB_DATAREF_MASK = (1 << SKB_DATAREF_SHIFT) - 1
SKB_DEFER_MAX = 64
SKBS_PER_PAIR = 16
"""Structs of the ordinary slab for each pair of the fast clone slab."""
GRO_MAX_SIZE = 65536
"""Length that a merged packet stays below."""

SKB_FCLONE_UNAVAILABLE = 0
SKB_FCLONE_ORIG = 1
SKB_FCLONE_CLONE = 2

# flags of alloc_skb
SKB_ALLOC_FCLONE = 1
SKB_ALLOC_NAPI = 4

# gro_cb.free: what is left of a packet that was merged
NAPI_GRO_KEPT = 0  # all of it, it hangs on the list of the first
NAPI_GRO_FREE = 1  # head and struct
NAPI_GRO_FREE_STOLEN_HEAD = 2  # the struct

# skb.state: where the struct is
SKB_IN_SLAB = 0
SKB_LIVE = 1
SKB_IN_NAPI_CACHE = 2

table(
    "skb",  # structs of the ordinary slab, then those of the fast clone slab: original and companion in turn
    [
        ("state", "i4"),
        ("users", "i4"),
        ("next", "i4"),  # + 1: on a slab's free list, a frag_list or a queue
        ("shinfo", "i4"),
        ("head_page", "i4"),  # page that the head lies in, NONE: a small object
        ("head_offset", "i4"),  # of the head in that page or block
        ("head_object", "i4"),  # + 1: small object that is the head
        ("data", "i4"),  # offsets from the head
        ("tail", "i4"),
        ("end", "i4"),
        ("len", "i4"),
        ("data_len", "i4"),
        ("truesize", "i4"),
        ("cloned", "i1"),
        ("nohdr", "i1"),
        ("fclone", "i1"),
        ("head_frag", "i1"),
        ("pp_recycle", "i1"),
        ("pfmemalloc", "i1"),
        ("alloc_cpu", "u1"),
        ("line", "u1"),  # CPU that wrote this struct last, + 1
        ("home", "u1"),  # CPU whose slabs the struct belongs to
        ("dev", "i1"),
        ("queue", "i2"),
    ],
)
table("skb_packet", "i8")  # [skb] -> number of the packet in the trace
table("skb_until", "i8")  # [skb] -> virtual time (ps) to which its consumer holds it
table(
    "shinfo",
    [
        ("dataref", "i4"),
        ("frag_list", "i4"),  # skb + 1
        ("next", "i4"),  # + 1: on the free list
        ("nr_frags", "i1"),
        ("home", "u1"),  # CPU whose memory it lies in
        ("line", "i2"),  # CPU that wrote it last, + 1
    ],
)
table(
    "frags",  # [shinfo]: most packets have none, so they lie apart
    [("page", "i4", MAX_SKB_FRAGS), ("offset", "i4", MAX_SKB_FRAGS), ("size", "i4", MAX_SKB_FRAGS)],
)
table("fclones", [("refs", "i4"), ("next", "i4")])  # pairs of the fast clone slab; next: + 1, on the free list
table("gro_cb", [("count", "i4"), ("last", "i4"), ("free", "i4")])  # [skb]: segments, newest packet of the list
table("object", [("size", "i4"), ("next", "i4"), ("live", "i4"), ("serial", "i4")])  # kmalloc memory
table(
    "slab",
    [
        ("skb_made", "i4"),
        ("pair_free", "i4"),
        ("pair_made", "i4"),
        ("shinfo_made", "i4"),
        ("object_free", "i4"),
        ("object_made", "i4"),
        ("object_serial", "i4"),
        ("pair_rows", "i4"),  # pairs there is room for
        ("head_rows", "i4"),  # heads there is room for
        ("skb_limit", "i8"),  # structs that can still be had, + 1; 0: no limit
        ("object_limit", "i8"),
        # books
        ("head_allocs", "i8"),
        ("head_frees", "i8"),
        ("head_bulk_allocs", "i8"),
        ("head_bulk_frees", "i8"),
        ("pair_allocs", "i8"),
        ("pair_frees", "i8"),
        ("objects_made", "i8"),
        ("objects_freed", "i8"),
        ("consumed", "i8"),
        ("dropped", "i8"),
        ("frag_frees", "i8"),
        ("live", "i8"),
    ],
)
table(
    "softnet",  # per CPU
    [
        ("skb_count", "i4"),  # structs in the napi cache
        ("defer_queue", "i4"),  # CPU that keeps the packets deferred to this one: itself
        ("defer_list", "i4"),  # newest deferred packet + 1
        ("defer_count", "i4"),
        ("defer_ipi_scheduled", "i4"),
        ("slab_objects", "i4"),  # free sk_buffs that this CPU can take without the node's lock
        ("skb_free", "i4"),  # newest free sk_buff of this CPU's slabs + 1
        ("shinfo_free", "i4"),  # newest free shared info of this CPU's memory + 1
    ],
)
table("coalesced", [("stolen", "i4"), ("delta", "i4")])  # what skb_try_coalesce reports back
table("skb_calls", [("kfree_skb_list", "i8"), ("pskb_pull_tail", "i8"), ("pskb_trim", "i8")])  # addresses
table("napi_skb_cache", "i4")  # [cpu * NAPI_SKB_CACHE_SIZE + i] -> skb

switch(
    "skb_napi_cache",
    "free_only reuse",
    "the per-CPU cache of sk_buff structs: 64 freed ones that go back in bulk, or one that allocation reuses (v5.12)",
)
switch(
    "skb_small_head",
    "page_frag kmalloc slices",
    "heads of small receive buffers: page fragments, kmalloc (v5.11: a small head no longer pins 32 KiB), or 1 KiB "
    "slices in NAPI (v6.1)",
)
switch(
    "netdev_frag_cache",
    "irqs_off by_context",
    "page fragments outside NAPI: a cache of their own with interrupts off, or that of NAPI except in hard interrupts "
    "(v5.3)",
)
switch(
    "skb_coalesce",
    "any equal unless_cloned not_cloned pool_refs",
    "when skb_try_coalesce mixes pool pages: no rule; equal recycle marks (v5.14); a cloned source counts as unmarked "
    "(v5.18); never from a marked clone (v6.3, backported to 6.1); a marked clone gives pool references (v6.8)",
)
switch(
    "skb_gro_mark",
    "any equal",
    "whether receive offload merges packets with different recycle marks (not from v6.2, backported to 6.1)",
)
switch(
    "skb_defer",
    "never alloc_cpu",
    "whether a packet freed on another CPU waits for the one that allocated it (v5.19)",
)
