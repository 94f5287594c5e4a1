"""Frames: packets on their way through a pipeline, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..pcap import PACKET


class Packet(NamedTuple):
    """One packet by itself: time in ns since 1970, its bytes, its length on the wire, the number of its device."""

    ts_ns: int
    data: bytes
    wirelen: int
    device: int


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Packets whose PACKET ``records`` say where in ``data`` their bytes lie.

    Both are the pipeline's own memory, valid until the call that was given them returns; :meth:`copy` keeps them.
    """

    data: NDArray[np.uint8]
    records: NDArray[Any]

    @classmethod
    def of(cls, packets: Sequence[Packet]) -> Frames:
        """Frames with memory of their own."""
        records = np.zeros(len(packets), PACKET)
        used = 0
        for row, packet in enumerate(packets):
            records[row] = (packet.ts_ns, used, len(packet.data), packet.wirelen, packet.device, 0)
            used += len(packet.data)
        return cls(np.frombuffer(bytearray(b"".join(p.data for p in packets)), np.uint8), records)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Packet]:
        for ts_ns, offset, caplen, wirelen, device, _ in self.records.tolist():
            yield Packet(ts_ns, self.data[offset : offset + caplen].tobytes(), wirelen, device)

    def copy(self) -> Frames:
        """The same packets, in memory that stays."""
        records = self.records.copy()
        if not len(records):
            return Frames(np.empty(0, np.uint8), records)
        start = int(records["offset"].min())
        end = int((records["offset"] + records["caplen"]).max())
        records["offset"] -= start
        return Frames(self.data[start:end].copy(), records)

    def of_device(self, number: int) -> Frames:
        """Those that belong to one device."""
        return Frames(self.data, self.records[self.records["interface"] == number])
