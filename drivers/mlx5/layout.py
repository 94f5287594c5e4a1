"""State of an mlx5 device: receive queues, their buffers, the RX page cache; and buffer geometry."""

from __future__ import annotations

from dataclasses import dataclass

from netemu.engine.era import switch
from netemu.engine.layout import private_table
from netemu.mm.layout import PAGE_SIZE
from netemu.net.pool_layout import PP_ALLOC_CACHE_REFILL
from netemu.net.skb_layout import NET_SKB_PAD, SHARED_INFO_SIZE
from netemu.net.xdp_layout import XDP_PACKET_HEADROOM

RX_RING_SIZES = ("1024", "128", "256", "512", "2048", "4096", "8192")
"""Receive queue sizes in frames of one MTU (``ethtool -G rx``), the default first."""
LOG_SQ_SIZE = 10
SQ_STOP_ROOM = 31
"""Free WQEBBs below which the send queue stops."""
SEGMENTS_PER_WQEBB = 4
"""A send queue entry (WQEBB) has 64 bytes, a segment 16."""
WQE_SEGMENTS = 2
"""Segments of a send WQE before those of the data: control and Ethernet, which needs no inline header."""
WQEBBS_PER_PAGE = 64
"""A send WQE lies on one page of the queue."""
TX_CQ_POLL_BUDGET = 128
ETH_OVERHEAD = 22
"""Ethernet header, one VLAN tag and FCS: hardware MTU = MTU + 22."""
ETH_FCS_LEN = 4
RX_MAX_HEAD = 256
"""Bytes copied to the linear part of a non-linear skb."""
LINEAR_PART = XDP_PACKET_HEADROOM + RX_MAX_HEAD + SHARED_INFO_SIZE
"""Bytes of the first buffer of a packet of several in a striding queue: headroom, what an skb's head needs, shared info
(v6.4, mlx5e_skb_from_cqe_mpwrq_nonlinear).
"""
MAX_RX_FRAGS = 4
MIN_BULK = 8
"""Missing WQEs of a legacy queue with which a refill begins (to v6.3)."""
DEF_FRAG_SIZE = 2048
LOG_MPWQE_SIZE = 18
"""A multi-packet work queue entry spans 256 KiB."""
PAGES_PER_MPWQE = 64
MIN_LOG_MPWQES = 2
MIN_LOG_STRIDE = 6
LARGEST_XDP_MTU = PAGE_SIZE - SHARED_INFO_SIZE - XDP_PACKET_HEADROOM - ETH_OVERHEAD
"""Of packets in one page: 3498."""
CACHE_SIZE = 256
"""Slots of the RX page cache; one stays empty."""
PAGE_BIAS = 64
"""Fragments that a page is split into up front (v6.4)."""

RQ = private_table(
    "mlx5e_rq",
    0,
    [
        ("striding", "i4"),
        ("linear", "i4"),
        ("wqes", "i4"),  # a power of two
        ("bulk", "i4"),  # a refill starts when so many WQEs are missing
        ("unit", "i4"),  # WQEs whose pages are released and taken together; 0: each by itself
        ("index_mask", "i4"),  # number of WQEs that may share a page, - 1
        ("frags", "i4"),  # per WQE
        ("headroom", "i4"),
        ("pi", "i8"),  # WQEs posted
        ("hw", "i8"),  # WQEs that the NIC has started to use
        ("ci", "i8"),  # WQEs that the driver is done with
        ("filling", "i4"),  # fragments or pages of the WQEs being filled that have memory
        ("wanted", "i4"),  # WQEs being filled (legacy)
        ("stride_log", "i4"),
        ("strides", "i4"),  # per multi-packet WQE
        ("hw_stride", "i4"),  # next stride of the WQE in use
        ("cache_head", "i4"),
        ("cache_tail", "i4"),
        ("frag_size", "i4", MAX_RX_FRAGS),
        ("frag_stride", "i4", MAX_RX_FRAGS),
        ("cache_reuse", "i8"),
        ("cache_full", "i8"),
        ("cache_empty", "i8"),
        ("cache_busy", "i8"),
        ("cache_waive", "i8"),
        ("buff_alloc_err", "i8"),
        ("oversize_pkts_sw_drop", "i8"),
        ("mpwqe_filler_cqes", "i8"),
        ("mpwqe_filler_strides", "i8"),
        ("xdp_drop", "i8"),
        ("xdp_redirect", "i8"),
    ],
)
FRAG = private_table(
    "mlx5e_wqe_frag_info",
    1,
    [
        ("page", "i4"),  # + 1, kept in the first fragment of each page
        ("first", "i4"),  # row of that first fragment
        ("offset", "i4"),
        ("last_in_page", "i4"),
        ("used", "i4"),  # fragments of the page given to skbs (v6.4)
    ],
)
CACHE = private_table("mlx5e_page_cache", 2, [("page", "i4")])
MPWQE = private_table("mlx5e_mpw_info", 3, [("consumed", "i4")])
MPWQE_PAGE = private_table("mlx5e_mpw_page", 4, [("page", "i4"), ("used", "i4")])  # page: NONE once XDP has taken it
SQ = private_table(
    "mlx5e_txqsq",
    5,
    [
        ("pc", "i8"),  # WQEBBs posted
        ("nop", "i8"),  # of which fill a page's end
    ],
)

switch(
    "mlx5_rx_cache",
    "fifo256 none",
    "receive pages in a FIFO of the driver's own above the pool, blocked by its oldest page, mapped by the driver and "
    "shared by page references; or (v6.4) by the pool alone, which maps them, counts 64 fragments of each and gets "
    "them back when the skbs are freed",
)
switch(
    "mlx5_page_drop",
    "put_page release_page",
    "a page that is not recycled: unmapped and dropped behind the pool's back, or with the pool's books kept (v5.3); "
    "so is one that could not be mapped, which is recycled then",
)
# mlx5_refill
REFILL_BULKS = 0
REFILL_PARTIAL = 1
REFILL_UNITS = 2
switch(
    "mlx5_refill",
    "bulks partial units",
    "how a legacy queue is refilled: eight WQEs together or none of them; all that are missing once eight are, or as "
    "many as there is memory for (v6.1); all or none, once a quarter of the queue or 128 pages are missing, in units: "
    "64 pages or so are let go before as many are taken (v6.4)",
)
switch(
    "mlx5_jumbo_skb",
    "copied_head in_place",
    "a frame of several buffers in a legacy queue, no program: 256 bytes of it copied into an skb's own head; or an "
    "skb over the first buffer (v5.18), which has headroom and shared info then",
)
switch(
    "mlx5_skb_build",
    "build_skb napi_build_skb",
    "where the sk_buff struct comes from: the slab, or the napi cache (v6.3)",
)


def data_align(size: int) -> int:
    """Round up to cache lines."""
    return (size + 63) & ~63


@dataclass(frozen=True)
class Geometry:
    """Buffers of a receive queue for an MTU (en/params.c and en_main.c, v5.0 to v6.12)."""

    hw_mtu: int
    headroom: int
    linear: bool
    pool_size: int
    wqes: int
    bulk: int
    unit: int
    index_mask: int
    frag_sizes: tuple[int, ...]
    frag_strides: tuple[int, ...]
    stride_log: int
    strides: int


def linear_frag_size(mtu: int, xdp: bool) -> int:
    """Bytes that a whole frame needs in one buffer: headroom, data, shared info; a full page under XDP."""
    headroom = XDP_PACKET_HEADROOM if xdp else NET_SKB_PAD
    size = data_align(headroom + mtu + ETH_OVERHEAD) + SHARED_INFO_SIZE
    return max(size, PAGE_SIZE) if xdp else size


def ceil_log2(n: int) -> int:
    """Smallest power that is not below ``n``."""
    return (n - 1).bit_length()


def _copied_fragments(hw_mtu: int) -> tuple[list[int], list[int]]:
    """Sizes and strides of a frame's buffers when its head is copied: half pages, the fourth takes the rest (v5.0)."""
    most = DEF_FRAG_SIZE if hw_mtu <= PAGE_SIZE + (MAX_RX_FRAGS - 1) * DEF_FRAG_SIZE else PAGE_SIZE
    sizes = _cut(hw_mtu, most, most)
    return sizes, [1 << ceil_log2(size) for size in sizes]


def _in_place_fragments(hw_mtu: int, xdp: bool) -> tuple[list[int], list[int]]:
    """Sizes and strides of a frame's buffers when the first is the skb's head, with headroom and shared info (v5.18).

    Half pages, the fourth takes the rest; pages if the frame is too long for that, and always for XDP, which wants
    buffers of one size.
    """
    around = (XDP_PACKET_HEADROOM if xdp else NET_SKB_PAD) + SHARED_INFO_SIZE
    most = DEF_FRAG_SIZE
    if xdp or hw_mtu > most - around + (MAX_RX_FRAGS - 2) * most + PAGE_SIZE:
        most = PAGE_SIZE
    sizes = _cut(hw_mtu, most - around, most)
    if xdp:
        return sizes, [PAGE_SIZE] * len(sizes)
    return sizes, [1 << ceil_log2(size + (0 if i else around)) for i, size in enumerate(sizes)]


def _cut(length: int, first: int, most: int) -> list[int]:
    """``length`` bytes in a buffer of at most ``first``, others of at most ``most``, and the rest in the fourth."""
    sizes = [min(length, first)]
    while sum(sizes) < length:
        left = length - sum(sizes)
        sizes.append(left if len(sizes) == MAX_RX_FRAGS - 1 else min(left, most))
    return sizes


def _bulk_bytes(xdp: bool) -> int:
    """Memory that a refill takes at most when it starts with as few WQEs as it can (v6.4)."""
    return (256 if xdp else 512) << 10


def _bulk(frames: int, strides: list[int], xdp: bool) -> int:
    """WQEs that have to be missing for a refill: a quarter of the queue (v6.4, mlx5e_rx_compute_wqe_bulk_params)."""
    of_a_wqe = sum(strides)
    if of_a_wqe > PAGE_SIZE:
        of_a_wqe = -(-of_a_wqe // PAGE_SIZE) * PAGE_SIZE
    return -(-min(_bulk_bytes(xdp), frames // 4 * of_a_wqe) // of_a_wqe)


def geometry(
    mtu: int,
    *,
    xdp: bool = False,
    striding: bool = False,
    frames: int = int(RX_RING_SIZES[0]),
    parts: int = 1,
    in_place: bool = False,
    refill: int = 0,
) -> Geometry:
    """Buffer geometry of one receive queue for ``frames`` frames of one MTU.

    Under XDP a striding queue whose frames do not fit one page has strides of a page each, so that no two packets share
    one, and a pool twice as large: the first buffer of each packet is another page (v6.4, en/params.c
    mlx5e_mpwqe_get_log_stride_size, en_main.c mlx5e_alloc_rq).
    ``parts`` above 1: a recycle policy cuts each page into as many buffers and has one of them posted at a time.
    ``in_place``: a legacy queue builds the skb of a frame of several buffers over the first of them (v5.18).
    ``refill``: value of the switch mlx5_refill.
    """
    hw_mtu = mtu + ETH_OVERHEAD
    headroom = XDP_PACKET_HEADROOM if xdp else NET_SKB_PAD
    size = linear_frag_size(mtu, xdp)
    linear = size <= PAGE_SIZE
    if striding:
        per_wqe = LOG_MPWQE_SIZE - ceil_log2(size)
        log_wqes = max(ceil_log2(frames) - per_wqe, MIN_LOG_MPWQES)
        pool_size = PAGES_PER_MPWQE << log_wqes
        stride_log = ceil_log2(size) if linear else MIN_LOG_STRIDE
        if xdp and not linear:
            pool_size *= 2
            stride_log = ceil_log2(PAGE_SIZE)
        return Geometry(
            hw_mtu,
            headroom if linear else 0,
            linear,
            pool_size,
            1 << log_wqes,
            1,
            0,
            0,
            (),
            (),
            stride_log,
            1 << (LOG_MPWQE_SIZE - stride_log),
        )
    index_mask = 0
    if linear:
        stride = 1 << ceil_log2(size) if parts == 1 else PAGE_SIZE
        sizes, strides = [hw_mtu], [stride]
        index_mask = PAGE_SIZE // stride - 1
    elif in_place:
        sizes, strides = _in_place_fragments(hw_mtu, xdp)
    else:
        headroom = 0
        sizes, strides = _copied_fragments(hw_mtu)
    if not linear and strides[0] < PAGE_SIZE:  # the last of an odd number shares its page with the next WQE
        index_mask = len(sizes) % 2
    bulk = MIN_BULK if refill < REFILL_UNITS else _bulk(frames, strides, xdp)
    bulk = max(index_mask + 1, bulk)
    unit = 0 if refill < REFILL_UNITS else -(-bulk // -(-_bulk_bytes(xdp) // (PP_ALLOC_CACHE_REFILL * PAGE_SIZE)))
    return Geometry(
        hw_mtu,
        headroom,
        linear,
        frames,
        frames,
        bulk,
        unit,
        index_mask,
        tuple(sizes),
        tuple(strides),
        0,
        0,
    )
