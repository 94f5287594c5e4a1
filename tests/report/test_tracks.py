"""Polls and gauges for Perfetto: slices nest, times go forward, counters are those of the timeline."""

from __future__ import annotations

import json
from typing import Any

import pytest

import netemu
from netemu.report.tracks import perfetto
from tests.report.timelines import watched


def trace_events() -> list[dict[str, Any]]:
    document = json.loads(perfetto(watched()))
    events: list[dict[str, Any]] = document["traceEvents"]
    return events


def test_slices_of_a_cpu_nest() -> None:
    for cpu in (0, 1):
        slices = [e for e in trace_events() if e["ph"] == "X" and e["tid"] == cpu]
        assert {e["name"] for e in slices} == {"net_rx_action", "net_tx_action", "mlx5e_napi_poll"}
        open_until: list[float] = []
        for one in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
            start, end = one["ts"], round(one["ts"] + one["dur"], 3)
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


def test_each_poll_lies_in_a_softirq() -> None:
    events = [e for e in trace_events() if e["ph"] == "X"]
    around = [e for e in events if e["cat"] == "softirq"]
    for poll in (e for e in events if e["cat"] == "napi"):
        assert any(
            s["tid"] == poll["tid"] and s["ts"] <= poll["ts"] and poll["ts"] + poll["dur"] <= s["ts"] + s["dur"] + 0.001
            for s in around
        )


def test_polls_account_for_every_packet() -> None:
    data = watched()
    polls = [e["args"] for e in trace_events() if e.get("cat") == "napi"]
    assert data["timeline"]["spans"]["lost"] == 0
    assert sum(poll["work"] for poll in polls) >= data["packets"]["received"]
    assert sum(poll["tx_work"] for poll in polls) == data["packets"]["forwarded"]


def test_tracks_have_names_and_counters_go_forward() -> None:
    events = trace_events()
    named = {(e["name"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    assert named[("thread_name", 0)] == "CPU 0"
    assert named[("process_name", 0)] == "mlx5, kernel v4.19"
    received = [(e["ts"], e["args"]["received"]) for e in events if e["ph"] == "C" and e["name"] == "received"]
    assert received == sorted(received)
    assert received[-1][1] == watched()["packets"]["received"]


def test_a_result_without_a_timeline_says_how_to_get_one() -> None:
    data = {name: value for name, value in watched().items() if name != "timeline"}
    with pytest.raises(netemu.UsageError, match="timeline"):
        perfetto(data)
