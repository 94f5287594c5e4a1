"""Counters as the kernel's own tools print them: ``ethtool -S`` and the netdev netlink family's page-pool dumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Result = Mapping[str, Any]

IFINDEX = 2
"""Index of the emulated interface: 1 is the loopback device."""
_POOL_STATISTICS = {
    "alloc-fast": "alloc_fast",
    "alloc-slow": "alloc_slow",
    "alloc-slow-high-order": "alloc_slow_ho",
    "alloc-empty": "alloc_empty",
    "alloc-refill": "alloc_refill",
    "alloc-waive": "alloc_waive",
    "recycle-cached": "recycle_cached",
    "recycle-cache-full": "recycle_cache_full",
    "recycle-ring": "recycle_ring",
    "recycle-ring-full": "recycle_ring_full",
    "recycle-released-refcnt": "recycle_released_ref",
}
"""Netlink's names, and those of the ethtool helper for drivers (page_pool_ethtool_stats_get_strings)."""
_RENAMED_BY_MLX5 = {"alloc_slow_ho": "alloc_slow_high_order"}
PAGE_SIZE = 4096
FIRST_WITH_STATISTICS = (5, 18)
"""Release from which pools count what they do."""
WITHOUT_ETHTOOL = ("netsec",)
"""Drivers that have no ``ethtool -S``."""


def ethtool(result: Result) -> Iterator[str]:
    """The lines of ``ethtool -S``: the driver's counters, then those of its pools under the names of ethtool."""
    if result["driver"] in WITHOUT_ETHTOOL:
        yield "no stats available\n"
        return
    yield "NIC statistics:\n"
    for name, value in {**result["ethtool"], **pool_counters(result)}.items():
        yield f"     {name}: {value}\n"


def pool_counters(result: Result) -> dict[str, int]:
    """Sums over all pools (``rx_pp_*``), and for mlx5 each ring's too (``rx0_pp_*``); none before v5.18."""
    if tuple(int(number) for number in result["era"].lstrip("v").split(".")) < FIRST_WITH_STATISTICS:
        return {}
    names = dict(_POOL_STATISTICS)
    mlx5 = result["driver"] == "mlx5"
    if mlx5:
        names = {netlink: _RENAMED_BY_MLX5.get(name, name) for netlink, name in names.items()}
    pools = result["page_pool"]
    counters = {f"rx_pp_{name}": sum(pool[netlink] for pool in pools) for netlink, name in names.items()}
    if mlx5:
        for ring, pool in enumerate(pools):
            counters |= {f"rx{ring}_pp_{name}": pool[netlink] for netlink, name in names.items()}
    return counters


def page_pool_get(result: Result) -> list[dict[str, int]]:
    """What ``ynl --dump page-pool-get`` answers: identity and pages in flight of each pool."""
    return [
        {
            "id": pool["id"],
            "ifindex": IFINDEX,
            "napi-id": pool.get("napi-id", 512 + pool["id"]),
            "inflight": pool["inflight"],
            "inflight-mem": pool["inflight"] * PAGE_SIZE,
        }
        for pool in result["page_pool"]
    ]


def page_pool_stats_get(result: Result) -> list[dict[str, Any]]:
    """What ``ynl --dump page-pool-stats-get`` answers: the statistics of each pool."""
    return [
        {
            "info": {"id": pool["id"], "ifindex": IFINDEX},
            **{name: pool[name] for name in _POOL_STATISTICS},
        }
        for pool in result["page_pool"]
    ]


def netlink(result: Result) -> dict[str, Any]:
    """Both dumps."""
    return {"page-pool-get": page_pool_get(result), "page-pool-stats-get": page_pool_stats_get(result)}
