"""Reading pcapng files whose packets tell what happened to them, block by block and without netemu's own reader."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6


@dataclass
class Seen:
    """One packet at one place.  ``direction``: 1 in, 2 out."""

    ts_ns: int
    interface: str
    data: bytes
    wirelen: int
    comments: list[str] = field(default_factory=list)
    direction: int = 0
    dropcount: int = 0
    packet_id: int = -1
    queue: int = -1
    verdict: int | None = None


@dataclass
class Journal:
    """``counts``: received and dropped packets by interface."""

    packets: list[Seen]
    interfaces: list[str]
    counts: dict[str, tuple[int, int]]

    def arrivals(self) -> list[Seen]:
        return [seen for seen in self.packets if seen.direction == 1]

    def transmissions(self) -> list[Seen]:
        return [seen for seen in self.packets if seen.direction == 2]

    def dropped(self) -> dict[str, int]:
        """Packets by the reason that a comment gives."""
        reasons = [c.removeprefix("dropped: ") for s in self.packets for c in s.comments if c.startswith("dropped: ")]
        return {reason: reasons.count(reason) for reason in reasons}

    def fates(self) -> dict[str, int]:
        """Packets by what the comment on their page says."""
        found = [c.split(" ", 2)[2] for s in self.packets for c in s.comments if c.startswith("page 0x")]
        return {fate: found.count(fate) for fate in found}


def options(area: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(area):
        code, length = struct.unpack_from("<HH", area, at)
        if code == 0:
            return
        yield code, area[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


def read(path: Path) -> Journal:
    """A little-endian journal of one section with clocks in ns."""
    content = path.read_bytes()
    journal = Journal([], [], {})
    at = 0
    while at < len(content):
        kind, total = struct.unpack_from("<II", content, at)
        assert struct.unpack_from("<I", content, at + total - 4)[0] == total
        body = content[at + 8 : at + total - 4]
        if kind == INTERFACE:
            told = dict(options(body[8:]))
            assert told[9] == b"\x09"
            journal.interfaces.append(told[2].decode())
        elif kind == PACKET:
            journal.packets.append(packet(body, journal.interfaces))
        elif kind == STATISTICS:
            told = dict(options(body[12:]))
            name = journal.interfaces[struct.unpack_from("<I", body)[0]]
            journal.counts[name] = (int.from_bytes(told[4], "little"), int.from_bytes(told[5], "little"))
        else:
            assert kind == SECTION
        at += total
    return journal


def packet(body: bytes, interfaces: list[str]) -> Seen:
    interface, high, low, caplen, wirelen = struct.unpack_from("<IIIII", body)
    seen = Seen(high << 32 | low, interfaces[interface], body[20 : 20 + caplen], wirelen)
    for code, value in options(body[20 + (caplen + 3 & ~3) :]):
        number = int.from_bytes(value, "little")
        if code == 1:
            seen.comments.append(value.decode())
        elif code == 2:
            seen.direction = number & 3
        elif code == 4:
            seen.dropcount = number
        elif code == 5:
            seen.packet_id = number
        elif code == 6:
            seen.queue = number
        else:
            assert (code, value[0], len(value)) == (7, 2, 9)
            seen.verdict = number >> 8
    return seen
