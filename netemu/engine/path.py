"""Call paths and virtual time: which function runs on each CPU, how often, and what it has cost.

Each CPU has a clock in picoseconds and a current node in the call tree.  The tree's shape is shared by all
CPUs; calls and costs are kept per CPU and node.  A function's fixed cost is charged when it is entered; what
depends on what it does (an atomic, a cache miss, a wait for a lock) it charges itself with :func:`charge`.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .kernel import MAX_FUNCTIONS, inlined, kernel_function
from .layout import Kernel, table

MAX_NODES = 2048
"""Distinct call paths that one run can have."""
PATH_ROWS = MAX_NODES + 4
"""Rows of ``path_cost`` per CPU: an odd number of cache lines, so that the CPUs' rows of one path share no set."""

table(
    "machine",
    [
        ("cpus", "i4"),
        ("zones", "i4"),  # one per memory node
        ("pages", "i4"),
        ("devices", "i4"),
        ("skbs", "i4"),  # rows for sk_buffs, shared infos and small objects each
        ("scripted", "i4"),  # 1: pages come from a scripted page source
        ("new_page_flags", "i4"),  # flags of every page handed out
    ],
)
table(
    "cpu",
    [
        ("clock", "i8"),  # virtual time, ps
        ("node", "i4"),  # current call path
        ("serving_softirq", "i4"),  # in net_rx_action
        ("bh_disabled", "i4"),  # process context with bottom halves off
        ("hardirq", "i4"),
        ("numa_node", "i4"),
        ("idle", "i8"),  # time spent with nothing to do, ps
    ],
    whole_lines=True,
)
table("node", [("parent", "i4"), ("function", "i4")])  # the call tree; row 0 is the root
table("child", "i4")  # [node * MAX_FUNCTIONS + function] -> node, 0: not seen yet
table(
    "path_cost", [("calls", "i8"), ("extra", "i8")]
)  # [cpu * PATH_ROWS + node]; extra: charged beyond the fixed cost, ps
table("cost", "i8")  # [function or cost point] -> ps
table("tree", [("nodes", "i4"), ("full", "i4")])


@kernel_function(traced=False)
def grow_tree(k: Kernel, up: int, function: int) -> int:
    """Add the path ``up -> function``; when the tree is full, account it to the caller and say so in the report."""
    t = k.tree[0]
    node = t.nodes + 1
    if node >= MAX_NODES:
        t.full = 1
        return up
    t.nodes = node
    n = k.node[node]
    n.parent = up
    n.function = function
    k.child[up * MAX_FUNCTIONS + function] = node
    return node


@inlined
def enter(k: Kernel, cpu: int, function: int) -> int:
    """Make ``function``, called from the current node, the current node; returns the caller's node."""
    c = k.cpu[cpu]
    up = c.node
    node = k.child[up * MAX_FUNCTIONS + function]
    if node == 0:
        node = grow_tree(k, up, function)
    c.node = node
    c.clock += k.cost[function]
    k.path_cost[cpu * PATH_ROWS + node].calls += 1
    return up


@inlined
def leave(k: Kernel, cpu: int, caller: int) -> None:
    """Back to the caller's node, as returned by :func:`enter`."""
    k.cpu[cpu].node = caller


@inlined
def charge(k: Kernel, cpu: int, point: int) -> None:
    """Charge one cost point to the current path."""
    spend(k, cpu, k.cost[point])


@inlined
def spend(k: Kernel, cpu: int, ps: int) -> None:
    """Charge ``ps`` picoseconds to the current path."""
    c = k.cpu[cpu]
    c.clock += ps
    k.path_cost[cpu * PATH_ROWS + c.node].extra += ps


def costs_by_cpu(k: Kernel) -> npt.NDArray[Any]:
    """``path_cost`` of shape [cpu, path]."""
    return k.arrays["path_cost"].reshape(k.machine[0].cpus, PATH_ROWS)[:, :MAX_NODES]
