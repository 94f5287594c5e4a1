"""sk_buff: the struct, its head, its fragments, and every way they are freed.

In the order of a life: structs and their caches, heads, building, cloning, fragments, release.
Source: net/core/skbuff.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import charge
from ..mm.layout import NAPI_FRAGS, NETDEV_FRAGS, NONE, PAGE_SIZE
from ..mm.page_alloc import compound_head, page_is_pfmemalloc, page_ref_add, put_page
from ..mm.page_frag import SLICE, page_frag_alloc, page_frag_alloc_1k, page_frag_free
from .page_pool import page_pool_return_skb_page
from .skb_layout import (
    MAX_SKB_FRAGS,
    NAPI_SKB_CACHE_BULK,
    NAPI_SKB_CACHE_HALF,
    NAPI_SKB_CACHE_SIZE,
    NET_IP_ALIGN,
    NET_SKB_PAD,
    SHARED_INFO_SIZE,
    SK_BUFF_SIZE,
    SKB_DATAREF_SHIFT,
    SKB_FCLONE_UNAVAILABLE,
    SKB_IN_NAPI_CACHE,
    SKB_IN_SLAB,
    SKB_LIVE,
    SMP_CACHE_BYTES,
)

SKB_DEAD = fault_code("SK-01", "sk_buff {a} is used after its last reference was dropped")
SKB_CONTEXT = fault_code("SK-09", "napi_consume_skb of sk_buff {a} with budget {b} outside softirq")
SKB_FULL = fault_code("SK-04", "sk_buff {a} has no room for fragment {b}")
NO_ROWS = fault_code("emulator", "the table of {a} is full: {b} rows; give the machine more")

SKB_NEXT = 1
SHINFO_ROWS = 2

BULK_STRUCT = cost_point("kmem_cache_bulk_object")  # one sk_buff in a bulk allocation or bulk free


@inlined
def skb_data_align(size: int) -> int:
    """SKB_DATA_ALIGN: round up to cache lines."""
    return (size + SMP_CACHE_BYTES - 1) & ~(SMP_CACHE_BYTES - 1)


@inlined
def skb_with_overhead(size: int) -> int:
    """SKB_WITH_OVERHEAD: what is left of ``size`` when the shared info is taken off."""
    return size - SHARED_INFO_SIZE


# -- structs ---------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def slab_pop_skb(k: Kernel, cpu: int) -> int:
    """One sk_buff struct off the slab.  NONE: the slab has no more."""
    s = k.slab[0]
    if s.skb_limit != 0:
        if s.skb_limit == 1:
            return NONE
        s.skb_limit -= 1
    skb = s.skb_free - 1
    if skb != NONE:
        s.skb_free = k.skb[skb].next
        return skb
    if s.skb_made >= k.machine[0].skbs:
        fault(k, cpu, NO_ROWS, SKB_NEXT, s.skb_made)
        return NONE
    s.skb_made += 1
    return s.skb_made - 1


@inlined
def slab_push_skb(k: Kernel, skb: int) -> None:
    """A struct back to the slab: last in, first out."""
    s = k.slab[0]
    r = k.skb[skb]
    r.state = SKB_IN_SLAB
    r.next = s.skb_free
    s.skb_free = skb + 1


@kernel_function(inline=True)
def kmem_cache_alloc(k: Kernel, cpu: int) -> int:
    """One sk_buff struct from the slab.  NONE: no memory."""
    skb = slab_pop_skb(k, cpu)
    if skb != NONE:
        k.slab[0].head_allocs += 1
    return skb


@kernel_function
def kmem_cache_free(k: Kernel, cpu: int, skb: int) -> None:
    """One sk_buff struct to the slab."""
    k.slab[0].head_frees += 1
    slab_push_skb(k, skb)


@kernel_function
def kmem_cache_alloc_bulk(k: Kernel, cpu: int, count: int) -> int:
    """``count`` structs into this CPU's napi cache, all or none."""
    s = k.slab[0]
    if s.skb_limit != 0 and s.skb_limit <= count:
        return 0
    base = cpu * NAPI_SKB_CACHE_SIZE
    for i in range(count):
        charge(k, cpu, BULK_STRUCT)
        skb = slab_pop_skb(k, cpu)
        if skb == NONE:
            return i
        k.napi_skb_cache[base + i] = skb
        k.skb[skb].state = SKB_IN_NAPI_CACHE
    s.head_bulk_allocs += count
    return count


@kernel_function
def kmem_cache_free_bulk(k: Kernel, cpu: int, first: int, count: int) -> None:
    """``count`` structs of this CPU's napi cache, from ``first`` on; the first ends on top of the slab's list."""
    base = cpu * NAPI_SKB_CACHE_SIZE
    for i in range(first + count - 1, first - 1, -1):
        charge(k, cpu, BULK_STRUCT)
        slab_push_skb(k, k.napi_skb_cache[base + i])
    k.slab[0].head_bulk_frees += count


@kernel_function(inline=True)
def napi_skb_cache_get(k: Kernel, cpu: int) -> int:
    """A struct from this CPU's cache, refilled 16 at a time (v5.12).  NONE: no memory."""
    n = k.softnet[cpu]
    if n.skb_count == 0:
        n.skb_count = kmem_cache_alloc_bulk(k, cpu, NAPI_SKB_CACHE_BULK)
        if n.skb_count == 0:
            return NONE
    n.skb_count -= 1
    return k.napi_skb_cache[cpu * NAPI_SKB_CACHE_SIZE + n.skb_count]


@kernel_function(name="_kfree_skb_defer", inline=True)
def napi_skb_cache_put(k: Kernel, cpu: int, skb: int) -> None:
    """A freed struct into this CPU's cache.  A full one gives back all (to v5.11) or its upper half."""
    n = k.softnet[cpu]
    k.skb[skb].state = SKB_IN_NAPI_CACHE
    k.napi_skb_cache[cpu * NAPI_SKB_CACHE_SIZE + n.skb_count] = skb
    n.skb_count += 1
    if n.skb_count == NAPI_SKB_CACHE_SIZE:
        kept = NAPI_SKB_CACHE_HALF if k.era[0].skb_napi_cache != 0 else 0
        kmem_cache_free_bulk(k, cpu, kept, NAPI_SKB_CACHE_SIZE - kept)
        n.skb_count = kept


@kernel_function
def __kfree_skb_flush(k: Kernel, cpu: int) -> None:
    """To v5.11, at the end of net_rx_action and net_tx_action: give all cached structs back."""
    n = k.softnet[cpu]
    if n.skb_count > 0:
        kmem_cache_free_bulk(k, cpu, 0, n.skb_count)
        n.skb_count = 0


# -- shared info and small objects -------------------------------------------------------------------------------------


@inlined
def shinfo_take(k: Kernel, cpu: int) -> int:
    """The shared info of a new head (it lies behind the data; here it is a row of its own)."""
    s = k.slab[0]
    row = s.shinfo_free - 1
    if row != NONE:
        s.shinfo_free = k.shinfo[row].next
    elif s.shinfo_made < k.machine[0].skbs:
        row = s.shinfo_made
        s.shinfo_made = row + 1
    else:
        fault(k, cpu, NO_ROWS, SHINFO_ROWS, s.shinfo_made)
        row = 0
    i = k.shinfo[row]
    i.dataref = 1
    i.nr_frags = 0
    i.frag_list = 0
    return row


@inlined
def shinfo_give(k: Kernel, row: int) -> None:
    """The head is gone, and its shared info with it."""
    s = k.slab[0]
    k.shinfo[row].next = s.shinfo_free
    s.shinfo_free = row + 1


@kernel_function(traced=False)
def kmalloc_size(size: int) -> int:
    """Size of the small object that a request of ``size`` bytes gets."""
    if size > 8192:
        pages = 4
        while pages * PAGE_SIZE < size:
            pages *= 2
        return pages * PAGE_SIZE
    if size > 64 and size <= 96:
        return 96
    if size > 128 and size <= 192:
        return 192
    rounded = 8
    while rounded < size:
        rounded *= 2
    return rounded


@kernel_function
def kmalloc(k: Kernel, cpu: int, size: int) -> int:
    """A small object of at least ``size`` bytes.  NONE: no memory."""
    s = k.slab[0]
    if s.object_limit != 0:
        if s.object_limit == 1:
            return NONE
        s.object_limit -= 1
    made = s.object_free - 1
    if made != NONE:
        s.object_free = k.object[made].next
    elif s.object_made < k.machine[0].skbs:
        made = s.object_made
        s.object_made = made + 1
    else:
        fault(k, cpu, NO_ROWS, SHINFO_ROWS, s.object_made)
        return NONE
    o = k.object[made]
    o.size = kmalloc_size(size)
    o.live = 1
    o.serial = s.object_serial
    s.object_serial += 1
    s.objects_made += 1
    return made


@kernel_function
def kfree(k: Kernel, cpu: int, made: int) -> None:
    """A small object back."""
    s = k.slab[0]
    o = k.object[made]
    o.live = 0
    o.next = s.object_free
    s.object_free = made + 1
    s.objects_freed += 1


# -- building ------------------------------------------------------------------------------------------------------------


@inlined
def skb_init(k: Kernel, cpu: int, skb: int, size: int) -> None:
    """__build_skb_around: a struct over a head of ``size`` bytes, the shared info included."""
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


@kernel_function(inline=True)
def __build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """A struct from the slab around page memory.  NONE: no memory, and the caller still owns the page."""
    skb = kmem_cache_alloc(k, cpu)
    if skb != NONE:
        skb_init(k, cpu, skb, size)
        skb_set_page_head(k, skb, pfn, offset)
    return skb


@kernel_function(entry=True, inline=True)
def build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """An skb around ``size`` bytes (shared info included) at ``offset`` in a page; takes over one reference of it."""
    return __build_skb(k, cpu, pfn, offset, size)


@kernel_function(entry=True, inline=True)
def napi_build_skb(k: Kernel, cpu: int, pfn: int, offset: int, size: int) -> int:
    """The same with the struct from this CPU's cache (v5.12); before that, the same as build_skb."""
    if k.era[0].skb_napi_cache == 0:
        return __build_skb(k, cpu, pfn, offset, size)
    skb = napi_skb_cache_get(k, cpu)
    if skb != NONE:
        skb_init(k, cpu, skb, size)
        skb_set_page_head(k, skb, pfn, offset)
    return skb


@kernel_function(entry=True)
def __alloc_skb(k: Kernel, cpu: int, size: int, from_napi: int) -> int:
    """An skb with a small object as its head.  NONE: no memory."""
    if from_napi and k.era[0].skb_napi_cache != 0:
        skb = napi_skb_cache_get(k, cpu)
    else:
        skb = kmem_cache_alloc(k, cpu)
    if skb == NONE:
        return NONE
    made = kmalloc(k, cpu, skb_data_align(size) + SHARED_INFO_SIZE)
    if made == NONE:
        kmem_cache_free(k, cpu, skb)
        return NONE
    skb_init(k, cpu, skb, k.object[made].size)
    r = k.skb[skb]
    r.head_page = NONE
    r.head_offset = 0
    r.head_object = made + 1
    r.head_frag = 0
    return skb


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


@kernel_function(traced=False)
def skb_on_fragment(k: Kernel, cpu: int, where: int, size: int, from_napi: int) -> int:
    """An skb around a page fragment at byte address ``where``; the fragment is freed again if there is no struct."""
    if where == NONE:
        return NONE
    pfn = where // PAGE_SIZE
    if from_napi:
        skb = napi_build_skb(k, cpu, pfn, where % PAGE_SIZE, size)
    else:
        skb = __build_skb(k, cpu, pfn, where % PAGE_SIZE, size)
    if skb == NONE:
        page_frag_free(k, cpu, pfn)
    return skb


@kernel_function(entry=True)
def napi_alloc_skb(k: Kernel, cpu: int, length: int) -> int:
    """A receive buffer for ``length`` bytes with NET_SKB_PAD headroom, from NAPI.  NONE: no memory."""
    length += NET_SKB_PAD + NET_IP_ALIGN
    small = length <= skb_with_overhead(SLICE)
    how = k.era[0].skb_small_head
    if length > skb_with_overhead(PAGE_SIZE) or (small and how == 1):
        skb = __alloc_skb(k, cpu, length, 1)
    elif small and how == 2:
        skb = skb_on_fragment(k, cpu, page_frag_alloc_1k(k, cpu), SLICE, 1)
    else:
        size = skb_data_align(length) + SHARED_INFO_SIZE
        skb = skb_on_fragment(k, cpu, page_frag_alloc(k, cpu, NAPI_FRAGS, size), size, 1)
    if skb != NONE:
        skb_reserve(k, skb, NET_SKB_PAD + NET_IP_ALIGN)
    return skb


@kernel_function(name="__netdev_alloc_skb", entry=True)
def netdev_alloc_skb(k: Kernel, cpu: int, length: int) -> int:
    """A receive buffer for ``length`` bytes with NET_SKB_PAD headroom, from any context.  NONE: no memory."""
    length += NET_SKB_PAD
    small = length <= skb_with_overhead(SLICE)
    if length > skb_with_overhead(PAGE_SIZE) or (small and k.era[0].skb_small_head != 0):
        skb = __alloc_skb(k, cpu, length, 0)
    else:
        size = skb_data_align(length) + SHARED_INFO_SIZE
        skb = skb_on_fragment(k, cpu, page_frag_alloc(k, cpu, NETDEV_FRAGS, size), size, 0)
    if skb != NONE:
        skb_reserve(k, skb, NET_SKB_PAD)
    return skb


@kernel_function(traced=False, entry=True)
def skb_mark_for_recycle(k: Kernel, cpu: int, skb: int) -> None:
    """Head and fragments may go back to their pools when the skb is freed (v5.14)."""
    if k.era[0].pool_skb_recycle != 0:
        k.skb[skb].pp_recycle = 1


# -- sharing -------------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def skb_get(k: Kernel, cpu: int, skb: int) -> int:
    """One more user of the struct."""
    if k.skb[skb].state != SKB_LIVE:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return NONE
    k.skb[skb].users += 1
    return skb


@kernel_function(entry=True)
def skb_clone(k: Kernel, cpu: int, skb: int) -> int:
    """A second struct on the same head.  NONE: no memory."""
    r = k.skb[skb]
    if r.state != SKB_LIVE:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return NONE
    made = kmem_cache_alloc(k, cpu)
    if made == NONE:
        return NONE
    c = k.skb[made]
    c.state = SKB_LIVE
    c.users = 1
    c.shinfo = r.shinfo
    c.head_page = r.head_page
    c.head_offset = r.head_offset
    c.head_object = r.head_object
    c.data = r.data
    c.tail = r.tail
    c.end = r.end
    c.len = r.len
    c.data_len = r.data_len
    c.truesize = r.truesize
    c.fclone = SKB_FCLONE_UNAVAILABLE
    c.head_frag = r.head_frag
    c.pp_recycle = r.pp_recycle
    c.pfmemalloc = r.pfmemalloc
    c.alloc_cpu = cpu
    c.dev = r.dev
    c.queue = r.queue
    c.packet = r.packet
    c.nohdr = 0
    c.cloned = 1
    r.cloned = 1
    k.shinfo[r.shinfo].dataref += 1
    k.slab[0].live += 1
    return made


@kernel_function(entry=True)
def skb_add_rx_frag(k: Kernel, cpu: int, skb: int, pfn: int, offset: int, size: int, truesize: int) -> None:
    """Append a fragment; takes over one reference of the page.  ``truesize``: the share of memory it pins."""
    r = k.skb[skb]
    i = k.shinfo[r.shinfo]
    n = i.nr_frags
    if n >= MAX_SKB_FRAGS:
        fault(k, cpu, SKB_FULL, skb, n)
        return
    i.frag_page[n] = pfn
    i.frag_offset[n] = offset
    i.frag_size[n] = size
    i.nr_frags = n + 1
    r.len += size
    r.data_len += size
    r.truesize += truesize
    if page_is_pfmemalloc(k, compound_head(k, pfn)):
        r.pfmemalloc = 1


@kernel_function(traced=False, entry=True)
def skb_frag_ref(k: Kernel, cpu: int, skb: int, index: int) -> None:
    """One more plain reference on the page of a fragment."""
    page_ref_add(k, compound_head(k, k.shinfo[k.skb[skb].shinfo].frag_page[index]), 1)


# -- release -------------------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def skb_release_head_state(k: Kernel, cpu: int, skb: int) -> None:
    """Drop route, destructor, connection tracking: none are modelled, their check is."""


@kernel_function(inline=True)
def skb_free_frag(k: Kernel, cpu: int, pfn: int) -> None:
    """A head that is page memory and no pool's."""
    k.slab[0].frag_frees += 1
    page_frag_free(k, cpu, pfn)


@kernel_function(inline=True)
def skb_free_head(k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
    """The head goes to its pool, to the page allocator, or to the slab."""
    r = k.skb[skb]
    if r.head_frag:
        if r.pp_recycle and page_pool_return_skb_page(k, cpu, r.head_page, napi_safe):
            return
        skb_free_frag(k, cpu, r.head_page)
    else:
        kfree(k, cpu, r.head_object - 1)


@kernel_function
def __skb_frag_unref(k: Kernel, cpu: int, pfn: int, recycle: int, napi_safe: int) -> None:
    """Drop a fragment: to its pool if the skb is marked and the page is signed, else a plain reference."""
    if recycle and page_pool_return_skb_page(k, cpu, pfn, napi_safe):
        return
    put_page(k, cpu, pfn)


@kernel_function(inline=True)
def skb_release_data(k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
    """Drop this struct's share of the data; the last one frees fragments and head."""
    r = k.skb[skb]
    i = k.shinfo[r.shinfo]
    if r.cloned:
        i.dataref -= ((1 << SKB_DATAREF_SHIFT) + 1) if r.nohdr else 1
        if i.dataref != 0:
            r.pp_recycle = 0
            return
    for n in range(i.nr_frags):
        __skb_frag_unref(k, cpu, i.frag_page[n], r.pp_recycle, napi_safe)
    skb_free_head(k, cpu, skb, napi_safe)
    shinfo_give(k, r.shinfo)
    r.pp_recycle = 0


@inlined
def skb_release_all(k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
    """Everything but the struct."""
    skb_release_head_state(k, cpu, skb)
    skb_release_data(k, cpu, skb, napi_safe)
    k.slab[0].live -= 1


@kernel_function(inline=True)
def __kfree_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Free an skb whose last user is gone."""
    skb_release_all(k, cpu, skb, 0)
    kmem_cache_free(k, cpu, skb)


@inlined
def skb_unref(k: Kernel, cpu: int, skb: int) -> bool:
    """Drop one user; True for the last."""
    r = k.skb[skb]
    if r.state != SKB_LIVE or r.users <= 0:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return False
    r.users -= 1
    return r.users == 0


@kernel_function(entry=True)
def kfree_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Drop one user; the packet counts as dropped."""
    if skb_unref(k, cpu, skb):
        k.slab[0].dropped += 1
        __kfree_skb(k, cpu, skb)


@kernel_function(entry=True)
def consume_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Drop one user; the packet counts as delivered."""
    if skb_unref(k, cpu, skb):
        k.slab[0].consumed += 1
        __kfree_skb(k, cpu, skb)


@kernel_function(entry=True)
def napi_consume_skb(k: Kernel, cpu: int, skb: int, budget: int) -> None:
    """Drop one user from a poll loop: the struct goes to this CPU's cache.  Budget 0 means: not in NAPI."""
    if budget == 0:
        consume_skb(k, cpu, skb)
        return
    c = k.cpu[cpu]
    if c.serving_softirq == 0 and c.bh_disabled == 0:
        fault(k, cpu, SKB_CONTEXT, skb, budget)
        return
    if not skb_unref(k, cpu, skb):
        return
    k.slab[0].consumed += 1
    skb_release_all(k, cpu, skb, 1)
    napi_skb_cache_put(k, cpu, skb)
