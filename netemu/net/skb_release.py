"""Freeing packets: every way that an sk_buff, its fragments, its fragment list and its head go.

Source: net/core/skbuff.c (skb_release_data, skb_free_head, __kfree_skb, kfree_skb, consume_skb, napi_consume_skb,
kfree_skb_list, skb_attempt_defer_free) and net/core/dev.c (dev_kfree_skb_irq, net_tx_action), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.events import event_kind, tracepoint
from ..engine.faults import fault, fault_code
from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel, table
from ..mm.layout import NONE
from ..mm.page_alloc import put_page
from ..mm.page_frag import page_frag_free
from .page_pool import page_pool_return_skb_page
from .skb_layout import (
    SKB_DATAREF_MASK,
    SKB_DATAREF_SHIFT,
    SKB_DEFER_MAX,
    SKB_FCLONE_UNAVAILABLE,
    SKB_LIVE,
)
from .skb_slab import (
    __kfree_skb_flush,
    kfree,
    kfree_skbmem,
    kmem_cache_free,
    napi_skb_cache_put,
    shinfo_give,
    touch_shinfo,
    touch_skb,
)

SKB_DEAD = fault_code("SK-01", "sk_buff {a} is used after its last reference was dropped")
SKB_CONTEXT = fault_code("SK-09", "napi_consume_skb of sk_buff {a} with budget {b} outside softirq")
NOT_CONNECTED = fault_code("emulator", "sk_buff {a} is on a fragment list, but connect_skb_calls was not called for it")

table("completion_queue", "i4")  # [cpu] -> newest packet that waits for net_tx_action + 1

FRAGMENT_FREE = event_kind("fragment_free")  # (page): one reference dropped as a page fragment
CONSUME = event_kind("consume")  # (skb): delivered
DROP = event_kind("drop")  # (skb)
DEFER_IPI = event_kind("defer_ipi")  # (CPU that is told to free what waits for it)


# -- contents ---------------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def skb_release_head_state(k: Kernel, cpu: int, skb: int) -> None:
    """Drop route, destructor, connection tracking: none are modelled, their check is."""


@kernel_function(inline=True)
def skb_free_frag(k: Kernel, cpu: int, pfn: int) -> None:
    """A piece of the page fragment caches, or a head that is page memory and no pool's."""
    k.slab[0].frag_frees += 1
    tracepoint(k, FRAGMENT_FREE, pfn, 0)
    page_frag_free(k, cpu, pfn)


@kernel_function(traced=False, entry=True, rare=True)
def free_fragment(k: Kernel, cpu: int, pfn: int) -> None:
    """:func:`skb_free_frag` for callers outside the kernel."""
    skb_free_frag(k, cpu, pfn)


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


@kernel_function(traced=False)
def skb_drop_list(k: Kernel, cpu: int, first: int) -> None:
    """Drop the packets of a fragment list.  They may have lists themselves, hence the indirect call."""
    call = k.skb_calls[0].kfree_skb_list
    if call == 0:
        fault(k, cpu, NOT_CONNECTED, first - 1, 0)
        return
    indirect(k, call, cpu, first, 0)


@kernel_function(inline=True)
def skb_release_data(k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
    """Drop this struct's share of the data; the last one frees fragments, fragment list and head."""
    r = k.skb[skb]
    i = k.shinfo[r.shinfo]
    touch_shinfo(k, cpu, r.shinfo)
    if r.cloned:
        i.dataref -= ((1 << SKB_DATAREF_SHIFT) + 1) if r.nohdr else 1
        if i.dataref != 0:
            r.pp_recycle = 0
            return
    for n in range(i.nr_frags):
        __skb_frag_unref(k, cpu, k.frags[r.shinfo].page[n], r.pp_recycle, napi_safe)
    if i.frag_list != 0:
        skb_drop_list(k, cpu, i.frag_list - 1)
    skb_free_head(k, cpu, skb, napi_safe)
    shinfo_give(k, r.shinfo)
    r.pp_recycle = 0


@inlined
def skb_release_all(k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
    """Everything but the struct."""
    skb_release_head_state(k, cpu, skb)
    skb_release_data(k, cpu, skb, napi_safe)


@kernel_function(traced=False)
def abandon_head(k: Kernel, skb: int) -> None:
    """The head has become somebody's fragment: only the shared info in it goes, with its last user."""
    row = k.skb[skb].shinfo
    if k.shinfo[row].dataref & SKB_DATAREF_MASK == 1:
        shinfo_give(k, row)
    else:
        k.shinfo[row].dataref -= 1


# -- users ------------------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def __kfree_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Free an skb whose last user is gone."""
    skb_release_all(k, cpu, skb, 0)
    k.slab[0].live -= 1
    if k.skb[skb].fclone == SKB_FCLONE_UNAVAILABLE:
        kmem_cache_free(k, cpu, skb)
    else:
        kfree_skbmem(k, cpu, skb)


@inlined
def skb_unref(k: Kernel, cpu: int, skb: int) -> bool:
    """Drop one user; True for the last."""
    r = k.skb[skb]
    if r.state != SKB_LIVE or r.users <= 0:
        fault(k, cpu, SKB_DEAD, skb, 0)
        return False
    touch_skb(k, cpu, skb)
    r.users -= 1
    return r.users == 0


@kernel_function(entry=True, rare=True)
def kfree_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Drop one user; the packet counts as dropped."""
    if skb_unref(k, cpu, skb):
        k.slab[0].dropped += 1
        tracepoint(k, DROP, skb, 0)
        __kfree_skb(k, cpu, skb)


@kernel_function(name="kfree_skb_list_reason", entry=True, rare=True)
def kfree_skb_list(k: Kernel, cpu: int, first: int, reason: int) -> int:
    """Drop one user of each packet of a list, from ``first`` on.  ``reason`` is not looked at; returns 0."""
    while first != NONE:
        following = k.skb[first].next - 1
        kfree_skb(k, cpu, first)
        first = following
    return 0


@kernel_function(entry=True, rare=True)
def consume_skb(k: Kernel, cpu: int, skb: int) -> None:
    """Drop one user; the packet counts as delivered."""
    if skb_unref(k, cpu, skb):
        k.slab[0].consumed += 1
        tracepoint(k, CONSUME, skb, 0)
        __kfree_skb(k, cpu, skb)


@kernel_function(name="__dev_kfree_skb_irq", entry=True, rare=True)
def dev_kfree_skb_irq(k: Kernel, cpu: int, skb: int) -> None:
    """Drop one user, in an interrupt handler; the last leaves the packet to :func:`free_completion_queue`."""
    if skb_unref(k, cpu, skb):
        k.skb[skb].next = k.completion_queue[cpu]
        k.completion_queue[cpu] = skb + 1


@kernel_function(name="__dev_kfree_skb_any", entry=True, rare=True)
def dev_kfree_skb_any(k: Kernel, cpu: int, skb: int) -> None:
    """Free now, or later when this is a hard interrupt or interrupts are off."""
    if k.cpu[cpu].hardirq != 0:
        dev_kfree_skb_irq(k, cpu, skb)
    else:
        consume_skb(k, cpu, skb)


@inlined
def free_into_cache(k: Kernel, cpu: int, skb: int) -> None:
    """Free in softirq an skb that is no fast clone: the struct goes to this CPU's cache."""
    skb_release_all(k, cpu, skb, 1)
    k.slab[0].live -= 1
    napi_skb_cache_put(k, cpu, skb)


@kernel_function(name="__kfree_skb_defer", entry=True, rare=True)
def kfree_skb_defer(k: Kernel, cpu: int, skb: int) -> None:
    """Free from a poll loop without looking at the users: the struct goes to this CPU's cache."""
    free_into_cache(k, cpu, skb)


@kernel_function(name="net_tx_action", traced=False, entry=True, rare=True)
def free_completion_queue(k: Kernel, cpu: int) -> None:
    """The first half of net_tx_action: free the packets that interrupt handlers have left, newest first.

    Their structs go to this CPU's cache, which is emptied at the end (to v5.11).
    """
    skb = k.completion_queue[cpu] - 1
    k.completion_queue[cpu] = 0
    while skb != NONE:
        following = k.skb[skb].next - 1
        if k.skb[skb].fclone == SKB_FCLONE_UNAVAILABLE:
            free_into_cache(k, cpu, skb)
        else:
            __kfree_skb(k, cpu, skb)
        skb = following
    if k.era[0].skb_napi_cache == 0:
        __kfree_skb_flush(k, cpu)


@kernel_function(entry=True, rare=True)
def napi_consume_skb(k: Kernel, cpu: int, skb: int, budget: int) -> None:
    """Drop one user from a poll loop: the struct goes to this CPU's cache.  Budget 0 means: not in NAPI."""
    if budget == 0:
        dev_kfree_skb_any(k, cpu, skb)
        return
    c = k.cpu[cpu]
    if c.serving_softirq == 0 and c.bh_disabled == 0:
        fault(k, cpu, SKB_CONTEXT, skb, budget)
    if not skb_unref(k, cpu, skb):
        return
    k.slab[0].consumed += 1
    tracepoint(k, CONSUME, skb, 0)
    skb_release_all(k, cpu, skb, 1)
    k.slab[0].live -= 1
    if k.skb[skb].fclone == SKB_FCLONE_UNAVAILABLE:
        napi_skb_cache_put(k, cpu, skb)
    else:
        kfree_skbmem(k, cpu, skb)


# -- on the CPU that allocated the packet -----------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def skb_attempt_defer_free(k: Kernel, cpu: int, skb: int) -> None:
    """Leave a packet to the CPU that allocated it (v5.19); a full queue, or our own packet, is freed here and now."""
    owner = k.skb[skb].alloc_cpu
    if k.era[0].skb_defer == 0 or owner == cpu or owner >= k.machine[0].cpus:
        __kfree_skb(k, cpu, skb)
        return
    queue = k.softnet[k.softnet[owner].defer_queue]
    if queue.defer_count >= SKB_DEFER_MAX:
        __kfree_skb(k, cpu, skb)
        return
    kick = queue.defer_count == SKB_DEFER_MAX // 2
    queue.defer_count += 1
    k.skb[skb].next = queue.defer_list
    queue.defer_list = skb + 1
    if kick and queue.defer_ipi_scheduled == 0:
        queue.defer_ipi_scheduled = 1
        tracepoint(k, DEFER_IPI, owner, 0)


@inlined
def take_deferred(k: Kernel, cpu: int) -> int:
    """The packets that other CPUs have left to this one, a list by skb.next; NONE: there are none."""
    queue = k.softnet[k.softnet[cpu].defer_queue]
    skb = queue.defer_list - 1
    queue.defer_list = 0
    queue.defer_count = 0
    queue.defer_ipi_scheduled = 0
    return skb


@kernel_function(entry=True, rare=True)
def skb_defer_free_flush(k: Kernel, cpu: int) -> None:
    """In softirq: free what other CPUs have left to this one, newest first."""
    skb = take_deferred(k, cpu)
    while skb != NONE:
        following = k.skb[skb].next - 1
        napi_consume_skb(k, cpu, skb, 1)
        skb = following
