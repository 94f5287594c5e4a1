"""Buffer geometry of mlx5: what an MTU makes of a receive queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.drivers.mlx5 import geometry
from netemu.drivers.mlx5.layout import REFILL_PARTIAL, REFILL_UNITS, linear_frag_size
from netemu.mm.layout import PAGE_SIZE
from tests.drivers.stepping import Stepper


@pytest.mark.parametrize(
    ("mtu", "xdp", "buffer", "linear"),
    [
        (1500, False, 1920, True),
        (1500, True, 4096, True),
        (3690, False, 4096, True),
        (3498, True, 4096, True),
        (3691, False, 4160, False),
        (3499, True, 4160, False),
        (9000, False, 9408, False),
    ],
)
def test_a_frame_is_linear_when_headroom_frame_and_shared_info_fit_in_a_page(
    mtu: int, xdp: bool, buffer: int, linear: bool
) -> None:
    assert linear_frag_size(mtu, xdp) == buffer
    for striding in (False, True):
        assert geometry(mtu, xdp=xdp, striding=striding).linear is linear


@pytest.mark.parametrize(
    ("mtu", "xdp", "stride", "strides", "wqes", "pool"),
    [
        (1500, False, 2048, 128, 8, 512),
        (1500, True, 4096, 64, 16, 1024),
        (9000, False, 64, 4096, 64, 4096),
        (3691, False, 64, 4096, 32, 2048),
        (9000, True, 4096, 64, 64, 8192),
    ],
)
def test_striding_geometry(mtu: int, xdp: bool, stride: int, strides: int, wqes: int, pool: int) -> None:
    g = geometry(mtu, xdp=xdp, striding=True)
    assert (1 << g.stride_log, g.strides, g.wqes, g.pool_size) == (stride, strides, wqes, pool)


@pytest.mark.parametrize(
    ("mtu", "xdp", "sizes", "strides", "bulk"),
    [
        (1500, False, (1522,), (2048,), 8),
        (1500, True, (1522,), (4096,), 8),
        (9000, False, (2048, 2048, 2048, 2878), (2048, 2048, 2048, 4096), 8),
        (3691, False, (2048, 1665), (2048, 2048), 8),
    ],
)
def test_legacy_geometry(mtu: int, xdp: bool, sizes: tuple[int, ...], strides: tuple[int, ...], bulk: int) -> None:
    g = geometry(mtu, xdp=xdp)
    assert (g.frag_sizes, g.frag_strides, g.bulk) == (sizes, strides, bulk)
    assert (g.wqes, g.pool_size, g.hw_mtu) == (1024, 1024, mtu + 22)


@pytest.mark.parametrize(
    ("mtu", "xdp", "headroom", "sizes", "strides"),
    [
        (1500, False, 64, (1522,), (2048,)),
        (3691, False, 64, (1664, 2048, 1), (2048, 2048, 1)),
        (9000, False, 64, (1664, 2048, 2048, 3262), (2048, 2048, 2048, 4096)),
        (9834, False, 64, (1664, 2048, 2048, 4096), (2048, 2048, 2048, 4096)),
        (9835, False, 64, (3712, 4096, 2049), (4096, 4096, 4096)),
        (3499, True, 256, (3520, 1), (4096, 4096)),
        (9000, True, 256, (3520, 4096, 1406), (4096, 4096, 4096)),
    ],
)
def test_a_first_fragment_that_becomes_a_head_has_headroom_and_shared_info(
    mtu: int, xdp: bool, headroom: int, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """mlx5e_build_rq_frags_info of 6.1.192: 2048 - 64 - 320 bytes, and 3520 of a page of its own under XDP."""
    g = geometry(mtu, xdp=xdp, in_place=True)
    assert (g.headroom, g.frag_sizes, g.frag_strides, g.bulk) == (headroom, sizes, strides, 8)


@pytest.mark.parametrize(
    ("mtu", "xdp", "frames", "index_mask", "bulk", "unit"),
    [
        (1500, False, 1024, 1, 256, 128),
        (1500, False, 128, 1, 32, 16),
        (1500, True, 1024, 0, 64, 64),
        (60, False, 1024, 7, 256, 128),
        (3691, False, 1024, 1, 64, 32),
        (9000, False, 1024, 0, 43, 22),
        (9000, True, 1024, 0, 22, 22),
    ],
)
def test_from_v6_4_on_a_refill_takes_a_quarter_of_the_queue_or_half_a_megabyte(
    mtu: int, xdp: bool, frames: int, index_mask: int, bulk: int, unit: int
) -> None:
    """mlx5e_rx_compute_wqe_bulk_params: 512 KiB or 256 KiB under XDP, in units of half or all of it."""
    g = geometry(mtu, xdp=xdp, frames=frames, in_place=True, refill=REFILL_UNITS)
    assert (g.index_mask, g.bulk, g.unit) == (index_mask, bulk, unit)
    g = geometry(mtu, xdp=xdp, frames=frames, in_place=True, refill=REFILL_PARTIAL)
    assert (g.index_mask, g.bulk, g.unit) == (index_mask, 8, 0)


@given(mtu=st.integers(68, 9978), xdp=st.booleans(), in_place=st.booleans())
def test_any_mtu_fits_into_its_fragments_and_strides(mtu: int, xdp: bool, in_place: bool) -> None:
    legacy, striding = geometry(mtu, xdp=xdp, in_place=in_place), geometry(mtu, xdp=xdp, striding=True)
    assert sum(legacy.frag_sizes) == mtu + 22
    assert all(size <= stride <= PAGE_SIZE for size, stride in zip(legacy.frag_sizes, legacy.frag_strides, strict=True))
    assert (striding.strides << striding.stride_log) == 64 * PAGE_SIZE
    assert striding.pool_size == 64 * striding.wqes * (1 if striding.linear or not xdp else 2)
    assert striding.wqes >= 4


@pytest.mark.parametrize(
    ("era", "rq", "mtu", "page_per_packet", "pages", "ring"),
    [
        ("v6.1", "legacy", 1500, "no", 512, 1024),
        ("v6.1", "legacy", 1500, "yes", 1024, 1024),
        ("v5.15", "legacy", 3691, "no", 1024, 1024),
        ("v5.15", "legacy", 3691, "yes", 1024, 1024),
        ("v6.1", "legacy", 3691, "no", 1536, 1024),  # three of two WQEs
        ("v6.1", "legacy", 3691, "yes", 2048, 1024),
        ("v6.1", "striding", 1500, "no", 512, 512),
        ("v6.1", "striding", 1500, "yes", 1024, 1024),
        ("v6.1", "striding", 3691, "no", 2048, 2048),
    ],
)
def test_an_open_queue_holds_the_pages_of_its_geometry(
    era: str, rq: str, mtu: int, page_per_packet: str, pages: int, ring: int
) -> None:
    nic = Stepper("mlx5", era, mtu=mtu, options={"rq": rq, "page_per_packet": page_per_packet})
    assert len(nic.device.pages_held()) == pages
    assert nic.pool.ring_size == ring
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ["v5.15", "v6.1"])
def test_jumbo_frames_take_three_pages_of_each_wqe(era: str) -> None:
    nic = Stepper("mlx5", era, mtu=9000, options={"rq": "legacy"}, memory_mb=64)
    assert len(nic.device.pages_held()) == 3 * 1024
