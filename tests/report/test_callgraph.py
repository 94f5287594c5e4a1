"""Rebuilding the tree of calls from the flat list of paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.report.callgraph import inclusive_percent, self_times, tree


def entry(*path: str, self_ns: int = 0, total_ns: int = 0, percent: float = 0.0, calls: int = 1) -> dict[str, Any]:
    return {"path": list(path), "calls": calls, "self_ns": self_ns, "total_ns": total_ns, "percent": percent}


def test_callees_follow_their_caller_dearest_first() -> None:
    root = tree(
        [
            entry("poll", "cheap", total_ns=1),
            entry("poll", total_ns=10),
            entry("poll", "dear", total_ns=7),
            entry("poll", "alike", total_ns=1),
        ]
    )
    assert [(depth, node.name) for depth, node in root.walk()] == [
        (0, "poll"),
        (1, "dear"),
        (1, "alike"),
        (1, "cheap"),
    ]


def test_a_caller_that_is_not_listed_sums_what_it_called() -> None:
    root = tree([entry("a", "b", "x", total_ns=3, percent=30), entry("a", "b", "y", total_ns=4, percent=40)])
    totals = {node.name: (node.total_ns, node.percent, node.calls) for _, node in root.walk()}
    assert totals["a"] == totals["b"] == (7, 70, 0)


def test_the_order_of_the_list_does_not_matter() -> None:
    entries = [entry("a", total_ns=9), entry("a", "b", total_ns=4), entry("a", "c", total_ns=4), entry("d", total_ns=1)]
    assert tree(entries) == tree(reversed(entries))


def test_recursion_counts_once_in_the_inclusive_share() -> None:
    entries = [
        entry("f", percent=60),
        entry("f", "g", percent=50),
        entry("f", "g", "f", percent=20),
        entry("h", "f", percent=5),
    ]
    assert inclusive_percent(entries, "f") == 65
    assert inclusive_percent(entries, "absent") == 0


@given(st.dictionaries(st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple), st.integers(1, 100)))
def test_self_times_add_up_to_the_roots_total(self_ns: dict[tuple[str, ...], int]) -> None:
    totals = {path: sum(ns for other, ns in self_ns.items() if other[: len(path)] == path) for path in self_ns}
    entries = [entry(*path, self_ns=ns, total_ns=totals[path]) for path, ns in self_ns.items()]
    whole = sum(self_ns.values())
    assert sum(self_times(entries).values()) == whole
    root = tree(entries)
    assert root.total_ns == pytest.approx(whole)
    for _, node in root.walk():
        assert node.total_ns >= sum(child.total_ns for child in node.children.values())
