"""Polls and gauges as tracks over virtual time, in the JSON that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UsageError

Result = Mapping[str, Any]

DEVICE = 1
"""pid of the device, to which all tracks belong."""
SOFTIRQS = {-1: "net_tx_action", -2: "net_rx_action"}
"""What a span's ``napi`` below 0 stands for."""
PLACES = ("buddy", "pcp", "pool_cache", "pool_ring", "page_frag_cache", "skb", "tx", "driver")
"""Gauges that count pages by where they are."""


def perfetto(result: Result) -> str:
    """A slice for each softirq and each poll, a thread for each CPU, a counter for each gauge; times in us.

    Raises UsageError for a result without a timeline.
    """
    return json.dumps({"displayTimeUnit": "ns", "traceEvents": list(events(result))})


def timeline(result: Result) -> Mapping[str, Any]:
    """The readings and polls of a result.  Raises UsageError when there are none."""
    if "timeline" not in result:
        raise UsageError("this result has no timeline: replay with --timeline, or from Python timeline=True")
    found: Mapping[str, Any] = result["timeline"]
    return found


def events(result: Result) -> Iterator[dict[str, Any]]:
    """The trace events, names first."""
    line = timeline(result)
    yield _name("process_name", 0, f"{result['driver']}, kernel {result['era']}")
    for cpu in range(result["cpus"]):
        yield _name("thread_name", cpu, f"CPU {cpu}")
    yield from _slices(line["spans"], _poll_function(result))
    yield from _counters(line)


def _name(kind: str, cpu: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": DEVICE, "tid": cpu, "args": {"name": name}}


def _poll_function(result: Result) -> str:
    """What the driver's poll function is called: the function right below net_rx_action with the most time."""
    below = [entry for entry in result["callgraph"] if len(entry["path"]) == 2 and entry["path"][0] == "net_rx_action"]
    return str(max(below, key=lambda entry: entry["total_ns"])["path"][1]) if below else "poll"


def _slices(spans: Mapping[str, Any], poll: str) -> Iterator[dict[str, Any]]:
    columns = ("cpu", "napi", "start_ns", "end_ns", "work", "tx_work")
    rows = zip(*(spans[column] for column in columns), strict=True)
    # a softirq before the polls in it, however the two times are rounded
    for cpu, napi, start, end, work, tx_work in sorted(rows, key=lambda row: (row[0], row[2], -row[3], row[1])):
        ts, till = round(start / 1000, 3), round(end / 1000, 3)
        made: dict[str, Any] = {"ph": "X", "pid": DEVICE, "tid": cpu, "ts": ts, "dur": round(till - ts, 3)}
        if napi < 0:
            yield made | {"name": SOFTIRQS[napi], "cat": "softirq"}
        else:
            arguments = {"queue": napi, "work": work, "tx_work": tx_work}
            yield made | {"name": poll, "cat": "napi", "args": arguments}


def _counters(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    gauges = line["gauges"]
    for at, time in enumerate(line["times_ns"]):
        placed = {place: gauges[place][at] for place in PLACES if place != "buddy"}
        yield _counter("pages", time, placed)
        for name, values in gauges.items():
            if name not in PLACES:
                yield _counter(name, time, {name: values[at]})


def _counter(name: str, time: float, values: Mapping[str, int]) -> dict[str, Any]:
    return {"ph": "C", "name": name, "pid": DEVICE, "tid": 0, "ts": round(time / 1000, 3), "args": dict(values)}
