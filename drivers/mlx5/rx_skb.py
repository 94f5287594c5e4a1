"""skbs of mlx5 over pages that the NIC has written to.

Source: en_rx.c (mlx5e_build_linear_skb), v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import cost_point, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import charge
from netemu.mm.layout import NONE
from netemu.net.policy import hold_for_skb
from netemu.net.skb_layout import SHARED_INFO_SIZE
from netemu.net.skbuff import (
    build_skb,
    napi_build_skb,
    skb_data_align,
    skb_mark_for_recycle,
    skb_put,
    skb_reserve,
)

from .layout import RQ

RX_PACKET_TOUCH = cost_point("rx_packet_data_touch")  # the first look at a packet's bytes


@inlined
def build_driver_skb(k: Kernel, cpu: int, page: int, offset: int, size: int) -> int:
    """build_skb or its NAPI form, by era."""
    if k.era[0].mlx5_skb_build == 0:
        return build_skb(k, cpu, page, offset, size)
    return napi_build_skb(k, cpu, page, offset, size)


@kernel_function(name="mlx5e_build_linear_skb", inline=True)
def build_linear_skb(
    k: Kernel, cpu: int, rxq: int, page: int, offset: int, size: int, headroom: int, length: int
) -> int:
    """An skb over the frame where it lies, in a buffer of ``size`` bytes: headroom, data, shared info."""
    skb = build_driver_skb(k, cpu, page, offset, size)
    if skb == NONE:
        RQ(k, k.rxq[rxq].dev, k.rxq[rxq].index).buff_alloc_err += 1
        return NONE
    skb_reserve(k, skb, headroom)
    skb_put(k, skb, length)
    if k.netdev[k.rxq[rxq].dev].xdp_looks == 0:
        charge(k, cpu, RX_PACKET_TOUCH)
    return skb


@inlined
def linear_size(headroom: int, length: int) -> int:
    """MLX5_SKB_FRAG_SZ: what an skb over headroom and data needs."""
    return skb_data_align(headroom + length) + SHARED_INFO_SIZE


@inlined
def share_page(k: Kernel, cpu: int, skb: int, page: int) -> None:
    """The skb holds the page too: with a page reference, or (v6.4) with one of the pool's fragments."""
    if k.era[0].mlx5_rx_cache == 0:
        hold_for_skb(k, cpu, page)
    else:
        skb_mark_for_recycle(k, cpu, skb)
