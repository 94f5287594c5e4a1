"""XDP and redirection: frames that live on pages of a pool."""

from __future__ import annotations

from .catalogue import Bench, exhibit, give_back


@exhibit(
    "I.35",
    "page_pool: release the page when cpumap makes a packet of a frame",
    commit="6bf071bf09d4",
    era="v5.4",
    rule="PP-02",
    mistake="cpumap builds a packet on a page that is still the pool's",
)
def cpumap_packet(bench: Bench) -> None:
    """A frame is redirected to another CPU, which makes a packet of it.  The packet is freed as an ordinary page: the
    pool is never told, and its mapping stays.
    """
    m = bench.machine()
    pool = m.page_pool(flags=1)
    frame = pool.alloc_pages(cpu=0)
    with m.process(1):
        if not bench.broken:
            pool.release_page(frame)
        skb = m.build_skb(frame)
        m.consume_skb(skb)
    pool.destroy()


@exhibit(
    "I.37",
    "veth: fix use after free in XDP_REDIRECT",
    commit="7c10131803e4",
    era="v6.1",
    rule="SK-12",
    mistake="the packet is freed when its frame has been redirected",
)
def veth_redirect(bench: Bench) -> None:
    """The packet had too little headroom and got a new head.  The redirected frame lies in that head, and freeing the
    packet frees it before it is sent.
    """
    m = bench.machine()
    ring = m.tx_ring()
    skb = m.alloc_skb(256)
    assert skb.expand_head(256)
    ring.post(skb)
    if bench.broken:
        m.consume_skb(skb)
        ring.complete()
    else:
        ring.complete()
        m.consume_skb(skb)


@exhibit(
    "I.38",
    "cpumap: free what is left in the ring of an entry that is deleted",
    commit="640a604585aa",
    era="v6.1",
    rule="XD-05",
    mistake="the kthread stops before it has run",
)
def cpumap_leftovers(bench: Bench) -> None:
    """Frames wait in the ring of a cpumap entry, which is deleted before its kthread has run: nobody frees them."""
    m = bench.machine()
    pool = m.page_pool()
    ring = m.tx_ring(16)
    for _ in range(8):
        ring.post(pool.alloc_pages())
    if not bench.broken:
        give_back(pool, *ring.close())


@exhibit(
    "I.40",
    "xdp: a frame remembers the memory model that it was received with",
    commit="",
    era="v6.1",
    rule="PP-07",
    mistake="the frame is returned to the queue's present memory model",
)
def changed_model(bench: Bench) -> None:
    """Between reception and return the receive queue gets a new pool; the frame goes back to that one."""
    m = bench.machine()
    before, after = m.page_pool(), m.page_pool()
    frame = before.alloc_pages()
    (after if bench.broken else before).put_page(frame)
