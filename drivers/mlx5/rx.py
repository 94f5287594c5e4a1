"""mlx5 receive: the NIC's side of both queue kinds, refilling, and one completion at a time.

Legacy: one WQE per frame, its fragments cut from shared pages.  Striding: WQEs of 64 pages into which the NIC
writes frame after frame.  Source: en_rx.c, v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function, prefetch
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net.contents import address_of_page, memory_copy, skb_head_address
from netemu.net.device_layout import NO_DESCRIPTOR, OVERSIZE, RECEIVED
from netemu.net.dma import dma_sync_single_range_for_cpu
from netemu.net.driver import arriving_length, deliver, dma_frame, post_completion, ring_rx_doorbell
from netemu.net.journey import NO_SKB, TOO_LONG, lost
from netemu.net.policy import next_part
from netemu.net.skbuff import napi_alloc_skb, skb_add_rx_frag, skb_put
from netemu.net.xdp_layout import XDP_PASS

from .layout import (
    ETH_FCS_LEN,
    FRAG,
    MPWQE,
    MPWQE_PAGE,
    PAGES_PER_MPWQE,
    REFILL_BULKS,
    REFILL_PARTIAL,
    REFILL_UNITS,
    RQ,
    RX_MAX_HEAD,
)
from .pages import mlx5e_page_alloc_mapped, page_done
from .rx_multi_buffer import skb_from_cqe_in_place, skb_from_mpwrq_multi_buffer
from .rx_skb import RX_PACKET_TOUCH, build_linear_skb, linear_size, share_page
from .xdp import CONSUMED, hand_over_frag, hand_over_page, mlx5e_fill_xdp_buff, mlx5e_xdp_handle

# -- the NIC ---------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def hw_receive(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """The NIC takes the arriving frame into the next WQE (legacy) or the next strides (striding).

    Strides take a frame of any length: the driver looks for longer ones than there should be.
    """
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    length = arriving_length(k)
    if r.hw == r.pi:
        return NO_DESCRIPTOR
    if length + ETH_FCS_LEN > k.netdev[q.dev].hw_mtu and (r.striding == 0 or r.linear == 0):
        return OVERSIZE
    if r.striding:
        return hw_receive_striding(k, rxq, length)
    hw_receive_legacy(k, rxq, length)
    return RECEIVED


@inlined
def hw_receive_legacy(k: Kernel, rxq: int, length: int) -> None:
    """Scatter the frame over the fragments of one WQE."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    wqe = r.hw & (r.wqes - 1)
    row = (q.index * r.wqes + wqe) * r.frags
    done = 0
    part = 0
    while done < length:
        f = FRAG(k, q.dev, row + part)
        here = min(length - done, r.frag_size[part])
        page = FRAG(k, q.dev, f.first).page - 1
        headroom = r.headroom if part == 0 else 0
        dma_frame(k, address_of_page(page) + f.offset + headroom, done, here)
        done += here
        part += 1
    post_completion(k, rxq, wqe, 0, length, 0)
    r.hw += 1


@inlined
def hw_receive_striding(k: Kernel, rxq: int, length: int) -> int:
    """Write the frame into consecutive strides; a frame that does not fit in the rest of a WQE starts the next."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    need = (r.headroom + length + (1 << r.stride_log) - 1) >> r.stride_log
    wqe = r.hw & (r.wqes - 1)
    left = r.strides - r.hw_stride
    if need > left:
        if r.hw + 1 == r.pi:
            return NO_DESCRIPTOR
        post_completion(k, rxq, wqe, r.hw_stride, -left, left)
        r.hw += 1
        r.hw_stride = 0
        wqe = r.hw & (r.wqes - 1)
    start = r.hw_stride << r.stride_log
    base = (q.index * r.wqes + wqe) * PAGES_PER_MPWQE
    done = 0
    while done < length:
        at = start + r.headroom + done
        here = min(length - done, PAGE_SIZE - at % PAGE_SIZE)
        page = MPWQE_PAGE(k, q.dev, base + at // PAGE_SIZE).page
        dma_frame(k, address_of_page(page) + at % PAGE_SIZE, done, here)
        done += here
    if k.netdev[q.dev].xdp_prog != 0 and r.linear == 0:
        k.run[0].landed_bytes = 0  # the first of several buffers stays empty
    post_completion(k, rxq, wqe, r.hw_stride, length, need)
    r.hw_stride += need
    if r.hw_stride == r.strides:
        r.hw += 1
        r.hw_stride = 0
    return RECEIVED


# -- refill ----------------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def rx_refill(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Give memory to one more fragment (legacy) or page (striding) of the WQE being filled."""
    q = k.rxq[rxq]
    if RQ(k, q.dev, q.index).striding:
        return refill_striding(k, cpu, rxq)
    return refill_legacy(k, cpu, rxq)


@kernel_function(name="mlx5e_alloc_rx_wqe", inline=True)
def alloc_rx_wqe(k: Kernel, cpu: int, rxq: int, row: int) -> bool:
    """Memory for one fragment: a page of its own, or the rest of the page before it."""
    q = k.rxq[rxq]
    f = FRAG(k, q.dev, row)
    if f.first == row:
        if f.page != 0:  # v6.4: the page of the packet before is released only now
            page_done(k, cpu, rxq, f.page - 1, f.used)
            f.page = 0
        pfn = mlx5e_page_alloc_mapped(k, cpu, rxq)
        if pfn == NONE:
            return False
        f.page = pfn + 1
        f.offset = next_part(k, cpu, pfn)
        f.used = 0
    return True


@inlined
def refill_legacy(k: Kernel, cpu: int, rxq: int) -> int:
    """Fill the WQEs that this refill is for, a fragment at a time, and post them together (mlx5e_post_rx_wqes)."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    if r.filling == 0:
        missing = r.wqes - (r.pi - r.ci)
        if missing < r.bulk:
            return 0
        r.wanted = r.bulk
        if k.era[0].mlx5_refill != REFILL_BULKS:  # but for those that would share a page with a WQE still posted
            r.wanted = missing - ((r.pi + missing) & r.index_mask)
    if k.era[0].mlx5_refill == REFILL_UNITS and r.filling % (r.unit * r.frags) == 0:
        release_unit(k, cpu, rxq)
    if not alloc_rx_wqe(k, cpu, rxq, filling_row(k, rxq, r.filling)):
        r.buff_alloc_err += 1
        give_up_refill(k, cpu, rxq)
        return -1
    r.filling += 1
    if r.filling == r.wanted * r.frags:
        r.filling = 0
        r.pi += r.wanted
        ring_rx_doorbell(k, cpu, rxq)
    return 1


@inlined
def filling_row(k: Kernel, rxq: int, at: int) -> int:
    """Fragment number ``at`` of those that are being filled."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    rows = r.wqes * r.frags
    return q.index * rows + (r.pi * r.frags + at) % rows


@kernel_function(name="mlx5e_free_rx_wqes", inline=True)
def release_unit(k: Kernel, cpu: int, rxq: int) -> None:
    """v6.4: let go of the pages of as many WQEs as are filled next, so that the pool has them."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    for at in range(r.filling, min(r.filling + r.unit * r.frags, r.wanted * r.frags)):
        release_frag(k, cpu, rxq, filling_row(k, rxq, at))


@kernel_function(traced=False)
def give_up_refill(k: Kernel, cpu: int, rxq: int) -> None:
    """Memory ran out: release what was filled, or (v6.1 to v6.3) post the WQEs that are complete.

    A page that the incomplete one shares with a WQE then posted is kept for it; the kernel releases it with the others.
    """
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    partial = k.era[0].mlx5_refill == REFILL_PARTIAL
    posted = r.filling // r.frags if partial else 0
    for at in range(posted * r.frags, r.filling):
        row = filling_row(k, rxq, at)
        if not partial or FRAG(k, q.dev, row).first >= row - at + posted * r.frags:
            release_frag(k, cpu, rxq, row)
    r.filling = 0
    if posted > 0:
        r.pi += posted
        ring_rx_doorbell(k, cpu, rxq)


@inlined
def refill_striding(k: Kernel, cpu: int, rxq: int) -> int:
    """Post one multi-packet WQE, a page at a time; the UMR that maps it is part of the cost of the last page."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    if r.filling == 0 and r.pi - r.ci == r.wqes:
        return 0
    wqe = q.index * r.wqes + (r.pi & (r.wqes - 1))
    pfn = mlx5e_page_alloc_mapped(k, cpu, rxq)
    if pfn == NONE:
        r.buff_alloc_err += 1
        for filled in range(r.filling):
            m = MPWQE_PAGE(k, q.dev, wqe * PAGES_PER_MPWQE + filled)
            page_done(k, cpu, rxq, m.page, 0)
        r.filling = 0
        return -1
    m = MPWQE_PAGE(k, q.dev, wqe * PAGES_PER_MPWQE + r.filling)
    m.page = pfn
    m.used = 0
    r.filling += 1
    if r.filling < PAGES_PER_MPWQE:
        return 1
    r.filling = 0
    MPWQE(k, q.dev, wqe).consumed = 0
    r.pi += 1
    charge(k, cpu, UMR_POST)
    ring_rx_doorbell(k, cpu, rxq)
    return 0


UMR_POST = cost_point("umr_post")

# -- one completion --------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def rx_poll_one(k: Kernel, cpu: int, rxq: int, _budget: int) -> int:
    """Process the oldest completion of the queue."""
    q = k.rxq[rxq]
    row = q.cq_base + (q.cq_head & q.cq_mask)
    q.cq_head += 1
    if RQ(k, q.dev, q.index).striding:
        handle_rx_cqe_mpwrq(k, cpu, rxq, row)
    else:
        handle_rx_cqe(k, cpu, rxq, row)
    return 1


@inlined
def run_program(k: Kernel, cpu: int, rxq: int, address: int, length: int, packet: int) -> int:
    """The XDP program on a frame in one buffer, a page of its own: XDP_PASS, CONSUMED, SENT or REDIRECTED."""
    if k.netdev[k.rxq[rxq].dev].xdp_looks:
        charge(k, cpu, RX_PACKET_TOUCH)
    headroom = RQ(k, k.rxq[rxq].dev, k.rxq[rxq].index).headroom
    xdp = mlx5e_fill_xdp_buff(k, cpu, rxq, address, headroom, length, PAGE_SIZE, packet)
    return mlx5e_xdp_handle(k, cpu, rxq, xdp)


@kernel_function(name="mlx5e_skb_from_cqe_linear", inline=True)
def skb_from_cqe_linear(k: Kernel, cpu: int, rxq: int, row: int, length: int, packet: int) -> int:
    """Legacy, one fragment per frame."""
    q = k.rxq[rxq]
    f = FRAG(k, q.dev, row)
    first = FRAG(k, q.dev, f.first)
    page = first.page - 1
    headroom = RQ(k, q.dev, q.index).headroom
    dma_sync_single_range_for_cpu(k, cpu, linear_size(headroom, length))
    if k.netdev[q.dev].xdp_prog != 0:
        verdict = run_program(k, cpu, rxq, address_of_page(page) + f.offset, length, packet)
        if verdict == CONSUMED:
            return CONSUMED
        if verdict != XDP_PASS:
            hand_over_frag(k, cpu, rxq, row, verdict)
            return verdict
        x = k.xdp_buff[cpu]
        headroom = x.data - x.hard_start
        length = x.data_end - x.data
    skb = build_linear_skb(k, cpu, rxq, page, f.offset, linear_size(headroom, length), headroom, length)
    if skb != NONE:
        first.used += 1
        share_page(k, cpu, skb, page)
    return skb


@kernel_function(name="mlx5e_skb_from_cqe_nonlinear")
def skb_from_cqe_nonlinear(k: Kernel, cpu: int, rxq: int, row: int, length: int) -> int:
    """Legacy, several fragments (to v5.17): the head of the frame is copied, the rest stays where it is."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    skb = napi_alloc_skb(k, cpu, RX_MAX_HEAD)
    if skb == NONE:
        r.buff_alloc_err += 1
        return NONE
    head = min(RX_MAX_HEAD, length)
    left = length
    part = 0
    while left > 0:
        f = FRAG(k, q.dev, row + part)
        first = FRAG(k, q.dev, f.first)
        page = first.page - 1
        here = min(left, r.frag_size[part])
        skip = head if part == 0 else 0
        if part == 0:
            copy_head(k, cpu, skb, address_of_page(page) + f.offset, head)
        if here > skip:
            dma_sync_single_range_for_cpu(k, cpu, here - skip)
            first.used += 1
            share_page(k, cpu, skb, page)
            skb_add_rx_frag(k, cpu, skb, page, f.offset + skip, here - skip, r.frag_stride[part])
        left -= here
        part += 1
    return skb


@inlined
def copy_head(k: Kernel, cpu: int, skb: int, origin: int, count: int) -> None:
    """Append the start of a frame, or what follows of it on the next page, to the skb's linear part.

    Synced in whole words (mlx5e_copy_skb_header).
    """
    dma_sync_single_range_for_cpu(k, cpu, (count + 7) & ~7)
    if k.run[0].keep_contents:
        memory_copy(k, skb_head_address(k, skb) + k.skb[skb].tail, origin, count)
    skb_put(k, skb, count)


@kernel_function(inline=True)
def mlx5e_free_rx_wqe(k: Kernel, cpu: int, rxq: int, row: int) -> None:
    """The driver is done with a WQE: release the pages that end in it."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    if k.era[0].mlx5_rx_cache != 0:
        return  # v6.4: deferred to the refill of the same slot
    for part in range(r.frags):
        release_frag(k, cpu, rxq, row + part)


@inlined
def release_frag(k: Kernel, cpu: int, rxq: int, row: int) -> None:
    """Release a fragment's page if this is the last fragment on it."""
    q = k.rxq[rxq]
    f = FRAG(k, q.dev, row)
    first = FRAG(k, q.dev, f.first)
    if f.last_in_page and first.page != 0:
        page_done(k, cpu, rxq, first.page - 1, first.used)
        first.page = 0


@kernel_function(name="mlx5e_handle_rx_cqe", inline=True)
def handle_rx_cqe(k: Kernel, cpu: int, rxq: int, cqe: int) -> None:
    """One frame of a legacy queue."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    length = k.cqe[cqe].length
    row = (q.index * r.wqes + k.cqe[cqe].buffer) * r.frags
    packet = k.cqe[cqe].packet
    if r.linear:
        skb = skb_from_cqe_linear(k, cpu, rxq, row, length, packet)
    elif k.era[0].mlx5_jumbo_skb != 0 or k.netdev[q.dev].xdp_prog != 0:
        skb = skb_from_cqe_in_place(k, cpu, rxq, row, length, packet)
    else:
        skb = skb_from_cqe_nonlinear(k, cpu, rxq, row, length)
    if skb == NONE:
        k.run[0].dropped_no_skb += 1
        lost(k, packet, NO_SKB)
    elif skb >= 0:
        deliver(k, cpu, rxq, skb, packet, length)
    mlx5e_free_rx_wqe(k, cpu, rxq, row)
    r.ci += 1


@kernel_function(name="mlx5e_skb_from_cqe_mpwrq_linear", inline=True)
def skb_from_mpwrq_linear(k: Kernel, cpu: int, rxq: int, page_row: int, offset: int, length: int, packet: int) -> int:
    """Striding, whole frame in one stride; one that is longer than the MTU allows has filled several (v4.20)."""
    q = k.rxq[rxq]
    if length > k.netdev[q.dev].hw_mtu:
        RQ(k, q.dev, q.index).oversize_pkts_sw_drop += 1
        q.oversize += 1
        lost(k, packet, TOO_LONG)
        return CONSUMED
    m = MPWQE_PAGE(k, q.dev, page_row)
    headroom = RQ(k, q.dev, q.index).headroom
    dma_sync_single_range_for_cpu(k, cpu, linear_size(headroom, length))
    if k.netdev[q.dev].xdp_prog != 0:
        verdict = run_program(k, cpu, rxq, address_of_page(m.page) + offset, length, packet)
        if verdict == CONSUMED:
            return CONSUMED
        if verdict != XDP_PASS:
            hand_over_page(k, cpu, rxq, page_row, verdict)
            return verdict
        x = k.xdp_buff[cpu]
        headroom = x.data - x.hard_start
        length = x.data_end - x.data
    skb = build_linear_skb(k, cpu, rxq, m.page, offset, linear_size(headroom, length), headroom, length)
    if skb != NONE:
        m.used += 1
        share_page(k, cpu, skb, m.page)
    return skb


@kernel_function(name="mlx5e_skb_from_cqe_mpwrq_nonlinear")
def skb_from_mpwrq_nonlinear(k: Kernel, cpu: int, rxq: int, base: int, offset: int, length: int) -> int:
    """Striding, frame over several small strides and perhaps pages."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    skb = napi_alloc_skb(k, cpu, RX_MAX_HEAD)
    if skb == NONE:
        r.buff_alloc_err += 1
        return NONE
    head = min(RX_MAX_HEAD, length)
    at = offset
    left = head
    while left > 0:  # the head may end on the next page
        here = min(left, PAGE_SIZE - at % PAGE_SIZE)
        page = MPWQE_PAGE(k, q.dev, base + at // PAGE_SIZE).page
        copy_head(k, cpu, skb, address_of_page(page) + at % PAGE_SIZE, here)
        at += here
        left -= here
    left = length - head
    while left > 0:
        here = min(left, PAGE_SIZE - at % PAGE_SIZE)
        m = MPWQE_PAGE(k, q.dev, base + at // PAGE_SIZE)
        dma_sync_single_range_for_cpu(k, cpu, here)
        m.used += 1
        share_page(k, cpu, skb, m.page)
        stride = 1 << r.stride_log
        skb_add_rx_frag(k, cpu, skb, m.page, at % PAGE_SIZE, here, (here + stride - 1) // stride * stride)
        at += here
        left -= here
    return skb


@kernel_function(name="mlx5e_free_rx_mpwqe")
def free_rx_mpwqe(k: Kernel, cpu: int, rxq: int, wqe: int) -> None:
    """Every stride of a WQE is consumed: release its 64 pages."""
    q = k.rxq[rxq]
    for i in range(PAGES_PER_MPWQE):
        m = MPWQE_PAGE(k, q.dev, wqe * PAGES_PER_MPWQE + i)
        if m.page != NONE:
            page_done(k, cpu, rxq, m.page, m.used)


@kernel_function(name="mlx5e_handle_rx_cqe_mpwrq", inline=True)
def handle_rx_cqe_mpwrq(k: Kernel, cpu: int, rxq: int, cqe: int) -> None:
    """One frame, or one filler, of a striding queue."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    e = k.cqe[cqe]
    wqe = q.index * r.wqes + e.buffer
    if e.length < 0:
        r.mpwqe_filler_cqes += 1
        r.mpwqe_filler_strides += e.aux
    else:
        offset = e.offset << r.stride_log
        base = wqe * PAGES_PER_MPWQE
        if r.linear:
            row = base + offset // PAGE_SIZE
            prefetch(k.pages, MPWQE_PAGE(k, q.dev, min(row + 1, base + PAGES_PER_MPWQE - 1)).page)
            skb = skb_from_mpwrq_linear(k, cpu, rxq, row, offset % PAGE_SIZE, e.length, e.packet)
        elif k.netdev[q.dev].xdp_prog != 0:
            skb = skb_from_mpwrq_multi_buffer(k, cpu, rxq, base, offset, e.length, e.packet)
        else:
            skb = skb_from_mpwrq_nonlinear(k, cpu, rxq, base, offset, e.length)
        if skb == NONE:
            k.run[0].dropped_no_skb += 1
            lost(k, e.packet, NO_SKB)
        elif skb >= 0:
            deliver(k, cpu, rxq, skb, e.packet, e.length)
    m = MPWQE(k, q.dev, wqe)
    m.consumed += e.aux
    if m.consumed == r.strides:
        free_rx_mpwqe(k, cpu, rxq, wqe)
        r.ci += 1
