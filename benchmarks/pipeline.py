"""What a pipeline on trio costs above the loop around the engine: one trace through the loop alone, through a replay
and through a pipeline, with and without a capture of what is transmitted.

They take turns, so that a machine that does something else at the same time slows all of them.  Each is measured from
the first read of the trace to the end, with files closed; a replay makes its report in that time, too.  A ratio is the
speed in terms of the loop's.  ``python benchmarks/pipeline.py [ROUNDS [PACKETS]]``: a quarter of the packets with a
capture."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import trio

import netemu
from netemu import traces
from netemu.pcap import Batch, open_capture
from netemu.pipeline import Capture, Pipeline
from netemu.pipeline.arrivals import Rate
from netemu.pipeline.emulation import Emulation, State
from netemu.pipeline.feed import Feed
from netemu.pipeline.outlet import Outlet

TRACE = traces.path("router-imix.pcap")
IN_TRACE = 3600
MACHINE: dict[str, Any] = {"era": "v6.1", "memory_mb": 64}
Spent = tuple[float, float]


class Clocked:
    """The trace; seconds of wall and CPU time (of all threads) since it was first read."""

    size: int | None = None

    def __init__(self) -> None:
        self._capture = open_capture(TRACE)
        self._start: Spent | None = None

    def read_into(self, batch: Batch) -> int:
        self._start = self._start or (time.perf_counter(), time.process_time())
        return self._capture.read_into(batch)

    @property
    def offset(self) -> int:
        return self._capture.offset

    def rewind(self) -> None:
        self._capture.rewind()

    def close(self) -> None:
        self._capture.close()

    def spent(self) -> Spent:
        assert self._start is not None
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def the_loop(trace: Clocked, repeat: int, out: Path | None) -> int:
    """Nothing but :meth:`Emulation.advance`, again and again; packets transmitted."""
    machine = netemu.Machine(**MACHINE)
    nic = machine.netdev("mlx5")
    feed = Feed(machine.k, nic.number, trace, Rate.parse("max"), repeat=repeat)
    with ExitStack() as files:
        outlets = [] if out is None else [Outlet(nic.number, [files.enter_context(closing(Capture.create(out)))])]
        emulation = Emulation(machine, [feed], outlets)
        while emulation.advance() is not State.DONE:
            pass
    return int(machine.k.netdev[nic.number].tx_packets)


def a_replay(trace: Clocked, repeat: int, out: Path | None) -> int:
    """:func:`netemu.replay`."""
    forwarded: int = netemu.replay(trace, repeat=repeat, out=out, **MACHINE)["packets"]["forwarded"]
    return forwarded


def a_pipeline(trace: Clocked, repeat: int, out: Path | None) -> int:
    """:class:`Pipeline` under ``trio.run``."""
    machine = netemu.Machine(**MACHINE)
    nic = machine.netdev("mlx5")
    pipeline = Pipeline(machine).plug(nic, source=trace, sinks=[] if out is None else out, repeat=repeat)
    trio.run(pipeline.run)
    return pipeline.traffic(nic).transmitted


WAYS: dict[str, Callable[[Clocked, int, Path | None], int]] = {
    "loop": the_loop,
    "replay": a_replay,
    "pipeline": a_pipeline,
}


def measured(way: Callable[[Clocked, int, Path | None], int], repeat: int, out: Path | None) -> Spent:
    """Wall and CPU nanoseconds per packet."""
    trace = Clocked()
    transmitted = way(trace, repeat, out)
    wall, cpu = trace.spent()
    assert transmitted == repeat * IN_TRACE
    if out is not None:
        out.unlink()
    return wall / transmitted * 1e9, cpu / transmitted * 1e9


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    packets = int(sys.argv[2]) if len(sys.argv) > 2 else 1_800_000
    print(f"{'':22}{'ns a packet, wall':>28}{'ns a packet, CPU':>28}")
    print(f"{'':22}{'best':>9}{'median':>9}{'ratio':>10}{'best':>9}{'median':>9}{'ratio':>10}")
    with tempfile.TemporaryDirectory() as directory:
        for name, out, passes in (
            ("no capture", None, packets // IN_TRACE),
            ("capture", Path(directory) / "out.pcap", packets // 4 // IN_TRACE),
        ):
            spent = defaultdict(list)
            for way in WAYS.values():
                measured(way, 1, out)  # compiles
            for _ in range(rounds):
                for kind, way in WAYS.items():
                    spent[kind].append(measured(way, passes, out))
            for kind, values in spent.items():
                print(f"{kind + ', ' + name:22}", end="")
                for at in (0, 1):
                    mine, loop = [v[at] for v in values], [v[at] for v in spent["loop"]]
                    best, median = min(mine), statistics.median(mine)
                    print(
                        f"{best:9.1f}{median:9.1f}{min(loop) / best:5.2f}{statistics.median(loop) / median:5.2f}",
                        end="",
                    )
                print()


if __name__ == "__main__":
    main()
