"""Figures are read off a report by hand-made numbers, so that each can be checked by eye."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.experiments.metrics import NAMED, Figure, NoValue, WrongMetric, read_metric

GRAPH = [
    (["net_rx_action"], 1, 10, 100),
    (["net_rx_action", "napi_consume_skb"], 4, 8, 40),
    (["net_rx_action", "napi_consume_skb", "page_frag_free"], 4, 4, 32),
    (["net_rx_action", "napi_consume_skb", "page_frag_free", "__free_pages_ok"], 4, 16, 28),
    (
        ["net_rx_action", "napi_consume_skb", "page_frag_free", "__free_pages_ok", "queued_spin_lock_slowpath"],
        2,
        12,
        12,
    ),
    (["net_rx_action", "kfree_skb"], 1, 50, 50),
    (["recvmsg"], 2, 60, 100),
    (["recvmsg", "page_frag_free"], 1, 40, 40),
]
TRAFFIC: dict[str, Any] = {
    "callgraph": [{"path": p, "calls": c, "self_ns": s, "total_ns": t} for p, c, s, t in GRAPH],
    "packets": {"offered": 10, "received": 8, "dropped": {"qdisc": 1}},
    "bytes": 1000,
    "received_bytes": 900,
    "virtual_ns": 400.0,
    "busy_ns": 200.0,
    "idle_ns": 600.0,
    "pps": 2e7,
    "cpus": 2,
    "platform": "i7-4790k",
    "page_pool": [
        {
            "alloc-fast": 6,
            "alloc-refill": 2,
            "alloc-slow": 1,
            "alloc-slow-high-order": 1,
            "recycle-cached": 4,
            "recycle-ring": 1,
        },
        {
            "alloc-fast": 0,
            "alloc-refill": 0,
            "alloc-slow": 0,
            "alloc-slow-high-order": 0,
            "recycle-cached": 0,
            "recycle-ring": 0,
        },
    ],
    "zone_lock": {"acquisitions": 6, "acquisitions_alloc": 2, "pages_per_hold": 3.5},
    "pages": {"allocated": 110, "initial_in_use": 100, "freed": 2},
    "recycling": {"percent": None},
    "ethtool": {"rx_cache_reuse": 3, "rx_cache_empty": 1, "rx_cache_busy": 2},
}
LOOP: dict[str, Any] = {
    "callgraph": TRAFFIC["callgraph"],
    "operations": 20,
    "virtual_ns": 500.0,
    "busy_ns": 200.0,
    "idle_ns": 800.0,
    "ns_per_op": 50.0,
    "ops_per_second": 4e7,
    "cpus": 2,
    "platform": "xeon-e5-1650v4",
    "page_pool": [],
    "zone_lock": {"acquisitions": 0, "acquisitions_alloc": 0, "pages_per_hold": 0.0},
    "pages": {"allocated": 0, "freed": 0},
}


def value(metric: Any, result: dict[str, Any] = TRAFFIC) -> float:
    return read_metric(metric).reading.value(result)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("pps", 2e7),
        ("pps_per_cpu", 1e7),
        ("gbps", 8 * 900 / 400),
        ("ns_per_packet", 200 / 8),
        ("cycles_per_packet", 200 / 8 * 4),
        ("drops", 1),
        ("drop_percent", 10),
        ("busy_percent", 25),
        ("lock_wait_percent", 6),
        ("holds_per_page", 6 / 12),
        ("pages_per_hold", 3.5),
        ("pcp_hit_percent", 80),
        ("pool_hit_percent", 80),
        ("cache_hit_percent", 50),
        ({"share": "napi_consume_skb"}, 20),
        ({"share": "napi_consume_skb", "self": True}, 4),
        ({"share": "napi_consume_skb", "of": "time"}, 5),
        ({"share": "__free_pages_ok", "of": "napi_consume_skb"}, 70),
        ({"share": "page_frag_free"}, 36),
        ({"share": "page_frag_free", "below": "napi_consume_skb"}, 16),
        ({"share": ["page_frag_free", "__free_pages_ok"]}, 36),
        ({"share": ["page_frag_free", "__free_pages_ok"], "self": True}, 30),
        ({"ns_of": "kfree_skb"}, 50 / 8),
        ({"ns_of": "page_frag_free", "self": True, "per": "call"}, 44 / 5),
        ({"calls_of": "page_frag_free"}, 5 / 8),
        ({"share": "free_one_page"}, 0),
        ("zone_lock.acquisitions", 6),
        ("page_pool.0.alloc-fast", 6),
        ("page_pool.*.alloc-fast", 6),
        ("packets.dropped.qdisc", 1),
        ("packets.dropped.oversize", 0),
        ("packets.dropped.*", 1),
        ({"key": "virtual_ns"}, 400),
        ({"figure": "pps"}, 2e7),
    ],
)
def test_a_figure_of_traffic(metric: Any, expected: float) -> None:
    assert value(metric) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("ns_per_op", 50),
        ("cycles_per_op", 180),
        ("ops_per_second", 4e7),
        ("ops_per_second_per_cpu", 2e7),
        ({"ns_of": "kfree_skb"}, 2.5),
        ("operations", 20),
    ],
)
def test_a_figure_of_a_loop(metric: Any, expected: float) -> None:
    assert value(metric, LOOP) == pytest.approx(expected)


def test_a_function_is_found_by_every_name_that_it_has_had() -> None:
    old = {**LOOP, "callgraph": [{"path": ["__alloc_pages_nodemask"], "calls": 1, "self_ns": 10, "total_ns": 20}]}
    assert value({"share": "__alloc_pages"}, old) == value({"share": "__alloc_pages_nodemask"}, old) == 10


@pytest.mark.parametrize(
    ("metric", "result", "said"),
    [
        ("pcp_hit_percent", LOOP, "no pages allocated"),
        ("pool_hit_percent", LOOP, "no allocations from a page_pool"),
        ("holds_per_page", LOOP, "no pages allocated or freed"),
        ("pages_per_hold", LOOP, "zone->lock was never taken"),
        ("cache_hit_percent", {"ethtool": {}}, "no receive page cache"),
        ("ns_per_packet", {**TRAFFIC, "packets": {"received": 0}}, "no packet was received"),
        ("page_pool.7.alloc-fast", TRAFFIC, "2 entries, and 7 is none"),
        ("ethtool.rx_cache_ful", TRAFFIC, "has no rx_cache_ful there, but rx_cache_reuse"),
        ("recycling.percent", TRAFFIC, "is null in this report"),
    ],
)
def test_a_figure_that_is_not_there_says_why(metric: Any, result: dict[str, Any], said: str) -> None:
    with pytest.raises(NoValue, match=said):
        value(metric, result)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"share": "free_pages_ok"}, "did you mean .*__free_pages_ok"),
        ({"share": "kfree_skb", "below": "xyz"}, "xyz is no function"),
        ("zone_lock.holds", "has no holds there, but acquisitions"),
        ("page_pool.0", "not a number"),
        ("pps.x", "nothing below"),
    ],
)
def test_a_figure_that_no_run_has_is_a_mistake(metric: Any, said: str) -> None:
    with pytest.raises(WrongMetric, match=said):
        value(metric)


@pytest.mark.parametrize(("metric", "kind"), [("pps", "page_alloc"), ("ns_per_op", "traffic")])
def test_a_figure_of_another_kind_of_run_is_a_mistake(metric: str, kind: str) -> None:
    reading = read_metric(metric).reading
    assert isinstance(reading, Figure)
    with pytest.raises(WrongMetric, match=f"{metric} is a figure of .* have"):
        reading.check(kind)


def test_a_reason_for_which_nothing_is_ever_dropped_is_refused() -> None:
    with pytest.raises(ValueError, match=r"oversize, .*xdp_cpumap, or \* .* \(did you mean rx_out_of_buffer\?\)"):
        read_metric("packets.dropped.rx_out_of_bufer")


def test_every_named_figure_is_tried_above() -> None:
    assert NAMED.keys() == {
        *("pps", "pps_per_cpu", "gbps", "ns_per_packet", "cycles_per_packet", "drops", "drop_percent", "busy_percent"),
        *("lock_wait_percent", "holds_per_page", "pages_per_hold", "pcp_hit_percent", "pool_hit_percent"),
        *("cache_hit_percent", "ns_per_op", "cycles_per_op", "ops_per_second", "ops_per_second_per_cpu"),
    }
