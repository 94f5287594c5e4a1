"""What XDP costs per packet on the machines on which it was measured: the profiles give the published figures back."""

from __future__ import annotations

from typing import Any

import pytest

import netemu
from tests.drivers.xdp_stepping import frame_of

WARM, MEASURED = 640, 1280
"""Packets that fill rings and caches, and packets after that; whole multi-packet WQEs of 64 pages."""


def busy_ns(count: int, **options: Any) -> float:
    """Busy virtual time of ``count`` packets of 60 bytes, which arrive faster than they are processed."""
    result = netemu.replay([frame_of(60)] * count, memory_mb=32, **options)
    assert result["leaks"] == []
    busy: float = result["busy_ns"]
    return busy


def steady_ns(**options: Any) -> float:
    """Busy time of one packet once rings and caches are filled."""
    return (busy_ns(WARM + MEASURED, **options) - busy_ns(WARM, **options)) / MEASURED


def test_mlx5_drops_without_a_look_in_40_3_ns() -> None:
    assert steady_ns(era="v4.19", xdp="drop") == pytest.approx(40.3, abs=0.2)


def test_mlx5_sends_back_for_18_8_ns_more() -> None:
    drop = steady_ns(era="v4.19", xdp="drop")
    assert steady_ns(era="v4.19", xdp="tx") - drop == pytest.approx(18.8, abs=0.4)


def test_a_program_that_does_nothing_costs_13_3_ns_before_the_stack() -> None:
    without = steady_ns(era="v4.19", action="drop")
    assert steady_ns(era="v4.19", action="drop", xdp="pass") - without == pytest.approx(13.3, abs=0.4)


def test_netsec_on_a_cortex_a53_drops_in_1438_ns() -> None:
    ns = steady_ns(driver="netsec", era="v5.10", platform="cortex-a53", xdp="drop")
    assert ns == pytest.approx(1438, rel=0.01)
