"""mlx5 XDP: what becomes of a received packet after the program, the two send queues of a channel, and redirect to it.

Each channel has a send queue for XDP_TX and one for redirected frames, beside those of the stack.  A page that is
transmitted is not the receive queue's any more until its completion.  Source: en/xdp.c, v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NONE
from netemu.net.device_layout import TX_XDP, TX_XDP_NDO
from netemu.net.dma import dma_sync_single_range_for_device, dma_unmap_page_attrs, maintain_lines
from netemu.net.driver import take_transmitted
from netemu.net.journey import NOT_XMITTED, TX_FULL, lost
from netemu.net.page_pool import EVERYTHING, page_pool_put_page
from netemu.net.redirect import xdp_do_redirect
from netemu.net.xdp import trace_xdp_exception, xdp_get_buff_len, xdp_prepare_buff, xdp_verdict
from netemu.net.xdp_frame import (
    frame_forget,
    frame_page,
    xdp_convert_buff_to_frame,
    xdp_flush_frame_bulk,
    xdp_return_frame_bulk,
    xdp_return_frame_rx_napi,
)
from netemu.net.xdp_layout import XDP_PASS, XDP_REDIRECT, XDP_TX
from netemu.net.xdp_tx import posted_frame, posted_kind, xdp_post

from .layout import FRAG, MPWQE_PAGE, RQ
from .pages import mlx5e_page_release

ENETDOWN = -100
ENXIO = -6

TX_DMA_MAP = cost_point("xdp_dma_map")
TX_DMA_UNMAP = cost_point("xdp_dma_unmap")
PASSED = cost_point("mlx5e_xdp_pass")

# what became of a packet: an skb, NONE, or one of these
CONSUMED = -2  # dropped: the page is the receive queue's
SENT = -3  # its page comes back when it is transmitted
REDIRECTED = -4  # its page is on its way to somebody else

# -- after the program -----------------------------------------------------------------------------------------------


@inlined
def mlx5e_fill_xdp_buff(
    k: Kernel, cpu: int, rxq: int, address: int, headroom: int, length: int, frame_sz: int, packet: int
) -> int:
    """The packet as a program sees it; room for metadata came with multi-buffer packets (v5.18)."""
    xdp = xdp_prepare_buff(k, cpu, rxq, address, headroom, length, frame_sz)
    x = k.xdp_buff[xdp]
    x.packet = packet
    if k.era[0].xdp_multi_buffer != 0:
        x.data_meta = x.data
    return xdp


@kernel_function(inline=True)
def mlx5e_xdp_handle(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Run the program and do what it says: XDP_PASS, CONSUMED, SENT or REDIRECTED."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    verdict = xdp_verdict(k, cpu, rxq, xdp)
    if verdict == XDP_PASS:
        charge(k, cpu, PASSED)
        return XDP_PASS
    if verdict == XDP_TX:
        if mlx5e_xmit_xdp_buff(k, cpu, rxq, xdp):
            return SENT
        trace_xdp_exception(k)
        k.xdp_rxq[rxq].tx_full += 1
        lost(k, k.xdp_buff[xdp].packet, TX_FULL)
    elif verdict == XDP_REDIRECT:
        if xdp_do_redirect(k, cpu, xdp) == 0:
            r.xdp_redirect += 1
            return REDIRECTED
        trace_xdp_exception(k)
    r.xdp_drop += 1
    return CONSUMED


@inlined
def hand_over_frag(k: Kernel, cpu: int, rxq: int, row: int, outcome: int) -> None:
    """Legacy: a fragment's page goes on without the receive queue; from v6.4 as one of its 64 fragments."""
    q = k.rxq[rxq]
    f = FRAG(k, q.dev, row)
    if k.era[0].mlx5_rx_cache != 0:
        f.used += 1
        return
    if outcome == REDIRECTED:
        dma_unmap_page_attrs(k, cpu, f.page - 1)
    f.page = 0


@inlined
def hand_over_page(k: Kernel, cpu: int, rxq: int, row: int, outcome: int) -> None:
    """Striding: the same for a page of a multi-packet WQE."""
    q = k.rxq[rxq]
    m = MPWQE_PAGE(k, q.dev, row)
    if k.era[0].mlx5_rx_cache != 0:
        m.used += 1
        return
    if outcome == REDIRECTED:
        dma_unmap_page_attrs(k, cpu, m.page)
    m.page = NONE


# -- transmitting ----------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def mlx5e_xmit_xdp_frame(k: Kernel, cpu: int, sq: int, frame: int, kind: int) -> bool:
    """Post one frame; False when the send queue is full."""
    q = k.txq[sq]
    if q.tail - q.head >= q.limit:
        q.full += 1
        return False
    xdp_post(k, cpu, sq, frame, kind)
    return True


@inlined
def mlx5e_xmit_xdp_buff(k: Kernel, cpu: int, rxq: int, xdp: int) -> bool:
    """XDP_TX: the packet back out from the page that it was received on, which is mapped already."""
    length = xdp_get_buff_len(k, xdp)
    frame = xdp_convert_buff_to_frame(k, cpu, xdp)
    if frame == NONE:
        return False
    dma_sync_single_range_for_device(k, cpu, length)
    if mlx5e_xmit_xdp_frame(k, cpu, k.txq[k.napi[k.rxq[rxq].napi].txq].xdp_tx - 1, frame, TX_XDP):
        return True
    frame_forget(k, cpu, frame)
    return False


@kernel_function(name="mlx5e_xdp_xmit", entry=True)
def xdp_xmit(k: Kernel, cpu: int, dev: int, bulk: int) -> int:
    """ndo_xdp_xmit: frames from other devices, on the channel with this CPU's number."""
    d = k.netdev[dev]
    if d.alive == 0:
        return ENETDOWN
    if cpu >= d.queues:
        return ENXIO
    sq = k.txq[d.txq0 + cpu].xdp_redirect - 1
    b = k.xdp_bulk[bulk]
    sent = 0
    for i in range(b.count):
        frame = b.frame[i]
        charge(k, cpu, TX_DMA_MAP)
        maintain_lines(k, cpu, k.xdp_frame[frame].len)
        if mlx5e_xmit_xdp_frame(k, cpu, sq, frame, TX_XDP_NDO):
            sent += 1
            continue
        charge(k, cpu, TX_DMA_UNMAP)
        if k.era[0].xdp_xmit_failure != 0:
            break
        lost(k, k.xdp_frame[frame].packet, NOT_XMITTED)
        xdp_return_frame_rx_napi(k, cpu, frame)
    return sent


# -- completions -----------------------------------------------------------------------------------------------------


@inlined
def release_transmitted(k: Kernel, cpu: int, rxq: int, pfn: int) -> None:
    """XDP_TX is done with a page: into the RX cache, or (v6.4) the fragment back to the pool."""
    if k.era[0].mlx5_rx_cache != 0:
        page_pool_put_page(k, cpu, k.rxq[rxq].pool, pfn, EVERYTHING, 1)
    else:
        mlx5e_page_release(k, cpu, rxq, pfn)


@kernel_function(name="mlx5e_free_xdpsq_desc", inline=True)
def free_xdpsq_desc(k: Kernel, cpu: int, sq: int) -> None:
    """Clean the oldest frame of an XDP send queue."""
    kind = posted_kind(k, sq)
    frame = posted_frame(k, sq)
    take_transmitted(k, sq)
    if kind == TX_XDP:
        rxq = k.napi[k.txq[sq].napi].rxq
        f = k.xdp_frame[frame]
        if frame_forget(k, cpu, frame):
            release_transmitted(k, cpu, rxq, frame_page(k, frame))
            for i in range(f.nr_frags):
                release_transmitted(k, cpu, rxq, f.frag_page[i])
    else:
        charge(k, cpu, TX_DMA_UNMAP)
        xdp_return_frame_bulk(k, cpu, frame)


@kernel_function(traced=False, entry=True)
def free_xdpsq_descs(k: Kernel, cpu: int, sq: int, _unused: int) -> int:
    """The queue is closed: clean what it still holds."""
    q = k.txq[sq]
    while q.head != q.tail:
        free_xdpsq_desc(k, cpu, sq)
    xdp_flush_frame_bulk(k, cpu)
    return 0
