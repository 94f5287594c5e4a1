"""A run of a pipeline: the engine in a worker thread, live sources and sinks in trio's."""

from __future__ import annotations

import trio

from .emulation import Emulation, State
from .feed import AT_REST, Feed
from .sources import AsyncSource

SLICE_S = 0.05
"""How long the engine runs before trio can cancel it."""


class Run:
    """As fast as it goes.  A live source that has nothing at hand does not hold up what is inside the machine.

    ``is_over``: nothing is left to be done.  ``failure``: why, when it was not the end.
    """

    def __init__(self, emulation: Emulation) -> None:
        self.emulation = emulation
        self.is_over = False
        self.failure: Exception | None = None
        self._news = trio.Event()
        self._arrived: list[tuple[Feed, int]] = []
        self._wanted = {feed.device: trio.Event() for feed in emulation.feeds}

    async def receive(self, feed: Feed) -> None:
        """Bring a live source's packets to the machine, whenever it wants some."""
        assert isinstance(feed.source, AsyncSource)
        count = 1
        while count:
            await self._wanted[feed.device].wait()
            self._wanted[feed.device] = trio.Event()
            try:
                count = await feed.source.receive_into(feed.staging)
            except Exception as error:
                feed.error = error
                count = 0
            self._arrived.append((feed, count))
            self._news.set()

    async def emulate(self) -> None:
        """Run to the end; what goes wrong is kept in ``failure``."""
        try:
            await self._emulate()
        except Exception as failure:
            self.failure = failure
        self.is_over = True

    async def finish(self, grace: float) -> None:
        """Bring what sources have given to its end, and to the sinks, unless one takes nothing for ``grace`` s.

        Frames that go round by cables after the engine has run for ``grace`` s are lost with them.
        """
        self.is_over = True
        patience = self.emulation.seconds + grace
        state = State.RUNNING
        try:
            while True:
                with trio.move_on_after(grace) as handing_out:
                    await self._hand_out()
                if handing_out.cancelled_caught or state is State.DONE:
                    return
                self._take_arrived()
                self.emulation.finish()
                if self.emulation.seconds > patience:
                    self.emulation.pull_cables()
                state = await self._advance()
        except Exception as failure:
            self.failure = failure

    async def _emulate(self) -> None:
        await trio.to_thread.run_sync(self.emulation.start)
        while True:
            self._take_arrived()
            self._ask()
            state = await self._advance()
            if state is State.WAITING or state is State.OUTPUT:
                await self._hand_out()
            if state is State.WAITING:
                await self._wait()
            elif state is State.DONE:
                return

    async def _advance(self) -> State:
        return await trio.to_thread.run_sync(self.emulation.advance_for, SLICE_S)

    def _take_arrived(self) -> None:
        """Let the packets of live sources arrive, now that the engine stands still."""
        self._news = trio.Event()
        for feed, count in self._arrived:
            self._take(feed, count)
            feed.read()
        self._arrived.clear()

    def _take(self, feed: Feed, count: int) -> None:
        """Nothing arrives before what the machine has done already."""
        k = self.emulation.machine.k
        feed.filled(count)
        self.emulation.start_clock(feed)
        w = k.wire[feed.device]
        w.quiet_until = 0
        w.free = max(w.free, int(k.arrays["cpu"]["clock"].max()))

    def _ask(self) -> None:
        """Have live sources look for more."""
        for feed in self.emulation.feeds:
            if feed.is_live and feed.is_hungry:
                self._wanted[feed.device].set()

    async def _wait(self) -> None:
        """Let the machine come to rest; when it has, wait for packets."""
        k = self.emulation.machine.k
        hungry = [k.wire[feed.device] for feed in self.emulation.feeds if feed.is_hungry]
        if all(w.quiet_until == AT_REST for w in hungry):
            await self._news.wait()
        for w in hungry:
            w.quiet_until = AT_REST

    async def _hand_out(self) -> None:
        """Give the sinks what was transmitted."""
        if not self.emulation.deliver():
            await self._send()
            self.emulation.delivered()

    async def _send(self) -> None:
        """Wait for every sink to take what it has been given."""
        for outlet in self.emulation.outlets:
            await outlet.send()
