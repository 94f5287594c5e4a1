"""A flame graph as nested boxes: callers above callees, as wide as their share of busy virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .callgraph import Node, tree
from .quantities import count, percent, ratio

Result = Mapping[str, Any]

NARROWEST = 0.05
"""Percent of busy time below which a box is left out."""
_HUES = 6


def flame(result: Result) -> str:
    """The boxes, each placed by shares of the whole graph; a click on one makes it as wide as the page (flame.js)."""
    root = tree(result["callgraph"])
    whole = sum(child.total_ns for child in root.children.values())
    boxes: list[str] = []
    _place(root, 0.0, 0, whole, result["packets"]["received"], boxes)
    depth = 1 + max((node_depth for node_depth, _node in root.walk()), default=0)
    return f'<div class="flame" style="--rows:{depth}">{"".join(boxes)}</div>'


def _place(node: Node, left: float, depth: int, whole: float, packets: int, boxes: list[str]) -> None:
    for child in node.by_weight():
        share = 100 * ratio(child.total_ns, whole)
        if share >= NARROWEST:
            boxes.append(_box(child, left, share, depth, packets))
            _place(child, left, depth + 1, whole, packets, boxes)
        left += share


def _box(node: Node, left: float, share: float, depth: int, packets: int) -> str:
    told = (
        f"{node.name}: {percent(share)} of busy time, {count(node.calls)} calls, "
        f"{ratio(node.self_ns, packets):.2f} ns per packet itself, {ratio(node.total_ns, packets):.2f} with callees"
    )
    hue = sum(map(ord, node.name)) % _HUES
    return (
        f'<div class="f{hue}" style="left:{left:.3f}%;width:{share:.3f}%;--row:{depth}" title="{escape(told)}">'
        f"{escape(node.name)}</div>"
    )
