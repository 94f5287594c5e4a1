"""Buffer geometry of mlx5: what an MTU makes of a receive queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.drivers.mlx5 import geometry
from netemu.drivers.mlx5.layout import linear_frag_size
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


@given(mtu=st.integers(68, 9978), xdp=st.booleans())
def test_any_mtu_fits_into_its_fragments_and_strides(mtu: int, xdp: bool) -> None:
    legacy, striding = geometry(mtu, xdp=xdp), geometry(mtu, xdp=xdp, striding=True)
    assert sum(legacy.frag_sizes) == mtu + 22
    assert all(size <= stride <= PAGE_SIZE for size, stride in zip(legacy.frag_sizes, legacy.frag_strides, strict=True))
    assert (striding.strides << striding.stride_log) == 64 * PAGE_SIZE
    assert striding.pool_size == 64 * striding.wqes * (1 if striding.linear or not xdp else 2)
    assert striding.wqes >= 4


@pytest.mark.parametrize(
    ("rq", "mtu", "page_per_packet", "pages", "ring"),
    [
        ("legacy", 1500, "no", 512, 1024),
        ("legacy", 1500, "yes", 1024, 1024),
        ("legacy", 3691, "no", 1024, 1024),
        ("striding", 1500, "no", 512, 512),
        ("striding", 1500, "yes", 1024, 1024),
        ("striding", 3691, "no", 2048, 2048),
    ],
)
def test_an_open_queue_holds_the_pages_of_its_geometry(
    rq: str, mtu: int, page_per_packet: str, pages: int, ring: int
) -> None:
    nic = Stepper("mlx5", mtu=mtu, options={"rq": rq, "page_per_packet": page_per_packet})
    assert len(nic.device.pages_held()) == pages
    assert nic.pool.ring_size == ring
    assert nic.leaks() == []


def test_jumbo_frames_take_three_pages_of_each_wqe() -> None:
    nic = Stepper("mlx5", mtu=9000, options={"rq": "legacy"}, memory_mb=64)
    assert len(nic.device.pages_held()) == 3 * 1024
