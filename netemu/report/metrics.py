"""The figures by which results are compared: one row of numbers for a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .findings import leaks_found
from .quantities import ratio

Result = Mapping[str, Any]
Metrics = dict[str, float | int | None]


def metrics(result: Result) -> Metrics:
    """Throughput, cost, recycling and lock figures of a result; None where there is nothing to measure."""
    packets, lock, pages = result["packets"], result["zone_lock"], result["pages"]
    received = packets["received"]
    return {
        "pps": result["pps"],
        "gbit_per_s": 8 * ratio(result["bytes"], result["virtual_ns"]),
        "busy_ns_per_packet": ratio(result["busy_ns"], received),
        "received": received,
        "forwarded": packets["forwarded"],
        "delivered": packets["delivered"],
        "dropped": sum(packets["dropped"].values()),
        "recycled_percent": result["recycling"]["percent"],
        "pages_allocated": pages["allocated"] - pages["initial_in_use"],
        "pages_freed": pages["freed"],
        "zone_lock_acquisitions": lock["acquisitions"],
        "zone_lock_acquisitions_per_packet": ratio(lock["acquisitions"], received),
        "zone_lock_contended": lock["contended"],
        "zone_lock_wait_ns": lock["wait_ns"],
        "zone_lock_hold_ns": lock["hold_ns"],
        "leaks": leaks_found(result),
    }


_DIFFERENCES = ("recycled_percent", "dropped", "leaks", "received", "forwarded", "delivered")
"""Figures whose change is a difference and not a percentage."""


def delta(base: Result, test: Result) -> Metrics:
    """How ``test`` differs from ``base``: ``NAME_percent`` for most figures, a plain difference for counts of packets.

    None where the base is zero or there is nothing to measure.
    """
    before, after = metrics(base), metrics(test)
    change: Metrics = {}
    for name, value in after.items():
        reference = before[name]
        if name in _DIFFERENCES:
            change[name] = None if value is None or reference is None else value - reference
        else:
            change[f"{name}_percent"] = 100 * (value / reference - 1) if reference and value is not None else None
    return change


def functions(base: Result, test: Result) -> list[dict[str, Any]]:
    """Virtual ns per packet that each function itself took in both, the largest changes first."""
    before, after = _per_packet(base), _per_packet(test)
    rows: list[dict[str, Any]] = [
        {"function": name, "base_ns": before.get(name, 0.0), "test_ns": after.get(name, 0.0)}
        for name in sorted(before.keys() | after.keys())
    ]
    for row in rows:
        row["change_ns"] = row["test_ns"] - row["base_ns"]
    return sorted(rows, key=lambda row: (-abs(row["change_ns"]), row["function"]))


def _per_packet(result: Result) -> dict[str, float]:
    times: dict[str, float] = {}
    for entry in result["callgraph"]:
        leaf = entry["path"][-1]
        times[leaf] = times.get(leaf, 0) + entry["self_ns"]
    received = result["packets"]["received"]
    return {name: ratio(time, received) for name, time in times.items()}
