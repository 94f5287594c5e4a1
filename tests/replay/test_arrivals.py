"""When packets arrive, and what happens when they come faster than they are processed."""

from __future__ import annotations

from pathlib import Path

import pytest

from netemu.pcap import packets
from tests.replay.runs import DNS, FLOOD, HTTP, IMIX, run

RING = 1024
MODERATION_NS = 2 * 16_000
"""What mlx5's interrupts may come late by, for the last packet's reception and for its transmission."""


def span_ns(path: Path) -> int:
    """From the first time stamp of a capture to the last."""
    times = [ts for ts, _data, _wire in packets(path)]
    return times[-1] - times[0]


@pytest.mark.parametrize(("rate", "factor"), [("recorded", 1.0), ("x1", 1.0), ("x2", 0.5), ("x0.5", 2.0), ("x10", 0.1)])
@pytest.mark.parametrize("trace", [DNS, HTTP], ids=lambda path: path.name)
def test_recorded_times_are_kept_or_scaled(trace: Path, rate: str, factor: float) -> None:
    data = run(trace, rate=rate)
    assert data["packets"]["dropped"] == {}
    lasted = data["virtual_ns"] - factor * span_ns(trace)
    assert 0 < lasted < 20_000 + MODERATION_NS  # the last packet's way through the machine


@pytest.mark.parametrize("pps", [1000, 1_000_000])
def test_a_fixed_rate_spaces_packets_evenly(pps: int) -> None:
    data = run(DNS, rate=pps)
    last = (data["packets"]["offered"] - 1) * 1e9 / pps
    assert last < data["virtual_ns"] < last + 20_000 + MODERATION_NS


def test_max_is_as_fast_as_the_machine_takes_it() -> None:
    data = run(FLOOD, rate="max", repeat=4)
    assert data["packets"]["dropped"] == {}
    assert data["idle_ns"] < data["virtual_ns"] / 1000
    slower = run(FLOOD, rate=data["pps"] / 8, repeat=4)
    assert slower["packets"]["dropped"] == {}
    assert slower["idle_ns"] > slower["virtual_ns"] / 2


def test_an_overloaded_ring_drops_and_what_gets_through_is_what_the_cpu_can_do() -> None:
    capacity = run(FLOOD, rate="max", repeat=8)["pps"]
    data = run(FLOOD, rate=4 * capacity, repeat=8)
    lost = data["packets"]["dropped"]["rx_out_of_buffer"]
    assert data["packets"]["received"] + lost == data["packets"]["offered"] == 24_000
    assert data["ethtool"]["rx_out_of_buffer"] == lost
    through = data["packets"]["received"] - RING  # what was in the ring when the last packet had come
    assert through / data["packets"]["offered"] == pytest.approx(1 / 4, abs=0.05)


def test_netsec_drops_earlier_with_its_smaller_ring() -> None:
    lost = [
        run(FLOOD, driver=driver, rate="1e6", repeat=2, era="v5.0")["packets"]["dropped"].get("rx_out_of_buffer", 0)
        for driver in ("mlx5", "netsec")
    ]
    assert lost[0] <= lost[1]


def test_the_wire_has_its_own_limit() -> None:
    """1 Gbit/s carries 1.488 million 64-byte frames a second, whatever the sender would like."""
    data = run(FLOOD, driver="netsec", rate="1e9")
    arrived_in = data["packets"]["offered"] / 1_488_095 * 1e9
    assert data["virtual_ns"] > arrived_in


@pytest.mark.parametrize("hold_us", [0, 50, 500])
def test_a_held_packet_is_delivered_when_its_time_is_over(hold_us: int) -> None:
    data = run(DNS, action="local", rate="1e6", hold_us=hold_us)
    assert data["packets"]["delivered"] == 800
    last = 799 * 1000 + hold_us * 1000
    assert last < data["virtual_ns"] < last + 20_000 + MODERATION_NS


def test_more_held_packets_than_a_consumer_can_queue_are_dropped() -> None:
    data = run(FLOOD, action="local", hold_us=1e6, repeat=25, era="v6.6")
    assert data["packets"]["dropped"] == {"consumer": 75_000 - 65_536}


def test_repeat_continues_where_the_capture_ended() -> None:
    once, thrice = run(DNS, rate="recorded"), run(DNS, rate="recorded", repeat=3)
    assert thrice["packets"]["offered"] == 3 * once["packets"]["offered"]
    assert thrice["bytes"] == 3 * once["bytes"]
    gap = span_ns(DNS) / 799
    assert thrice["virtual_ns"] == pytest.approx(3 * span_ns(DNS) + 2 * gap, rel=1e-3)


def test_a_burst_that_fits_into_the_ring_is_not_lost() -> None:
    data = run(IMIX, rate="recorded", action="drop")
    assert data["packets"]["dropped"] == {"consumer": 3600}
