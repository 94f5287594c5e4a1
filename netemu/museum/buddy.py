"""The page allocator and page fragment caches."""

from __future__ import annotations

from ..handles import Page
from ..machine import Machine
from .catalogue import Bench, exhibit


def _only_single_pages(m: Machine) -> list[Page]:
    """Take all memory, then give back single pages: page fragment caches fall back to order 0.  What was taken."""
    taken = []
    while (block := m.alloc_pages(3)) is not None:
        taken.append(block)
    taken.pop().free_pages(3)
    page = m.alloc_pages()
    assert page is not None
    return [*taken, page]


@exhibit(
    "I.28",
    "page_frag: fix the reference bias for one-byte fragments",
    commit="2c2ade81741c",
    era="v4.19",
    rule="PF-02",
    switch="page_frag_bias",
    broken="size",
    fixed="max",
)
def one_byte_fragments(bench: Bench) -> None:
    """A page fragment cache takes as many references as its page has bytes.  That many one-byte fragments use them
    all up: when they are freed, the page is free, and still the current page of the cache.
    """
    m = bench.machine(memory_mb=4, cpus=1)
    taken = _only_single_pages(m)
    fragments = [m.page_frag_alloc(1) for _ in range(4096)]
    for fragment in fragments:
        fragment.frag_free()
    m.page_frag_cache_drain()
    for page in taken:
        page.free_pages()


@exhibit(
    "I.29",
    "page_frag: recover from memory pressure",
    commit="d8c19014bba8",
    era="v5.4",
    rule="PF-06",
    switch="page_frag_pfmemalloc",
    broken="reused",
    fixed="dropped",
)
def pressure_for_ever(bench: Bench) -> None:
    """The page of a fragment cache comes from the emergency reserve, and is used again and again: all packets of this
    CPU are marked and dropped, long after the pressure is over.
    """
    m = bench.machine()
    with m.memory_pressure():
        fragments = [m.page_frag_alloc(2048)]
    fragments += [m.page_frag_alloc(2048) for _ in range(15)]
    for fragment in fragments:
        fragment.frag_free()
    m.page_frag_alloc(2048).frag_free()
    m.page_frag_cache_drain()


@exhibit(
    "I.31",
    "net: avoid 32 x truesize under-estimation for tiny skbs",
    commit="3226b158e67c",
    era="v5.10",
    rule="SK-05",
    switch="skb_small_head",
    broken="page_frag",
    fixed="kmalloc",
)
def tiny_packets(bench: Bench) -> None:
    """A 100-byte packet pins a 32 KiB page and is accounted with its own size: a socket can pin 40 times its budget."""
    m = bench.machine()
    kept = m.netdev_alloc_skb(100)
    for _ in range(70):
        m.consume_skb(m.netdev_alloc_skb(100))
    m.page_frag_cache_drain()
    m.quiesce()
    m.consume_skb(kept)


@exhibit(
    "I.32",
    "mm: free all of a block that is no compound page in __free_pages",
    commit="e320d3012d25",
    era="v5.4",
    rule="MM-09",
    switch="free_pages_tails",
    broken="leaked",
    fixed="freed",
)
def lost_tails(bench: Bench) -> None:
    """Somebody takes a passing reference on the first page of a block.  The block is freed, the reference dropped:
    one page goes back, three are lost.
    """
    m = bench.machine()
    block = m.alloc_pages(2, compound=False)
    assert block is not None
    block.get()
    block.free_pages(2)
    block.put()


@exhibit(
    "I.34",
    "mm: limit how much of a per-CPU list goes in one hold of zone->lock",
    commit="52166607ecc9",
    era="v5.15",
    rule="PC-06",
    switch="pcp_free",
    broken="factor",
    fixed="scale",
)
def long_holds(bench: Bench) -> None:
    """Frees in a row double the number of pages that leave a per-CPU list at once, up to all of it, under one lock."""
    m = bench.machine(memory_mb=64, cpus=1, pcp_batch=31, pcp_high=1600)
    pages = [m.alloc_pages() for _ in range(3_600)]
    for page in pages:
        assert page is not None
        page.put()
