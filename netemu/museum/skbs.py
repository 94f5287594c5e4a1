"""Packets and pools: references taken one way and dropped another."""

from __future__ import annotations

from .catalogue import Bench, exhibit, packet_on


@exhibit(
    "I.1",
    "skbuff: fix coalescing for page_pool fragment recycling",
    commit="1effe8ca4e34",
    era="v5.15",
    rule="SK-06",
    switch="skb_coalesce",
    broken="equal",
    fixed="unless_cloned",
)
def coalescing_fragments(bench: Bench) -> None:
    """Two packets share a pool page, each with a fragment of it.  A clone of one is coalesced into a third packet,
    which takes a page reference; but its recycle mark makes it drop a share of the pool's page in the end.  The pool
    takes the page back while the other fragment is still in use.
    """
    m = bench.machine()
    pool = m.page_pool(flags=4)
    queued = packet_on(pool.alloc_pages().fragment(1)).mark_for_recycle()
    page = pool.alloc_pages().fragment(2)
    first = packet_on(page, truesize=2048).mark_for_recycle()
    clone = first.clone()
    merged = queued.try_coalesce(clone)
    m.kfree_skb_partial(clone, merged.stolen)
    m.kfree_skb(first)
    m.kfree_skb(queued)
    pool.put_page(page)  # the other fragment, which the driver still had


@exhibit(
    "I.2",
    "skbuff: fix a race between coalescing and releasing SKBs",
    commit="0646dc31ca88",
    era="v6.1",
    rule="SK-06",
    switch="skb_coalesce",
    broken="unless_cloned",
    fixed="not_cloned",
)
def coalescing_race(bench: Bench) -> None:
    """Whether the source is a clone decides if moved fragments get references, and is looked at twice.  Schedule:
    between the two looks another CPU frees the clone.  So a pool page moves into an unmarked packet without a
    reference of its own, and is freed as if it was no pool's.
    """
    m = bench.machine()
    pool = m.page_pool()
    source = packet_on(pool.alloc_pages()).mark_for_recycle()
    clone = source.clone()
    queued = m.alloc_skb(128)
    with m.interrupted(
        "skb_cloned", lambda: m.kfree_skb(clone, cpu=1), inside="skb_try_coalesce", returning=True, nth=2
    ) as other_cpu:
        merged = queued.try_coalesce(source)
    assert other_cpu.happened
    m.kfree_skb_partial(source, merged.stolen)
    m.kfree_skb(queued)


@exhibit(
    "I.4",
    "gro: avoid mixing page_pool and non-page_pool skbs",
    commit="7d2c89b32587",
    era="v5.15",
    rule="SK-11",
    switch="skb_gro_mark",
    broken="any",
    fixed="equal",
)
def receive_offload_mixes(bench: Bench) -> None:
    """Receive offload moves fragments between a packet on pool pages and one on others.  How they are freed is
    decided by the mark of the packet that they end in.
    """
    m = bench.machine()
    pool = m.page_pool()
    first = packet_on(m.alloc_pages()).gro_start()
    second = packet_on(pool.alloc_pages()).mark_for_recycle()
    if first.gro_receive(second):
        second.gro_finish()
    else:
        m.kfree_skb(second)
    m.kfree_skb(first)


@exhibit(
    "I.5",
    "Revert mirror skb frag ref/unref helpers",
    commit="173e7622ccb3",
    era="v6.12",
    rule="SK-06",
    mistake="skb_frag_ref takes a share of the pool's page",
)
def mirrored_references(bench: Bench) -> None:
    """A reference on a fragment is taken as a share of the pool's page because the packet is marked.  Then the mark is
    gone (a clone was released first), and the reference is dropped as a page reference: the share never comes back.
    """
    m = bench.machine()
    pool = m.page_pool()
    skb = packet_on(pool.alloc_pages()).mark_for_recycle()
    if bench.broken:
        skb.frags[0].page.pool_ref()
    else:
        skb.frag_ref(0)
    skb.mark_for_recycle(False)
    skb.frag_unref(0)
    skb.mark_for_recycle()
    m.kfree_skb(skb)


@exhibit(
    "I.7",
    "xen-netfront: add missing skb_mark_for_recycle",
    commit="037965402a01",
    era="v6.1",
    rule="PP-02",
    mistake="packets on pool pages are not marked",
)
def missing_mark(bench: Bench) -> None:
    """A driver builds packets on pool pages and does not mark them.  Their pages go to the page allocator, and the pool
    counts them as in flight for ever: destroyed, it waits.
    """
    m = bench.machine()
    pool = m.page_pool()
    skb = m.napi_build_skb(pool.alloc_pages())
    if not bench.broken:
        skb.mark_for_recycle()
    m.napi_consume_skb(skb)
    pool.destroy()
    m.advance(ms=61_000)
