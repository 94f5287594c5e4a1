"""Replays of the bundled captures, and what tests ask of every result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import netemu
from netemu import traces
from netemu.engine.path import costs_by_cpu
from netemu.pcap import packets

IMIX = traces.path("router-imix.pcap")
FLOOD = traces.path("flood-64.pcap")
DNS = traces.path("dns.pcap")
HTTP = traces.path("http.pcap")
JUMBO = traces.path("jumbo.pcap")
MIXED = traces.path("mixed.pcapng")


@cache
def frames(name: str, count: int | None = None) -> list[bytes]:
    """The first ``count`` frames of a bundled capture."""
    return [data for _ts, data, _wire in packets(traces.path(name))][:count]


def run(trace: Any, **options: Any) -> dict[str, Any]:
    """The report of a replay that has to end without a complaint."""
    result = netemu.replay(trace, **options)
    assert result.error is None
    assert not result.interrupted
    assert_books_balance(result)
    return result.to_dict()


def assert_books_balance(result: netemu.ReplayResult) -> None:
    """Conservation: packets, pages and time, each to the last unit."""
    data = result.to_dict()
    counted = data["packets"]
    dropped = counted["dropped"]
    assert data["leaks"] == []
    before_the_stack = sum(dropped.get(reason, 0) for reason in ("rx_out_of_buffer", "oversize", "no_skb"))
    assert counted["offered"] == counted["received"] + before_the_stack
    in_the_stack = sum(dropped.get(reason, 0) for reason in ("qdisc", "consumer"))
    assert counted["received"] == counted["forwarded"] + counted["delivered"] + in_the_stack
    pages = data["pages"]
    assert pages["allocated"] - pages["freed"] == pages["in_use"]
    assert pages["places"]["leaked"] == 0
    assert sum(pages["places"].values()) == data["options"]["nodes"] * data["options"]["memory_mb"] << 8
    busy = sum(round(entry["self_ns"] * 1000) for entry in data["callgraph"])
    assert busy == round(data["busy_ns"] * 1000)
    assert result.machine is not None
    for cpu, spent in enumerate(busy_time(result.machine)):
        row = result.machine.k.cpu[cpu]
        assert spent + row.idle == row.clock


def busy_time(machine: netemu.Machine) -> list[int]:
    """What the call paths of each CPU have cost (ps)."""
    k = machine.k
    rows = costs_by_cpu(k)
    fixed = rows["calls"] * k.arrays["cost"][k.arrays["node"]["function"]]
    return [int(cost) for cost in (fixed + rows["extra"]).sum(axis=1)]


def functions(data: dict[str, Any]) -> set[str]:
    """Names of all functions in the call graph."""
    return {name for entry in data["callgraph"] for name in entry["path"]}


def has_chain(data: dict[str, Any], chain: Sequence[str]) -> bool:
    """Is there a call path that goes through ``chain``, one function directly below the other?"""
    wanted = list(chain)
    return any(
        entry["path"][i : i + len(wanted)] == wanted
        for entry in data["callgraph"]
        for i in range(len(entry["path"]) - len(wanted) + 1)
    )


def pool_of(data: dict[str, Any]) -> dict[str, int]:
    """The only page_pool of the run."""
    (pool,) = data["page_pool"]
    return dict(pool)
