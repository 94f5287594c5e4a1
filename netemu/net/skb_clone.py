"""Sharing packets: more users of a struct, more structs on the same data, one struct turned into another.

Source: net/core/skbuff.c (skb_clone, __skb_clone, skb_morph) and linux/skbuff.h (skb_get, skb_cloned), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE
from ..mm.page_alloc import compound_head, page_ref_add
from .skb_layout import (
    SKB_DATAREF_MASK,
    SKB_FCLONE_CLONE,
    SKB_FCLONE_ORIG,
    SKB_FCLONE_UNAVAILABLE,
    SKB_LIVE,
)
from .skb_release import SKB_DEAD, skb_release_all
from .skb_slab import kmem_cache_alloc, pair_of


@inlined
def skb_cloned(k: Kernel, skb: int) -> bool:
    """Do other structs look at the same data?"""
    r = k.skb[skb]
    return r.cloned != 0 and (k.shinfo[r.shinfo].dataref & SKB_DATAREF_MASK) != 1


@kernel_function(traced=False, entry=True, rare=True)
def skb_get(k: Kernel, cpu: int, skb: int) -> int:
    """One more user of the struct."""
    if k.skb[skb].state != SKB_LIVE:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return NONE
    k.skb[skb].users += 1
    return skb


@kernel_function(traced=False, entry=True, rare=True)
def skb_frag_ref(k: Kernel, cpu: int, skb: int, index: int) -> None:
    """One more plain reference on the page of a fragment."""
    page_ref_add(k, cpu, compound_head(k, k.frags[k.skb[skb].shinfo].page[index]), 1)


@kernel_function(traced=False)
def skb_clone_fraglist(k: Kernel, skb: int) -> None:
    """One more user of each packet on the fragment list."""
    entry = k.shinfo[k.skb[skb].shinfo].frag_list - 1
    while entry != NONE:
        k.skb[entry].users += 1
        entry = k.skb[entry].next - 1


@kernel_function(traced=False)
def __copy_skb_header(k: Kernel, made: int, skb: int) -> None:
    """What describes the packet and not its memory."""
    r = k.skb[skb]
    c = k.skb[made]
    c.alloc_cpu = r.alloc_cpu
    c.dev = r.dev
    c.queue = r.queue
    k.skb_packet[made] = k.skb_packet[skb]


@kernel_function(traced=False)
def __skb_clone(k: Kernel, made: int, skb: int) -> int:
    """Let the struct ``made`` look at the data of ``skb``."""
    r = k.skb[skb]
    c = k.skb[made]
    __copy_skb_header(k, made, skb)
    c.state = SKB_LIVE
    c.users = 1
    c.next = 0
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
    c.head_frag = r.head_frag
    c.pp_recycle = r.pp_recycle
    c.pfmemalloc = r.pfmemalloc
    c.nohdr = 0
    c.cloned = 1
    r.cloned = 1
    k.shinfo[r.shinfo].dataref += 1
    return made


@kernel_function(entry=True, rare=True)
def skb_clone(k: Kernel, cpu: int, skb: int) -> int:
    """A second struct on the same data: the unused companion of a pair, else one from the slab.  NONE: no memory."""
    r = k.skb[skb]
    if r.state != SKB_LIVE:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return NONE
    if r.fclone == SKB_FCLONE_ORIG and k.fclones[pair_of(k, skb)].refs == 1:
        made = skb + 1
        k.fclones[pair_of(k, skb)].refs = 2
        k.skb[made].fclone = SKB_FCLONE_CLONE
    else:
        made = kmem_cache_alloc(k, cpu)
        if made == NONE:
            return NONE
        k.skb[made].fclone = SKB_FCLONE_UNAVAILABLE
    k.slab[0].live += 1
    return __skb_clone(k, made, skb)


@kernel_function(entry=True, rare=True)
def skb_morph(k: Kernel, cpu: int, skb: int, source: int) -> int:
    """``skb`` drops what it has and becomes a clone of ``source``."""
    skb_release_all(k, cpu, skb, 0)
    return __skb_clone(k, skb, source)
