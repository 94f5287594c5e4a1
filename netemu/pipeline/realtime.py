"""A run of a pipeline in real time: virtual time follows trio's clock."""

from __future__ import annotations

import time

import numpy as np
import trio

from .emulation import Emulation, State
from .feed import AT_REST, Feed
from .frames import Frames
from .run import SLICE_S, Run

NS = 10**9
CATCH_UP = 4
"""Times that the engine is run at once because something has become due meanwhile."""
SHORT = 4096
"""Steps of the engine that are done before a worker thread would have started."""


class RealTime(Run):
    """Everything is done when it is due, counted from the start of the run, so that delays do not add up."""

    def __init__(self, emulation: Emulation) -> None:
        super().__init__(emulation)
        emulation.paced = True
        self._epoch_ns = time.time_ns()
        self._zero = trio.current_time()
        self._held: list[Frames] = []
        self._ending = False

    def now_ns(self) -> int:
        """The time stamp of now."""
        return self._epoch_ns + round((trio.current_time() - self._zero) * NS)

    async def finish(self, grace: float) -> None:
        self._end()
        await super().finish(grace)

    async def _emulate(self) -> None:
        await trio.to_thread.run_sync(self.emulation.start, self._epoch_ns)
        k = self.emulation.machine.k
        for feed in self.emulation.feeds:
            if feed.is_live:
                k.wire[feed.device].quiet_until = AT_REST  # the limit is what holds the machine back
        await super()._emulate()

    async def _advance(self) -> State:
        emulation = self.emulation
        for _ in range(CATCH_UP):
            if not self._ending:
                emulation.limit(self.now_ns())
            state = emulation.advance(SHORT)
            if state is State.RUNNING:
                return await trio.to_thread.run_sync(emulation.advance_for, SLICE_S)
            if state is not State.WAITING or emulation.next_ns is None or emulation.next_ns > self.now_ns():
                break
        return state

    def _take(self, feed: Feed, count: int) -> None:
        feed.filled(count, self.now_ns())

    def _end(self) -> None:
        """Time no longer matters."""
        self._ending = True
        self.emulation.limit(None)

    async def _wait(self) -> None:
        """Until something is due, or packets have come."""
        due = [frames.records["ts_ns"].min() for frames in self._held]
        if self.emulation.next_ns is not None:
            due.append(self.emulation.next_ns)
        elif not any(feed.is_hungry for feed in self.emulation.feeds):
            if not due:
                self._end()
                return
        self._ask()
        until = self._zero + (int(min(due)) - self._epoch_ns + 1) / NS if due else float("inf")
        with trio.move_on_at(until):
            await self._news.wait()

    async def _hand_out(self) -> None:
        """Give the sinks what is due, and keep the rest."""
        await self._send()  # what was left when this was cancelled
        emulation = self.emulation
        fresh = emulation.output()
        if len(fresh):
            self._held.append(fresh.copy())
            emulation.delivered()
        now = self.now_ns()
        for frames in self._held.copy():
            due = frames.records["ts_ns"] <= now
            if self._ending or due.all():
                self._held.remove(frames)
                ready = frames
            else:
                ready = Frames(frames.data, frames.records[due])
                self._held[self._held.index(frames)] = Frames(frames.data, frames.records[np.logical_not(due)])
            if len(ready):
                for outlet in emulation.outlets:
                    outlet.write(ready)
                await self._send()
