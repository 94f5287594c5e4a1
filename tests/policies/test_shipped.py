"""The policies that come with netemu, in both drivers: pages come back, frames stay whole, figures are the policy's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu.net.policy_loader import SHIPPED, load_policy
from netemu.pcap import packets
from tests.drivers.authoring import TEMPLATE, replay_interpreted
from tests.replay.runs import DNS, IMIX, assert_books_balance, run

SPLITTING = ("half_flip", "split_bias")
LEGACY = {"rq": "legacy"}


def of_mlx5(recycle: str, **options: Any) -> dict[str, Any]:
    return run(IMIX, **{"era": "v4.19", "options": LEGACY, "packets": 1500, "recycle": recycle, **options})


def test_there_are_ten() -> None:
    assert SHIPPED == (
        "forced",
        "half_flip",
        "lifo",
        "mlx5_rx_cache",
        "mlx5_rx_cache_scan",
        "none",
        "numa_strict",
        "page_pool",
        "split_bias",
        "wait_ring",
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_each_says_what_it_does_in_one_line(name: str) -> None:
    policy = load_policy(name)
    assert 20 < len(policy.about) < 120
    assert len(policy.path.read_text().splitlines()) < 50


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    "options",
    [
        {"era": "v4.19", "options": LEGACY},
        {"era": "v6.6", "cpus": 2},
        {"driver": "netsec", "era": "v5.4"},
    ],
    ids=lambda options: f"{options.get('driver', 'mlx5')}-{options['era']}",
)
def test_every_frame_leaves_as_it_came(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    if name in SPLITTING and options["era"] == "v6.6":
        pytest.skip("mlx5 cannot cut pages up from v6.4 on")
    trace = DNS if "driver" in options else IMIX
    out = tmp_path / "out.pcap"
    result = netemu.replay(trace, recycle=name, packets=700, memory_mb=64, out=out, **options)
    assert_books_balance(result)
    sent = sorted(data for _ts, data, _wire in packets(out))
    came = sorted(data for data, _ in zip((data for _ts, data, _wire in packets(trace)), range(700), strict=False))
    assert sent == came


@pytest.mark.parametrize("name", SHIPPED)
def test_every_step_keeps_to_the_rules_of_pages(name: str) -> None:
    for options in ({"era": "v4.19", "options": LEGACY}, {"driver": "netsec", "era": "v6.1"}):
        data = run(DNS, recycle=name, packets=150, memory_mb=16, check="every", **options)
        assert data["leaks"] == []


@pytest.mark.parametrize("era", ["v5.4", "v5.15", "v6.6"])
def test_redirected_pages_that_come_back_are_decided_on_one_by_one_or_in_bulk(era: str) -> None:
    data = netemu.replay(IMIX, era=era, xdp="redirect", recycle="lifo", packets=400, check="every").to_dict()
    assert data["leaks"] == []  # a page that was unmapped meanwhile is mapped again, too
    assert data["policy"]["verdicts"]["keep"] >= 384
    assert data["policy"]["reused"] > 0
    kept_out = [pool["recycle-cached"] + pool["recycle-ring"] for pool in data["page_pool"]]
    assert kept_out == [0]


def test_the_rx_cache_as_a_policy_is_the_rx_cache() -> None:
    for hold_us in (0.0, 150.0):
        options = {"action": "local", "hold_us": hold_us}
        mechanism, policy = of_mlx5("mechanism", **options), of_mlx5("mlx5_rx_cache", **options)
        counters = {f"rx_cache_{name}": n for name, n in policy["policy"]["counters"].items()}
        counters["rx_cache_reuse"] = policy["policy"]["reused"]
        assert counters == {name: n for name, n in mechanism["ethtool"].items() if name.startswith("rx_cache_")}
        assert policy["pages"]["allocated"] == mechanism["pages"]["allocated"]
        assert policy["virtual_ns"] == mechanism["virtual_ns"]
        assert policy["recycling"] == mechanism["recycling"]


def test_a_held_page_at_the_head_blocks_the_cache_but_not_one_that_looks_further() -> None:
    script = {"action": "local", "hold_us": 400.0, "consumer_cpu": "shift:1", "cpus": 2, "queues": 1}
    blocked, scanning = of_mlx5("mlx5_rx_cache", **script), of_mlx5("mlx5_rx_cache_scan:scan=64", **script)
    assert scanning["policy"]["reused"] >= blocked["policy"]["reused"]


def test_no_recycling_takes_every_page_from_the_page_allocator() -> None:
    data = of_mlx5("none")
    assert data["policy"]["reused"] == 0
    assert data["policy"]["verdicts"]["page_allocator"] == data["pages"]["freed"] > 0
    assert data["recycling"]["percent"] == 0


def test_forced_keeps_as_many_as_it_is_told() -> None:
    kept = {percent: of_mlx5(f"forced:percent={percent}")["policy"]["verdicts"] for percent in (1, 50, 100)}
    asked = sum(kept[50].values())
    assert kept[100] == {"keep": asked, "cache": 0, "ring": 0, "page_allocator": 0}
    assert kept[1]["keep"] < asked // 10 < kept[50]["keep"] < asked * 9 // 10


def test_a_flipped_page_serves_two_buffers() -> None:
    data = of_mlx5("half_flip")
    assert data["policy"]["verdicts"]["keep"] == data["packets"]["received"]
    assert data["recycling"]["pages_from_allocator"] == 1024  # one page for each buffer of the ring, and no more
    held = of_mlx5("half_flip", action="local", hold_us=500.0)
    assert held["policy"]["counters"]["given_up"] > 0


def test_waiting_pages_are_used_again_and_free_ones_go_to_the_pool() -> None:
    waited = of_mlx5("wait_ring")
    assert waited["policy"]["counters"]["waited"] > 0
    assert waited["policy"]["reused"] > 0
    free = run(IMIX, era="v6.6", recycle="wait_ring", packets=1500)
    assert free["policy"]["verdicts"]["cache"] > 0


def test_strangers_are_not_kept_by_the_numa_strict_policy() -> None:
    data = run(IMIX, era="v6.6", recycle="numa_strict", packets=1500, nodes=2, cpus=2, memory_mb=64)
    assert data["policy"]["verdicts"]["keep"] > 0
    assert data["policy"]["counters"]["strangers"] == data["policy"]["verdicts"]["page_allocator"]


@pytest.mark.parametrize("name", SPLITTING)
def test_what_cannot_cut_pages_up_says_so(name: str) -> None:
    done = replay_interpreted(DNS, TEMPLATE, "--recycle", name)
    assert done.returncode == 2
    assert "cuts pages into parts: driver template does not do that" in done.stderr
    with pytest.raises(netemu.UsageError, match="rq=legacy"):
        run(IMIX, era="v4.19", recycle=name)


@pytest.mark.parametrize("era", ["v5.10", "v6.1"])
def test_a_driver_of_ones_own_asks_the_policy_too(era: str) -> None:
    done = replay_interpreted(DNS, TEMPLATE, "--era", era, "--recycle", "lifo", "--json")
    data = json.loads(done.stdout)
    assert data["policy"]["reused"] > 0
    assert data["leaks"] == []
