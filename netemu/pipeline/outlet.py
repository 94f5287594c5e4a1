"""An outlet: where the frames go that one device transmits."""

from __future__ import annotations

from collections.abc import Sequence

from .feed import Change
from .frames import Frames
from .sinks import AsyncSink, Sink


class Outlet:
    """The sinks of device number ``device``.  ``changes`` see, and may change, what it transmits, once for all sinks.

    ``packets``, ``bytes``: handed on so far.
    """

    def __init__(self, device: int, sinks: Sequence[Sink | AsyncSink], *, changes: Sequence[Change] = ()) -> None:
        self.device = device
        self.sinks = [sink for sink in sinks if isinstance(sink, Sink)]
        self.async_sinks = [sink for sink in sinks if isinstance(sink, AsyncSink)]
        self.packets = 0
        self.bytes = 0
        self._changes = changes
        self._unsent: list[tuple[AsyncSink, Frames]] = []

    def write(self, frames: Frames) -> bool:
        """Hand the device's part of ``frames`` to its sinks; False when some have to be waited for (:meth:`send`)."""
        mine = frames.of_device(self.device)
        for change in self._changes:
            mine = change(mine)
        if len(mine):
            self.packets += len(mine)
            self.bytes += int(mine.records["wirelen"].sum())
            for sink in self.sinks:
                sink.write(mine)
            self._unsent = [(sink, mine) for sink in self.async_sinks]
        return not self._unsent

    async def send(self) -> None:
        """Wait until every sink has the frames of the last :meth:`write`.  When it is cancelled, call it again."""
        while self._unsent:
            sink, frames = self._unsent[0]
            await sink.send(frames)
            self._unsent.pop(0)
