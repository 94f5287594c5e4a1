"""Micro-benchmark loops do the kernel's operations, one at a time on every CPU, and cost what these cost."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.errors import KernelBug, UsageError
from netemu.experiments.keys import LOOPS, keys_of
from netemu.experiments.loop import Loop, run_loop
from netemu.profiles.platforms import load_platform

COST = {name: cost.ns for name, cost in load_platform("xeon-e5-1650v4").costs.items()}
SMALL: dict[str, Any] = {"count": 60, "warmup": 20, "memory_mb": 64}


def run(kind: str, **chosen: Any) -> dict[str, Any]:
    settings = {name: key.default for name, key in keys_of(kind).items()}
    result = run_loop(kind, settings | SMALL | chosen)
    assert result is not None
    return result


def price(*names: str) -> float:
    return sum(COST[name] for name in names)


def calls(result: dict[str, Any], function: str) -> int:
    return sum(node["calls"] for node in result["callgraph"] if node["path"][-1] == function)


@pytest.mark.parametrize("kind", LOOPS)
def test_every_loop_does_as_many_operations_as_were_asked_for(kind: str) -> None:
    result = run(kind)
    assert 60 <= result["operations"] <= 60 + 64
    assert result["ns_per_op"] * result["operations"] == pytest.approx(result["virtual_ns"], rel=0.05)


def test_a_page_of_the_per_cpu_list_costs_its_functions_and_no_lock() -> None:
    result = run("page_alloc", era="v4.19")
    pair = price("__alloc_pages", "get_page_from_freelist", "rmqueue_pcplist", "__free_pages", "free_unref_page")
    assert result["ns_per_op"] == pytest.approx(pair)
    assert result["zone_lock"]["acquisitions"] == 0
    assert calls(result, "__free_pages") == 60


@pytest.mark.parametrize(("free", "holds"), [("__free_pages", 0), ("put_page", 0), ("__free_pages_ok", 60)])
def test_a_block_is_freed_by_the_function_that_was_asked_for(free: str, holds: int) -> None:
    result = run("page_alloc", free=free)
    assert result["zone_lock"]["acquisitions_free"] == holds
    assert calls(result, free) == 60


@pytest.mark.parametrize(("era", "holds"), [("v4.19", 60), ("v5.0", 0)])
def test_fragments_bypass_the_per_cpu_lists_until_v5_0(era: str, holds: int) -> None:
    assert run("page_alloc", era=era, free="page_frag_free")["zone_lock"]["acquisitions_free"] == holds


def test_a_burst_is_allocated_before_it_is_freed() -> None:
    result = run("page_alloc", era="v4.19", burst=600, count=1200, warmup=1200, pcp_batch=63, pcp_high=378)
    zone = result["zone_lock"]
    # 600 pages down to 0 and back: the list refills and drains a batch at a time
    assert zone["acquisitions_free"] == pytest.approx(2 * (600 - 378) / 63, abs=4)
    assert result["pages"]["allocated"] == pytest.approx(1200, abs=600)


def test_bulk_allocation_is_cheaper_than_one_by_one() -> None:
    assert run("page_alloc", bulk=16, count=320)["ns_per_op"] < run("page_alloc", count=320)["ns_per_op"]
    assert calls(run("page_alloc", bulk=16, count=320), "__alloc_pages_bulk") == pytest.approx(20, abs=2)


def test_cpus_that_free_past_the_lists_meet_at_the_zone_lock() -> None:
    alone = run("page_alloc", era="v4.19", free="page_frag_free", fragmented=True)
    together = run("page_alloc", era="v4.19", free="page_frag_free", fragmented=True, cpus=3)
    assert alone["zone_lock"]["contended"] == 0
    assert together["zone_lock"]["contended"] > 100
    assert together["zone_lock"]["wait_ns"] == pytest.approx(
        sum(n["self_ns"] for n in together["callgraph"] if n["path"][-1] == "queued_spin_lock_slowpath"), rel=0.01
    )
    assert together["ns_per_op"] > 2 * alone["ns_per_op"]


@pytest.mark.parametrize("path", ["direct", "ring", "release", "bulk"])
def test_pool_pages_return_the_way_that_was_asked_for(path: str) -> None:
    (pool,) = run("page_pool", path=path, era="v6.1")["page_pool"]
    returned = {name: pool[name] for name in ("recycle-cached", "recycle-ring", "recycle-released-refcnt")}
    expected = {"direct": "recycle-cached", "release": "recycle-released-refcnt"}.get(path, "recycle-ring")
    assert returned.pop(expected) == pytest.approx(60, abs=16)
    assert set(returned.values()) == {0}


def test_the_fast_path_of_a_pool_costs_its_two_functions() -> None:
    pair = price("page_pool_alloc_pages", "page_pool_put_defragged_page", "__page_pool_put_page")
    assert run("page_pool", era="v6.1")["ns_per_op"] == pytest.approx(pair)


@pytest.mark.parametrize("returning", [1, 3])
def test_pages_handed_to_other_cpus_come_back_by_the_ring(returning: int) -> None:
    result = run("page_pool_cross_cpu", returning=returning, queue_size=8, warmup=100)
    (pool,) = result["page_pool"]
    assert result["cpus"] == returning + 1
    assert pool["recycle-ring"] == result["operations"] == 60 * returning
    assert pool["recycle-cached"] == 0
    assert abs(pool["alloc-fast"] + pool["alloc-refill"] + pool["alloc-slow"] - 60 * returning) <= 8 * returning
    assert result["idle_ns"] > 0


def test_a_loop_stops_waiting_when_another_cpu_acts() -> None:
    settings = {name: key.default for name, key in keys_of("page_pool_cross_cpu").items()}
    loop = Loop("page_pool_cross_cpu", settings | SMALL | {"queue_size": 1})
    assert loop.run(lambda: False) is not None
    k = loop.machine.k
    queue = k.loop[1]
    assert 0 <= queue.tail - queue.head <= 1


def test_a_lock_of_ones_own_is_never_waited_for() -> None:
    own = run("spinlock", cpus=4, hold_ns=50, shared=False)
    shared = run("spinlock", cpus=4, hold_ns=50)
    assert own["locks"]["contended"] == 0
    assert own["ns_per_op"] == pytest.approx(COST["_raw_spin_lock"] + 50)
    assert shared["locks"]["contended"] > 200


def test_private_work_keeps_cpus_apart() -> None:
    busy = run("spinlock", cpus=4, hold_ns=10)
    thoughtful = run("spinlock", cpus=4, hold_ns=10, think_ns=100_000)
    assert thoughtful["locks"]["contended"] < busy["locks"]["contended"] / 4
    assert thoughtful["ns_per_op"] == pytest.approx(100_000, rel=0.2)


def test_the_same_seed_gives_the_same_result_and_another_one_does_not() -> None:
    one, again, other = (run("spinlock", cpus=2, think_ns=100, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one["virtual_ns"] != other["virtual_ns"]


def test_structs_in_bulk_are_cheaper() -> None:
    assert run("skb_struct")["ns_per_op"] == pytest.approx(price("kmem_cache_alloc", "kmem_cache_free"))
    assert run("skb_struct", bulk=16)["ns_per_op"] == pytest.approx(2 * COST["kmem_cache_bulk_object"], rel=0.02)


@pytest.mark.parametrize(("pages", "freed"), [("page_alloc", "__free_pages_ok"), ("reused", "page_frag_free")])
def test_an_skb_frees_its_page_as_its_era_does(pages: str, freed: str) -> None:
    result = run("skb", era="v4.19", pages=pages)
    assert calls(result, freed) == 60
    assert calls(result, "__alloc_pages_nodemask") == (60 if pages == "page_alloc" else 0)


def test_an_skb_on_a_pool_page_gives_it_back() -> None:
    (pool,) = run("skb", era="v6.1", pages="page_pool", build="napi_build_skb")["page_pool"]
    assert pool["recycle-ring"] == 60


def test_an_indirect_call_costs_more_than_a_direct_one() -> None:
    assert run("call")["ns_per_op"] == 1.0
    assert run("call", indirect=True)["ns_per_op"] == COST["empty_function_by_pointer"]


def test_too_little_memory_is_said_and_not_waited_for() -> None:
    with pytest.raises(KernelBug, match="CPU 0 found no memory for its loop"):
        run("page_alloc", burst=20_000)


def test_bulk_and_order_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="order has to be 0"):
        run("page_alloc", bulk=8, order=1)


@pytest.mark.parametrize("kind", ["page_alloc", "skb"])
@pytest.mark.parametrize("burst", [64, 90, 200])
def test_what_is_measured_allocates_as_much_as_it_frees(kind: str, burst: int) -> None:
    result = run(kind, count=100, warmup=10, burst=burst)
    assert result["operations"] == burst * -(-100 // burst)
    assert result["pages"]["allocated"] == result["pages"]["freed"] == result["operations"]


def test_cpus_that_are_not_in_step_measure_whole_bursts_nearly() -> None:
    result = run("page_alloc", cpus=3, era="v4.19", free="page_frag_free", burst=600, count=700, think_ns=100)
    assert result["operations"] == 3 * 1200
    assert result["pages"]["allocated"] == pytest.approx(result["pages"]["freed"], rel=0.05)
