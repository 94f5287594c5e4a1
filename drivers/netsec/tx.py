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
    skb = take_transmitted(k, txq)
    charge(k, cpu, TX_DMA_UNMAP)
    consume_skb(k, cpu, skb)
    return 1
