"""Where packets of a pipeline go: captures, functions, counters, or anything that takes :class:`Frames`."""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import isawaitable
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

from ..errors import UsageError
from ..pcap import CaptureWriter, open_writer
from .frames import Frames, Packet


@runtime_checkable
class Sink(Protocol):
    """Takes frames at once.  Called from a worker thread, never twice at a time."""

    def write(self, frames: Frames) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class AsyncSink(Protocol):
    """Takes frames when it can; a pipeline waits for it.

    ``send`` that was cancelled is called again with the same frames: what it had already passed on is its own to know.
    """

    async def send(self, frames: Frames) -> None: ...

    async def aclose(self) -> None: ...


class Capture:
    """Writes frames to a capture, on interface number ``interface`` of it (see :class:`netemu.pcap.CaptureWriter`)."""

    def __init__(self, writer: CaptureWriter, interface: int = 0) -> None:
        self.writer = writer
        self._interface = interface

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, interface: str = "egress") -> Capture:
        """A new file, pcap or pcapng by its ending."""
        return cls(open_writer(path, interfaces=(interface,)))

    def write(self, frames: Frames) -> None:
        records = frames.records
        if (records["interface"] != self._interface).any():
            records = records.copy()
            records["interface"] = self._interface
        self.writer.write_batch(frames.data, records)

    def close(self) -> None:
        self.writer.close()


class Counters:
    """Counts packets and bytes (without frame check sequences)."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0

    def write(self, frames: Frames) -> None:
        self.packets += len(frames)
        self.bytes += int(frames.records["wirelen"].sum())

    def close(self) -> None:
        """Nothing is open."""


class Callback:
    """Calls a function with each :class:`Packet`, in trio's thread; a coroutine function is awaited."""

    def __init__(self, function: Callable[[Packet], object]) -> None:
        self._function = function
        self._passed = 0

    async def send(self, frames: Frames) -> None:
        for packet in list(frames)[self._passed :]:
            self._passed += 1
            answer = self._function(packet)
            if isawaitable(answer):
                await answer
        self._passed = 0

    async def aclose(self) -> None:
        """Nothing is open: the function is the caller's."""


def open_sink(target: Any) -> Sink | AsyncSink:
    """A sink for what a user names: a capture file, a (coroutine) function of a packet, or a sink itself."""
    if isinstance(target, (Sink, AsyncSink)):
        return target
    if isinstance(target, (str, PurePath)):
        return Capture.create(target)
    if callable(target):
        return Callback(target)
    raise UsageError(f"a sink is a capture file, a function or a sink, not {type(target).__name__}")


def open_sinks(targets: Any) -> list[Sink | AsyncSink]:
    """The sinks for one target or several."""
    several = targets if isinstance(targets, (list, tuple)) else [targets]
    return [open_sink(target) for target in several]
