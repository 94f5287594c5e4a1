"""Captures built field by field, so that tests can get every field wrong."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterable, Iterator

CLASSIC_MAGIC = {6: 0xA1B2C3D4, 9: 0xA1B23C4D}


def classic_header(order: str = "<", tsresol: int = 9, snaplen: int = 262_144, linktype: int = 1) -> bytes:
    return struct.pack(order + "IHHiIII", CLASSIC_MAGIC[tsresol], 2, 4, 0, 0, snaplen, linktype)


def classic_record(
    data: bytes, order: str = "<", seconds: int = 0, fraction: int = 0, caplen: int | None = None, wirelen: int = 60
) -> bytes:
    return struct.pack(order + "IIII", seconds, fraction, len(data) if caplen is None else caplen, wirelen) + data


def block(kind: int, body: bytes, order: str = "<", total: int | None = None, trailer: int | None = None) -> bytes:
    body += bytes(-len(body) % 4)
    total = 12 + len(body) if total is None else total
    return (
        struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total if trailer is None else trailer)
    )


def options(pairs: Iterable[tuple[int, bytes]], order: str = "<", end: bool = True) -> bytes:
    made = b"".join(
        struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs
    )
    return made + (bytes(4) if end and made else b"")


def section(order: str = "<", extra: bytes = b"", mark: int = 0x1A2B3C4D, major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", mark, major, 0, -1) + extra, order)


def interface(
    order: str = "<",
    linktype: int = 1,
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    name: str = "",
    extra: bytes = b"",
) -> bytes:
    pairs = [(2, name.encode())] if name else []
    if tsresol is not None:
        pairs.append((9, bytes([tsresol])))
    if tsoffset is not None:
        pairs.append((14, struct.pack(order + "q", tsoffset)))
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + (extra or options(pairs, order)), order)


def enhanced(
    data: bytes,
    order: str = "<",
    ticks: int = 0,
    number: int = 0,
    caplen: int | None = None,
    wirelen: int = 60,
    extra: bytes = b"",
) -> bytes:
    caplen = len(data) if caplen is None else caplen
    body = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFF_FFFF, caplen, wirelen)
    return block(6, body + data + bytes(-len(data) % 4) + extra, order)


def obsolete(data: bytes, order: str = "<", ticks: int = 0, number: int = 0, wirelen: int = 60) -> bytes:
    body = struct.pack(order + "HHIIII", number, 7, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), wirelen)
    return block(2, body + data, order)


def simple(data: bytes, wirelen: int, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", wirelen) + data, order)


class Pipe(io.RawIOBase):
    """An unseekable source whose reads bring as many bytes as ``chunks`` say, over and over."""

    def __init__(self, content: bytes, chunks: Iterable[int]) -> None:
        self._content = memoryview(content)
        self._chunks = itertools.cycle(chunks)

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:
        length = min(len(into), len(self._content), next(self._chunks))
        into[:length] = self._content[:length]
        self._content = self._content[length:]
        return length


class Synthetic(io.RawIOBase):
    """An unseekable source that makes its pieces as they are asked for; remembers the largest read asked of it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.largest_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:
        self.largest_read = max(self.largest_read, len(into))
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        length = min(len(into), len(self._rest))
        into[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length
