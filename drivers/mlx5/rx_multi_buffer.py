"""mlx5 receive, packets of several buffers of which the first is an skb's head: what an XDP program can look at.

A legacy queue has them from v5.18, with a program or without; a striding queue with a program only, from v6.4, where
pages are counted in fragments: a buffer that the program cuts off, a packet that is transmitted and one that is passed
on all take one fragment of each page with them.
Source: en_rx.c (mlx5e_skb_from_cqe_nonlinear, mlx5e_skb_from_cqe_mpwrq_nonlinear), v5.18 to v6.12, with what later
releases mended there: an skb is built from what the program has left (v6.18), and cut buffers count (v7.0).
"""

from __future__ import annotations

from netemu.engine.kernel import kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net.contents import address_of_page, memory_copy, skb_head_address
from netemu.net.dma import dma_sync_single_range_for_cpu
from netemu.net.skbuff import pskb_pull_tail, skb_add_rx_frag
from netemu.net.xdp import xdp_buff_add_frag
from netemu.net.xdp_layout import XDP_PACKET_HEADROOM, XDP_PASS

from .layout import FRAG, LINEAR_PART, MPWQE_PAGE, RQ, RX_MAX_HEAD
from .pages import mlx5e_page_alloc_mapped, page_done
from .rx_skb import RX_PACKET_TOUCH, build_linear_skb, share_page
from .xdp import CONSUMED, REDIRECTED, hand_over_frag, hand_over_page, mlx5e_fill_xdp_buff, mlx5e_xdp_handle


@kernel_function(name="mlx5e_skb_from_cqe_nonlinear")
def skb_from_cqe_in_place(k: Kernel, cpu: int, rxq: int, row: int, length: int, packet: int) -> int:
    """Legacy (v5.18), with or without a program: the first fragment is the skb's head, the others are its frags.

    Packets share pages only where there is no program.
    """
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    first = FRAG(k, q.dev, row)
    first_in_page = FRAG(k, q.dev, first.first)
    page = first_in_page.page - 1
    left = length - min(length, r.frag_size[0])
    dma_sync_single_range_for_cpu(k, cpu, r.frag_stride[0])
    if k.netdev[q.dev].xdp_looks:
        charge(k, cpu, RX_PACKET_TOUCH)
    address = address_of_page(page) + first.offset
    xdp = mlx5e_fill_xdp_buff(k, cpu, rxq, address, r.headroom, length - left, r.frag_stride[0], packet)
    parts = 1
    while left > 0:
        f = FRAG(k, q.dev, row + parts)
        here = min(left, r.frag_size[parts])
        dma_sync_single_range_for_cpu(k, cpu, here)
        xdp_buff_add_frag(k, xdp, FRAG(k, q.dev, f.first).page - 1, f.offset, here)
        left -= here
        parts += 1
    x = k.xdp_buff[xdp]
    if k.netdev[q.dev].xdp_prog != 0:
        verdict = mlx5e_xdp_handle(k, cpu, rxq, xdp)
        kept = x.nr_frags + 1
        for part in range(kept, parts):  # the program cut them off, and they went back to the pool
            hand_over_frag(k, cpu, rxq, row + part, REDIRECTED)
        if verdict == CONSUMED:
            return CONSUMED
        if verdict != XDP_PASS:
            for part in range(kept):
                hand_over_frag(k, cpu, rxq, row + part, verdict)
            return verdict
    headroom = x.data - x.hard_start
    skb = build_linear_skb(k, cpu, rxq, page, first.offset, r.frag_stride[0], headroom, x.data_end - x.data)
    if skb == NONE:
        return NONE
    first_in_page.used += 1
    share_page(k, cpu, skb, page)
    for i in range(x.nr_frags):
        f = FRAG(k, q.dev, row + 1 + i)
        FRAG(k, q.dev, f.first).used += 1
        share_page(k, cpu, skb, x.frag_page[i])
        skb_add_rx_frag(k, cpu, skb, x.frag_page[i], x.frag_offset[i], x.frag_size[i], r.frag_stride[1 + i])
    return skb


@kernel_function(name="mlx5e_skb_from_cqe_mpwrq_nonlinear")
def skb_from_mpwrq_multi_buffer(k: Kernel, cpu: int, rxq: int, base: int, offset: int, length: int, packet: int) -> int:
    """Striding (v6.4): an empty first buffer on a page of its own, behind it the pages that the NIC has filled.

    A packet is passed on with its head pulled into that first page.
    """
    q = k.rxq[rxq]
    linear = mlx5e_page_alloc_mapped(k, cpu, rxq)
    if linear == NONE:
        RQ(k, q.dev, q.index).buff_alloc_err += 1
        return NONE
    if k.netdev[q.dev].xdp_looks:
        charge(k, cpu, RX_PACKET_TOUCH)
    xdp = mlx5e_fill_xdp_buff(k, cpu, rxq, address_of_page(linear), XDP_PACKET_HEADROOM, 0, LINEAR_PART, packet)
    first = base + offset // PAGE_SIZE
    parts = (length + PAGE_SIZE - 1) // PAGE_SIZE
    for part in range(parts):
        here = min(length - part * PAGE_SIZE, PAGE_SIZE)
        dma_sync_single_range_for_cpu(k, cpu, here)
        xdp_buff_add_frag(k, xdp, MPWQE_PAGE(k, q.dev, first + part).page, 0, here)
    outcome = mlx5e_xdp_handle(k, cpu, rxq, xdp)
    kept = k.xdp_buff[xdp].nr_frags
    if outcome == XDP_PASS:
        outcome = skb_from_buffers(k, cpu, rxq, xdp, linear)
    taken = outcome != NONE and outcome != CONSUMED
    page_done(k, cpu, rxq, linear, 1 if taken else 0)
    for part in range(parts):
        if taken or part >= kept:
            hand_over_page(k, cpu, rxq, first + part, outcome)
    if outcome >= 0:
        pull_head(k, cpu, outcome)
    return outcome


@kernel_function(traced=False)
def skb_from_buffers(k: Kernel, cpu: int, rxq: int, xdp: int, page: int) -> int:
    """An skb with its head on ``page`` and the other buffers of the packet behind it.  NONE: no memory."""
    x = k.xdp_buff[xdp]
    skb = build_linear_skb(k, cpu, rxq, page, 0, LINEAR_PART, x.data - x.hard_start, x.data_end - x.data)
    if skb != NONE:
        share_page(k, cpu, skb, page)
        for i in range(x.nr_frags):
            skb_add_rx_frag(k, cpu, skb, x.frag_page[i], x.frag_offset[i], x.frag_size[i], PAGE_SIZE)
    return skb


@kernel_function(traced=False)
def pull_head(k: Kernel, cpu: int, skb: int) -> None:
    """Let the linear part begin as that of any other packet does: with up to 256 bytes."""
    r = k.skb[skb]
    count = min(RX_MAX_HEAD - (r.len - r.data_len), r.data_len)
    if count <= 0:
        return
    if k.run[0].keep_contents:
        f = k.frags[r.shinfo]
        to = skb_head_address(k, skb) + r.tail
        left = count
        for i in range(k.shinfo[r.shinfo].nr_frags):
            here = min(left, f.size[i])
            memory_copy(k, to, address_of_page(f.page[i]) + f.offset[i], here)
            to += here
            left -= here
    pskb_pull_tail(k, cpu, skb, count)
