"""Where the packets of a replay come from: a capture, an open file, or any iterable of packets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .errors import UsageError
from .pcap import Batch, open_capture


@runtime_checkable
class Source(Protocol):
    """Where packets come from, batch by batch."""

    size: int | None

    def read_into(self, batch: Batch) -> int: ...

    def rewind(self) -> None: ...

    def close(self) -> None: ...

    @property
    def offset(self) -> int: ...


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
        count = used = 0
        while count < len(batch.records):
            if self._pending is None:
                packet = next(self._iterator, _END)
                if packet is _END:
                    break
                self._pending = _encode(packet)
            ts_ns, data = self._pending
            if len(data) > len(batch.data):
                raise UsageError(f"a packet of {len(data)} bytes: at most {len(batch.data)} can be replayed")
            if used + len(data) > len(batch.data):
                break
            batch.data[used : used + len(data)] = np.frombuffer(data, np.uint8)
            batch.records[count] = (ts_ns, used, len(data), len(data), 0, 0)
            used += len(data)
            count += 1
            self._pending = None
        self.offset += used
        batch.count = count
        return count

    def rewind(self) -> None:
        """Start again, if the iterable can."""
        if iter(self._packets) is self._packets:
            raise UsageError("repeat needs packets that can be gone through again: give a list, not an iterator")
        self._iterator = iter(self._packets)

    def close(self) -> None:
        """Nothing is open: the packets are the caller's."""


def _encode(packet: Any) -> tuple[int, bytes]:
    if isinstance(packet, (bytes, bytearray, memoryview)):
        return 0, bytes(packet)
    if not hasattr(packet, "__bytes__"):
        raise UsageError(f"a packet is bytes or a scapy packet, not {type(packet).__name__}")
    try:
        data = bytes(packet)
    except Exception as error:
        raise UsageError(f"a packet cannot be built: {type(error).__name__}: {error}") from None
    return round((getattr(packet, "time", 0) or 0) * 10**9), data  # scapy reads exact decimals


def open_source(trace: Any) -> Source:
    """A capture by path or file object, any iterable of packets, or a source as it is."""
    if isinstance(trace, Source):
        return trace
    if isinstance(trace, (str, os.PathLike)) or hasattr(trace, "read"):
        return open_capture(trace)
    if isinstance(trace, Iterable):
        return PacketSource(trace)
    raise UsageError(f"a trace is a path, a file or an iterable of packets, not {type(trace).__name__}")
