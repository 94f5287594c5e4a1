"""mlx5 transmit: the send queue and its completions.

Source: en_tx.c (mlx5e_xmit, mlx5e_poll_tx_cq), v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.net.device_layout import TX_SKB
from netemu.net.dma import maintain_lines
from netemu.net.driver import take_transmitted
from netemu.net.skbuff import napi_consume_skb
from netemu.net.stack import tx_post
from netemu.net.xdp_tx import posted_frame, posted_kind

from .layout import SEGMENTS_PER_WQEBB, SQ, WQE_SEGMENTS, WQEBBS_PER_PAGE
from .xdp import free_xdpsq_desc

TX_DMA_MAP = cost_point("tx_dma_map")
TX_DMA_UNMAP = cost_point("tx_dma_unmap")
TX_CQE = cost_point("tx_cqe")


@kernel_function(name="mlx5e_xmit", entry=True)
def xmit(k: Kernel, cpu: int, txq: int, skb: int) -> int:
    """Map the skb and post one WQE for it; 1 when the queue is stopped for lack of room."""
    q = k.txq[txq]
    if q.tail - q.head + q.more >= q.limit:
        q.stopped += 1
        return 1
    r = k.skb[skb]
    charge(k, cpu, TX_DMA_MAP)
    maintain_lines(k, cpu, r.len)
    for _ in range(k.shinfo[r.shinfo].nr_frags):
        charge(k, cpu, TX_DMA_MAP)
    more = take_wqebbs(k, txq, skb) - 1
    q.more += more
    tx_post(k, cpu, txq, skb, TX_SKB, more, r.len)
    return 0


@inlined
def take_wqebbs(k: Kernel, txq: int, skb: int) -> int:
    """WQEBBs of the skb's WQE, with those in front that fill a page on which it has no room (mlx5e_txqsq_get_next_pi).

    A segment for the linear part and one for each fragment follow the WQE's own.
    """
    sq = SQ(k, k.txq[txq].dev, k.txq[txq].index)
    r = k.skb[skb]
    segments = WQE_SEGMENTS + k.shinfo[r.shinfo].nr_frags
    if r.len > r.data_len:
        segments += 1
    need = (segments + SEGMENTS_PER_WQEBB - 1) // SEGMENTS_PER_WQEBB
    room = WQEBBS_PER_PAGE - sq.pc % WQEBBS_PER_PAGE
    if room < need:
        sq.nop += room
        need += room
    sq.pc += need
    return need


@kernel_function(traced=False, entry=True)
def tx_poll_one(k: Kernel, cpu: int, txq: int, budget: int) -> int:
    """Clean the oldest completed WQE: unmap and free its skb, or what XDP has sent."""
    if posted_kind(k, txq) != TX_SKB:
        free_xdpsq_desc(k, cpu, txq)
        return 1
    k.txq[txq].more -= posted_frame(k, txq)  # what xmit noted there
    skb = take_transmitted(k, txq)
    charge(k, cpu, TX_CQE)
    charge(k, cpu, TX_DMA_UNMAP)
    napi_consume_skb(k, cpu, skb, budget)
    return 1
