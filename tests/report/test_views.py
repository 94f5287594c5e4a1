"""Counters under the names of ethtool -S and of the netdev netlink family."""

from __future__ import annotations

import re

from netemu.report.views import ethtool, netlink, pool_counters
from tests.replay.runs import DNS, IMIX, run


def test_ethtool_prints_the_drivers_counters_and_its_pools() -> None:
    data = run(IMIX, era="v6.6", cpus=2)
    lines = "".join(ethtool(data)).splitlines()
    assert lines[0] == "NIC statistics:"
    read = {}
    for line in lines[1:]:
        found = re.fullmatch(r"     (\w+): (\d+)", line)
        assert found is not None, line
        read[found[1]] = int(found[2])
    assert read.items() >= data["ethtool"].items()
    assert read["rx_pp_alloc_fast"] == sum(pool["alloc-fast"] for pool in data["page_pool"])
    assert read["rx1_pp_recycle_cached"] == data["page_pool"][1]["recycle-cached"]
    assert "rx_pp_alloc_slow_high_order" in read
    assert "rx_pp_recycle_released_ref" in read


def test_pools_count_nothing_for_ethtool_before_v5_18() -> None:
    assert pool_counters(run(IMIX, era="v5.10")) == {}


def test_netsec_has_no_statistics_but_its_pool_is_in_netlink() -> None:
    data = run(DNS, driver="netsec", era="v6.1")
    assert list(ethtool(data)) == ["no stats available\n"]
    dumps = netlink(data)
    (pool,) = data["page_pool"]
    assert dumps["page-pool-get"] == [
        {"id": 1, "ifindex": 2, "napi-id": 513, "inflight": pool["inflight"], "inflight-mem": pool["inflight"] * 4096}
    ]
    (counted,) = dumps["page-pool-stats-get"]
    assert list(counted) == [
        "info",
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
    ]
    assert counted["recycle-ring"] == pool["recycle-ring"]
