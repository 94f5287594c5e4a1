"""Results as ``netemu replay --json`` prints them: one page after another through the zone lock, and none at all."""

from __future__ import annotations

from typing import Any

TX = ["net_rx_action", "mlx5e_napi_poll", "mlx5e_poll_tx_cq"]
FREE = [*TX, "napi_consume_skb", "skb_release_data", "skb_free_head", "skb_free_frag", "page_frag_free"]


POOL_COUNTERS = (
    "alloc-fast",
    "alloc-slow",
    "alloc-slow-high-order",
    "alloc-empty",
    "alloc-refill",
    "alloc-waive",
    "recycle-cached",
    "recycle-cache-full",
    "recycle-ring",
    "recycle-ring-full",
    "recycle-released-refcnt",
    "inflight",
)


def call(path: list[str], calls: int, self_ns: int, total_ns: int, busy_ns: int) -> dict[str, Any]:
    """One entry of ``callgraph``."""
    percent = 100 * total_ns / busy_ns if busy_ns else 0.0
    return {"path": path, "calls": calls, "self_ns": self_ns, "total_ns": total_ns, "percent": percent}


def pool(number: int, **counted: int) -> dict[str, int]:
    """One entry of ``page_pool``; counters not given are zero."""
    given = {name.replace("_", "-"): value for name, value in counted.items()}
    return {"id": number, "ifindex": 2, "napi-id": 512 + number} | dict.fromkeys(POOL_COUNTERS, 0) | given


def locked_frees() -> dict[str, Any]:
    """A v4.19 run: 1000 packets, each page freed through zone->lock alone."""
    busy = 400_000
    graph = [
        call(["net_rx_action"], 20, 4_000, busy, busy),
        call(["net_rx_action", "mlx5e_napi_poll"], 20, 6_000, 396_000, busy),
        call(["net_rx_action", "mlx5e_napi_poll", "mlx5e_poll_rx_cq"], 20, 199_700, 200_000, busy),
        call(["net_rx_action", "mlx5e_napi_poll", "mlx5e_poll_rx_cq", "get_cqe"], 1_000, 300, 300, busy),
        call(TX, 20, 50_000, 190_000, busy),
        call([*TX, "napi_consume_skb"], 1_000, 20_000, 140_000, busy),
        call([*TX, "napi_consume_skb", "skb_release_data"], 1_000, 10_000, 120_000, busy),
        call(FREE[:6], 1_000, 5_000, 110_000, busy),
        call(FREE[:7], 1_000, 5_000, 105_000, busy),
        call(FREE, 1_000, 8_000, 100_000, busy),
        call([*FREE, "__free_pages_ok"], 1_000, 12_000, 92_000, busy),
        call([*FREE, "__free_pages_ok", "free_one_page"], 1_000, 72_000, 80_000, busy),
        call([*FREE, "__free_pages_ok", "free_one_page", "queued_spin_lock_slowpath"], 40, 8_000, 8_000, busy),
    ]
    return {
        "trace": "traces/router-imix.pcap",
        "packets": {
            "offered": 1_010,
            "received": 1_000,
            "forwarded": 998,
            "delivered": 0,
            "dropped": {"rx_ring_full": 10, "tx_full": 2},
        },
        "bytes": 365_000,
        "virtual_ns": 500_000,
        "pps": 2_000_000.0,
        "cpus": 1,
        "era": "v4.19",
        "driver": "mlx5",
        "platform": "xeon-e5-1650v4",
        "seed": 1,
        "options": {"rq": "legacy"},
        "busy_ns": busy,
        "idle_ns": 100_000,
        "xdp": {"aborted": 0, "drop": 0, "pass": 0, "tx": 0, "redirect": 0},
        "page_pool": [pool(1, alloc_fast=900, alloc_slow=100, recycle_released_refcnt=1_000)],
        "ethtool": {"rx_packets": 1_000, "rx_cache_busy": 1_000, "rx_cache_reuse": 0},
        "zone_lock": {
            "acquisitions": 1_016,
            "acquisitions_free": 1_000,
            "acquisitions_alloc": 16,
            "pages_freed": 1_000,
            "pages_per_hold": 1.95,
            "contended": 40,
            "wait_ns": 8_000,
            "hold_ns": 61_000,
        },
        "recycling": {"pages_wanted": 1_000, "pages_from_allocator": 1_000, "percent": 0.0},
        "callgraph": graph,
        "leaks": [],
        "pages": {
            "allocated": 1_000,
            "freed": 1_000,
            "in_use": 512,
            "initial_in_use": 512,
            "places": {"buddy": 32_000, "pcp": 256, "pool_cache": 0, "pool_ring": 0, "driver": 512, "skb": 0},
        },
        "wall_s": {"compile": 0.31, "read": 0.0001, "emulate": 0.0004},
    }


def nothing_received() -> dict[str, Any]:
    """A run of a capture without packets."""
    return locked_frees() | {
        "packets": {"offered": 0, "received": 0, "forwarded": 0, "delivered": 0, "dropped": {}},
        "bytes": 0,
        "virtual_ns": 0,
        "pps": 0.0,
        "busy_ns": 0,
        "idle_ns": 0,
        "page_pool": [],
        "ethtool": {},
        "zone_lock": dict.fromkeys(locked_frees()["zone_lock"], 0),
        "callgraph": [],
        "pages": {"allocated": 0, "freed": 0, "in_use": 0, "initial_in_use": 0, "places": {}},
        "wall_s": {"compile": 0.0, "read": 0.0, "emulate": 0.0},
    }
