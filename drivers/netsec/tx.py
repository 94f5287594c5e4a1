"""netsec transmit: one descriptor per packet, cleaned in order.

Source: netsec.c (netsec_netdev_start_xmit, netsec_clean_tx_dring), v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.net.device_layout import TX_SKB
from netemu.net.dma import maintain_lines
from netemu.net.driver import take_transmitted
from netemu.net.skbuff import consume_skb
from netemu.net.stack import tx_post
from netemu.net.xdp_frame import xdp_flush_frame_bulk
from netemu.net.xdp_tx import posted_kind

from .xdp import clean_frame

TX_DMA_MAP = cost_point("netsec_tx_dma_map")
TX_DMA_UNMAP = cost_point("netsec_tx_dma_unmap")


@kernel_function(name="netsec_netdev_start_xmit", entry=True)
def xmit(k: Kernel, cpu: int, txq: int, skb: int) -> int:
    """Map the skb and fill one descriptor; 1 when fewer than two are free."""
    q = k.txq[txq]
    if q.tail - q.head >= q.limit:
        q.stopped += 1
        return 1
    charge(k, cpu, TX_DMA_MAP)
    maintain_lines(k, cpu, k.skb[skb].len)
    tx_post(k, cpu, txq, skb, TX_SKB, 0, k.skb[skb].len)
    return 0


@kernel_function(traced=False, entry=True)
def tx_poll_one(k: Kernel, cpu: int, txq: int, _budget: int) -> int:
    """Clean the oldest completed descriptor."""
    if posted_kind(k, txq) != TX_SKB:
        clean_frame(k, cpu, txq)
        return 1
    skb = take_transmitted(k, txq)
    charge(k, cpu, TX_DMA_UNMAP)
    consume_skb(k, cpu, skb)
    return 1


@kernel_function(traced=False, entry=True)
def free_frames(k: Kernel, cpu: int, txq: int, _unused: int) -> int:
    """The ring is closed: clean the XDP frames at its end."""
    q = k.txq[txq]
    while q.head != q.tail and posted_kind(k, txq) != TX_SKB:
        clean_frame(k, cpu, txq)
    xdp_flush_frame_bulk(k, cpu)
    return 0
