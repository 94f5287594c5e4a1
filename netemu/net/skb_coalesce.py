"""Two packets into one: skb_try_coalesce on the way to a socket, skb_gro_receive in the driver's poll loop.

Source: net/core/skbuff.c (skb_try_coalesce, kfree_skb_partial, napi_skb_free_stolen_head) and net/core/gro.c
(skb_gro_receive, napi_skb_finish), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import PAGE_SIZE
from ..mm.page_alloc import compound_head
from .skb_alloc import skb_put, skb_truesize
from .skb_clone import skb_cloned, skb_frag_ref
from .skb_copy import skb_headlen
from .skb_data import skb_fill_page_desc, skb_tailroom
from .skb_layout import (
    GRO_MAX_SIZE,
    MAX_SKB_FRAGS,
    NAPI_GRO_FREE,
    NAPI_GRO_FREE_STOLEN_HEAD,
    NAPI_GRO_KEPT,
    SK_BUFF_SIZE,
    SKB_DATAREF_SHIFT,
    SKB_FCLONE_UNAVAILABLE,
)
from .skb_release import __kfree_skb, abandon_head, kfree_skb_defer, skb_release_head_state
from .skb_slab import copy_frags, kfree_skbmem, napi_skb_cache_put

E2BIG = -7
ETOOMANYREFS = -109


@inlined
def skb_head_offset(k: Kernel, skb: int) -> int:
    """Where the data starts, from the start of the page or block that the head lies in."""
    r = k.skb[skb]
    return (r.head_page - compound_head(k, r.head_page)) * PAGE_SIZE + r.head_offset + r.data


@kernel_function(traced=False)
def append_frags(k: Kernel, source: int, target: int) -> None:
    """The fragments of one shared info behind those of another."""
    base = k.shinfo[target].nr_frags
    count = k.shinfo[source].nr_frags
    copy_frags(k, source, count, target, base)
    k.shinfo[target].nr_frags = base + count


# -- coalescing -------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def marks_can_mix(k: Kernel, to: int, source: int) -> bool:
    """May the pages of ``source`` become those of ``to``?  The rule about recycle marks, release by release."""
    how = k.era[0].skb_coalesce
    ours = k.skb[to].pp_recycle
    theirs = k.skb[source].pp_recycle
    if how == 0:
        return True
    if how == 2:
        return ours == (1 if theirs != 0 and not skb_cloned(k, source) else 0)
    if how == 3 and theirs != 0 and skb_cloned(k, source):
        return False
    return ours == theirs


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_ref_page(k: Kernel, cpu: int, pfn: int) -> None:
    """One more share of a pool page (v6.8): it comes back to the pool as a fragment does."""
    k.pages[pfn].frag_count += 1


@kernel_function(traced=False)
def share_moved_frags(k: Kernel, cpu: int, source: int) -> None:
    """The clones of ``source`` keep its fragments: references for those that were moved."""
    row = k.skb[source].shinfo
    for n in range(k.shinfo[row].nr_frags):
        pfn = compound_head(k, k.frags[row].page[n])
        if k.era[0].skb_coalesce == 4 and k.skb[source].pp_recycle != 0 and k.pages[pfn].pp != 0:
            page_pool_ref_page(k, cpu, pfn)
        else:
            skb_frag_ref(k, cpu, source, n)


@kernel_function(entry=True, rare=True)
def skb_try_coalesce(k: Kernel, cpu: int, to: int, source: int) -> int:
    """Append ``source`` to ``to``; 1 if that was possible.

    ``k.coalesced`` then says whether the head of ``source`` was taken, and what was added to the true size.
    """
    a = k.skb[source]
    report = k.coalesced[0]
    report.stolen = 0
    report.delta = 0
    if skb_cloned(k, to) or not marks_can_mix(k, to, source):
        return 0
    if a.len <= skb_tailroom(k, to):
        skb_put(k, to, a.len)
        return 1
    i = k.shinfo[k.skb[to].shinfo]
    j = k.shinfo[a.shinfo]
    if i.frag_list != 0 or j.frag_list != 0:
        return 0
    linear = skb_headlen(k, source)
    if linear != 0:
        if i.nr_frags + j.nr_frags >= MAX_SKB_FRAGS or a.head_frag == 0 or skb_cloned(k, source):
            return 0
        report.delta = a.truesize - SK_BUFF_SIZE
        report.stolen = 1
        page = compound_head(k, a.head_page)
        skb_fill_page_desc(k, to, i.nr_frags, page, skb_head_offset(k, source), linear)
    else:
        if i.nr_frags + j.nr_frags > MAX_SKB_FRAGS:
            return 0
        report.delta = a.truesize - skb_truesize(a.end)
    append_frags(k, a.shinfo, k.skb[to].shinfo)
    if skb_cloned(k, source):
        share_moved_frags(k, cpu, source)
    else:
        j.nr_frags = 0
    r = k.skb[to]
    r.truesize += report.delta
    r.len += a.len
    r.data_len += a.len
    return 1


@kernel_function(entry=True, rare=True)
def kfree_skb_partial(k: Kernel, cpu: int, skb: int, stolen: int) -> None:
    """Free what coalescing has left: all, or the struct alone if the head was taken."""
    if stolen:
        skb_release_head_state(k, cpu, skb)
        abandon_head(k, skb)
        k.slab[0].live -= 1
        kfree_skbmem(k, cpu, skb)
    else:
        __kfree_skb(k, cpu, skb)


# -- receive offload --------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True, rare=True)
def gro_start(k: Kernel, cpu: int, skb: int) -> None:
    """A packet reaches receive offload: one segment, the last of its own list."""
    g = k.gro_cb[skb]
    g.count = 1
    g.last = skb
    g.free = NAPI_GRO_KEPT


@kernel_function(traced=False)
def gro_move_frags(k: Kernel, last: int, skb: int, offset: int) -> int:
    """All data is in fragments: they move.  Returns the true size that goes with them."""
    r = k.skb[skb]
    row = k.skb[last].shinfo
    first = k.shinfo[row].nr_frags
    append_frags(k, r.shinfo, row)
    k.frags[row].offset[first] += offset
    k.frags[row].size[first] -= offset
    k.shinfo[r.shinfo].nr_frags = 0
    left = skb_truesize(r.end)
    moved = r.truesize - left
    r.truesize = left
    r.len -= r.data_len
    r.data_len = 0
    k.gro_cb[skb].free = NAPI_GRO_FREE
    return moved


@kernel_function(traced=False)
def gro_steal_head(k: Kernel, last: int, skb: int, offset: int) -> int:
    """The head, a page fragment, becomes a fragment, and the others follow.  Returns the true size that goes along."""
    r = k.skb[skb]
    row = k.skb[last].shinfo
    n = k.shinfo[row].nr_frags
    f = k.frags[row]
    f.page[n] = compound_head(k, r.head_page)
    f.offset[n] = skb_head_offset(k, skb) + offset
    f.size[n] = skb_headlen(k, skb) - offset
    k.shinfo[row].nr_frags = n + 1
    append_frags(k, r.shinfo, row)
    moved = r.truesize - SK_BUFF_SIZE
    r.truesize = SK_BUFF_SIZE
    k.gro_cb[skb].free = NAPI_GRO_FREE_STOLEN_HEAD
    return moved


@kernel_function(traced=False)
def gro_hang_on(k: Kernel, p: int, skb: int, offset: int) -> int:
    """Neither is possible: the packet itself goes on the fragment list.  Returns its true size."""
    r = k.skb[skb]
    moved = r.truesize
    beyond = offset - skb_headlen(k, skb)
    if beyond > 0:
        f = k.frags[r.shinfo]
        f.offset[0] += beyond
        f.size[0] -= beyond
        r.data_len -= beyond
        r.len -= beyond
        offset -= beyond
    r.len -= offset
    r.data += offset
    last = k.gro_cb[p].last
    r.next = 0
    if last == p:
        k.shinfo[k.skb[p].shinfo].frag_list = skb + 1
    else:
        k.skb[last].next = skb + 1
    k.gro_cb[p].last = skb
    r.nohdr = 1
    k.shinfo[r.shinfo].dataref = 1 + (1 << SKB_DATAREF_SHIFT)
    return moved


@kernel_function(entry=True, rare=True)
def skb_gro_receive(k: Kernel, cpu: int, p: int, skb: int, offset: int) -> int:
    """Merge ``skb``, past ``offset`` header bytes, into the packet ``p``; 0 or a negative error number."""
    r = k.skb[skb]
    length = r.len - offset
    if k.era[0].skb_gro_mark != 0 and k.skb[p].pp_recycle != r.pp_recycle:
        return ETOOMANYREFS
    if k.skb[p].len + length >= GRO_MAX_SIZE:
        return E2BIG
    last = k.gro_cb[p].last
    linear = skb_headlen(k, skb)
    total = k.shinfo[k.skb[last].shinfo].nr_frags + k.shinfo[r.shinfo].nr_frags
    if linear <= offset and total <= MAX_SKB_FRAGS:
        moved = gro_move_frags(k, last, skb, offset - linear)
    elif linear > offset and r.head_frag and total + 1 <= MAX_SKB_FRAGS:
        moved = gro_steal_head(k, last, skb, offset)
    else:
        moved = gro_hang_on(k, p, skb, offset)
        last = p
    k.gro_cb[p].count += k.gro_cb[skb].count
    k.skb[p].len += length
    k.skb[p].data_len += length
    k.skb[p].truesize += moved
    if last != p:
        k.skb[last].len += length
        k.skb[last].data_len += length
        k.skb[last].truesize += moved
    return 0


@kernel_function(entry=True, rare=True)
def napi_skb_free_stolen_head(k: Kernel, cpu: int, skb: int) -> None:
    """The head has been taken: the struct goes to this CPU's cache."""
    abandon_head(k, skb)
    k.slab[0].live -= 1
    napi_skb_cache_put(k, cpu, skb)


@kernel_function(traced=False, entry=True, rare=True)
def napi_skb_finish(k: Kernel, cpu: int, skb: int) -> int:
    """What the poll loop does with a merged packet: nothing (0) if it hangs on the list, else free the rest (1)."""
    free = k.gro_cb[skb].free
    if free == NAPI_GRO_KEPT:
        return 0
    if free == NAPI_GRO_FREE_STOLEN_HEAD:
        napi_skb_free_stolen_head(k, cpu, skb)
    elif k.skb[skb].fclone != SKB_FCLONE_UNAVAILABLE:
        __kfree_skb(k, cpu, skb)
    else:
        kfree_skb_defer(k, cpu, skb)
    return 1
