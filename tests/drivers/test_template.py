"""The template driver as it stands: complete, clean in every era, and found by path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu import traces
from netemu.machine import Machine
from netemu.net.device_layout import NO_DESCRIPTOR, OVERSIZE, RECEIVED
from netemu.profiles.eras import era_names
from tests.drivers.authoring import TEMPLATE, edited, replay_interpreted
from tests.drivers.stepping import Stepper

DNS = traces.path("dns.pcap")


def replayed(**options: Any) -> dict[str, Any]:
    return netemu.replay(DNS, driver=str(TEMPLATE), **options).to_dict()


def test_a_copy_runs_from_the_command_line(tmp_path: Path) -> None:
    done = replay_interpreted(DNS, edited(tmp_path, "mydriver.py"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["driver"] == str(tmp_path / "mydriver.py")
    assert result["packets"]["forwarded"] == result["packets"]["offered"] > 0
    assert result["leaks"] == []


@pytest.mark.parametrize("action", ["forward", "local", "drop"])
@pytest.mark.parametrize("era", era_names())
def test_it_replays_without_a_leak_in_every_era(era: str, action: str) -> None:
    result = replayed(era=era, action=action)
    packets = result["packets"]
    assert packets["received"] == packets["offered"] > 0
    assert packets["forwarded"] == (packets["offered"] if action == "forward" else 0)
    assert result["ethtool"]["rx_packets"] == packets["offered"]
    assert result["ethtool"]["tx_packets"] == packets["forwarded"]
    assert result["leaks"] == []


def test_its_functions_are_in_the_call_graph_and_cost_time() -> None:
    graph = {entry["path"][-1]: entry for entry in replayed()["callgraph"]}
    for name in ("template_poll", "template_clean_rx", "template_build_skb", "template_start_xmit"):
        assert graph[name]["calls"] > 0
    assert graph["template_build_skb"]["self_ns"] > 0
    assert graph["template_start_xmit"]["self_ns"] > 0


@pytest.mark.parametrize(("recycle", "refused"), [(1, 0), (0, "all")])
def test_forced_recycling_decides_what_comes_back(recycle: int, refused: int | str) -> None:
    result = replayed(recycle=recycle)
    (pool,) = result["page_pool"]
    assert pool["recycle-released-refcnt"] == (result["packets"]["received"] if refused == "all" else refused)


def test_its_ring_has_its_size_and_its_largest_frame() -> None:
    nic = Stepper(str(TEMPLATE))
    assert [nic.arrive(60) for _ in range(257)] == [RECEIVED] * 256 + [NO_DESCRIPTOR]
    assert len(nic.device.pages_held()) == 256
    assert nic.poll() == 1
    assert nic.refill() == 0
    assert (nic.arrive(1515), nic.arrive(1514)) == (OVERSIZE, RECEIVED)
    assert nic.leaks() == []


def test_memory_that_runs_out_leaves_the_ring_short_until_there_is_some() -> None:
    nic = Stepper(str(TEMPLATE), memory_mb=8)
    taken = nic.exhaust_memory()
    for _ in range(256):
        nic.receive(60)
    assert nic.refill() == -1
    assert nic.device.ethtool()["rx_alloc_failed"] == 1
    nic.free(taken)
    assert nic.refill() == 0
    assert nic.leaks() == []


def test_its_largest_mtu_just_fits_into_a_page() -> None:
    nic = Machine(memory_mb=16).netdev(str(TEMPLATE), mtu=3694)
    assert nic.driver.max_mtu == 3694
    stepper = Stepper(str(TEMPLATE), mtu=3694, contents=True)
    frame = bytes(i & 0xFF for i in range(3708))
    assert stepper.frame_of(stepper.receive(frame)) == frame
