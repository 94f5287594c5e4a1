"""New heads: expanding or unsharing the head of a packet, and copying packets.

Source: net/core/skbuff.c (pskb_expand_head, __skb_unclone_keeptruesize, skb_copy, __pskb_copy_fclone,
skb_copy_expand, skb_realloc_headroom), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE
from .skb_alloc import alloc_skb, skb_data_align, skb_put, skb_reserve, skb_set_object_head
from .skb_clone import __copy_skb_header, skb_clone, skb_clone_fraglist, skb_cloned, skb_frag_ref
from .skb_layout import SHARED_INFO_SIZE
from .skb_release import kfree_skb, skb_free_head, skb_release_data
from .skb_slab import kmalloc, shinfo_copy, shinfo_take

ENOMEM = -12


@inlined
def skb_headlen(k: Kernel, skb: int) -> int:
    """Bytes of linear data."""
    r = k.skb[skb]
    return r.len - r.data_len


@kernel_function(traced=False)
def skb_share_frags(k: Kernel, cpu: int, skb: int) -> None:
    """Plain references on all fragments and users on the fragment list, for a second shared info that names them."""
    for n in range(k.shinfo[k.skb[skb].shinfo].nr_frags):
        skb_frag_ref(k, cpu, skb, n)
    skb_clone_fraglist(k, skb)


# -- one packet -------------------------------------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def pskb_expand_head(k: Kernel, cpu: int, skb: int, nhead: int, ntail: int) -> int:
    """A private head with ``nhead`` bytes more in front and ``ntail`` more behind; 0, or -ENOMEM and no change."""
    r = k.skb[skb]
    made = kmalloc(k, cpu, skb_data_align(r.end + nhead + ntail) + SHARED_INFO_SIZE)
    if made == NONE:
        return ENOMEM
    if skb_cloned(k, skb):
        row = shinfo_take(k, cpu)
        shinfo_copy(k, r.shinfo, row)
        skb_share_frags(k, cpu, skb)
        skb_release_data(k, cpu, skb, 0)
        r.shinfo = row
    else:
        skb_free_head(k, cpu, skb, 0)
    size = k.object[made].size - SHARED_INFO_SIZE
    skb_set_object_head(k, skb, made)
    k.shinfo[r.shinfo].dataref = 1
    r.truesize += size - r.end
    r.end = size
    r.data += nhead
    r.tail += nhead
    r.cloned = 0
    r.nohdr = 0
    return 0


@kernel_function(traced=False, entry=True, rare=True)
def skb_unclone(k: Kernel, cpu: int, skb: int) -> int:
    """A private head, if it is shared; 0 or -ENOMEM."""
    if skb_cloned(k, skb):
        return pskb_expand_head(k, cpu, skb, 0, 0)
    return 0


@kernel_function(name="__skb_unclone_keeptruesize")
def unclone_keeptruesize(k: Kernel, cpu: int, skb: int) -> int:
    """A private head that counts and ends as the old one did, whatever its size; 0 or -ENOMEM."""
    r = k.skb[skb]
    end = r.end
    truesize = r.truesize
    result = pskb_expand_head(k, cpu, skb, 0, 0)
    if result == 0:
        r.end = end
        r.truesize = truesize
    return result


@kernel_function(traced=False, entry=True, rare=True)
def skb_unclone_keeptruesize(k: Kernel, cpu: int, skb: int) -> int:
    """The same, if the head is shared."""
    if skb_cloned(k, skb):
        return unclone_keeptruesize(k, cpu, skb)
    return 0


# -- copies -----------------------------------------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def skb_copy(k: Kernel, cpu: int, skb: int) -> int:
    """A copy of the packet and all its data, linear.  NONE: no memory."""
    r = k.skb[skb]
    made = alloc_skb(k, cpu, r.end + r.data_len, 0)
    if made != NONE:
        skb_reserve(k, made, r.data)
        skb_put(k, made, r.len)
        __copy_skb_header(k, made, skb)
    return made


@kernel_function(name="__pskb_copy_fclone", entry=True, rare=True)
def pskb_copy(k: Kernel, cpu: int, skb: int) -> int:
    """A copy of the linear data with the fragments shared.  NONE: no memory."""
    r = k.skb[skb]
    linear = skb_headlen(k, skb)
    made = alloc_skb(k, cpu, linear + r.data, 0)
    if made == NONE:
        return NONE
    c = k.skb[made]
    skb_reserve(k, made, r.data)
    skb_put(k, made, linear)
    c.truesize += r.data_len
    c.data_len = r.data_len
    c.len = r.len
    shinfo_copy(k, r.shinfo, c.shinfo)
    skb_share_frags(k, cpu, made)
    __copy_skb_header(k, made, skb)
    return made


@kernel_function(entry=True, rare=True)
def skb_copy_expand(k: Kernel, cpu: int, skb: int, headroom: int, tailroom: int) -> int:
    """A linear copy with room of its own in front and behind.  NONE: no memory."""
    length = k.skb[skb].len
    made = alloc_skb(k, cpu, headroom + length + tailroom, 0)
    if made != NONE:
        skb_reserve(k, made, headroom)
        skb_put(k, made, length)
        __copy_skb_header(k, made, skb)
    return made


@kernel_function(entry=True, rare=True)
def skb_realloc_headroom(k: Kernel, cpu: int, skb: int, headroom: int) -> int:
    """A packet with a private head and at least ``headroom`` bytes in front of the data.  NONE: no memory."""
    missing = headroom - k.skb[skb].data
    if missing <= 0:
        return pskb_copy(k, cpu, skb)
    made = skb_clone(k, cpu, skb)
    if made != NONE and pskb_expand_head(k, cpu, made, skb_data_align(missing), 0) != 0:
        kfree_skb(k, cpu, made)
        made = NONE
    return made
