"""mlx5: frames, multi-packet descriptors, fragments of pool pages."""

from __future__ import annotations

from ..handles import Page
from .catalogue import Bench, exhibit, give_back, packet_on


@exhibit(
    "I.41",
    "net/mlx5e: fix a race on the frame of a completed redirect",
    commit="12fc512f5741",
    era="v5.4",
    rule="PP-07",
    mistake="the frame's length is read after xdp_return_frame",
)
def read_after_return(bench: Bench) -> None:
    """A completed frame is returned before it is unmapped, and unmapping reads its length: the page is in the pool by
    then, or in somebody's hands.
    """
    m = bench.machine()
    pool = m.page_pool()
    ring = m.tx_ring()
    ring.post(pool.alloc_pages())
    frame = ring.complete()
    assert isinstance(frame, Page)
    if not bench.broken:
        frame.touch()
    pool.put_page(frame)
    if bench.broken:
        frame.touch()


@exhibit(
    "I.44",
    "net/mlx5e: do not release pages of a striding queue twice",
    commit="c8e9090233a7",
    era="v6.6",
    rule="PP-03",
    mistake="flush leaves the descriptors as they are",
)
def flush_and_close(bench: Bench) -> None:
    """Flushing a receive queue releases the pages of its descriptors, and closing it releases them again."""
    m = bench.machine()
    pool = m.page_pool()
    posted: list[Page | None] = [pool.alloc_pages() for _ in range(4)]
    for _pass in ("flush", "close"):
        for slot, page in enumerate(posted):
            if page is not None:
                pool.put_page(page)
                if not bench.broken:
                    posted[slot] = None


@exhibit(
    "I.46",
    "net/mlx5e: page release of XDP_TX on the nonlinear legacy queue",
    commit="40afb3b14496",
    era="v6.6",
    rule="XD-02",
    mistake="the receive path releases fragments that are being sent",
)
def sent_and_released(bench: Bench) -> None:
    """The program sends a packet of two fragments back.  Their pages belong to the transmit ring now, but the receive
    path releases them at the end of the poll.
    """
    m = bench.machine()
    pool = m.page_pool()
    ring = m.tx_ring()
    pages = [pool.alloc_pages(), pool.alloc_pages()]
    for page in pages:
        ring.post(page)
    if bench.broken:
        for page in pages:
            pool.put_page(page, direct=True)
    while ring.head < ring.tail:
        give_back(pool, ring.complete())


@exhibit(
    "I.47",
    "net/mlx5e: count the fragments of pages that XDP redirects",
    commit="7abd955a58fb",
    era="v6.6",
    rule="PP-02",
    mistake="the fragments that XDP does not use are never given back",
)
def sixty_three_left(bench: Bench) -> None:
    """A page is split into 64 fragments; a redirected packet takes one with it, which comes back.  The other 63 do
    not.
    """
    m = bench.machine()
    pool = m.page_pool(flags=4)
    page = pool.alloc_pages().fragment(64)
    ring = m.tx_ring()
    if not bench.broken:
        page.defrag(63)
    ring.post(page)
    give_back(pool, ring.complete())


@exhibit(
    "I.49",
    "net/mlx5e: close an open multi-packet session when the queue is closed",
    commit="aaab619ccd07",
    era="v5.15",
    rule="XD-05",
    mistake="frames of an open session are forgotten",
)
def open_session(bench: Bench) -> None:
    """Frames are collected in a multi-packet session that is not flushed; the queue is closed without them."""
    m = bench.machine()
    pool = m.page_pool()
    session = m.tx_ring(8)
    for _ in range(3):
        session.post(pool.alloc_pages())
    if not bench.broken:
        give_back(pool, *session.close())


@exhibit(
    "I.50",
    "net/mlx5e: build packets from what the program has left of a frame",
    commit="afd5ba577c10",
    era="v6.6",
    rule="PP-16",
    mistake="the driver releases by its own sizes",
)
def dropped_fragment(bench: Bench) -> None:
    """The program cuts the last fragment off, which releases it.  The driver goes by the sizes that it received, and
    releases it once more.
    """
    m = bench.machine()
    pool = m.page_pool(flags=4)
    page = pool.alloc_pages().fragment(2)
    skb = packet_on(page, truesize=2048).mark_for_recycle()
    pool.put_page(page)  # bpf_xdp_adjust_tail
    if bench.broken:
        pool.put_page(page)
    m.kfree_skb(skb)
