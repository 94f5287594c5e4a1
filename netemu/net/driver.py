"""What drivers call, beside page_pool and sk_buff functions: completions, the doorbell, the result of a frame."""

from __future__ import annotations

from ..engine.kernel import inlined, prefetch
from ..engine.layout import Kernel
from ..mm.layout import PAGE_SIZE
from .contents import dma_write, zero_memory
from .device_layout import TX_SKB
from .journey import journeys_are_kept, land_on_page
from .stack import napi_gro_receive


@inlined
def arriving_length(k: Kernel) -> int:
    """Length of the frame that the NIC is about to take (without FCS)."""
    return k.feed[k.run[0].arriving].wirelen


@inlined
def dma_frame(k: Kernel, address: int, start: int, count: int) -> None:
    """The NIC writes ``count`` bytes of the arriving frame, from byte ``start`` on, to ``address`` in memory."""
    if k.run[0].keep_contents:
        f = k.feed[k.run[0].arriving]
        if journeys_are_kept(k):
            land_on_page(k, k.run[0].arrived, address // PAGE_SIZE)
        captured = min(max(f.caplen - start, 0), count)
        dma_write(k, f.offset + start, address, captured)
        zero_memory(k, address + captured, count - captured)
        if start == 0:
            k.run[0].landed = address
            k.run[0].landed_bytes = count


@inlined
def post_completion(k: Kernel, rxq: int, buffer: int, offset: int, length: int, aux: int) -> None:
    """The NIC reports a received frame to the driver."""
    q = k.rxq[rxq]
    row = q.cq_base + (q.cq_tail & q.cq_mask)
    e = k.cqe[row]
    e.buffer = buffer
    e.offset = offset
    e.length = length
    e.aux = aux
    e.packet = k.run[0].arrived
    if k.run[0].keep_contents:
        k.cqe_contents[row].address = k.run[0].landed
        k.cqe_contents[row].linear = k.run[0].landed_bytes
    q.cq_tail += 1
    prefetch(k.cqe, q.cq_base + (q.cq_tail & q.cq_mask))


@inlined
def ring_rx_doorbell(k: Kernel, cpu: int, rxq: int) -> None:
    """The driver tells the NIC about new buffers; a lossless source that waited for one goes on from now."""
    w = k.wire[k.rxq[rxq].dev]
    if w.blocked == rxq + 1:
        w.blocked = 0
        w.arrival = max(w.arrival, k.cpu[cpu].clock)


@inlined
def deliver(k: Kernel, cpu: int, rxq: int, skb: int, packet: int, length: int) -> None:
    """Count a received frame and hand its skb to the stack; ``packet`` is its number, from the completion."""
    q = k.rxq[rxq]
    q.packets += 1
    q.bytes += length
    d = k.netdev[q.dev]
    d.rx_packets += 1
    d.rx_bytes += length
    r = k.skb[skb]
    r.dev = q.dev
    r.queue = q.index
    k.skb_packet[skb] = packet
    napi_gro_receive(k, cpu, skb)


@inlined
def take_transmitted(k: Kernel, txq: int) -> int:
    """The skb of the oldest completed transmission, which leaves the ring and is counted; the caller frees it."""
    q = k.txq[txq]
    t = k.txd[q.base + (q.head & q.mask)]
    q.head += 1
    q.cqes += 1
    q.completed_bytes += t.bytes
    d = k.netdev[q.dev]
    d.tx_packets += 1
    d.tx_bytes += t.bytes
    foresee_transmitted(k, txq)
    return t.skb


@inlined
def foresee_transmitted(k: Kernel, txq: int) -> None:
    """Have what the next completions of the ring free in the cache by then: thousands of packets may be in flight.

    An entry's sk_buff is asked for one completion ahead of the shared info and the page that it names.
    """
    q = k.txq[txq]
    prefetch(k.txd, q.base + ((q.head + 3) & q.mask))
    if q.head + 1 < q.tail:
        prefetch(k.skb, k.txd[q.base + ((q.head + 1) & q.mask)].skb)
        first = k.txd[q.base + (q.head & q.mask)]
        if first.kind == TX_SKB:
            r = k.skb[first.skb]
            prefetch(k.shinfo, r.shinfo)
            prefetch(k.pages, r.head_page)
            prefetch(k.pages, r.head_page ^ 1)  # its buddy
