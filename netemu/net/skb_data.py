"""The data of a packet: its window, its fragments, and moving bytes between fragments and the linear part.

Source: net/core/skbuff.c (skb_add_rx_frag, pskb_pull_tail, ___pskb_trim, skb_condense), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE
from ..mm.page_alloc import compound_head, page_is_pfmemalloc
from .skb_alloc import skb_truesize
from .skb_clone import skb_clone, skb_cloned
from .skb_copy import ENOMEM, pskb_expand_head, skb_headlen
from .skb_layout import MAX_SKB_FRAGS
from .skb_release import NOT_CONNECTED, __skb_frag_unref, consume_skb, kfree_skb, skb_drop_list

SKB_FULL = fault_code("SK-04", "sk_buff {a} has no room for fragment {b}")


# -- window and fragments ---------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True, rare=True)
def skb_pull(k: Kernel, cpu: int, skb: int, n: int) -> int:
    """Drop ``n`` bytes of linear data in front; 0, or NONE if there are not that many."""
    r = k.skb[skb]
    if n > skb_headlen(k, skb):
        return NONE
    r.len -= n
    r.data += n
    return 0


@kernel_function(traced=False, entry=True, rare=True)
def skb_push(k: Kernel, cpu: int, skb: int, n: int) -> int:
    """``n`` more bytes of linear data in front; 0, or NONE if there is no room."""
    r = k.skb[skb]
    if n > r.data:
        return NONE
    r.data -= n
    r.len += n
    return 0


@inlined
def skb_tailroom(k: Kernel, skb: int) -> int:
    """Bytes that can be appended to the linear data; none when fragments follow it."""
    r = k.skb[skb]
    if r.data_len != 0:
        return 0
    return r.end - r.tail


@inlined
def skb_fill_page_desc(k: Kernel, skb: int, n: int, pfn: int, offset: int, size: int) -> None:
    """Make fragment ``n`` the last one.  An emergency page marks the packet."""
    r = k.skb[skb]
    f = k.frags[r.shinfo]
    f.page[n] = pfn
    f.offset[n] = offset
    f.size[n] = size
    k.shinfo[r.shinfo].nr_frags = n + 1
    if page_is_pfmemalloc(k, compound_head(k, pfn)):
        r.pfmemalloc = 1


@kernel_function(entry=True)
def skb_add_rx_frag(k: Kernel, cpu: int, skb: int, pfn: int, offset: int, size: int, truesize: int) -> None:
    """Append a fragment; takes over one reference of the page.  ``truesize``: the share of memory it pins."""
    r = k.skb[skb]
    n = k.shinfo[r.shinfo].nr_frags
    if n >= MAX_SKB_FRAGS:
        fault(k, cpu, SKB_FULL, skb, n)
        return
    skb_fill_page_desc(k, skb, n, pfn, offset, size)
    r.len += size
    r.data_len += size
    r.truesize += truesize


@kernel_function(traced=False, entry=True, rare=True)
def skb_frag_unref(k: Kernel, cpu: int, skb: int, n: int) -> None:
    """Drop a reference on fragment ``n`` as freeing the packet would."""
    r = k.skb[skb]
    __skb_frag_unref(k, cpu, k.frags[r.shinfo].page[n], r.pp_recycle, 0)


@kernel_function(traced=False, entry=True, rare=True)
def skb_append_list(k: Kernel, cpu: int, skb: int, other: int) -> None:
    """Hang a packet at the end of the fragment list."""
    r = k.skb[skb]
    i = k.shinfo[r.shinfo]
    k.skb[other].next = 0
    if i.frag_list == 0:
        i.frag_list = other + 1
    else:
        last = i.frag_list - 1
        while k.skb[last].next != 0:
            last = k.skb[last].next - 1
        k.skb[last].next = other + 1
    r.len += k.skb[other].len
    r.data_len += k.skb[other].len
    r.truesize += k.skb[other].truesize


# -- pulling ----------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def cut_inside(k: Kernel, cpu: int, call: int, skb: int, n: int) -> int:
    """Call one of ``k.skb_calls`` for a packet on a fragment list, which may have one itself."""
    if call == 0:
        fault(k, cpu, NOT_CONNECTED, skb, 0)
        return ENOMEM
    return indirect(k, call, cpu, skb, n)


@kernel_function(traced=False)
def pskb_pull(k: Kernel, cpu: int, skb: int, n: int) -> int:
    """Drop ``n`` bytes in front, made linear first if need be; 0, or -ENOMEM."""
    missing = n - skb_headlen(k, skb)
    if missing > 0:
        if n > k.skb[skb].len or cut_inside(k, cpu, k.skb_calls[0].pskb_pull_tail, skb, missing) <= 0:
            return ENOMEM
    k.skb[skb].len -= n
    k.skb[skb].data += n
    return 0


@kernel_function(traced=False)
def eat_frag_list(k: Kernel, cpu: int, skb: int, eat: int) -> int:
    """Drop the first ``eat`` bytes of the fragment list, which are linear now; 0, or -ENOMEM and no change."""
    i = k.shinfo[k.skb[skb].shinfo]
    entry = i.frag_list - 1
    kept = NONE
    fork = NONE
    while eat > 0:
        if k.skb[entry].len <= eat:
            eat -= k.skb[entry].len
            entry = k.skb[entry].next - 1
            kept = entry
            continue
        kept = entry
        if k.skb[entry].users != 1:
            fork = skb_clone(k, cpu, entry)
            if fork == NONE:
                return ENOMEM
            kept = k.skb[entry].next - 1
            entry = fork
        if pskb_pull(k, cpu, entry, eat) != 0:
            if fork != NONE:
                kfree_skb(k, cpu, fork)
            return ENOMEM
        break
    while i.frag_list - 1 != kept:
        entry = i.frag_list - 1
        i.frag_list = k.skb[entry].next
        consume_skb(k, cpu, entry)
    if fork != NONE:
        k.skb[fork].next = i.frag_list
        i.frag_list = fork + 1
    return 0


@kernel_function(traced=False)
def eat_frags(k: Kernel, cpu: int, skb: int, eat: int) -> None:
    """Drop the first ``eat`` bytes of the fragments, which are linear now."""
    i = k.shinfo[k.skb[skb].shinfo]
    f = k.frags[k.skb[skb].shinfo]
    kept = 0
    for n in range(i.nr_frags):
        size = f.size[n]
        if size <= eat:
            skb_frag_unref(k, cpu, skb, n)
            eat -= size
        else:
            f.page[kept] = f.page[n]
            f.offset[kept] = f.offset[n] + eat
            f.size[kept] = size - eat
            eat = 0
            kept += 1
    i.nr_frags = kept


@kernel_function(name="__pskb_pull_tail", entry=True, rare=True)
def pskb_pull_tail(k: Kernel, cpu: int, skb: int, delta: int) -> int:
    """Move the first ``delta`` bytes behind the linear data into it; 1, or 0 without memory (and no data has moved)."""
    r = k.skb[skb]
    beyond = r.tail + delta - r.end
    if beyond > 0 or skb_cloned(k, skb):
        if pskb_expand_head(k, cpu, skb, 0, beyond + 128 if beyond > 0 else 0) != 0:
            return 0
    i = k.shinfo[r.shinfo]
    if i.frag_list != 0:
        eat = delta
        for n in range(i.nr_frags):
            eat -= k.frags[r.shinfo].size[n]
        if eat > 0 and eat_frag_list(k, cpu, skb, eat) != 0:
            return 0
    eat_frags(k, cpu, skb, delta)
    r.tail += delta
    r.data_len -= delta
    return 1


@kernel_function(traced=False, entry=True, rare=True)
def skb_linearize(k: Kernel, cpu: int, skb: int) -> int:
    """Make all data linear; 0 or -ENOMEM."""
    if k.skb[skb].data_len == 0 or pskb_pull_tail(k, cpu, skb, k.skb[skb].data_len) != 0:
        return 0
    return ENOMEM


# -- trimming ---------------------------------------------------------------------------------------------------------


@kernel_function
def skb_condense(k: Kernel, cpu: int, skb: int) -> None:
    """Give fragments back early if what is in them fits behind the linear data; then correct the true size."""
    r = k.skb[skb]
    if r.data_len != 0:
        if r.data_len > r.end - r.tail or skb_cloned(k, skb):
            return
        pskb_pull_tail(k, cpu, skb, r.data_len)
    r.truesize = skb_truesize(r.end)


@kernel_function(traced=False)
def trim_frags(k: Kernel, cpu: int, skb: int, length: int) -> bool:
    """Cut the fragments off behind ``length``, and the fragment list with them; False if it lies behind them all."""
    i = k.shinfo[k.skb[skb].shinfo]
    f = k.frags[k.skb[skb].shinfo]
    offset = skb_headlen(k, skb)
    count = i.nr_frags
    n = 0
    if offset < length:
        while n < count and offset + f.size[n] < length:
            offset += f.size[n]
            n += 1
        if n == count:
            return False
        f.size[n] = length - offset
        n += 1
    i.nr_frags = n
    for cut in range(n, count):
        skb_frag_unref(k, cpu, skb, cut)
    if i.frag_list != 0:
        skb_drop_list(k, cpu, i.frag_list - 1)
        i.frag_list = 0
    return True


@kernel_function(traced=False)
def trim_frag_list(k: Kernel, cpu: int, skb: int, length: int) -> int:
    """Cut the fragment list off behind ``length``; packets with other users are forked first.  0 or an error number."""
    i = k.shinfo[k.skb[skb].shinfo]
    offset = skb_headlen(k, skb)
    for n in range(i.nr_frags):
        offset += k.frags[k.skb[skb].shinfo].size[n]
    before = NONE
    entry = i.frag_list - 1
    while entry != NONE:
        end = offset + k.skb[entry].len
        if k.skb[entry].users != 1:
            fork = skb_clone(k, cpu, entry)
            if fork == NONE:
                return ENOMEM
            k.skb[fork].next = k.skb[entry].next
            consume_skb(k, cpu, entry)
            entry = fork
            if before == NONE:
                i.frag_list = fork + 1
            else:
                k.skb[before].next = fork + 1
        if end >= length:
            if end > length:
                result = cut_inside(k, cpu, k.skb_calls[0].pskb_trim, entry, length - offset)
                if result != 0:
                    return result
            if k.skb[entry].next != 0:
                skb_drop_list(k, cpu, k.skb[entry].next - 1)
                k.skb[entry].next = 0
            return 0
        offset = end
        before = entry
        entry = k.skb[entry].next - 1
    return 0


@kernel_function
def ___pskb_trim(k: Kernel, cpu: int, skb: int, length: int) -> int:
    """Cut a packet with fragments down to ``length`` bytes; 0 or -ENOMEM."""
    r = k.skb[skb]
    if skb_cloned(k, skb):
        result = pskb_expand_head(k, cpu, skb, 0, 0)
        if result != 0:
            return result
    if not trim_frags(k, cpu, skb, length):
        result = trim_frag_list(k, cpu, skb, length)
        if result != 0:
            return result
    if length > skb_headlen(k, skb):
        r.data_len -= r.len - length
        r.len = length
    else:
        r.len = length
        r.data_len = 0
        r.tail = r.data + length
    skb_condense(k, cpu, skb)
    return 0


@kernel_function(traced=False, entry=True, rare=True)
def pskb_trim(k: Kernel, cpu: int, skb: int, length: int) -> int:
    """Cut a packet down to ``length`` bytes, if it is longer; 0 or -ENOMEM."""
    r = k.skb[skb]
    if length >= r.len:
        return 0
    if r.data_len != 0:
        return ___pskb_trim(k, cpu, skb, length)
    r.len = length
    r.tail = r.data + length
    return 0
