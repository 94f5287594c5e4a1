"""netsec, fec, octeontx2: what drivers do to descriptors, rings and contexts."""

from __future__ import annotations

from ..handles import Page
from ..packets import SkBuff
from .catalogue import Bench, exhibit, give_back


@exhibit(
    "I.52",
    "net: socionext: do not keep the packet of the iteration before",
    commit="b5e82e3c89c7",
    era="v5.4",
    rule="SK-01",
    mistake="the skb variable lives across iterations",
)
def stale_packet(bench: Bench) -> None:
    """In one poll a packet is passed up, and the next is dropped by the program.  The variable still holds the first,
    which is given to the stack again.
    """
    m = bench.machine()
    skb: SkBuff | None = None
    with m.napi():
        for verdict in ("pass", "drop"):
            if not bench.broken:
                skb = None
            if verdict == "pass":
                skb = m.napi_alloc_skb(64)
            if skb is not None:
                m.consume_skb(skb)  # napi_gro_receive: the stack is done with it


@exhibit(
    "I.55",
    "net: netsec: descriptors are written under the lock",
    commit="55131dec2b1c",
    era="v5.4",
    rule="DR-07",
    mistake="XDP transmits without the lock",
)
def unlocked_ring(bench: Bench) -> None:
    """The stack and XDP transmit at the same time.  Schedule: both read the head before either writes, so both write
    the same descriptor, and one packet is lost.
    """
    m = bench.machine()
    ring = m.tx_ring()
    packets = [m.alloc_skb(64), m.alloc_skb(64)]
    if bench.broken:
        slots = [ring.next_slot(), ring.next_slot()]
        for slot, skb in zip(slots, packets, strict=True):
            ring.write(slot, skb)
            ring.tail += 1
    else:
        for skb in packets:
            ring.post(skb)
    for sent in ring.close():
        assert isinstance(sent, SkBuff)
        m.consume_skb(sent)


@exhibit(
    "I.56",
    "net: netsec: initialize the transmit ring on open",
    commit="39e3622edeff",
    era="v5.4",
    rule="XD-05",
    mistake="the ring's own bits are set once, at probe",
)
def unposted_completion(bench: Bench) -> None:
    """Stopping zeroes the descriptors, and opening does not set them up again: every one looks completed, and the
    cleaning walks over what was never posted.
    """
    m = bench.machine()
    ring = m.tx_ring(4)
    completed = range(4) if bench.broken else range(0)
    for _ in completed:
        ring.complete()


@exhibit(
    "I.57",
    "netsec: build_skb fails, the descriptor keeps the page (no fix known)",
    commit="",
    era="v5.10",
    rule="DR-01",
    mistake="a page goes back to the pool while its descriptor points to it",
)
def failed_build(bench: Bench) -> None:
    """No memory for the packet: the page goes back to the pool, but its descriptor still points to it, and the page
    that should replace it is lost.
    """
    m = bench.machine()
    pool = m.page_pool()
    ring = m.rx_ring(4)
    ring.post(0, pool.alloc_pages())
    replacement = pool.alloc_pages()
    page = ring.receive(0)
    if bench.broken:
        pool.recycle_direct(page)
    else:  # drop the packet, keep the page posted
        pool.recycle_direct(replacement)
        pool.recycle_direct(ring.take(0))


@exhibit(
    "I.58",
    "netsec: teardown takes frames for packets (no fix known)",
    commit="",
    era="v5.10",
    rule="DM-01",
    mistake="every descriptor is treated as a packet's",
)
def frames_as_packets(bench: Bench) -> None:
    """The transmit ring is torn down with frames on it.  Each is unmapped as a packet's data would be, though the
    pool has mapped it and will unmap it.
    """
    m = bench.machine()
    pool = m.page_pool(flags=1)
    ring = m.tx_ring()
    ring.post(pool.alloc_pages())
    for frame in ring.close():
        assert isinstance(frame, Page)
        if bench.broken:
            frame.dma_unmap()
        pool.put_page(frame)
    pool.destroy()


@exhibit(
    "I.59",
    "net: fec: use page_pool_put_full_page when freeing rx buffers",
    commit="e38553bdc377",
    era="v6.1",
    rule="MM-09",
    mistake="page_pool_release_page without put_page",
)
def released_not_put(bench: Bench) -> None:
    """Each time the device goes down, the pages of all descriptors are disconnected from the pool, and nobody frees
    them.
    """
    m = bench.machine()
    for _cycle in range(2):
        pool = m.page_pool()
        pages = [pool.alloc_pages() for _ in range(8)]
        for page in pages:
            if bench.broken:
                pool.release_page(page)
            else:
                pool.put_full_page(page)
        pool.destroy()


@exhibit(
    "I.61",
    "net: fec: recycle pages for transmitted XDP frames",
    commit="20f797399035",
    era="v6.1",
    rule="XD-05",
    mistake="completion forgets frames",
)
def forgotten_frames(bench: Bench) -> None:
    """Frames that other devices redirect here are sent, and never returned."""
    m = bench.machine()
    pool = m.page_pool()
    ring = m.tx_ring()
    for _ in range(5):
        ring.post(pool.alloc_pages())
    while ring.head < ring.tail:
        frame = ring.complete()
        if not bench.broken:
            give_back(pool, frame)


@exhibit(
    "I.62",
    "octeontx2-pf: fix page pool cache index corruption",
    commit="88e69af061f2",
    era="v6.1",
    rule="PP-09",
    mistake="a work queue refills the ring of a running NAPI",
)
def two_consumers(bench: Bench) -> None:
    """A work item on another CPU allocates from the pool that NAPI is allocating from.  Schedule: it comes in the
    middle of NAPI's allocation, between reading and writing the count of the cache.
    """
    m = bench.machine()
    pool = m.page_pool()

    def napi() -> None:
        with m.napi(0):
            pool.recycle_direct(pool.alloc_pages())

    def work() -> None:
        if bench.broken:
            with m.process(1):
                pool.put_page(pool.alloc_pages())

    m.interleave((0, napi), (1, work), schedule=[0, 0, 1])


@exhibit(
    "I.65",
    "net: netsec: register the memory model before buffers are posted",
    commit="",
    era="v5.4",
    rule="PP-12",
    mistake="the error path of open forgets the pages that are posted",
)
def failed_registration(bench: Bench) -> None:
    """Receive descriptors are filled, then the registration of the memory model fails: the pool is destroyed with its
    pages in descriptors that nobody will look at again.
    """
    m = bench.machine()
    pool = m.page_pool()
    ring = m.rx_ring(4)
    for slot in range(4):
        ring.post(slot, pool.alloc_pages())
    if not bench.broken:
        for slot in range(4):
            pool.put_page(ring.take(slot))
    pool.destroy()
    m.advance(ms=61_000)
