"""What happened to each packet, for captures that tell: where it arrived, the program's verdict, its page's way.

Kept only with ``run.record_output == WITH_JOURNEYS``; otherwise each place that tells of something compares one number.
The newest :data:`JOURNEYS` packets are known, by number.  Packets on one page form a list from the youngest on, so that
what becomes of the page is noted for all of them.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel, table
from ..mm.page_alloc import compound_head
from .xdp_layout import XDP_ABORTED, XDP_DROP

JOURNEYS = 1 << 16
"""Packets whose journeys are known at a time; a power of two."""

# run.record_output
TRANSMITTED = 1
WITH_JOURNEYS = 2

# journey.fate: what became of the page
UNDECIDED = 0
NO_PAGE = 1
NO_POOL = 2
CACHED = 3
RINGED = 4
RELEASED = 5
STILL_HELD = 6
REFUSED_BY_RATE = 7
RING_FULL = 8
DRIVER_CACHE = 9
PARKED_BY_RATE = 10
SHELVED = 11
FATES = (
    "still in use",
    "",
    "of no page_pool",
    "recycled into the page_pool cache",
    "recycled into the page_pool ring",
    "released from its page_pool",
    "released from its page_pool: still held by others",
    "released from its page_pool: the forced recycling rate refused it",
    "released from its page_pool: the ring was full",
    "kept in the driver's RX cache",
    "kept by the forced recycling rate",
    "kept by the recycle policy",
)
"""What captures say of a page, by fate."""

# journey.loss: why a packet was dropped; the reasons' names are those of reports
OUT_OF_BUFFER = 1
TOO_LONG = 2
NO_SKB = 3
BY_QDISC = 4
BY_CONSUMER = 5
TX_FULL = 6
REDIRECT_ERR = 7
NOT_XMITTED = 8
BY_CPUMAP = 9
LOSSES = (
    "",
    "rx_out_of_buffer",
    "oversize",
    "no_skb",
    "qdisc",
    "consumer",
    "xdp_tx_full",
    "xdp_redirect_err",
    "xdp_xmit",
    "xdp_cpumap",
)

table(
    "journey",  # [packet % JOURNEYS]
    [
        ("packet", "i8"),
        ("rxq", "i4"),
        ("page", "i4"),  # + 1; 0: none
        ("pages", "i4"),  # parts of the frame, each on a page of its own
        ("older", "i4"),  # row of the packet before on the same page, + 1
        ("fate", "i4"),
        ("loss", "i4"),
        ("verdict", "i4"),  # + 1; 0: no program has seen it
        ("over", "i4"),  # it was transmitted, consumed or dropped
    ],
)
table("page_journey", "i4")  # [page] -> row of the youngest packet on it, + 1
table("wire_loss", "i8")  # [device] -> frames lost since the last one that the NIC took
table(
    "out_note",  # beside each row of k.out
    [
        ("packet", "i8"),
        ("queue", "i4"),
        ("inbound", "i4"),
        ("origin", "i4"),  # inbound: interface of the capture that it is from
        ("lost", "i4"),  # inbound: frames that the NIC lost just before
    ],
)


@inlined
def journeys_are_kept(k: Kernel) -> bool:
    """Does somebody want to know?"""
    return k.run[0].record_output == WITH_JOURNEYS


# -- on the wire -----------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def begin_journey(k: Kernel, packet: int, rxq: int) -> None:
    """A frame is about to be offered to its NIC, for this receive queue."""
    j = k.journey[packet & (JOURNEYS - 1)]
    j.packet = packet
    j.rxq = rxq
    j.page = 0
    j.pages = 0
    j.older = 0
    j.fate = NO_PAGE
    j.loss = 0
    j.verdict = 0
    j.over = 0


@kernel_function(traced=False)
def land_on_page(k: Kernel, packet: int, pfn: int) -> None:
    """The NIC writes (the next part of) a frame to a page.  Small objects are pages that the machine does not have."""
    row = packet & (JOURNEYS - 1)
    j = k.journey[row]
    j.pages += 1
    if j.pages > 1 or pfn >= k.machine[0].pages:
        return
    j.page = pfn + 1
    if k.pools[0].count == 0 or k.pool[k.rxq[j.rxq].pool].rxq != j.rxq + 1:
        j.fate = NO_POOL
        return
    j.fate = UNDECIDED
    head = compound_head(k, pfn)
    j.older = k.page_journey[head]
    k.page_journey[head] = row + 1


@kernel_function(traced=False)
def record_arrival(k: Kernel, dev: int, rxq: int, loss: int) -> None:
    """Append the frame that arrives on a device's wire to the output, whether the NIC takes it or not."""
    run = k.run[0]
    w = k.wire[dev]
    f = k.feed[w.next]
    row = k.out[run.out_count]
    row.ts_ns = run.start_ns + w.arrival // 1000
    row.offset = run.out_bytes
    row.caplen = f.caplen
    row.wirelen = f.wirelen
    row.interface = -1 - dev  # the sinks of a device get what it transmits
    for i in range(f.caplen):
        k.out_data[run.out_bytes + i] = k.feed_data[f.offset + i]
    n = k.out_note[run.out_count]
    n.packet = run.arrived
    n.queue = k.rxq[rxq].index
    n.inbound = 1
    n.origin = f.interface
    n.lost = 0
    run.out_bytes += f.caplen
    run.out_count += 1
    if loss != 0:
        k.wire_loss[dev] += 1
        lose(k, run.arrived, loss)
    else:
        n.lost = min(k.wire_loss[dev], 2**31 - 1)
        k.wire_loss[dev] = 0


@inlined
def arrival(k: Kernel, dev: int, rxq: int, loss: int) -> None:
    """:func:`record_arrival`, if somebody wants to know."""
    if journeys_are_kept(k):
        record_arrival(k, dev, rxq, loss)


# -- on the way ------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def lose(k: Kernel, packet: int, loss: int) -> None:
    """A packet is dropped."""
    j = k.journey[packet & (JOURNEYS - 1)]
    if j.packet == packet:
        j.loss = loss
        j.over = 1


@inlined
def lost(k: Kernel, packet: int, loss: int) -> None:
    """:func:`lose`, if somebody wants to know."""
    if journeys_are_kept(k):
        lose(k, packet, loss)


@kernel_function(traced=False)
def judge(k: Kernel, packet: int, verdict: int) -> None:
    """A program has seen a packet; with XDP_ABORTED and XDP_DROP nobody else does."""
    j = k.journey[packet & (JOURNEYS - 1)]
    if j.packet == packet:
        j.verdict = verdict + 1
        j.over = 1 if verdict in (XDP_ABORTED, XDP_DROP) else 0


@kernel_function(traced=False)
def end_journey(k: Kernel, packet: int) -> None:
    """A packet has come where it was to go."""
    j = k.journey[packet & (JOURNEYS - 1)]
    if j.packet == packet:
        j.over = 1


@inlined
def arrived_at_consumer(k: Kernel, packet: int) -> None:
    """A program or a socket has read the packet."""
    if journeys_are_kept(k):
        end_journey(k, packet)


@kernel_function(traced=False)
def note_transmission(k: Kernel, packet: int, queue: int) -> None:
    """The last row of the output is this packet, from this transmit queue of its device."""
    n = k.out_note[k.run[0].out_count - 1]
    n.packet = packet
    n.queue = queue
    n.inbound = 0
    n.origin = 0
    n.lost = 0
    end_journey(k, packet)


# -- pages -----------------------------------------------------------------------------------------------------------


@kernel_function(traced=False)
def decide_fate(k: Kernel, pfn: int, fate: int) -> None:
    """What became of a page, for every packet on it.  Rows that are used anew are not of the list any more."""
    row = k.page_journey[pfn] - 1
    k.page_journey[pfn] = 0
    younger = 2**62
    while row >= 0:
        j = k.journey[row]
        if j.packet >= younger or j.fate != UNDECIDED or compound_head(k, j.page - 1) != pfn:
            return
        j.fate = fate
        younger = j.packet
        row = j.older - 1


@inlined
def page_goes(k: Kernel, pfn: int, fate: int) -> None:
    """:func:`decide_fate`, if somebody wants to know."""
    if journeys_are_kept(k):
        decide_fate(k, pfn, fate)
