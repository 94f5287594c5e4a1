"""netsec receive: a descriptor is handed to the stack only after its replacement is at hand.

Source: netsec.c (netsec_process_rx, netsec_alloc_rx_data), v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NAPI_FRAGS, NONE, PAGE_SIZE
from netemu.mm.page_alloc import page_ref_add, put_page
from netemu.mm.page_frag import page_frag_alloc, page_frag_free
from netemu.net.contents import skb_head_address
from netemu.net.device_layout import NO_DESCRIPTOR, OVERSIZE, RECEIVED
from netemu.net.dma import (
    dma_sync_single_range_for_cpu,
    dma_sync_single_range_for_device,
    maintain_lines,
)
from netemu.net.driver import arriving_length, deliver, dma_frame, post_completion, ring_rx_doorbell
from netemu.net.journey import NO_SKB, lost
from netemu.net.page_pool import (
    EVERYTHING,
    page_pool_put_page,
    page_pool_release_page,
)
from netemu.net.policy import next_part, settle_references
from netemu.net.recycle import park_page, recycle_draw, refuse_page, unpark_any, unpark_page
from netemu.net.rx_pages import part_by_policy, put_kept_pages, rx_page
from netemu.net.skb_layout import NET_SKB_PAD, SHARED_INFO_SIZE
from netemu.net.skbuff import (
    build_skb,
    kfree_skb,
    netdev_alloc_skb,
    skb_mark_for_recycle,
    skb_put,
    skb_reserve,
)

from .layout import DESC, DESC_NUM, ETH_HEADER_AND_FCS, FRAG_DATA, FRAG_SIZE, RING, RX_BUF_SIZE, RXBUF_HEADROOM
from .xdp import netsec_run_xdp

RX_PACKET_TOUCH = cost_point("netsec_rx_packet_data_touch")
STREAMING_MAP = cost_point("netsec_rx_dma_map")
STREAMING_UNMAP = cost_point("netsec_rx_dma_unmap")

BUFFER_SKB = 0
BUFFER_FRAGMENT = 1
BUFFER_PAGE = 2

POLL_SHARED = 0
POLL_REPEATS = 1

CONSUMED = -2
"""Instead of an skb: the XDP program kept the packet from the stack."""


def part_size(mtu: int) -> int:
    """Bytes of a page that one frame needs where pages are cut into parts."""
    return (NET_SKB_PAD + mtu + ETH_HEADER_AND_FCS + 63) // 64 * 64 + SHARED_INFO_SIZE


@inlined
def page_headroom(k: Kernel) -> int:
    """Bytes before the frame in a page, or in the part of one that a recycle policy cuts it into."""
    if k.policy[0].parts > 1:
        return NET_SKB_PAD
    return RXBUF_HEADROOM


@inlined
def buffer_address(k: Kernel, where: int) -> int:
    """Where in memory the NIC writes a frame for this buffer."""
    how = k.era[0].netsec_rx
    if how == BUFFER_SKB:
        return skb_head_address(k, where) + k.skb[where].data
    if how == BUFFER_FRAGMENT:
        return where + NET_SKB_PAD
    return where + page_headroom(k)


@kernel_function(traced=False, entry=True)
def hw_receive(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """The NIC takes the arriving frame into the descriptor at its position."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    d = DESC(k, q.dev, ring.hw)
    if d.own == 0:
        return NO_DESCRIPTOR
    length = arriving_length(k)
    if length + 4 > k.netdev[q.dev].hw_mtu:
        return OVERSIZE
    dma_frame(k, buffer_address(k, d.where), 0, length)
    post_completion(k, rxq, ring.hw, 0, length, 0)
    d.own = 0
    ring.hw = (ring.hw + 1) % DESC_NUM
    return RECEIVED


# -- buffers ---------------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def netsec_alloc_rx_data(k: Kernel, cpu: int, rxq: int) -> int:
    """A receive buffer, mapped: an skb, or the byte address of a fragment or page.  NONE: no memory."""
    how = k.era[0].netsec_rx
    q = k.rxq[rxq]
    if how == BUFFER_SKB:
        charge(k, cpu, STREAMING_MAP)
        maintain_lines(k, cpu, k.netdev[q.dev].mtu + ETH_HEADER_AND_FCS)
        return netdev_alloc_skb(k, cpu, k.netdev[q.dev].mtu + ETH_HEADER_AND_FCS)
    if how == BUFFER_FRAGMENT:
        charge(k, cpu, STREAMING_MAP)
        maintain_lines(k, cpu, FRAG_DATA)
        return page_frag_alloc(k, cpu, NAPI_FRAGS, FRAG_SIZE)
    pfn = NONE
    if k.recycle[0].forced:
        pfn = unpark_page(k, rxq)
    if pfn == NONE:
        pfn = rx_page(k, cpu, rxq)
    if pfn == NONE:
        return NONE
    if k.era[0].netsec_pool_sync == 0:
        dma_sync_single_range_for_device(k, cpu, RX_BUF_SIZE)
    return pfn * PAGE_SIZE + next_part(k, cpu, pfn)


@inlined
def rx_fill(k: Kernel, dev: int, index: int, where: int) -> None:
    """Give a descriptor its buffer and hand it to the NIC."""
    d = DESC(k, dev, index)
    d.where = where
    d.used = 1
    d.own = 1


@kernel_function(traced=False, entry=True)
def rx_refill(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Fill the ring when the device is opened; afterwards each received frame brings its own replacement."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    if ring.filled == DESC_NUM:
        return 0
    where = netsec_alloc_rx_data(k, cpu, rxq)
    if where == NONE:
        return -1
    rx_fill(k, q.dev, ring.filled, where)
    ring.filled += 1
    return 1


# -- one completion --------------------------------------------------------------------------------------------------


@kernel_function(name="netsec_build_skb", traced=False, inline=True)
def skb_on_buffer(k: Kernel, cpu: int, rxq: int, where: int, headroom: int, length: int) -> int:
    """The skb over a received buffer, by era; ``headroom`` is that of a page.  NONE: no memory for the struct."""
    how = k.era[0].netsec_rx
    if how == BUFFER_SKB:
        charge(k, cpu, STREAMING_UNMAP)
        maintain_lines(k, cpu, k.netdev[k.rxq[rxq].dev].mtu + ETH_HEADER_AND_FCS)
        skb_put(k, where, length)
        return where
    pfn = where // PAGE_SIZE
    if how == BUFFER_FRAGMENT:
        charge(k, cpu, STREAMING_UNMAP)
        maintain_lines(k, cpu, FRAG_DATA)
        skb = build_skb(k, cpu, pfn, where % PAGE_SIZE, FRAG_SIZE)
        headroom = NET_SKB_PAD
    else:
        skb = build_skb(k, cpu, pfn, where % PAGE_SIZE, PAGE_SIZE // max(k.policy[0].parts, 1))
    if skb == NONE:
        return NONE
    skb_reserve(k, skb, headroom)
    skb_put(k, skb, length)
    return skb


@inlined
def part_with_page(k: Kernel, cpu: int, rxq: int, skb: int, pfn: int) -> None:
    """The page goes with the skb: marked for recycling (v5.14+ pools), or let go by the pool."""
    pool = k.rxq[rxq].pool
    comes_back = k.era[0].pool_skb_recycle != 0 and k.era[0].netsec_skb_recycle != 0
    if k.policy[0].active and (not comes_back or k.policy[0].parts > 1):
        part_by_policy(k, cpu, rxq, pfn)
        return
    if k.recycle[0].forced:
        if k.era[0].pool_skb_recycle == 0 and recycle_draw(k):
            page_ref_add(k, cpu, pfn, 1)
            park_page(k, rxq, pfn)
            return
        if k.era[0].pool_skb_recycle != 0 and not recycle_draw(k):
            refuse_page(k, pfn)
    if comes_back:
        skb_mark_for_recycle(k, cpu, skb)
    else:
        page_pool_release_page(k, cpu, pool, pfn)


@kernel_function(traced=False)
def free_buffer(k: Kernel, cpu: int, rxq: int, where: int, direct: int) -> None:
    """A buffer that no skb took."""
    how = k.era[0].netsec_rx
    if how == BUFFER_SKB:
        kfree_skb(k, cpu, where)
    elif how == BUFFER_FRAGMENT:
        page_frag_free(k, cpu, where // PAGE_SIZE)
    else:
        settle_references(k, cpu, where // PAGE_SIZE)
        page_pool_put_page(k, cpu, k.rxq[rxq].pool, where // PAGE_SIZE, EVERYTHING, direct)


@inlined
def next_descriptor(k: Kernel, cpu: int, rxq: int, where: int) -> None:
    """Done with the tail descriptor, which goes back to the NIC with the buffer at ``where``."""
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    rx_fill(k, q.dev, ring.tail, where)
    ring.tail = (ring.tail + 1) % DESC_NUM
    q.cq_head += 1
    ring_rx_doorbell(k, cpu, rxq)


@inlined
def no_skb_for(k: Kernel, packet: int) -> None:
    """The packet is dropped for want of memory."""
    k.run[0].dropped_no_skb += 1
    lost(k, packet, NO_SKB)


@inlined
def leave_in_descriptor(k: Kernel) -> int:
    """The packet stays where it is: 1 when this poll looks at it again (v5.0), 0 when the next one does."""
    if k.era[0].netsec_poll == POLL_REPEATS:
        return 1
    return 0


@kernel_function(traced=False, entry=True)
def rx_poll_one(k: Kernel, cpu: int, rxq: int, _budget: int) -> int:
    """Process the frame at the tail descriptor; 0: there is no memory, the packet stays there and the poll ends.

    In v4.19 a packet without a replacement for its skb is dropped, and the descriptor keeps that.
    """
    q = k.rxq[rxq]
    ring = RING(k, q.dev, 0)
    e = k.cqe[q.cq_base + (q.cq_head & q.cq_mask)]
    where = DESC(k, q.dev, ring.tail).where
    length = e.length
    packet = e.packet
    fresh = netsec_alloc_rx_data(k, cpu, rxq)
    if fresh == NONE:
        ring.alloc_failed += 1
        if k.era[0].netsec_rx != BUFFER_SKB:
            return leave_in_descriptor(k)
        no_skb_for(k, packet)
        next_descriptor(k, cpu, rxq, where)
        return 1
    charge(k, cpu, RX_PACKET_TOUCH)
    if k.era[0].netsec_rx == BUFFER_PAGE:
        dma_sync_single_range_for_cpu(k, cpu, length)
    skb = CONSUMED
    headroom = page_headroom(k)
    linear = length
    if k.netdev[q.dev].xdp_prog == 0:
        skb = skb_on_buffer(k, cpu, rxq, where, headroom, linear)
    elif netsec_run_xdp(k, cpu, rxq, where, length, packet):
        x = k.xdp_buff[cpu]
        headroom = x.data - x.hard_start
        linear = x.data_end - x.data
        skb = skb_on_buffer(k, cpu, rxq, where, headroom, linear)
    if skb == NONE:
        if k.era[0].netsec_rx == BUFFER_FRAGMENT:
            free_buffer(k, cpu, rxq, fresh, 1)
            return leave_in_descriptor(k)
        no_skb_for(k, packet)
        free_buffer(k, cpu, rxq, where, 1)
    elif skb != CONSUMED and k.era[0].netsec_rx == BUFFER_PAGE:
        part_with_page(k, cpu, rxq, skb, where // PAGE_SIZE)
    next_descriptor(k, cpu, rxq, fresh)
    if skb >= 0:
        deliver(k, cpu, rxq, skb, packet, length)
    return 1


# -- teardown --------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def close_ring(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Free every receive buffer, parked and kept pages too."""
    q = k.rxq[rxq]
    put_kept_pages(k, cpu, rxq)
    for i in range(DESC_NUM):
        d = DESC(k, q.dev, i)
        if d.used:
            free_buffer(k, cpu, rxq, d.where, 0)
            d.used = 0
            d.own = 0
    pfn = unpark_any(k, rxq)
    while pfn != NONE:
        page_pool_release_page(k, cpu, q.pool, pfn)
        put_page(k, cpu, pfn)
        pfn = unpark_any(k, rxq)
    RING(k, q.dev, 0).filled = 0
    return 0
