"""netsec XDP: what becomes of a received packet after the program, and redirect to this device (v5.3).

Frames share the only TX ring with skbs.  Source: netsec.c (netsec_run_xdp, netsec_xdp_queue_one, netsec_xdp_xmit),
v5.3 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net.bql import netdev_tx_sent_queue
from netemu.net.device_layout import TX_XDP, TX_XDP_NDO
from netemu.net.dma import dma_sync_single_range_for_device, maintain_lines
from netemu.net.driver import take_transmitted
from netemu.net.journey import NOT_XMITTED, TX_FULL, lost
from netemu.net.page_pool import page_pool_put_page
from netemu.net.redirect import xdp_do_redirect
from netemu.net.xdp import trace_xdp_exception, xdp_prepare_buff, xdp_verdict
from netemu.net.xdp_frame import (
    frame_forget,
    xdp_convert_buff_to_frame,
    xdp_return_frame,
    xdp_return_frame_bulk,
    xdp_return_frame_rx_napi,
)
from netemu.net.xdp_layout import XDP_PASS, XDP_REDIRECT, XDP_TX
from netemu.net.xdp_tx import posted_frame, posted_kind, xdp_post

from .layout import RXBUF_HEADROOM

ENETDOWN = -100

XDP_DMA_MAP = cost_point("netsec_xdp_dma_map")
XDP_DMA_UNMAP = cost_point("netsec_xdp_dma_unmap")


@kernel_function(inline=True)
def netsec_run_xdp(k: Kernel, cpu: int, rxq: int, where: int, length: int, packet: int) -> bool:
    """Run the program on the buffer at ``where`` and do what it says; True when the packet goes on to the stack."""
    xdp = xdp_prepare_buff(k, cpu, rxq, where, RXBUF_HEADROOM, length, PAGE_SIZE)
    x = k.xdp_buff[xdp]
    x.packet = packet
    verdict = xdp_verdict(k, cpu, rxq, xdp)
    if verdict == XDP_PASS:
        return True
    count_consumed(k, rxq, length)
    if verdict == XDP_TX:
        if netsec_xdp_xmit_back(k, cpu, rxq, xdp):
            return False
        k.xdp_rxq[rxq].tx_full += 1
        lost(k, x.packet, TX_FULL)
    elif verdict == XDP_REDIRECT:
        if xdp_do_redirect(k, cpu, xdp) == 0:
            return False
        trace_xdp_exception(k)
    touched = x.data_end - x.hard_start - RXBUF_HEADROOM
    page_pool_put_page(k, cpu, k.rxq[rxq].pool, where // PAGE_SIZE, max(touched, length), 1)
    return False


@inlined
def count_consumed(k: Kernel, rxq: int, length: int) -> None:
    """A packet that the program keeps from the stack is received all the same."""
    d = k.netdev[k.rxq[rxq].dev]
    d.rx_packets += 1
    d.rx_bytes += length


# -- transmitting ----------------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def netsec_xdp_queue_one(k: Kernel, cpu: int, txq: int, frame: int, kind: int) -> bool:
    """Fill one descriptor; False when fewer than two are free."""
    q = k.txq[txq]
    if q.tail - q.head >= q.limit:
        q.full += 1
        return False
    if kind == TX_XDP_NDO:
        charge(k, cpu, XDP_DMA_MAP)
        maintain_lines(k, cpu, k.xdp_frame[frame].len)
    else:
        dma_sync_single_range_for_device(k, cpu, k.xdp_frame[frame].len)
    counted = k.era[0].netsec_xdp_bytes != 0
    if counted and k.netdev[q.dev].bql:
        netdev_tx_sent_queue(k, txq, k.xdp_frame[frame].len)
    xdp_post(k, cpu, txq, frame, kind)
    if not counted:  # when it is done neither
        k.txd[q.base + ((q.tail - 1) & q.mask)].bytes = 0
    return True


@inlined
def netsec_xdp_xmit_back(k: Kernel, cpu: int, rxq: int, xdp: int) -> bool:
    """XDP_TX: the packet back out from the page that it was received on."""
    frame = xdp_convert_buff_to_frame(k, cpu, xdp)
    if frame == NONE:
        return False
    if netsec_xdp_queue_one(k, cpu, k.napi[k.rxq[rxq].napi].txq, frame, TX_XDP):
        return True
    frame_forget(k, cpu, frame)
    return False


@kernel_function(name="netsec_xdp_xmit", entry=True)
def xdp_xmit(k: Kernel, cpu: int, dev: int, bulk: int) -> int:
    """ndo_xdp_xmit: frames from other devices."""
    d = k.netdev[dev]
    if d.alive == 0:
        return ENETDOWN
    b = k.xdp_bulk[bulk]
    sent = 0
    for i in range(b.count):
        if netsec_xdp_queue_one(k, cpu, d.txq0, b.frame[i], TX_XDP_NDO):
            sent += 1
            continue
        if k.era[0].xdp_xmit_failure != 0:
            break
        lost(k, k.xdp_frame[b.frame[i]].packet, NOT_XMITTED)
        xdp_return_frame_rx_napi(k, cpu, b.frame[i])
    return sent


@kernel_function(traced=False, inline=True)
def clean_frame(k: Kernel, cpu: int, txq: int) -> None:
    """The oldest transmission is done, and it is a frame."""
    kind = posted_kind(k, txq)
    frame = posted_frame(k, txq)
    take_transmitted(k, txq)
    if kind == TX_XDP_NDO:
        charge(k, cpu, XDP_DMA_UNMAP)
        xdp_return_frame_bulk(k, cpu, frame)
    elif k.era[0].xdp_return == 0:
        xdp_return_frame(k, cpu, frame)
    else:
        xdp_return_frame_rx_napi(k, cpu, frame)
