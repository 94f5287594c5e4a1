"""Where sk_buff structs and their heads come from: slabs, the NAPI cache of structs, pairs for fast clones, kmalloc.

Source: net/core/skbuff.c (napi_skb_cache_get, napi_skb_cache_put, kfree_skbmem) and mm/slub.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.cacheline import fetch_line
from ..engine.events import event_kind, tracepoint
from ..engine.faults import fault, fault_code
from ..engine.inject import injected, site
from ..engine.kernel import cost_point, inlined, kernel_function, prefetch
from ..engine.layout import Kernel
from ..engine.path import charge
from ..mm.layout import NONE, PAGE_SIZE
from .skb_layout import (
    NAPI_SKB_CACHE_BULK,
    NAPI_SKB_CACHE_HALF,
    NAPI_SKB_CACHE_SIZE,
    SKB_FCLONE_UNAVAILABLE,
    SKB_IN_NAPI_CACHE,
    SKB_IN_SLAB,
)
from .slab_partial import slab_give, slab_take

SKB_SITE = site("skb")  # structs
DATA_SITE = site("data")  # small objects: heads that are not page memory

NO_ROWS = fault_code("emulator", "the table of {a} is full: {b} rows; give the machine more")

STRUCTS = 1
HEADS = 2
PAIRS = 3

BULK_STRUCT = cost_point("kmem_cache_bulk_object")  # one sk_buff in a bulk allocation or bulk free

HEAD_ALLOC = event_kind("head_alloc")  # (skb)
HEAD_FREE = event_kind("head_free")  # (skb)
HEAD_BULK_ALLOC = event_kind("head_bulk_alloc")  # (skb, position in the array), one for each
HEAD_BULK_FREE = event_kind("head_bulk_free")  # the same
PAIR_ALLOC = event_kind("pair_alloc")  # (pair)
PAIR_FREE = event_kind("pair_free")  # (pair)
KMALLOC = event_kind("kmalloc")  # (serial of the object, its size)
KFREE = event_kind("kfree")  # (serial of the object)


# -- structs ----------------------------------------------------------------------------------------------------------


@inlined
def structs_run_dry(k: Kernel) -> bool:
    """Count one struct against the limit that a test has set; True when nothing is left."""
    s = k.slab[0]
    if injected(k, SKB_SITE):
        return True
    if s.skb_limit == 0:
        return False
    if s.skb_limit == 1:
        return True
    s.skb_limit -= 1
    return False


@kernel_function(traced=False)
def cpu_with_free(k: Kernel, what: int) -> int:
    """A CPU that has free STRUCTS or HEADS.  NONE: there is no more memory."""
    for cpu in range(k.machine[0].cpus):
        n = k.softnet[cpu]
        if (n.skb_free if what == STRUCTS else n.shinfo_free) != 0:
            return cpu
    return NONE


@inlined
def free_skb_of(k: Kernel, home: int) -> int:
    """The newest free struct of a CPU's slabs, which has one."""
    n = k.softnet[home]
    skb = n.skb_free - 1
    n.skb_free = k.skb[skb].next
    prefetch(k.skb, n.skb_free - 1)
    prefetch(k.skb_packet, n.skb_free - 1)
    return skb


@kernel_function(traced=False)
def new_skb(k: Kernel, cpu: int) -> int:
    """A struct for a CPU whose slabs have none: one never used, else one of another CPU's.  NONE: there is no more."""
    s = k.slab[0]
    skb = s.skb_made
    if skb < k.machine[0].skbs:
        s.skb_made = skb + 1
    else:
        other = cpu_with_free(k, STRUCTS)
        if other == NONE:
            fault(k, cpu, NO_ROWS, STRUCTS, skb)
            return NONE
        skb = free_skb_of(k, other)
    k.skb[skb].home = cpu
    return skb


@kernel_function(traced=False)
def slab_pop_skb(k: Kernel, cpu: int) -> int:
    """One sk_buff struct off this CPU's slabs.  NONE: no memory."""
    if structs_run_dry(k):
        return NONE
    return new_skb(k, cpu) if k.softnet[cpu].skb_free == 0 else free_skb_of(k, cpu)


@inlined
def touch_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Write to an sk_buff struct, which another CPU may have written last."""
    k.skb[skb].line = fetch_line(k, cpu, k.skb[skb].line)


@inlined
def touch_shinfo(k: Kernel, cpu: int, row: int) -> None:
    """Write to a shared info, which another CPU may have written last."""
    k.shinfo[row].line = fetch_line(k, cpu, k.shinfo[row].line)


@inlined
def slab_push_skb(k: Kernel, skb: int) -> None:
    """A struct back to the slab that it came from: last in, first out."""
    r = k.skb[skb]
    n = k.softnet[r.home]
    r.state = SKB_IN_SLAB
    r.next = n.skb_free
    n.skb_free = skb + 1


@kernel_function(inline=True)
def kmem_cache_alloc(k: Kernel, cpu: int) -> int:
    """One sk_buff struct from the slab.  NONE: no memory."""
    slab_take(k, cpu)
    skb = slab_pop_skb(k, cpu)
    if skb != NONE:
        k.slab[0].head_allocs += 1
        tracepoint(k, HEAD_ALLOC, skb, 0)
    return skb


@kernel_function
def kmem_cache_free(k: Kernel, cpu: int, skb: int) -> None:
    """One sk_buff struct to the slab."""
    k.slab[0].head_frees += 1
    tracepoint(k, HEAD_FREE, skb, 0)
    slab_give(k, cpu)
    slab_push_skb(k, skb)


@inlined
def original_of(k: Kernel, pair: int) -> int:
    """The original of a pair; the next row is its companion."""
    return k.machine[0].skbs + 2 * pair


@inlined
def pair_of(k: Kernel, skb: int) -> int:
    """The pair that an original or a companion belongs to."""
    return (skb - k.machine[0].skbs) // 2


@kernel_function(name="kmem_cache_alloc")
def alloc_fclones(k: Kernel, cpu: int) -> int:
    """The original of a pair from the fast clone slab, its companion unused.  NONE: no memory."""
    if structs_run_dry(k):
        return NONE
    s = k.slab[0]
    pair = s.pair_free - 1
    if pair != NONE:
        s.pair_free = k.fclones[pair].next
    elif s.pair_made < s.pair_rows:
        pair = s.pair_made
        s.pair_made = pair + 1
    else:
        fault(k, cpu, NO_ROWS, PAIRS, s.pair_made)
        return NONE
    k.fclones[pair].refs = 1
    s.pair_allocs += 1
    tracepoint(k, PAIR_ALLOC, pair, 0)
    return original_of(k, pair)


@kernel_function(name="kmem_cache_free")
def free_fclones(k: Kernel, cpu: int, pair: int) -> None:
    """A pair, both of its structs unused, back to the fast clone slab."""
    s = k.slab[0]
    k.fclones[pair].next = s.pair_free
    s.pair_free = pair + 1
    s.pair_frees += 1
    tracepoint(k, PAIR_FREE, pair, 0)


@kernel_function
def kfree_skbmem(k: Kernel, cpu: int, skb: int) -> None:
    """A struct whose contents are gone back to its slab; a pair only with the second of its two structs."""
    kind = k.skb[skb].fclone
    if kind == SKB_FCLONE_UNAVAILABLE:
        kmem_cache_free(k, cpu, skb)
        return
    k.skb[skb].state = SKB_IN_SLAB
    pair = pair_of(k, skb)
    k.fclones[pair].refs -= 1
    if k.fclones[pair].refs == 0:
        free_fclones(k, cpu, pair)


@inlined
def too_few_structs(k: Kernel, count: int) -> bool:
    """Is there no memory for ``count`` structs at once?"""
    s = k.slab[0]
    return injected(k, SKB_SITE) or (s.skb_limit != 0 and s.skb_limit <= count)


@inlined
def take_bulk_struct(k: Kernel, cpu: int, at: int) -> int:
    """The struct for place ``at`` of a bulk allocation.  NONE: the slab has no more."""
    charge(k, cpu, BULK_STRUCT)
    slab_take(k, cpu)
    skb = slab_pop_skb(k, cpu)
    if skb != NONE:
        tracepoint(k, HEAD_BULK_ALLOC, skb, at)
    return skb


@kernel_function
def kmem_cache_alloc_bulk(k: Kernel, cpu: int, count: int) -> int:
    """``count`` structs into this CPU's napi cache, all or none."""
    if too_few_structs(k, count):
        return 0
    base = cpu * NAPI_SKB_CACHE_SIZE
    for i in range(count):
        skb = take_bulk_struct(k, cpu, i)
        if skb == NONE:
            return i
        k.napi_skb_cache[base + i] = skb
        k.skb[skb].state = SKB_IN_NAPI_CACHE
    k.slab[0].head_bulk_allocs += 1
    return count


@kernel_function(name="kmem_cache_alloc_bulk")
def alloc_struct_list(k: Kernel, cpu: int, count: int) -> int:
    """``count`` structs for the caller, all or none: the first of a list by skb.next.  NONE: no memory."""
    first = NONE
    if too_few_structs(k, count):
        return first
    last = NONE
    for i in range(count):
        skb = take_bulk_struct(k, cpu, i)
        if skb == NONE:
            return first
        k.skb[skb].next = 0
        if first == NONE:
            first = skb
        else:
            k.skb[last].next = skb + 1
        last = skb
    k.slab[0].head_bulk_allocs += 1
    return first


@kernel_function
def kmem_cache_free_bulk(k: Kernel, cpu: int, first: int, count: int) -> None:
    """``count`` structs of this CPU's napi cache, from ``first`` on; the first ends on top of the slab's list."""
    base = cpu * NAPI_SKB_CACHE_SIZE + first
    for i in range(count):
        tracepoint(k, HEAD_BULK_FREE, k.napi_skb_cache[base + i], i)
    for i in range(count - 1, -1, -1):
        charge(k, cpu, BULK_STRUCT)
        slab_give(k, cpu)
        prefetch(k.skb, k.napi_skb_cache[max(base + i - 2, 0)])
        slab_push_skb(k, k.napi_skb_cache[base + i])
    k.slab[0].head_bulk_frees += 1


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


# -- shared info and small objects ------------------------------------------------------------------------------------


@inlined
def free_shinfo_of(k: Kernel, home: int) -> int:
    """The newest free shared info of a CPU, which has one."""
    n = k.softnet[home]
    row = n.shinfo_free - 1
    n.shinfo_free = k.shinfo[row].next
    prefetch(k.shinfo, n.shinfo_free - 1)
    return row


@kernel_function(traced=False)
def new_shinfo(k: Kernel, cpu: int) -> int:
    """A shared info for a CPU that has none: one never used, else one of another CPU's."""
    s = k.slab[0]
    row = s.shinfo_made
    if row < s.head_rows:
        s.shinfo_made = row + 1
    else:
        other = cpu_with_free(k, HEADS)
        if other == NONE:
            fault(k, cpu, NO_ROWS, HEADS, row)
            return 0
        row = free_shinfo_of(k, other)
    k.shinfo[row].home = cpu
    return row


@inlined
def shinfo_take(k: Kernel, cpu: int) -> int:
    """The shared info of a new head (it lies behind the data; here it is a row of its own)."""
    row = new_shinfo(k, cpu) if k.softnet[cpu].shinfo_free == 0 else free_shinfo_of(k, cpu)
    touch_shinfo(k, cpu, row)
    i = k.shinfo[row]
    i.dataref = 1
    i.nr_frags = 0
    i.frag_list = 0
    return row


@inlined
def copy_frags(k: Kernel, source: int, count: int, target: int, base: int) -> None:
    """The first ``count`` fragments of one shared info into another, from number ``base`` on."""
    a = k.frags[source]
    b = k.frags[target]
    for n in range(count):
        b.page[base + n] = a.page[n]
        b.offset[base + n] = a.offset[n]
        b.size[base + n] = a.size[n]


@kernel_function(traced=False)
def shinfo_copy(k: Kernel, source: int, target: int) -> None:
    """Fragments and fragment list of one head for another; who owns the references is the caller's business."""
    a = k.shinfo[source]
    b = k.shinfo[target]
    b.nr_frags = a.nr_frags
    b.frag_list = a.frag_list
    copy_frags(k, source, a.nr_frags, target, 0)


@inlined
def shinfo_give(k: Kernel, row: int) -> None:
    """The head is gone, and its shared info with it."""
    n = k.softnet[k.shinfo[row].home]
    k.shinfo[row].next = n.shinfo_free
    n.shinfo_free = row + 1


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
    if injected(k, DATA_SITE):
        return NONE
    if s.object_limit != 0:
        if s.object_limit == 1:
            return NONE
        s.object_limit -= 1
    made = s.object_free - 1
    if made != NONE:
        s.object_free = k.object[made].next
    elif s.object_made < s.head_rows:
        made = s.object_made
        s.object_made = made + 1
    else:
        fault(k, cpu, NO_ROWS, HEADS, s.object_made)
        return NONE
    o = k.object[made]
    o.size = kmalloc_size(size)
    o.live = 1
    o.serial = s.object_serial
    s.object_serial += 1
    s.objects_made += 1
    tracepoint(k, KMALLOC, o.serial, o.size)
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
    tracepoint(k, KFREE, o.serial, 0)
