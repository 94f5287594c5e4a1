"""The comparison of two replays for people: what changed, in words and in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from .metrics import metrics
from .quantities import count

Compared = Mapping[str, Any]

LABELS = {
    "pps": "packets per second",
    "gbit_per_s": "Gbit per second",
    "busy_ns_per_packet": "busy ns per packet",
    "received": "packets received",
    "forwarded": "packets forwarded",
    "delivered": "packets delivered",
    "dropped": "packets dropped",
    "recycled_percent": "receive pages recycled, %",
    "pages_allocated": "pages from the page allocator",
    "pages_freed": "pages freed to it",
    "zone_lock_acquisitions": "zone->lock taken",
    "zone_lock_acquisitions_per_packet": "zone->lock taken per packet",
    "zone_lock_contended": "zone->lock contended",
    "zone_lock_wait_ns": "zone->lock waited for, ns",
    "zone_lock_hold_ns": "zone->lock held, ns",
    "leaks": "leaks",
}
_FUNCTIONS = 12
"""Functions whose cost changed most that are listed."""
_WORTH_SAYING = 0.05
"""Percent by which a figure has to change to count as changed."""


def sentences(compared: Compared) -> list[str]:
    """What the test side changes, in plain words, the most important first."""
    delta = compared["delta"]
    said = [_throughput(delta["pps_percent"]), _recycled(compared), _lock(compared), _function(compared), _lost(delta)]
    return [sentence for sentence in said if sentence]


def _throughput(percent: float | None) -> str | None:
    if percent is None:
        return "No throughput to compare: a side received nothing."
    if abs(percent) < _WORTH_SAYING:
        return "Both sides are equally fast."
    return f"The test side is {abs(percent):.1f} % {'faster' if percent > 0 else 'slower'}."


def _recycled(compared: Compared) -> str | None:
    before, after = (metrics(compared[side])["recycled_percent"] for side in ("base", "test"))
    if before is None or after is None:
        return None
    return f"Recycled receive pages: {before:.1f} % in the base, {after:.1f} % in the test."


def _lock(compared: Compared) -> str | None:
    before, after = (metrics(compared[side])["zone_lock_acquisitions_per_packet"] for side in ("base", "test"))
    if before == after:
        return None
    return f"zone->lock is taken {after:.3f} times per packet instead of {before:.3f} times."


def _function(compared: Compared) -> str | None:
    row = compared["functions"][0] if compared["functions"] else None
    if row is None or abs(row["change_ns"]) < 0.01:
        return None
    more = "more" if row["change_ns"] > 0 else "less"
    return f"The largest change is in {row['function']}: {abs(row['change_ns']):.1f} ns per packet {more}."


def _lost(delta: Mapping[str, Any]) -> str | None:
    if not delta["dropped"]:
        return None
    return f"The test side drops {count(abs(delta['dropped']))} packets {'more' if delta['dropped'] > 0 else 'fewer'}."


def table(compared: Compared) -> list[tuple[str, str, str, str]]:
    """A row for each figure: its name, both values, the change."""
    before, after = metrics(compared["base"]), metrics(compared["test"])
    rows = []
    for name, label in LABELS.items():
        percent = compared["delta"].get(f"{name}_percent")
        difference = compared["delta"].get(name)
        change = f"{percent:+.2f} %" if percent is not None else _signed(difference)
        rows.append((label, _figure(before[name]), _figure(after[name]), change))
    return rows


def function_table(compared: Compared, most: int = _FUNCTIONS) -> list[tuple[str, str, str, str]]:
    """The functions whose own time per packet changed most."""
    return [
        (row["function"], f"{row['base_ns']:.2f}", f"{row['test_ns']:.2f}", f"{row['change_ns']:+.2f}")
        for row in compared["functions"][:most]
        if abs(row["change_ns"]) >= 0.005
    ]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return count(value) if value == int(value) or value >= 100 else f"{value:.3f}"


def _signed(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:+,.6g}"


def render(compared: Compared, console: Console) -> None:
    """Print the comparison."""

    def line(text: str = "", style: str = "") -> None:
        console.print(Text(text.rstrip(), style=style), soft_wrap=True)

    options = compared["options"]
    line(f"{options['trace']}")
    line(f"  base: {options['base']}")
    line(f"  test: {options['test']}")
    line()
    line("What netemu found", "bold")
    for sentence in sentences(compared):
        line(f"  {sentence}")
    for title, rows in (("Figures", table(compared)), ("ns per packet, by function", function_table(compared))):
        line()
        line(f"{title:<36}{'base':>18}{'test':>18}{'change':>18}", "bold")
        for name, before, after, change in rows:
            line(f"  {name:<34}{before:>18}{after:>18}{change:>18}")
