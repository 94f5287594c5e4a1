"""Nanoseconds per packet that an XDP program in Python adds to an empty one: parse to the UDP port, count it, drop.

Native, guarded Python and a numpy batch, interleaved, each as the least of some rounds in CPU time of this process.
``python benchmarks/xdp.py [PACKETS]``"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import netemu
from netemu import XDP_DROP, XDP_PASS, HashMap, xdp

ROUNDS = 7
TRACE = "traces/flood-64.pcap"
ports = HashMap(65536)


def empty(packet: Any) -> int:
    return XDP_DROP


def count(packet: Any) -> int:
    udp = packet.udp()
    if udp < 0:
        return XDP_PASS
    ports.add(packet.u16(udp + 2), 1)
    return XDP_DROP


def count_all(batch: Any) -> Any:
    udp = batch.udp()
    there = udp >= 0
    ports.add_all(batch.u16(udp + 2, 0)[there])
    return np.where(there, XDP_DROP, XDP_PASS)


def count_plain(batch: Any) -> int:
    """For traffic that is known to be IPv4 and UDP without options: at fixed offsets."""
    ports.add_all(batch.u16(36))
    return XDP_DROP


PROGRAMS: dict[str, Any] = {
    "empty": xdp(compiled=True)(empty),
    "native": xdp(compiled=True)(count),
    "guarded, empty": xdp(compiled=False)(empty),
    "guarded": xdp(compiled=False)(count),
    "batch": xdp(batch=True)(count_all),
    "batch, fixed": xdp(batch=True)(count_plain),
}


def nanoseconds(program: Any, packets: int) -> float:
    start = time.process_time()
    result = netemu.replay(TRACE, xdp=program, packets=packets, memory_mb=32)
    spent = time.process_time() - start
    assert result["xdp"]["drop"] == packets
    return spent / packets * 1e9


def main() -> None:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    least = dict.fromkeys(PROGRAMS, float("inf"))
    for program in PROGRAMS.values():
        nanoseconds(program, 3000)  # compiles
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            least[name] = min(least[name], nanoseconds(program, packets))
    print(f"{'program':16}{'ns a packet':>12}{'above empty':>12}")
    for name, spent in least.items():
        print(f"{name:16}{spent:12.1f}{spent - least['empty']:12.1f}")


if __name__ == "__main__":
    main()
