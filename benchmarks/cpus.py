"""Nanoseconds of emulation per packet on more and more emulated CPUs, a queue for each.

Workloads and CPU counts take turns, so that a machine that does something else at the same time slows all of them; the
time is the engine's own (``wall_s.emulate``), without reading the trace and setting the machine up.  A ratio is the
median of the rounds' ratios to one CPU.  ``python benchmarks/cpus.py [ROUNDS [CPUS...]]``"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from typing import Any

import netemu
from netemu import traces

PACKETS = 1_000_000
CPUS = (1, 2, 8, 64, 128)
IMIX, FLOOD = traces.path("router-imix.pcap"), traces.path("flood-64.pcap")
WORKLOADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "forward v4.19": (IMIX, {"era": "v4.19"}),
    "forward v4.19, nothing recycled": (IMIX, {"era": "v4.19", "recycle": 0}),
    "forward v6.1": (IMIX, {}),
    "forward v6.12": (IMIX, {"era": "v6.12"}),
    "forward v6.1, 64 bytes": (FLOOD, {}),
    "forward v6.1, as recorded": (IMIX, {"rate": "recorded"}),
    "local v6.1, held for 100 us": (IMIX, {"action": "local", "hold_us": 100.0}),
    "XDP redirect v6.1": (IMIX, {"xdp": "redirect"}),
    "forward v6.1, netsec": (IMIX, {"driver": "netsec"}),
}


def measured(workload: str, cpus: int, packets: int = PACKETS) -> float:
    trace, options = WORKLOADS[workload]
    result = netemu.replay(trace, cpus=cpus, packets=packets, **options)
    assert result["packets"]["offered"] == packets
    return 1e9 * float(result["wall_s"]["emulate"]) / packets


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    counts = [int(word) for word in sys.argv[2:]] or list(CPUS)
    for workload in WORKLOADS:
        measured(workload, counts[0], 3000)  # compiles
    spent = defaultdict(list)
    for _ in range(rounds):
        for workload in WORKLOADS:
            for cpus in counts:
                spent[workload, cpus].append(measured(workload, cpus))
    print(f"{'workload':34}{'CPUs':>5}{'best':>7}{'median':>8}{f'/ {counts[0]} CPUs':>10}")
    for (workload, cpus), values in spent.items():
        ratio = statistics.median(a / b for a, b in zip(values, spent[workload, counts[0]], strict=True))
        print(f"{workload:34}{cpus:5}{min(values):7.0f}{statistics.median(values):8.0f}{ratio:10.2f}")


if __name__ == "__main__":
    main()
