"""Making packets: build_skb around page memory, alloc_skb around kmalloc memory, receive buffers from fragment caches.

Source: net/core/skbuff.c (build_skb, napi_build_skb, __alloc_skb, __napi_alloc_skb, __netdev_alloc_skb), v4.19 to
v6.12.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NAPI_FRAGS, NAPI_SLICES, NETDEV_FRAGS, NONE, NR_FRAG_CACHES, PAGE_SIZE
from ..mm.page_alloc import compound_head, page_is_pfmemalloc
from ..mm.page_frag import SLICE, page_frag_alloc, page_frag_alloc_1k
from .skb_layout import (
    NET_IP_ALIGN,
    NET_SKB_PAD,
    SHARED_INFO_SIZE,
    SK_BUFF_SIZE,
    SKB_ALLOC_FCLONE,
    SKB_ALLOC_NAPI,
    SKB_FCLONE_ORIG,
    SKB_FCLONE_UNAVAILABLE,
    SKB_LIVE,
    SMP_CACHE_BYTES,
)
from .skb_release import skb_free_frag
from .skb_slab import (
    alloc_fclones,
    free_fclones,
    kfree,
    kmalloc,
    kmem_cache_alloc,
    kmem_cache_free,
    napi_skb_cache_get,
    pair_of,
    shinfo_take,
    touch_skb,
)

# -- sizes and the data window ----------------------------------------------------------------------------------------


@inlined
def skb_data_align(size: int) -> int:
    """SKB_DATA_ALIGN: round up to cache lines."""
    return (size + SMP_CACHE_BYTES - 1) & ~(SMP_CACHE_BYTES - 1)


@inlined
def skb_with_overhead(size: int) -> int:
    """SKB_WITH_OVERHEAD: what is left of ``size`` when the shared info is taken off."""
    return size - SHARED_INFO_SIZE


@inlined
def skb_truesize(size: int) -> int:
    """SKB_TRUESIZE: memory behind a packet of ``size`` linear bytes."""
    return size + SK_BUFF_SIZE + SHARED_INFO_SIZE


@inlined
def skb_reserve(k: Kernel, skb: int, n: int) -> None:
    """Headroom for an empty buffer."""
    r = k.skb[skb]
    r.data += n
    r.tail += n


@inlined
def skb_put(k: Kernel, skb: int, n: int) -> None:
    """``n`` bytes of linear data at the end."""
    r = k.skb[skb]
    r.tail += n
    r.len += n


# -- structs around heads ---------------------------------------------------------------------------------------------


@inlined
def skb_init(k: Kernel, cpu: int, skb: int, size: int) -> None:
    """__build_skb_around: a struct over a head of ``size`` bytes, the shared info included."""
    touch_skb(k, cpu, skb)
    r = k.skb[skb]
    r.state = SKB_LIVE
    r.users = 1
    r.shinfo = shinfo_take(k, cpu)
    r.data = 0
    r.tail = 0
    r.end = size - SHARED_INFO_SIZE
    r.len = 0
    r.data_len = 0
    r.truesize = size + SK_BUFF_SIZE
    r.cloned = 0
    r.nohdr = 0
    r.fclone = SKB_FCLONE_UNAVAILABLE
    r.pp_recycle = 0
    r.pfmemalloc = 0
    r.alloc_cpu = cpu
    k.slab[0].live += 1


@inlined
def skb_set_object_head(k: Kernel, skb: int, made: int) -> None:
    """The head is a small object."""
    r = k.skb[skb]
    r.head_page = NONE
    r.head_offset = 0
    r.head_object = made + 1
    r.head_frag = 0


@inlined
def skb_set_page_head(k: Kernel, skb: int, pfn: int, offset: int) -> None:
    """The head is page memory."""
    r = k.skb[skb]
    head = compound_head(k, pfn)
    r.head_page = pfn
    r.head_offset = offset
    r.head_object = 0
    r.head_frag = 1
    if page_is_pfmemalloc(k, head):
        r.pfmemalloc = 1


@inlined
def around_page(k: Kernel, cpu: int, skb: int, pfn: int, offset: int, size: int) -> int:
    """A struct, if there is one, around page memory."""
    if skb != NONE:
        skb_init(k, cpu, skb, size)
        skb_set_page_head(k, skb, pfn, offset)
    return skb


@kernel_function(inline=True)
def __build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """A struct from the slab around page memory.  NONE: no memory, and the caller still owns the page."""
    return around_page(k, cpu, kmem_cache_alloc(k, cpu), pfn, offset, size)


@kernel_function(inline=True)
def build_skb_around(k: Kernel, cpu: int, skb: int, pfn: int, offset: int, size: int) -> int:
    """The caller's struct around page memory (v5.2).  NONE: the caller has none, and still owns the page."""
    return around_page(k, cpu, skb, pfn, offset, size)


@kernel_function(entry=True, rare=True, inline=True)
def build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """An skb around ``size`` bytes (shared info included) at ``offset`` in a page; takes over one reference of it."""
    return __build_skb(k, cpu, pfn, offset, size)


@kernel_function(entry=True, rare=True, inline=True)
def napi_build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """The same with the struct from this CPU's cache (v5.12); before that, the same as build_skb."""
    if k.era[0].skb_napi_cache == 0:
        return __build_skb(k, cpu, pfn, offset, size)
    return around_page(k, cpu, napi_skb_cache_get(k, cpu), pfn, offset, size)


@kernel_function(traced=False, entry=True, rare=True)
def build_skb_kmalloc(k: Kernel, cpu: int, size: int) -> int:
    """``build_skb`` around a fresh small object of ``size`` bytes, which is freed again if there is no struct."""
    made = kmalloc(k, cpu, size)
    if made == NONE:
        return NONE
    skb = kmem_cache_alloc(k, cpu)
    if skb == NONE:
        kfree(k, cpu, made)
        return NONE
    skb_init(k, cpu, skb, k.object[made].size)
    skb_set_object_head(k, skb, made)
    return skb


@kernel_function(name="__alloc_skb", entry=True, rare=True)
def alloc_skb(k: Kernel, cpu: int, size: int, flags: int) -> int:
    """An skb with a small object as its head; ``flags``: SKB_ALLOC_FCLONE, SKB_ALLOC_NAPI.  NONE: no memory."""
    if flags & SKB_ALLOC_FCLONE:
        skb = alloc_fclones(k, cpu)
    elif flags & SKB_ALLOC_NAPI and k.era[0].skb_napi_cache != 0:
        skb = napi_skb_cache_get(k, cpu)
    else:
        skb = kmem_cache_alloc(k, cpu)
    if skb == NONE:
        return NONE
    made = kmalloc(k, cpu, skb_data_align(size) + SHARED_INFO_SIZE)
    if made == NONE:
        if flags & SKB_ALLOC_FCLONE:
            free_fclones(k, cpu, pair_of(k, skb))
        else:
            kmem_cache_free(k, cpu, skb)
        return NONE
    skb_init(k, cpu, skb, k.object[made].size)
    skb_set_object_head(k, skb, made)
    if flags & SKB_ALLOC_FCLONE:
        k.skb[skb].fclone = SKB_FCLONE_ORIG
    return skb


# -- receive buffers --------------------------------------------------------------------------------------------------


@inlined
def netdev_frags(k: Kernel, cpu: int) -> int:
    """The page fragment cache of allocations from any context: that of NAPI, except in hard interrupts."""
    if k.era[0].netdev_frag_cache == 0 or k.cpu[cpu].hardirq != 0:
        return NETDEV_FRAGS
    return NAPI_FRAGS


@kernel_function(name="__napi_alloc_frag_align", entry=True, rare=True)
def napi_alloc_frag(k: Kernel, cpu: int, size: int) -> int:
    """A page fragment of ``size`` bytes in NAPI: its byte address (page * 4096 + offset), or NONE."""
    return page_frag_alloc(k, cpu, NAPI_FRAGS, skb_data_align(size))


@kernel_function(name="__netdev_alloc_frag_align", entry=True, rare=True)
def netdev_alloc_frag(k: Kernel, cpu: int, size: int) -> int:
    """The same from any context."""
    return page_frag_alloc(k, cpu, netdev_frags(k, cpu), skb_data_align(size))


@kernel_function(traced=False)
def skb_on_fragment(k: Kernel, cpu: int, cache: int, where: int, size: int, flags: int) -> int:
    """An skb around a fragment of ``cache`` at byte address ``where``, which is freed again if there is no struct."""
    if where == NONE:
        return NONE
    pfn = where // PAGE_SIZE
    if flags & SKB_ALLOC_NAPI:
        skb = napi_build_skb(k, cpu, pfn, where % PAGE_SIZE, size)
    else:
        skb = __build_skb(k, cpu, pfn, where % PAGE_SIZE, size)
    if skb == NONE:
        skb_free_frag(k, cpu, pfn)
        return NONE
    k.skb[skb].pfmemalloc = k.page_frag_cache[cpu * NR_FRAG_CACHES + cache].pfmemalloc
    return skb


@kernel_function(entry=True, rare=True)
def napi_alloc_skb(k: Kernel, cpu: int, length: int) -> int:
    """A receive buffer for ``length`` bytes with NET_SKB_PAD headroom, from NAPI.  NONE: no memory."""
    length += NET_SKB_PAD + NET_IP_ALIGN
    small = length <= skb_with_overhead(SLICE)
    how = k.era[0].skb_small_head
    if length > skb_with_overhead(PAGE_SIZE) or (small and how == 1):
        skb = alloc_skb(k, cpu, length, SKB_ALLOC_NAPI)
    else:
        cache = NAPI_FRAGS
        size = skb_data_align(length) + SHARED_INFO_SIZE
        if small and how == 2:
            cache = NAPI_SLICES
            size = SLICE
            where = page_frag_alloc_1k(k, cpu)
        else:
            where = page_frag_alloc(k, cpu, cache, size)
        skb = skb_on_fragment(k, cpu, cache, where, size, SKB_ALLOC_NAPI)
    if skb != NONE:
        skb_reserve(k, skb, NET_SKB_PAD + NET_IP_ALIGN)
    return skb


@kernel_function(name="__netdev_alloc_skb", entry=True, rare=True)
def netdev_alloc_skb(k: Kernel, cpu: int, length: int) -> int:
    """A receive buffer for ``length`` bytes with NET_SKB_PAD headroom, from any context.  NONE: no memory."""
    length += NET_SKB_PAD
    small = length <= skb_with_overhead(SLICE)
    if length > skb_with_overhead(PAGE_SIZE) or (small and k.era[0].skb_small_head != 0):
        skb = alloc_skb(k, cpu, length, 0)
    else:
        cache = netdev_frags(k, cpu)
        size = skb_data_align(length) + SHARED_INFO_SIZE
        skb = skb_on_fragment(k, cpu, cache, page_frag_alloc(k, cpu, cache, size), size, 0)
    if skb != NONE:
        skb_reserve(k, skb, NET_SKB_PAD)
    return skb


@kernel_function(traced=False, entry=True, rare=True)
def skb_mark_for_recycle(k: Kernel, cpu: int, skb: int) -> None:
    """Head and fragments may go back to their pools when the skb is freed (v5.14)."""
    if k.era[0].pool_skb_recycle != 0:
        k.skb[skb].pp_recycle = 1
