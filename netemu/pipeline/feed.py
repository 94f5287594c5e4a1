"""A feed: what arrives at one device, from a source into the rows of the engine's input that belong to its wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..errors import UsageError
from ..net.device_layout import NEVER
from ..net.run import RATE_MAX, RATE_RECORDED
from ..pcap import Batch, CaptureError
from .arrivals import Rate
from .frames import Frames
from .sources import AsyncSource, Source

BATCH_PACKETS = 8192
BATCH_BYTES = 1 << 20
LONGEST_TRACE_NS = 30 * 24 * 3600 * 10**9

AT_REST = NEVER - 1
"""A time by which everything inside the machine has been done."""

Change = Callable[[Frames], Frames]


class Feed:
    """What arrives at device number ``device``.

    ``repeat``: passes over a source that can be rewound; ``packets``: as many passes as it takes for so many packets.
    ``stop_after``: packets after which nothing comes, and nothing is at its end either.  ``changes`` see, and may
    change, what arrives.

    ``error``: what broke the source off; what came before it has arrived.  ``is_live``: the source has to be waited
    for.  ``first``: time stamp (ns) of the first packet.  ``seconds``: wall time spent reading.
    """

    staging: Batch
    """Where a live source puts packets before :meth:`filled` is told."""

    def __init__(
        self,
        k: Any,
        device: int,
        source: Source | AsyncSource,
        rate: Rate,
        *,
        repeat: int = 1,
        packets: int | None = None,
        stop_after: int | None = None,
        changes: Sequence[Change] = (),
    ) -> None:
        self.device = device
        self.source = source
        self.rate = rate
        self.is_live = isinstance(source, AsyncSource)
        self.error: Exception | None = None
        self.seconds = 0.0
        self.first: int | None = None
        self._k = k
        self._passes = repeat if packets is None else packets
        self._left = packets
        self._stop_in = stop_after
        self._changes = changes
        self._ended = False
        self._last = 0
        self._shift = 0
        self._start: int | None = None
        self._recorded_first = 0
        self._row = self._byte = 0
        self._waiting: Frames | None = None
        w = k.wire[device]
        w.eof = 0
        w.mode = rate.mode
        w.lossless = 1 if rate.mode == RATE_MAX else 0
        w.speed_num, w.speed_den, w.gap = rate.speed_num, rate.speed_den, rate.gap

    def place(self, batch: Batch, row: int, byte: int) -> None:
        """Have ``batch``, which is the engine's input from ``row`` and ``byte`` on, be filled with what arrives."""
        self._row, self._byte = row, byte
        self._batch = batch
        self.staging = Batch(BATCH_BYTES, BATCH_PACKETS) if self._changes else batch

    def start_at(self, ts_ns: int) -> None:
        """Shift recorded times so that the first packet comes at ``ts_ns``."""
        self._start = ts_ns

    @property
    def is_hungry(self) -> bool:
        """Has everything at hand arrived, and is there perhaps more?"""
        w = self._k.wire[self.device]
        return bool(w.next == w.end and w.eof == 0)

    @property
    def packets(self) -> int:
        """Packets that have arrived so far."""
        return int(self._k.wire[self.device].packets)

    def finish(self) -> None:
        """Ask the source for nothing else; what it has given still arrives."""
        self._ended = True

    def cut_off(self) -> None:
        """Let nothing else arrive."""
        self._ended = True
        self._waiting = None
        w = self._k.wire[self.device]
        w.end = w.next
        w.rxq = w.blocked = 0
        w.eof = 1

    def read(self) -> bool:
        """Get the next packets, or note that there are none; False when they have to be waited for."""
        while self.is_hungry:
            if self._waiting is not None:
                self._arrive(self._waiting)
            elif self._ended:
                self._k.wire[self.device].eof = 1
            elif self.is_live or self._stop_in == 0:
                return False
            else:
                self._read_from(cast(Source, self.source))
        return True

    def filled(self, count: int, now_ns: int | None = None) -> None:
        """The source has put ``count`` packets into ``staging``, none: it is at its end.

        ``now_ns``: they arrive at this time, whatever their time stamps say.
        """
        if count == 0:
            self._ended = True
            return
        times = self.staging.records["ts_ns"][:count]
        if now_ns is not None:
            times[:] = now_ns
        elif self.first is None and self._start is not None:
            self._shift = self._start - int(times[0])
        if self.first is None:
            self._recorded_first = int(times[0])
            self.first = self._recorded_first + self._shift
        times += self._shift
        # captures may be out of order; nothing arrives before what was captured before it
        np.maximum.accumulate(np.maximum(times, self._last if self._last else times[0]), out=times)
        self._last = int(times[-1])
        if now_ns is None and self._last - self.first > LONGEST_TRACE_NS and self.rate.mode == RATE_RECORDED:
            raise UsageError(
                f"the trace's time stamps span more than {LONGEST_TRACE_NS // 10**9 // 86400} days; "
                "use --rate max or a fixed rate"
            )
        if self._stop_in is not None:
            count = min(count, self._stop_in)
            self._stop_in -= count
        if self._changes:
            frames = Frames(self.staging.data, self.staging.records[:count])
            for change in self._changes:
                frames = change(frames)
            self._arrive(frames)
        else:
            self._offer(count)

    def _read_from(self, source: Source) -> None:
        start = time.perf_counter()
        count = 0
        try:
            count = self._take(source)
            while count == 0 and self._left != 0 and self._passes > 1 and self.first is not None:
                self._next_pass(source)
                count = self._take(source)
        except CaptureError as error:
            self.error = error
        self.seconds += time.perf_counter() - start
        self.filled(count)

    def _take(self, source: Source) -> int:
        """Packets read that are to arrive."""
        count = source.read_into(self.staging)
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        return count

    def _next_pass(self, source: Source) -> None:
        self._passes -= 1
        span = self._last - self._shift - self._recorded_first
        self._shift += span + max(span // max(self.packets - 1, 1), 1)
        source.rewind()

    def _arrive(self, frames: Frames) -> None:
        """Copy as many of the changed frames to the engine's input as fit; the rest waits."""
        records = frames.records[: len(self._batch.records)]
        ends = np.cumsum(records["caplen"], dtype=np.int64)
        count = int(np.searchsorted(ends, len(self._batch.data), side="right"))
        used = 0
        for row in range(count):
            self._batch.records[row] = records[row]
            start, length = int(records["offset"][row]), int(records["caplen"][row])
            self._batch.data[used : used + length] = frames.data[start : start + length]
            self._batch.records["offset"][row] = used
            used += length
        left = frames.records[count:]
        self._waiting = Frames(frames.data, left) if len(left) else None
        if count:
            self._offer(count)

    def _offer(self, count: int) -> None:
        if self._byte:
            self._batch.records["offset"][:count] += self._byte
        w = self._k.wire[self.device]
        w.next = self._row
        w.end = self._row + count
