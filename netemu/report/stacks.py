"""Call stacks in the formats of profilers: folded, ``perf script`` text, and speedscope.  Weights are virtual ns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Result = Mapping[str, Any]

PROCESS = "netemu"
"""Name of the process that all stacks belong to, the first word of a folded line."""
EVENT = "virtual-ns"
SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def stacks(result: Result, cpu: int | None = None) -> Iterator[tuple[list[str], int]]:
    """Each call path, root first, with the ns that its last function itself took, on ``cpu`` or on all."""
    for entry in result["callgraph"]:
        own = entry["self_ns"] if cpu is None else entry["cpu_self_ns"][cpu]
        weight = round(own)
        if weight > 0:
            yield entry["path"], weight


def folded(result: Result) -> Iterator[str]:
    """Lines ``netemu;root;...;leaf NS``, as flame graph tools take them."""
    for path, weight in stacks(result):
        yield f"{';'.join((PROCESS, *path))} {weight}\n"


def perf_script(result: Result) -> Iterator[str]:
    """Text as ``perf script`` prints it: a sample per CPU and call path, its period the virtual ns.

    Times are sums: each sample is stamped with the busy time of its CPU up to and with it.
    """
    addresses = _addresses(result)
    for cpu in range(result["cpus"]):
        spent = 0
        for path, weight in stacks(result, cpu):
            spent += weight
            seconds, rest = divmod(spent, 10**9)
            yield f"{PROCESS} {cpu + 1}/{cpu + 1} [{cpu:03d}] {seconds:5d}.{rest:09d}: {weight:10d} {EVENT}:\n"
            for name in reversed(path):
                yield f"\t{addresses[name]:16x} {name}+0x0 ([netemu])\n"
            yield "\n"


def _addresses(result: Result) -> dict[str, int]:
    """An address for each function, in the part of memory where kernel text is."""
    names = sorted({name for entry in result["callgraph"] for name in entry["path"]})
    return {name: 0xFFFFFFFF81000000 + 0x100 * number for number, name in enumerate(names)}


def speedscope(result: Result) -> str:
    """JSON for speedscope: a sampled profile for each CPU, a sample for each call path."""
    numbers: dict[str, int] = {}
    profiles = []
    for cpu in range(result["cpus"]):
        samples: list[list[int]] = []
        weights: list[int] = []
        for path, weight in stacks(result, cpu):
            samples.append([numbers.setdefault(name, len(numbers)) for name in path])
            weights.append(weight)
        profiles.append(
            {
                "type": "sampled",
                "name": f"CPU {cpu}",
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        )
    document = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": f"{result['driver']}, kernel {result['era']}",
        "exporter": "netemu",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": profiles,
    }
    return json.dumps(document)


__all__ = ["folded", "perf_script", "speedscope", "stacks"]
