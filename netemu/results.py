"""What a replay found: the documented keys, read off the machine's state after the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .checks.conservation import take_stock
from .engine.faults import call_path
from .engine.path import MAX_NODES, costs_by_cpu
from .errors import EmulatorError
from .machine import Machine
from .netdevice import NetDevice
from .profiles.eras import function_names


@dataclass
class ReplayResult:
    """What a replay found.  :meth:`to_dict` has the documented JSON keys.

    ``interrupted``: progress asked to stop.  ``error``: the trace was cut or broken; what came before it is in.
    """

    data: dict[str, Any]
    interrupted: bool = False
    error: str | None = None
    machine: Machine | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return self.data

    def __getitem__(self, key: str) -> Any:
        return self.data[key]


def in_use(places: Mapping[str, int]) -> int:
    """Pages that the page allocator has handed out."""
    return sum(n for place, n in places.items() if place not in ("buddy", "pcp"))


_POOL_COUNTERS = (
    "alloc_fast",
    "alloc_slow",
    "alloc_slow_high_order",
    "alloc_empty",
    "alloc_refill",
    "alloc_waive",
    "recycle_cached",
    "recycle_cache_full",
    "recycle_ring",
    "recycle_ring_full",
    "recycle_released_refcnt",
)


def _queues(k: Any, nic: NetDevice, table: str) -> list[Any]:
    """Rows of the device's receive queues in a table."""
    return [getattr(k, table)[nic.nic.rxq(i)] for i in range(nic.nic.queues)]


_DROPS: dict[str, Callable[[Any, NetDevice], int]] = {
    "rx_out_of_buffer": lambda k, nic: sum(q.out_of_buffer for q in _queues(k, nic, "rxq")),
    "oversize": lambda k, nic: sum(q.oversize for q in _queues(k, nic, "rxq")),
    "no_skb": lambda k, nic: k.run[0].dropped_no_skb,
    "qdisc": lambda k, nic: k.run[0].dropped_by_qdisc,
    "consumer": lambda k, nic: k.run[0].dropped_by_consumer,
    "xdp_drop": lambda k, nic: nic.xdp_verdicts()["drop"],
    "xdp_aborted": lambda k, nic: nic.xdp_verdicts()["aborted"],
    "xdp_tx_full": lambda k, nic: sum(q.tx_full for q in _queues(k, nic, "xdp_rxq")),
    "xdp_redirect_err": lambda k, nic: sum(q.redirect_err for q in _queues(k, nic, "xdp_rxq")),
    "xdp_xmit": lambda k, nic: k.xdp[0].xmit_drops,
    "xdp_cpumap": lambda k, nic: k.xdp[0].cpumap_drops,
}
DROP_REASONS = tuple(_DROPS)
"""Why packets are dropped; a report has those reasons for which some were."""


def report(machine: Machine, nic: NetDevice, *, initial_in_use: int) -> dict[str, Any]:
    """The documented keys that follow from machine state; ``initial_in_use``: pages in use before the first packet."""
    k = machine.k
    run, w = k.run[0], k.wire[nic.number]
    zones = k.arrays["zone"]
    books = take_stock(k, nic.pages_held())
    if books.errors:
        raise EmulatorError(f"netemu itself is wrong: {books.errors[0]}")
    verdicts = nic.xdp_verdicts()
    kept_from_stack = sum(n for verdict, n in verdicts.items() if verdict != "pass")
    received = sum(q.packets for q in _queues(k, nic, "rxq")) + kept_from_stack
    dropped = {reason: count(k, nic) for reason, count in _DROPS.items()}
    virtual_ps = int(k.arrays["cpu"]["clock"].max())
    graph, busy_ps = callgraph(machine)
    return {
        "packets": {
            "offered": w.packets,
            "received": received,
            "forwarded": run.forwarded,
            "delivered": run.delivered,
            "dropped": {reason: n for reason, n in dropped.items() if n},
        },
        "bytes": w.bytes,
        "virtual_ns": virtual_ps / 1000,
        "busy_ns": busy_ps / 1000,
        "idle_ns": (machine.cpus * virtual_ps - busy_ps) / 1000,  # a CPU that has nothing more to do is idle to the end
        "pps": received * 10**12 / virtual_ps if virtual_ps else 0.0,
        "xdp": verdicts,
        "xdp_faults": [fault for program in nic.programs if hasattr(program, "faults") for fault in program.faults()],
        "page_pool": [pool_report(k, number) for number in range(k.pools[0].count)],
        "ethtool": nic.ethtool(),
        "zone_lock": zone_lock_report(machine),
        "recycling": recycling(k, nic),
        "callgraph": graph,
        "leaks": [],
        "pages": {
            "allocated": int(zones["allocated"].sum()),
            "freed": int(zones["freed"].sum()),
            "in_use": in_use(books.places),
            "initial_in_use": initial_in_use,
            "places": books.places,
        },
    }


def recycling(k: Any, nic: NetDevice) -> dict[str, Any]:
    """Receive pages that were wanted since the device was opened, and how many of them the page allocator gave.

    ``percent`` of them were recycled; None where no page was wanted one by one (a driver without a pool).
    """
    pools = k.arrays["pool"][: k.pools[0].count]
    reused = int(k.arrays["shelf"]["reused"].sum())
    reused += nic.ethtool().get("rx_cache_reuse", int(k.recycle[0].reused))
    slow = int(pools["alloc_slow"].sum() + pools["alloc_slow_high_order"].sum())
    wanted = reused + slow + int(pools["alloc_fast"].sum() + pools["alloc_refill"].sum())
    fresh = int(pools["hold_cnt"].sum()) if k.era[0].pool_accounting != 0 else slow
    percent = max(100 * (1 - fresh / wanted), 0.0) if wanted else None
    return {"pages_wanted": wanted, "pages_from_allocator": fresh, "percent": percent}


def pool_report(k: Any, number: int) -> dict[str, int]:
    p = k.pool[number]
    inflight = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
    report = {"id": number + 1, "inflight": inflight - (1 << 32) if inflight >= 1 << 31 else inflight}
    report |= {name.replace("_", "-"): getattr(p, name) for name in _POOL_COUNTERS}
    return report


def zone_lock_report(machine: Machine) -> dict[str, Any]:
    """Who took zone->lock of all nodes, for how many pages and how long."""
    k = machine.k
    zones = k.arrays["zone"]
    locks = k.arrays["lock"][: machine.nodes]
    holds = int(zones["acquisitions"].sum())
    moved = int(zones["pages_alloc"].sum() + zones["pages_free"].sum())
    return {
        "acquisitions": holds,
        "acquisitions_alloc": int(zones["acquisitions_alloc"].sum()),
        "acquisitions_free": int(zones["acquisitions_free"].sum()),
        "pages_alloc": int(zones["pages_alloc"].sum()),
        "pages_freed": int(zones["pages_free"].sum()),
        "pages_per_hold": moved / holds if holds else 0.0,
        "contended": int(locks["contended"].sum()),
        "wait_ns": int(locks["wait"].sum()) / 1000,
        "hold_ns": int(locks["hold"].sum()) / 1000,
    }


def callgraph(machine: Machine) -> tuple[list[dict[str, Any]], int]:
    """Every call path with calls, self and inclusive time, parents before children; and all busy time (ps).

    ``cpu_calls`` and ``cpu_self_ns`` say which CPU's they were.
    """
    k = machine.k
    if k.tree[0].full:
        raise EmulatorError(f"netemu itself is wrong: a run has more than {MAX_NODES} call paths")
    nodes = k.tree[0].nodes + 1
    functions = k.arrays["node"]["function"][:nodes]
    parents = k.arrays["node"]["parent"][:nodes]
    rows = costs_by_cpu(k)[:, :nodes]
    calls = rows["calls"].sum(axis=0)
    by_cpu = rows["calls"] * k.arrays["cost"][functions] + rows["extra"]
    own = by_cpu.sum(axis=0)
    total = own.copy()
    for node in range(nodes - 1, 0, -1):  # children have higher numbers than their parents
        total[parents[node]] += total[node]
    busy = int(total[0])
    renamed = function_names(machine.era)
    graph = []
    for node in _depth_first(parents):
        if total[node] or calls[node]:
            path = [renamed.get(name, name) for name in call_path(k, node)]
            graph.append(
                {
                    "path": path,
                    "calls": int(calls[node]),
                    "self_ns": int(own[node]) / 1000,
                    "total_ns": int(total[node]) / 1000,
                    "percent": 100 * int(total[node]) / busy if busy else 0.0,
                    "cpu_calls": rows["calls"][:, node].tolist(),
                    "cpu_self_ns": [ps / 1000 for ps in by_cpu[:, node].tolist()],
                }
            )
    return graph, busy


def _depth_first(parents: Any) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for node in range(1, len(parents)):
        children.setdefault(int(parents[node]), []).append(node)
    stack = list(reversed(children.get(0, [])))
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children.get(node, [])))
