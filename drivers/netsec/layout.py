"""State and geometry of the netsec driver: one queue pair of 256 descriptors."""

from __future__ import annotations

from netemu.engine.era import switch
from netemu.engine.layout import private_table
from netemu.mm.layout import PAGE_SIZE
from netemu.net.skb_layout import NET_SKB_PAD, SHARED_INFO_SIZE

DESC_NUM = 256
TX_ROOM = 2
"""Free TX descriptors below which the queue stops."""
RXBUF_HEADROOM = 256
RX_BUF_NON_DATA = RXBUF_HEADROOM + SHARED_INFO_SIZE
RX_BUF_SIZE = PAGE_SIZE - RX_BUF_NON_DATA
"""Bytes of a page given to the NIC: 3520."""
FRAG_DATA = 1536
FRAG_SIZE = ((FRAG_DATA + NET_SKB_PAD + 63) & ~63) + SHARED_INFO_SIZE
"""v5.0 buffers: a 1920-byte page fragment."""
ETH_HEADER_AND_FCS = 22

RING = private_table(
    "netsec_rx_ring",
    0,
    [
        ("hw", "i4"),  # descriptor that the NIC fills next
        ("tail", "i4"),  # descriptor that the driver looks at next
        ("filled", "i4"),  # descriptors filled since open, until the ring is complete
        ("alloc_failed", "i8"),
    ],
)
DESC = private_table(
    "netsec_desc",
    1,
    [
        ("own", "i4"),  # 1: the NIC may write to it
        ("where", "i8"),  # byte address of the buffer (page * 4096 + offset), or the skb
        ("used", "i4"),  # the row holds a buffer
    ],
)

switch(
    "netsec_rx",
    "netdev_alloc_skb napi_alloc_frag page_pool",
    "receive buffers of netsec: whole skbs (to v4.20), page fragments (v5.0), pages from a page_pool (v5.3)",
)
switch(
    "netsec_poll",
    "shared repeats one_pass",
    "the poll function of netsec: cleans and receives in turn on one budget (to v4.20); cleans uncounted and looks for "
    "received frames until there are none (v5.0); or looks once (v5.3)",
)
switch(
    "netsec_pool_sync",
    "driver pool",
    "who syncs receive pages for the device: the driver on allocation, or the pool (v5.5)",
)
switch(
    "netsec_pool_node",
    "cpu0 any",
    "memory node of the receive pages of netsec: that of CPU 0, or that of the CPU that allocates them (v5.5)",
)
switch(
    "netsec_xdp_bytes",
    "uncounted counted",
    "whether the bytes of XDP frames count in the byte queue limits and statistics of netsec, whose transmit queue "
    "they share with packets (v5.5)",
)
switch(
    "netsec_skb_recycle",
    "release_page mark",
    "a netsec page that leaves with an skb: let go by the pool, or marked so that freeing the skb brings it back "
    "(v5.16 to v6.1)",
)
