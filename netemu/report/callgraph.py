"""The call graph of a run as a tree, rebuilt from the flat list of call paths in a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Node:
    """One function on one call path; times in virtual ns, ``percent`` of all virtual busy time, inclusive."""

    name: str
    calls: int = 0
    self_ns: float = 0
    total_ns: float = 0
    percent: float = 0.0
    children: dict[str, Node] = field(default_factory=dict)

    def by_weight(self) -> list[Node]:
        """The functions called from here, dearest first; equal ones by name."""
        return sorted(self.children.values(), key=lambda node: (-node.total_ns, node.name))

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Every node below this one, callers before callees, with its depth."""
        for child in self.by_weight():
            yield depth, child
            yield from child.walk(depth + 1)


def tree(entries: Iterable[Mapping[str, Any]]) -> Node:
    """The root above all call paths of a result's ``callgraph``.

    A caller that is not itself listed gets the sum of what is listed below it.
    """
    root = Node("")
    listed: set[int] = set()
    for entry in entries:
        node = root
        for name in entry["path"]:
            node = node.children.setdefault(name, Node(name))
        node.calls = entry["calls"]
        node.self_ns = entry["self_ns"]
        node.total_ns = entry["total_ns"]
        node.percent = entry["percent"]
        listed.add(id(node))
    _sum_unlisted(root, listed)
    return root


def _sum_unlisted(node: Node, listed: set[int]) -> None:
    for child in node.children.values():
        _sum_unlisted(child, listed)
    if id(node) not in listed:
        node.total_ns = sum(child.total_ns for child in node.children.values())
        node.percent = sum(child.percent for child in node.children.values())


def inclusive_percent(entries: Iterable[Mapping[str, Any]], function: str) -> float:
    """Share of busy time spent in ``function`` and below, over all paths; recursion counts once."""
    outermost = (entry for entry in entries if entry["path"].index(entry["path"][-1]) == len(entry["path"]) - 1)
    return sum(float(entry["percent"]) for entry in outermost if entry["path"][-1] == function)


def self_times(entries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Virtual ns spent in each function itself, over all paths."""
    times: dict[str, float] = {}
    for entry in entries:
        leaf = entry["path"][-1]
        times[leaf] = times.get(leaf, 0) + entry["self_ns"]
    return times
