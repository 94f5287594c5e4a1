"""Call paths: whichever way a function ends, its caller is current again, and every picosecond has a place."""

from __future__ import annotations

from collections import Counter

import pytest

from netemu import Machine
from netemu.engine.faults import call_path
from netemu.engine.kernel import NAMES, KernelFunction, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.path import MAX_NODES, PATH_ROWS
from tests.engine.samples import POINT, sample_indirect, sample_leaf, sample_outer, sample_target

LEAF_COST, POINT_COST = 7, 1000


@pytest.fixture
def machine() -> Machine:
    machine = Machine(memory_mb=4, cpus=2, skbs=16)
    machine.k.arrays["cost"][:] = 0
    machine.k.cost[number(sample_leaf)] = LEAF_COST
    machine.k.cost[POINT] = POINT_COST
    return machine


def number(function: object) -> int:
    assert isinstance(function, KernelFunction)
    return function.number


def calls(machine: Machine, cpu: int = 0) -> dict[tuple[str, ...], int]:
    """Calls by path."""
    k = machine.k
    nodes = range(1, k.tree[0].nodes + 1)
    found = {call_path(k, node): k.path_cost[cpu * PATH_ROWS + node].calls for node in nodes}
    return {path: count for path, count in found.items() if count}


def self_time(machine: Machine, cpu: int = 0) -> Counter[str]:
    """Time by function, its fixed cost and what it charged."""
    k = machine.k
    found: Counter[str] = Counter()
    for node in range(k.tree[0].nodes + 1):
        row = k.path_cost[cpu * PATH_ROWS + node]
        function = k.node[node].function
        found[NAMES[function]] += row.calls * k.cost[function] + row.extra
    return found


@pytest.mark.parametrize(("x", "result"), [(0, 10), (4, 20), (-1, 30), (2, 40)])
def test_every_way_out_of_a_function_leads_back_to_its_caller(machine: Machine, x: int, result: int) -> None:
    assert sample_leaf(machine.k, 1, x) == result
    assert machine.k.cpu[1].node == 0
    assert calls(machine, 1) == {("sample_leaf",): 1}
    assert machine.k.cpu[1].clock == LEAF_COST + (POINT_COST if result == 40 else 0)
    assert calls(machine, 0) == {}


def test_calls_in_conditions_and_in_returns_keep_the_tree_right(machine: Machine) -> None:
    assert sample_outer(machine.k, 0, 4) == 41
    assert calls(machine) == {
        ("renamed_sample",): 1,
        ("renamed_sample", "sample_silent"): 1,
        ("renamed_sample", "sample_silent", "sample_leaf"): 1,
        ("renamed_sample", "sample_leaf"): 3,
    }
    assert sample_outer(machine.k, 0, 5) == 41
    assert calls(machine)["renamed_sample", "sample_silent", "sample_leaf"] == 1  # returned before the call
    assert calls(machine)["renamed_sample", "sample_leaf"] == 6
    assert machine.k.cpu[0].node == 0


def test_what_a_part_without_a_node_charges_is_its_callers(machine: Machine) -> None:
    sample_outer(machine.k, 0, 4)
    assert self_time(machine)["renamed_sample"] == POINT_COST
    assert self_time(machine)["sample_leaf"] == 4 * LEAF_COST + POINT_COST


def test_every_picosecond_of_the_clock_is_on_some_path() -> None:
    machine = Machine(era="v6.1", memory_mb=16, skbs=256)
    pool = machine.page_pool()
    for _ in range(200):
        machine.napi_consume_skb(machine.napi_build_skb(pool.alloc_pages()).mark_for_recycle())
        machine.napi_consume_skb(machine.napi_alloc_skb(1500))
    assert machine.k.cpu[0].clock > 0
    assert self_time(machine).total() == machine.k.cpu[0].clock


def test_a_full_tree_charges_the_caller_and_says_so(machine: Machine) -> None:
    machine.k.tree[0].nodes = MAX_NODES - 1
    assert sample_leaf(machine.k, 0, 2) == 40
    assert machine.k.tree[0].full == 1
    assert machine.k.path_cost[0].extra == POINT_COST
    assert machine.k.cpu[0].node == 0


def test_a_function_is_called_through_its_address(machine: Machine) -> None:
    assert isinstance(sample_target, KernelFunction)
    assert sample_indirect(machine.k, 3, sample_target.address(machine.k), 42) == 342


def test_a_traced_function_has_to_start_with_the_state_and_the_cpu() -> None:
    def out_of_order(cpu: int, k: Kernel) -> int:
        return cpu

    made = kernel_function(traced=False)(out_of_order)
    made.traced = True  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"out_of_order: a traced kernel function starts with \(k, cpu"):
        made.interpreted()  # type: ignore[attr-defined]


@pytest.mark.parametrize("era", ["v4.19", "v6.12"])
def test_a_cpu_pays_for_its_own_calls_only(era: str) -> None:
    machine = Machine(era=era, cpus=2, memory_mb=16, skbs=64)
    page = machine.alloc_pages(cpu=0)
    assert page is not None
    page.put(cpu=1)
    assert ("__alloc_pages",) in calls(machine, 0)
    assert ("__alloc_pages",) not in calls(machine, 1)
    assert ("put_page",) in calls(machine, 1)
