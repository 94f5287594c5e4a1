"""An obvious, slow reader over a whole capture in memory: what the compiled one has to agree with."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

MAX_CAPLEN = 262_144
LARGEST_WHOLE = MAX_CAPLEN + 4_096
MAGICS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}


class Packet(NamedTuple):
    ts_ns: int
    data: bytes
    wirelen: int
    interface: int


class Damaged(Exception):
    """Found at the byte offset that is the argument."""


class Model:
    """Iterates over packets; raises Damaged where the reader must raise."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[Packet]:
        head = self.content[:24]
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            if len(head) < 24:
                raise Damaged(0)
            yield from self._blocks()
            return
        for order in "<>":
            if len(head) >= 4 and struct.unpack_from(order + "I", head)[0] in MAGICS:
                if len(head) < 24:
                    raise Damaged(0)
                yield from self._records(order)
                return
        raise Damaged(0)

    def _records(self, order: str) -> Iterator[Packet]:
        magic, major, _, _, linktype = struct.unpack_from(order + "IHH8xII", self.content)
        if major != 2:
            raise Damaged(4)
        if linktype & 0xFFFF != 1:
            raise Damaged(20)
        at = 24
        while at < len(self.content):
            if at + 16 > len(self.content):
                raise Damaged(at)
            seconds, fraction, caplen, wirelen = struct.unpack_from(order + "IIII", self.content, at)
            data = self.content[at + 16 : at + 16 + caplen]
            if caplen > MAX_CAPLEN or wirelen >= 1 << 31 or len(data) < caplen:
                raise Damaged(at)
            yield Packet(seconds * 10**9 + fraction * MAGICS[magic], data, wirelen, 0)
            at += 16 + caplen

    def _blocks(self) -> Iterator[Packet]:
        at = 0
        order = "<"
        first = 0
        clocks: list[tuple[int, int, int, int]] = []
        while at < len(self.content):
            block = self.content[at:]
            if len(block) < 12:
                raise Damaged(at)
            is_section = block[:4] == b"\x0a\x0d\x0d\x0a"
            if is_section:
                if block[8:12] not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d") or len(block) < 24:
                    raise Damaged(at)
                order = "<" if block[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
                if struct.unpack_from(order + "H", block, 12)[0] != 1:
                    raise Damaged(at)
                first = len(clocks)
            kind, total = struct.unpack_from(order + "II", block)
            fixed = {0x0A0D0D0A: 24, 1: 16, 2: 28, 3: 12, 6: 28}.get(kind, 8)
            if total % 4 or total < fixed + 4:
                raise Damaged(at)
            if kind == 1 and total > LARGEST_WHOLE:
                raise Damaged(at)
            whole = len(block) >= total
            matched = whole and struct.unpack_from(order + "I", block, total - 4)[0] == total
            if kind in (2, 3, 6):
                if len(block) < fixed:
                    raise Damaged(at)
                packet = self._packet(kind, block, order, total, first, clocks, at)
                if not matched and total <= LARGEST_WHOLE:
                    raise Damaged(at)
                yield packet
            if not matched:
                raise Damaged(at)
            if kind == 1:
                clocks.append(self._clock(block[:total], order, at))
            at += total

    def _clock(self, block: bytes, order: str, at: int) -> tuple[int, int, int, int]:
        linktype, snaplen = struct.unpack_from(order + "HxxI", block, 8)
        tsresol, tsoffset = 6, 0
        area = block[16:-4]
        while area:
            if len(area) < 4:
                raise Damaged(at)
            code, length = struct.unpack_from(order + "HH", area)
            if code == 0:
                break
            value = area[4 : 4 + length]
            if len(value) < length or length != {9: 1, 14: 8}.get(code, length):
                raise Damaged(at)
            if code == 9:
                tsresol = value[0]
            if code == 14:
                (tsoffset,) = struct.unpack(order + "q", value)
            area = area[4 + length + -length % 4 :]
        return linktype, snaplen, tsresol, tsoffset

    @staticmethod
    def _packet(
        kind: int, block: bytes, order: str, total: int, first: int, clocks: list[tuple[int, int, int, int]], at: int
    ) -> Packet:
        number, high, low = 0, 0, 0
        if kind == 6:
            number, high, low, caplen, wirelen = struct.unpack_from(order + "IIIII", block, 8)
        elif kind == 2:
            number, high, low, caplen, wirelen = struct.unpack_from(order + "HxxIIII", block, 8)
        else:
            (wirelen,) = struct.unpack_from(order + "I", block, 8)
            caplen = wirelen
        if first + number >= len(clocks):
            raise Damaged(at)
        linktype, snaplen, tsresol, tsoffset = clocks[first + number]
        if kind == 3 and snaplen:
            caplen = min(wirelen, snaplen)
        fixed = 12 if kind == 3 else 28
        if linktype != 1 or caplen > MAX_CAPLEN or wirelen >= 1 << 31 or fixed + caplen + -caplen % 4 + 4 > total:
            raise Damaged(at)
        data = block[fixed : fixed + caplen]
        if len(block) < fixed + caplen + -caplen % 4:
            raise Damaged(at)
        ts_ns = 0 if kind == 3 else model_nanoseconds(high << 32 | low, tsresol, tsoffset)
        if not -(2**63) <= ts_ns < 2**63:
            raise Damaged(at)
        return Packet(ts_ns, data, wirelen, first + number)


def model_nanoseconds(ticks: int, tsresol: int, tsoffset: int) -> int:
    """Exact, rounded down, of any size."""
    per_second = (2 if tsresol & 0x80 else 10) ** (tsresol & 0x7F)
    return int(Fraction(ticks, per_second) * 10**9 // 1) + tsoffset * 10**9
