"""Where packets come from: a capture, an open file, any iterable of packets, or something that has to be waited for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import UsageError
from ..pcap import Batch, open_capture
from .frames import Packet


@runtime_checkable
class Source(Protocol):
    """Where packets come from, batch by batch.

    ``size``: bytes in all, if known; ``offset``: those read so far.  ``read_into`` fills the batch from its start and
    returns how many packets that were, 0 at the end.
    """

    size: int | None

    def read_into(self, batch: Batch) -> int: ...

    def rewind(self) -> None: ...

    def close(self) -> None: ...

    @property
    def offset(self) -> int: ...


@runtime_checkable
class AsyncSource(Protocol):
    """Where packets come from that have to be waited for.

    ``receive_into`` waits for at least one packet and returns, like ``read_into``, how many there were.  A packet that
    it has taken from elsewhere when it is cancelled comes first the next time.
    """

    async def receive_into(self, batch: Batch) -> int: ...

    async def aclose(self) -> None: ...


_END = object()


class PacketSource:
    """Packets from an iterable of scapy packets or bytes.  A scapy packet's ``time`` (s) is kept."""

    size: int | None = None

    def __init__(self, packets: Iterable[Any]) -> None:
        self._packets = packets
        self._iterator = iter(packets)
        self._pending: tuple[int, bytes] | None = None
        self.offset = 0

    def read_into(self, batch: Batch) -> int:
        """Fill the batch; 0 at the end."""
        packer = Packer(batch)
        while not packer.is_full:
            if self._pending is None:
                packet = next(self._iterator, _END)
                if packet is _END:
                    break
                self._pending = encode(packet)
            if not packer.add(*self._pending):
                break
            self._pending = None
        self.offset += packer.used
        return packer.count

    def rewind(self) -> None:
        """Start again, if the iterable can."""
        if iter(self._packets) is self._packets:
            raise UsageError("repeat needs packets that can be gone through again: give a list, not an iterator")
        self._iterator = iter(self._packets)

    def close(self) -> None:
        """Nothing is open: the packets are the caller's."""


class AsyncPackets:
    """Packets from an async iterable of scapy packets or bytes, or of lists of them."""

    def __init__(self, packets: AsyncIterable[Any]) -> None:
        self._iterator: AsyncIterator[Any] = aiter(packets)
        self._pending: list[tuple[int, bytes]] = []

    async def receive_into(self, batch: Batch) -> int:
        """Wait for the next item; 0 at the end."""
        while not self._pending:
            try:
                item = await anext(self._iterator)
            except StopAsyncIteration:
                return 0
            self._pending = [encode(packet) for packet in (item if isinstance(item, list) else [item])]
        packer = Packer(batch)
        while self._pending and packer.add(*self._pending[0]):
            self._pending.pop(0)
        return packer.count

    async def aclose(self) -> None:
        """End the generator, if it is one."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


class Packer:
    """Puts packets into a batch, one after the other."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.used = 0
        batch.count = 0

    @property
    def count(self) -> int:
        """Packets in the batch."""
        return self._batch.count

    @property
    def is_full(self) -> bool:
        """Is there no row left?"""
        return self._batch.count == len(self._batch.records)

    def add(self, ts_ns: int, data: bytes) -> bool:
        """Add a packet; False when there is no room."""
        batch, used = self._batch, self.used
        if len(data) > len(batch.data):
            raise UsageError(f"a packet of {len(data)} bytes: at most {len(batch.data)} can be replayed")
        if self.is_full or used + len(data) > len(batch.data):
            return False
        batch.data[used : used + len(data)] = np.frombuffer(data, np.uint8)
        batch.records[batch.count] = (ts_ns, used, len(data), len(data), 0, 0)
        self.used += len(data)
        batch.count += 1
        return True


def encode(packet: Any) -> tuple[int, bytes]:
    """Time (ns) and bytes of a packet that is bytes, a scapy packet or a :class:`Packet`."""
    if isinstance(packet, (bytes, bytearray, memoryview)):
        return 0, bytes(packet)
    if isinstance(packet, Packet):
        return packet.ts_ns, packet.data
    if not hasattr(packet, "__bytes__"):
        raise UsageError(f"a packet is bytes or a scapy packet, not {type(packet).__name__}")
    try:
        data = bytes(packet)
    except Exception as error:
        raise UsageError(f"a packet cannot be built: {type(error).__name__}: {error}") from None
    return round((getattr(packet, "time", 0) or 0) * 10**9), data  # scapy reads exact decimals


def open_source(trace: Any) -> Source:
    """A capture by path or file object, or any iterable of packets, or a source itself."""
    if isinstance(trace, Source):
        return trace
    if isinstance(trace, (str, os.PathLike)) or hasattr(trace, "read"):
        return open_capture(trace)
    if isinstance(trace, Iterable):
        return PacketSource(trace)
    raise UsageError(f"a trace is a path, a file or an iterable of packets, not {type(trace).__name__}")


def open_live_source(origin: Any) -> Source | AsyncSource:
    """As :func:`open_source`, or an async iterable of packets, or a source that has to be waited for."""
    if isinstance(origin, AsyncSource):
        return origin
    if isinstance(origin, AsyncIterable):
        return AsyncPackets(origin)
    return open_source(origin)
