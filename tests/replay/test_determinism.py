"""The same input gives the same report to the last bit, compiled or not; and many queues share the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from netemu import traces
from tests.replay.runs import DNS, FLOOD, IMIX, JUMBO, run

EVERY_WAY = """
import json, sys
import netemu
from netemu.pcap import packets
from netemu import traces

RUNS = [
    ("router-imix.pcap", dict(era="v4.19", recycle=0)),
    ("router-imix.pcap", dict(era="v4.19", driver="netsec", action="local", hold_us=100, rate="recorded")),
    ("router-imix.pcap", dict(era="v5.0", driver="netsec", recycle=0.5)),
    ("http.pcap", dict(era="v5.15", cpus=3, options={"rq": "legacy"})),
    ("dns.pcap", dict(era="v6.1", recycle=0.5, seed=7, rate="2e7")),
    ("jumbo.pcap", dict(era="v6.1", mtu=9000, options={"rq": "legacy"}, cpus=2)),
    ("jumbo.pcap", dict(era="v6.6", mtu=9000, rate=100000, action="local", hold_us=50)),
    ("mixed.pcapng", dict(era="v6.12", options={"rq": "legacy"}, recycle=1)),
]
for name, options in RUNS:
    some = [data for _ts, data, _wire in packets(traces.path(name))][:150]
    report = netemu.replay(some, **options).to_dict()
    del report["wall_s"]
    print(json.dumps(report))
"""


def reports(jit: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_WAY],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NETEMU_JIT": jit},
    )
    return done.stdout.splitlines()


def test_compiled_and_interpreted_runs_give_the_same_report() -> None:
    compiled, interpreted = reports("1"), reports("0")
    assert len(compiled) == 8
    assert compiled == interpreted


@pytest.mark.parametrize(
    "options",
    [
        {"recycle": 0.5, "era": "v5.10"},
        {"cpus": 4, "recycle": 0.3},
        {"driver": "netsec", "rate": "2e6"},
        {"action": "local", "hold_us": 30},
    ],
    ids=str,
)
def test_the_same_run_twice_gives_the_same_report(options: dict[str, Any]) -> None:
    one, two = run(IMIX, **options), run(IMIX, **options)
    del one["wall_s"], two["wall_s"]
    assert json.dumps(one) == json.dumps(two)


def test_flows_are_spread_over_queues_and_stay_on_theirs() -> None:
    data = run(IMIX, cpus=4)
    received = [data["ethtool"][f"rx{i}_packets"] for i in range(4)]
    assert sum(received) == 3600
    assert min(received) > 3600 / 16
    assert [data["ethtool"][f"tx{i}_packets"] for i in range(4)] == received
    assert len(data["page_pool"]) == 4


def test_more_cpus_forward_more() -> None:
    one, four = (run(FLOOD, cpus=cpus, repeat=4)["pps"] for cpus in (1, 4))
    assert 2 * one < four <= 4.5 * one


def test_queues_can_outnumber_cpus_and_be_fewer() -> None:
    for cpus, queues in ((2, 4), (4, 2), (1, 8)):
        data = run(IMIX, cpus=cpus, queues=queues)
        assert len(data["page_pool"]) == queues
        assert sum(data["ethtool"][f"rx{i}_packets"] for i in range(queues)) == 3600


def test_frames_without_addresses_go_to_the_first_queue() -> None:
    data = run([bytes(60)] * 40, cpus=4)
    assert data["ethtool"]["rx0_packets"] == 40


def test_several_cpus_wait_for_each_other_at_the_zone_lock() -> None:
    """The reported problem: each freed page takes the lock, and the CPUs of a node share it."""
    options: dict[str, Any] = {"cpus": 4, "recycle": 0, "options": {"page_per_packet": "yes"}, "repeat": 2}
    before = run(FLOOD, era="v4.19", **options)
    after = run(FLOOD, era="v4.19", switches={"page_frag_free": "pcp"}, **options)
    assert before["zone_lock"]["contended"] > 0
    assert before["zone_lock"]["wait_ns"] > after["zone_lock"]["wait_ns"]
    names = {name for entry in before["callgraph"] for name in entry["path"]}
    assert "queued_spin_lock_slowpath" in names
    assert after["pps"] > before["pps"]


def test_call_graph_totals_are_the_sums_of_their_parts() -> None:
    data = run(traces.path("http.pcap"), era="v4.19", recycle=0)
    totals = {tuple(entry["path"]): entry for entry in data["callgraph"]}
    for path, entry in totals.items():
        below = sum(e["total_ns"] for other, e in totals.items() if other[:-1] == path)
        assert entry["total_ns"] == pytest.approx(entry["self_ns"] + below, abs=1e-3)
        assert entry["percent"] == pytest.approx(100 * entry["total_ns"] / data["busy_ns"])
    roots = sum(entry["total_ns"] for path, entry in totals.items() if len(path) == 1)
    assert roots == pytest.approx(data["busy_ns"], abs=1e-3)


@pytest.mark.parametrize("trace", [DNS, JUMBO], ids=lambda path: path.name)
def test_busy_and_idle_time_fill_the_clock(trace: Any) -> None:
    for rate in ("recorded", "max"):
        data = run(trace, rate=rate, mtu=9000)
        assert data["busy_ns"] + data["idle_ns"] == pytest.approx(data["virtual_ns"], abs=1e-3)
