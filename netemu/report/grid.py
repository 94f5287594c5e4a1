"""What a sweep shows: the mean of each figure for every value of every option, and the best points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .quantities import percent, rate

Row = Mapping[str, Any]

COLUMNS = {
    "pps": "mean Mpps",
    "busy_ns_per_packet": "ns/packet",
    "recycled_percent": "recycled %",
    "zone_lock_acquisitions_per_packet": "zone->lock/packet",
    "dropped": "dropped",
}


def overview(axes: Sequence[str], rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and cells of a table: a row for each value of each option, with means over all other options."""
    head = ("option", "value", "points", *COLUMNS.values())
    cells = []
    for axis in axes:
        for value in dict.fromkeys(row[axis] for row in rows):
            group = [row for row in rows if row[axis] == value and row["error"] is None]
            figures = [_shown(name, mean([row[name] for row in group])) for name in COLUMNS]
            cells.append((axis, str(value), str(len(group)), *figures))
    return head, cells


def best(axes: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Which point is the fastest, and which option matters most."""
    good = [row for row in rows if row["error"] is None]
    if not good:
        return ["No point could be replayed."]
    top = max(good, key=lambda row: row["pps"])
    place = ", ".join(f"{axis} {top[axis]}" for axis in axes) or "the only point"
    said = [f"The fastest point is {place}: {rate(top['pps'], 'pps')}."]
    spreads = {axis: _spread(axis, good) for axis in axes}
    if spreads:
        widest = max(spreads, key=lambda axis: spreads[axis])
        said.append(
            f"What matters most is {widest}: mean throughput differs by {percent(spreads[widest])} between its values."
        )
    return said


def _spread(axis: str, rows: Sequence[Row]) -> float:
    means = [mean([row["pps"] for row in rows if row[axis] == value]) or 0.0 for value in {row[axis] for row in rows}]
    return 100 * (max(means) / min(means) - 1) if min(means) else 0.0


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are there."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.3f}" if name == "pps" else f"{value:,.3f}" if value < 100 else f"{value:,.1f}"
