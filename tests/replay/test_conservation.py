"""Nothing is lost: every driver, era, action, queue kind and MTU over the bundled captures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import traces
from netemu.profiles.eras import era_names
from tests.replay.runs import frames, run

ACTIONS = ["forward", "local", "drop"]
SETUPS: dict[str, dict[str, Any]] = {
    "mlx5 striding": {"driver": "mlx5"},
    "mlx5 striding, page per packet": {"driver": "mlx5", "options": {"page_per_packet": "yes"}},
    "mlx5 striding jumbo": {"driver": "mlx5", "mtu": 9000},
    "mlx5 legacy": {"driver": "mlx5", "options": {"rq": "legacy"}},
    "mlx5 legacy just not linear": {"driver": "mlx5", "mtu": 3691, "options": {"rq": "legacy"}},
    "mlx5 legacy jumbo": {"driver": "mlx5", "mtu": 9000, "options": {"rq": "legacy"}},
    "netsec": {"driver": "netsec"},
}
HOLD_US = 20.0


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("era", era_names())
def test_pages_packets_and_time_add_up(era: str, setup: str) -> None:
    for action in ACTIONS:
        for recycle in ("mechanism", 0, 0.5, 1):
            hold = {"hold_us": HOLD_US} if action == "local" else {}
            data = run(
                frames("router-imix.pcap", 200), era=era, action=action, recycle=recycle, **hold, **SETUPS[setup]
            )
            assert data["packets"]["offered"] == data["packets"]["received"] == 200


@pytest.mark.parametrize("name", traces.names())
@pytest.mark.parametrize("setup", ["mlx5 striding jumbo", "mlx5 legacy jumbo", "netsec"])
def test_every_bundled_capture_goes_through(name: str, setup: str) -> None:
    data = run(traces.path(name), **SETUPS[setup])
    oversize = sum(len(frame) > 1514 for frame in frames(name)) if setup == "netsec" else 0
    assert data["packets"]["dropped"] == ({"oversize": oversize} if oversize else {})
    assert data["packets"]["forwarded"] == len(frames(name)) - oversize
    assert data["bytes"] == sum(map(len, frames(name)))


@pytest.mark.parametrize("rq", ["legacy", "striding"])
def test_packets_of_several_buffers_that_a_program_passes_add_up(rq: str) -> None:
    """Through a ring that is short, so that it comes round often and frames wait for it."""
    options = {"rq": rq, "rx_ring": "128"}
    setup = {"era": "v6.6", "xdp": "pass", "mtu": 9000, "memory_mb": 64, "options": options}
    for recycle in ("mechanism", 0, "lifo"):
        data = run(traces.path("jumbo.pcap"), packets=2000, recycle=recycle, **setup)
        assert data["packets"]["forwarded"] == data["xdp"]["pass"] == 2000


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 9018), min_size=1, max_size=80),
    setup=st.sampled_from(list(SETUPS)),
    era=st.sampled_from(era_names()),
    action=st.sampled_from(ACTIONS),
    rate=st.sampled_from(["max", "1e5", "5e6", "1e8"]),
    cpus=st.sampled_from([1, 3]),
)
def test_any_frames_in_any_setup_add_up(
    lengths: list[int], setup: str, era: str, action: str, rate: str, cpus: int
) -> None:
    data = run(
        [bytes(n) for n in lengths],
        era=era,
        action=action,
        rate=rate,
        cpus=cpus,
        hold_us=HOLD_US,
        **SETUPS[setup],
    )
    assert data["packets"]["offered"] == len(lengths)


@pytest.mark.parametrize("era", ["v4.19", "v6.1", "v6.12"])
@pytest.mark.parametrize("setup", ["mlx5 striding", "mlx5 legacy", "netsec"])
def test_memory_that_runs_out_delays_packets_and_loses_none(setup: str, era: str) -> None:
    """But for netsec of v4.19, which receives the next packet into the skb that it has."""
    hold = 20_000 if setup == "netsec" else 3_000
    data = run(traces.path("router-imix.pcap"), era=era, action="local", hold_us=hold, memory_mb=6, **SETUPS[setup])
    plenty = run(traces.path("router-imix.pcap"), era=era, action="local", hold_us=hold, **SETUPS[setup])
    assert plenty["packets"]["delivered"] == 3600
    if (setup, era) == ("netsec", "v4.19"):
        assert data["packets"]["dropped"]["no_skb"] == 3600 - data["packets"]["delivered"] > 0
        return
    assert data["packets"]["delivered"] == 3600
    assert data["virtual_ns"] > plenty["virtual_ns"]
    if setup != "netsec":
        assert data["ethtool"]["rx_buff_alloc_err"] > plenty["ethtool"]["rx_buff_alloc_err"] == 0


def test_a_packet_that_is_held_keeps_its_page_busy() -> None:
    busy = [
        run(traces.path("router-imix.pcap"), era="v5.4", action="local", rate="recorded", repeat=4, hold_us=hold)
        for hold in (0, 100, 1000)
    ]
    counted = [data["ethtool"]["rx_cache_busy"] for data in busy]
    assert counted[0] < counted[1] < counted[2]
    assert counted[2] > 10 * counted[1]
    assert [data["pages"]["allocated"] for data in busy] == sorted(data["pages"]["allocated"] for data in busy)
