"""Nanoseconds per packet that an XDP program in Python adds to an empty one: parse to the UDP port, count it, drop.

Native, guarded Python and numpy batches.  Programs take turns; each is measured in CPU time between two readings of the
trace, without set-up, and the lower quartile of those counts: a machine that does something else at the same time only
ever adds.  ``python benchmarks/xdp.py [ROUNDS [PROGRAM...]]``"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np

import netemu
from netemu import XDP_DROP, XDP_PASS, HashMap, xdp
from netemu.pcap import Batch, open_capture

TRACE = "traces/flood-64.pcap"
PACKETS = 60_000
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
    "batch, empty": xdp(batch=True)(empty),
    "batch": xdp(batch=True)(count_all),
    "batch, fixed": xdp(batch=True)(count_plain),
}


class Clocked:
    """The trace, and the nanoseconds per packet that were spent between two readings of it."""

    size: int | None = None

    def __init__(self) -> None:
        self._capture = open_capture(TRACE)
        self._since = self._count = 0
        self.spent: list[float] = []

    def read_into(self, batch: Batch) -> int:
        now = time.thread_time_ns()
        if self._count:
            self.spent.append((now - self._since) / self._count)
        self._count = self._capture.read_into(batch)
        self._since = time.thread_time_ns()
        return self._count

    @property
    def offset(self) -> int:
        return self._capture.offset

    def rewind(self) -> None:
        self._count = 0
        self._capture.rewind()

    def close(self) -> None:
        self._capture.close()


def measured(program: Any, packets: int) -> list[float]:
    source = Clocked()
    result = netemu.replay(source, xdp=program, packets=packets, memory_mb=16)
    assert result["xdp"]["drop"] == packets
    return source.spent


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    chosen = sys.argv[2:] or list(PROGRAMS)
    spent = defaultdict(list)
    for name in ("empty", *chosen):
        measured(PROGRAMS[name], 3000)  # compiles
    for _ in range(rounds):
        for name in dict.fromkeys(["empty", *chosen]):
            spent[name] += measured(PROGRAMS[name], PACKETS)
    print(f"{'program':16}{'ns a packet':>12}{'above empty':>12}")
    usual = {name: statistics.quantiles(values, n=4)[0] for name, values in spent.items()}
    for name, value in usual.items():
        print(f"{name:16}{value:12.1f}{value - usual['empty']:12.1f}")


if __name__ == "__main__":
    main()
