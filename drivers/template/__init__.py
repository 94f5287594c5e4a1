"""A network driver to copy: one queue, one page_pool, a page per packet.

Copy this file, rename what is called ``template``, and run it::

    netemu replay TRACE --driver mydriver.py

Everything marked CHANGE is a choice that a real driver makes in its own way; the rest is what netemu asks of
every driver.  docs/drivers.md goes through it function by function.
"""

from __future__ import annotations

from collections.abc import Iterator

from netemu import Driver, Nic
from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel, private_table
from netemu.engine.path import charge
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net.contents import address_of_page
from netemu.net.device_layout import NO_DESCRIPTOR, OVERSIZE, RECEIVED, TX_SKB
from netemu.net.dma import dma_sync_single_range_for_cpu
from netemu.net.driver import (
    arriving_length,
    deliver,
    dma_frame,
    post_completion,
    ring_rx_doorbell,
    take_transmitted,
)
from netemu.net.journey import NO_SKB, lost
from netemu.net.page_pool import (
    page_pool_put_page,
    page_pool_recycle_direct,
    page_pool_release_page,
    part_by_policy,
    put_kept_pages,
    rx_page,
)
from netemu.net.page_pool_shutdown import page_pool_destroy
from netemu.net.plugin import page_column, path_name
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV
from netemu.net.recycle import recycle_draw, refuse_page
from netemu.net.skb_layout import NET_SKB_PAD, SHARED_INFO_SIZE
from netemu.net.skbuff import napi_build_skb, napi_consume_skb, skb_mark_for_recycle, skb_put, skb_reserve
from netemu.net.stack import tx_post

# -- geometry and state ----------------------------------------------------------------------------------------------

# CHANGE: ring sizes (powers of two) and how a page is cut up.
RX_DESCRIPTORS = 256
TX_DESCRIPTORS = 256
HEADROOM = NET_SKB_PAD
BUFFER_SIZE = PAGE_SIZE - HEADROOM - SHARED_INFO_SIZE
"""Bytes of a page that the NIC may write: 3712."""
ETH_HEADER_AND_FCS = 18
FCS = 4

# CHANGE: what the hardware and the driver remember.  One table per slot number; every device has its own rows.
RING = private_table(
    "template_ring",
    0,
    [
        ("posted", "i8"),  # buffers ever given to the NIC
        ("taken", "i8"),  # buffers that the NIC has used
        ("done", "i8"),  # buffers that the driver has processed
        ("alloc_failed", "i8"),
    ],
)
BUFFER = private_table("template_buffer", 1, [("page", "i4")])  # page number + 1; 0: the slot is empty

# CHANGE: what the driver does itself and the platform profile has a price for.
RX_PACKET_TOUCH = cost_point("rx_packet_data_touch")
TX_DMA_MAP = cost_point("tx_dma_map")
TX_DMA_UNMAP = cost_point("tx_dma_unmap")

# -- receive ---------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def hw_receive(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Hardware: put the arriving frame into the next posted buffer, or say why not."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    length = arriving_length(k)
    if ring.taken == ring.posted:
        return NO_DESCRIPTOR
    if length + FCS > k.netdev[q.dev].hw_mtu:
        return OVERSIZE
    slot = ring.taken & (RX_DESCRIPTORS - 1)
    dma_frame(k, address_of_page(BUFFER(k, q.dev, slot).page - 1) + HEADROOM, 0, length)
    post_completion(k, rxq, slot, 0, length, 0)
    ring.taken += 1
    return RECEIVED


@kernel_function(traced=False, entry=True)
def rx_refill(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Post one more buffer: 1, call again; 0, the ring is full; -1, no memory, poll me again."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    if ring.posted - ring.done == RX_DESCRIPTORS:
        return 0
    pfn = rx_page(k, cpu, rxq)
    if pfn == NONE:
        ring.alloc_failed += 1
        return -1
    BUFFER(k, q.dev, ring.posted & (RX_DESCRIPTORS - 1)).page = pfn + 1
    ring.posted += 1
    ring_rx_doorbell(k, cpu, rxq)
    return 1


@kernel_function(traced=False, entry=True)
def rx_poll_one(k: Kernel, cpu: int, rxq: int, _budget: int) -> int:
    """Process the oldest completion: 1, done; 0, it has to wait until buffers are refilled."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    e = k.cqe[q.cq_base + (q.cq_head & q.cq_mask)]
    length = e.length
    packet = e.packet
    b = BUFFER(k, q.dev, e.buffer)
    pfn = b.page - 1
    b.page = 0  # from here on the page is the skb's, or goes back to the pool
    q.cq_head += 1
    ring.done += 1
    dma_sync_single_range_for_cpu(k, cpu, length)
    charge(k, cpu, RX_PACKET_TOUCH)
    skb = template_build_skb(k, cpu, rxq, pfn, length)
    if skb == NONE:
        k.run[0].dropped_no_skb += 1
        lost(k, packet, NO_SKB)
        page_pool_recycle_direct(k, cpu, q.pool, pfn)
        return 1
    deliver(k, cpu, rxq, skb, packet, length)
    return 1


@kernel_function
def template_build_skb(k: Kernel, cpu: int, rxq: int, pfn: int, length: int) -> int:
    """An skb around the page, which it takes over.  NONE: no memory, and the page is still the driver's."""
    skb = napi_build_skb(k, cpu, pfn, 0, PAGE_SIZE)
    if skb != NONE:
        skb_reserve(k, skb, HEADROOM)
        skb_put(k, skb, length)
        part_with_page(k, cpu, rxq, skb, pfn)
    return skb


@inlined
def part_with_page(k: Kernel, cpu: int, rxq: int, skb: int, pfn: int) -> None:
    """The page comes back to its pool when the skb is freed; before v5.14 it leaves the pool for good."""
    if k.era[0].pool_skb_recycle == 0:
        if k.policy[0].active:  # --recycle POLICY: unless it says otherwise
            part_by_policy(k, cpu, rxq, pfn)
        else:
            page_pool_release_page(k, cpu, k.rxq[rxq].pool, pfn)
        return
    if k.recycle[0].forced and not recycle_draw(k):  # --recycle 0..1: this attempt is to fail
        refuse_page(k, pfn)
    skb_mark_for_recycle(k, cpu, skb)


# -- transmit --------------------------------------------------------------------------------------------------------


@kernel_function(name="template_start_xmit", entry=True)
def xmit(k: Kernel, cpu: int, txq: int, skb: int) -> int:
    """Post one packet: 0, taken; 1, no room, and the skb is still the caller's."""
    q = k.txq[txq]
    if q.tail - q.head >= q.limit:
        q.stopped += 1
        return 1
    charge(k, cpu, TX_DMA_MAP)
    tx_post(k, cpu, txq, skb, TX_SKB, 0, k.skb[skb].len)
    return 0


@kernel_function(traced=False, entry=True)
def tx_poll_one(k: Kernel, cpu: int, txq: int, budget: int) -> int:
    """Clean the oldest completed transmission and free its packet."""
    skb = take_transmitted(k, txq)
    charge(k, cpu, TX_DMA_UNMAP)
    napi_consume_skb(k, cpu, skb, budget)
    return 1


# -- teardown --------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def close_ring(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Give every page in the ring, and those that a recycle policy has kept, back to the pool."""
    q = k.rxq[rxq]
    put_kept_pages(k, cpu, rxq)
    for slot in range(RX_DESCRIPTORS):
        b = BUFFER(k, q.dev, slot)
        if b.page != 0:
            page_pool_put_page(k, cpu, q.pool, b.page - 1, BUFFER_SIZE, 0)
            b.page = 0
    return 0


# -- what netemu sees ------------------------------------------------------------------------------------------------


class Template(Driver):
    """CHANGE: the name, the hardware's limits, and the names of the poll function's parts in call graphs."""

    name = "template"
    link_gbps = 10.0
    max_mtu = BUFFER_SIZE - ETH_HEADER_AND_FCS
    max_queues = 1
    tx_cq_budget = TX_DESCRIPTORS

    poll = path_name("template_poll")
    poll_tx = path_name("template_clean_tx")
    poll_rx = path_name("template_clean_rx")
    refill = path_name("template_refill")

    hw_receive = hw_receive
    rx_poll_one = rx_poll_one
    rx_refill = rx_refill
    xmit = xmit
    tx_poll_one = tx_poll_one

    def largest_frame(self, mtu: int) -> int:
        return mtu + ETH_HEADER_AND_FCS

    def open(self, nic: Nic) -> None:
        nic.add_private(RING, 1)
        nic.add_private(BUFFER, RX_DESCRIPTORS)
        nic.add_completion_ring(0, RX_DESCRIPTORS)
        nic.add_tx_ring(0, TX_DESCRIPTORS, TX_DESCRIPTORS - 1)
        flags = PP_FLAG_DMA_MAP
        if nic.k.era[0].pool_dma_sync:  # v5.5
            flags |= PP_FLAG_DMA_SYNC_DEV
        nic.create_page_pool(0, size=RX_DESCRIPTORS, flags=flags, offset=HEADROOM, max_len=BUFFER_SIZE)

    def stop(self, nic: Nic) -> None:
        close_ring(nic.k, nic.cpu(0), nic.rxq(0), 0)
        page_pool_destroy(nic.k, nic.cpu(0), nic.k.rxq[nic.rxq(0)].pool)

    def statistics(self, nic: Nic) -> dict[str, int]:
        rxq, txq = nic.k.rxq[nic.rxq(0)], nic.k.txq[nic.txq(0)]
        return {
            "rx_packets": rxq.packets,
            "rx_bytes": rxq.bytes,
            "rx_out_of_buffer": rxq.out_of_buffer,
            "rx_alloc_failed": int(nic.private(RING)["alloc_failed"][0]),
            "tx_packets": txq.packets,
            "tx_bytes": txq.bytes,
            "tx_stopped": txq.stopped,
        }

    def pages_held(self, nic: Nic) -> Iterator[int]:
        return page_column(nic.private(BUFFER))


DRIVER = Template()
"""What ``netemu replay --driver`` looks for in this file."""
