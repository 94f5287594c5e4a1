"""What interfaces of this host have in common: frames are taken from a file descriptor and given to it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio

from ..pcap import Batch
from .frames import Frames

LARGEST_FRAME = 65_536 + 4
"""Bytes that a frame may have, a VLAN tag included."""


class HostInterface(ABC):
    """A source and a sink that has to be waited for.

    ``name``: the interface's.  :meth:`send` that was cancelled goes on where it was when it is called again.
    """

    name: str

    def __init__(self) -> None:
        self._sent = 0

    async def receive_into(self, batch: Batch) -> int:
        """Wait for frames; never at an end."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor())
            count = self._read(batch)
            if count:
                return count

    async def send(self, frames: Frames) -> None:
        """Give ``frames`` to the interface."""
        view = frames.data.data
        for offset, length in frames.records[["offset", "caplen"]].tolist()[self._sent :]:
            while not self._give(view[offset : offset + length]):
                await trio.lowlevel.wait_writable(self._descriptor())
            self._sent += 1
        self._sent = 0

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of the interface."""

    def _read(self, batch: Batch) -> int:
        view = batch.data.data
        used = count = 0
        while count < len(batch.records) and used + LARGEST_FRAME <= len(view):
            try:
                length = self._take(view[used : used + LARGEST_FRAME])
            except BlockingIOError:
                break
            batch.records[count] = (0, used, length, length, 0, 0)
            used += length
            count += 1
        batch.count = count
        return count

    @abstractmethod
    def _descriptor(self) -> int:
        """What is waited for."""

    @abstractmethod
    def _take(self, room: memoryview) -> int:
        """Put one frame into ``room``; its length.  Raises BlockingIOError when there is none."""

    @abstractmethod
    def _give(self, frame: memoryview) -> bool:
        """Hand one frame over; False when it has to be tried again."""
