"""Reading captures: any length, constant memory, compiled speed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from netemu.pcap import walk
from netemu.pcap.batch import LARGEST_WHOLE, MAX_CAPLEN, Batch
from netemu.pcap.blocks import BYTE_ORDER_MAGIC, Interface, parse_interface
from netemu.pcap.errors import CaptureError
from netemu.pcap.linktype import ETHERNET, describe
from netemu.pcap.source import ByteSource, Source
from netemu.pcap.timestamps import MICROSECONDS, NANOSECONDS

MOST_INTERFACES = 65_536
"""Interfaces that one capture may describe."""

_DAMAGED = "the file is damaged here; what came before can be used"
_CUT = "the file is incomplete; copy it again, or use what came before"

_CLASSIC_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", MICROSECONDS),
    b"\xa1\xb2\xc3\xd4": (">", MICROSECONDS),
    b"\x4d\x3c\xb2\xa1": ("<", NANOSECONDS),
    b"\xa1\xb2\x3c\x4d": (">", NANOSECONDS),
}
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_ERF_ETHERNET = (2, 11, 16, 20)

_CONVERT = "convert it with editcap -F pcap"
_OTHER_FORMATS = (
    (b"\x1f\x8b", "gzip data", "decompress it first with gzip -d"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "decompress it first with zstd -d"),
    (b"\xfd7zXZ\0", "xz data", "decompress it first with xz -d"),
    (b"BZh", "bzip2 data", "decompress it first with bzip2 -d"),
    (b"\x04\x22\x4d\x18", "lz4 data", "decompress it first with lz4 -d"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"snoop\0\0\0", "a snoop capture", _CONVERT),
    (b"GMBU", "a Network Monitor capture", _CONVERT),
    (b"RTSS", "a Network Monitor capture", _CONVERT),
    (b"XCP\0", "a NetXRay capture", _CONVERT),
    (b"\x34\xcd\xb2\xa1", "pcap with the Kuznetzov patch", _CONVERT),
    (b"\xa1\xb2\xcd\x34", "pcap with the Kuznetzov patch", _CONVERT),
)


class CaptureReader:
    """Fills batches from a pcap or pcapng; :func:`open_capture` makes one.

    Several sections, byte orders and interfaces may follow one another.  A packet of a link type other than Ethernet is
    an error.  Packets of pcapng's simple packet block, which has no time, are at time 0.
    """

    format: str
    """``pcap`` or ``pcapng``."""
    interfaces: list[Interface]
    """All interfaces described so far, of all sections; a record's ``interface`` is an index into it."""

    _failure: CaptureError | None
    _packets: int

    def __init__(self, source: Source) -> None:
        self._source = ByteSource(source)
        self.path = self._source.path
        self.size = self._source.size
        try:
            self._begin()
        except BaseException:
            self._source.close()
            raise

    @property
    def offset(self) -> int:
        """Bytes consumed: the place after the last packet that was delivered, or of what raised an error."""
        if self._failure is not None and self._failure.offset is not None:
            return self._failure.offset
        return self._source.offset

    def read_into(self, batch: Batch) -> int:
        """Fill ``batch`` with the packets that come next; returns how many, 0 at the clean end.

        Returns what one read of the source brought, as a live source may take long to bring more.  Raises
        CaptureError at a damaged or cut place, after all whole packets before it have been delivered, and again
        whenever it is called after that.
        """
        if self._failure is not None:
            raise self._failure
        batch.count = 0
        try:
            batch.count = self._fill(batch)
        except CaptureError as failure:
            self._failure = failure
            raise
        self._packets += batch.count
        return batch.count

    def rewind(self) -> None:
        """Start again at the first packet.  Raises CaptureError when the source cannot be read twice."""
        self._source.rewind()
        self._begin()

    def close(self) -> None:
        """Close the source if it was opened here."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, batch: Batch) -> int:
        data = batch.data
        view = data.data
        state = self._state
        state[walk.POSITION] = 0
        need = 0
        filled = 0
        while True:
            got = self._source.take(view[filled : max(need, min(self._appetite, len(data)))])
            if not got:
                if filled or state[walk.SKIP]:
                    raise self._cut(filled)
                return 0
            filled += got
            state[walk.END] = filled
            found = self._advance(batch, filled)
            at = int(state[walk.POSITION])
            if found:
                self._adapt(at, len(data))
                self._source.give_back(data[at:filled].tobytes())
                return found
            need = int(state[walk.NEED])
            if at:
                data[: filled - at] = data[at:filled]
                filled -= at
                state[walk.POSITION] = 0

    def _begin(self) -> None:
        """Read the head of the file up to the first record or section."""
        self._failure = None
        self._packets = 0
        self._appetite = LARGEST_WHOLE
        self._clocks = np.zeros((1, walk.CLOCK_COLUMNS), np.int64)
        self._state = np.zeros(walk.STATE_LENGTH, np.int64)
        self.interfaces = []
        head = self._head(walk.CLASSIC_HEADER)
        if not head:
            raise self._fault("the file is empty", "check how it was captured", 0)
        if head[:4] == _SECTION_MAGIC:
            self.format = "pcapng"
            self._walk = walk.walk_blocks
        elif head[:4] in _CLASSIC_MAGICS:
            self.format = "pcap"
            self._walk = walk.walk_classic
        else:
            raise self._unknown(head)
        if len(head) < walk.CLASSIC_HEADER:
            raise self._fault(
                f"the file header is cut: {len(head)} bytes of at least {walk.CLASSIC_HEADER}", _CUT, offset=0
            )
        if self.format == "pcapng":
            self._order_of_section(head, 0)
            self._source.give_back(head)
        else:
            self._classic_header(head)

    def _head(self, length: int) -> bytes:
        head = bytearray(length)
        filled = 0
        while filled < length and (got := self._source.take(memoryview(head)[filled:])):
            filled += got
        return bytes(head[:filled])

    def _classic_header(self, head: bytes) -> None:
        order, tsresol = _CLASSIC_MAGICS[head[:4]]
        major, minor, snaplen, linktype = struct.unpack_from(order + "HH8xII", head, 4)
        if major != 2:
            raise self._fault(f"pcap version {major}.{minor} is not known", _CONVERT, offset=4)
        linktype &= 0xFFFF  # the upper half tells of frame check sequences
        if linktype != ETHERNET:
            raise self._wrong_linktype(linktype, 20)
        self.interfaces = [Interface(linktype, snaplen, tsresol)]
        self._state[walk.BIG_ENDIAN] = order == ">"
        self._state[walk.UNIT_NS] = 10 ** (9 - tsresol)

    def _advance(self, batch: Batch, filled: int) -> int:
        """Walk until there are packets or more bytes are needed; returns the packets."""
        state = self._state
        while True:
            found = self._walk(batch.data, *batch.columns, self._clocks, state)
            status = state[walk.STATUS]
            if found or status == walk.MORE:
                return found
            at = int(state[walk.POSITION])
            offset = self._source.offset - filled + at
            if status == walk.SECTION:
                self._start_section(batch.data[at : at + walk.SECTION_FIXED].tobytes(), offset)
            elif status == walk.INTERFACE:
                self._add_interface(batch.data[at : at + int(state[walk.BLOCK])].tobytes(), offset)
            else:
                raise self._damage(int(status), offset)

    def _adapt(self, consumed: int, capacity: int) -> None:
        """Read about as much at a time as there are records for, so that little has to be given back."""
        if self._state[walk.STATUS] == walk.FULL:
            self._appetite = max(consumed, LARGEST_WHOLE)
        else:
            self._appetite = min(self._appetite + self._appetite // 8, capacity)

    def _order_of_section(self, head: bytes, offset: int) -> str:
        for order in "<>":
            if struct.unpack_from(order + "I", head, 8)[0] == BYTE_ORDER_MAGIC:
                return order
        raise self._fault(f"a section header has no byte-order mark but {head[8:12].hex(' ')}", _DAMAGED, offset)

    def _start_section(self, head: bytes, offset: int) -> None:
        order = self._order_of_section(head, offset)
        total, _, major, minor = struct.unpack_from(order + "IIHH", head, 4)
        if total < walk.SECTION_FIXED + 4 or total % 4:
            raise self._fault(f"a section header has the absurd length {total}", _DAMAGED, offset)
        if major != 1:
            raise self._fault(f"pcapng version {major}.{minor} is not known", _CONVERT, offset)
        state = self._state
        state[walk.BIG_ENDIAN] = order == ">"
        state[walk.FIRST_INTERFACE] = len(self.interfaces)
        state[walk.INTERFACES] = 0
        state[walk.BLOCK] = total
        state[walk.SKIP] = total - walk.SECTION_FIXED
        state[walk.POSITION] += walk.SECTION_FIXED

    def _add_interface(self, block: bytes, offset: int) -> None:
        state = self._state
        number = len(self.interfaces)
        if number == MOST_INTERFACES:
            raise self._fault(f"more than {MOST_INTERFACES} interfaces", "split the capture", offset)
        try:
            interface = parse_interface(block, ">" if state[walk.BIG_ENDIAN] else "<")
        except ValueError as error:
            raise self._fault(f"interface description: {error}", _DAMAGED, offset) from error
        if number == len(self._clocks):
            self._clocks = np.concatenate((self._clocks, np.zeros_like(self._clocks)))
        self._clocks[number] = (
            interface.linktype,
            interface.snaplen,
            interface.tsresol,
            interface.tsoffset,
            *interface.quick_clock,
        )
        self.interfaces.append(interface)
        state[walk.INTERFACES] += 1
        state[walk.POSITION] += len(block)

    def _fault(self, what: str, remedy: str, offset: int) -> CaptureError:
        return CaptureError(what, remedy, path=self.path, offset=offset, packet=self._packets)

    def _unknown(self, head: bytes) -> CaptureError:
        for magic, name, remedy in _OTHER_FORMATS:
            if head.startswith(magic):
                return self._fault(f"not a pcap or pcapng capture but {name}", remedy, 0)
        if len(head) >= 16 and head[8] & 0x7F in _ERF_ETHERNET and int.from_bytes(head[10:12], "big") >= 18:
            return self._fault("not a pcap or pcapng capture but, it seems, ERF", _CONVERT, 0)
        return self._fault(
            f"not a pcap or pcapng capture: it starts with {head[:8].hex(' ')}", "name a capture file", 0
        )

    def _wrong_linktype(self, linktype: int, offset: int) -> CaptureError:
        return self._fault(
            f"link type {describe(linktype)} is not Ethernet", "capture on an Ethernet interface", offset
        )

    def _cut(self, left: int) -> CaptureError:
        """The error for a capture that ends ``left`` bytes into something."""
        passed = 0
        need = int(self._state[walk.NEED])
        if self._state[walk.SKIP]:
            need = int(self._state[walk.BLOCK])
            passed = need - int(self._state[walk.SKIP])
        part = "a block"
        if self.format == "pcap":
            part = "a packet header" if left < walk.CLASSIC_RECORD else "a packet"
        there = passed + left
        return self._fault(
            f"the file ends inside {part}: {there} bytes of at least {need}", _CUT, self._source.offset - there
        )

    def _damage(self, status: int, offset: int) -> CaptureError:
        """The error for what a walk ran into at ``offset``."""
        culprit = int(self._state[walk.CULPRIT])
        if status == walk.BAD_LINKTYPE:
            return self._wrong_linktype(culprit, offset)
        total = int(self._state[walk.BLOCK])
        if status == walk.BAD_TRAILER and self._state[walk.SKIP]:
            offset += 4 - total
        what = {
            walk.BAD_CAPLEN: f"a packet of absurd length: {culprit} bytes stored, {MAX_CAPLEN} is the most",
            walk.BAD_WIRELEN: f"a packet of absurd length: {culprit} bytes on the wire",
            walk.BAD_BLOCK: f"a block of absurd length {culprit}",
            walk.BAD_TRAILER: f"a block starts with length {total} and ends with {culprit}",
            walk.BAD_BODY: f"a block of {culprit} bytes is too short for what it holds",
            walk.BAD_INTERFACE: f"a packet on interface {culprit}, which its section does not describe",
            walk.BAD_TIME: "a packet's time is outside the years 1678 to 2262",
            walk.BAD_DESCRIPTION: f"an interface description of absurd length {culprit}",
        }[status]
        return self._fault(what, _DAMAGED, offset)


def open_capture(source: Source) -> CaptureReader:
    """Open a pcap or pcapng for reading: a path, or an open binary file object such as a pipe.

    A file object is read from where it stands and is not closed.  Raises CaptureError when it is no capture.
    """
    return CaptureReader(source)


def packets(source: Source) -> Iterator[tuple[int, bytes, int]]:
    """The packets of a capture one by one: (time in ns, bytes, length on the wire)."""
    with open_capture(source) as reader:
        batch = Batch()
        while count := reader.read_into(batch):
            for record in batch.records[:count]:
                start = int(record["offset"])
                yield (
                    int(record["ts_ns"]),
                    batch.data[start : start + int(record["caplen"])].tobytes(),
                    int(record["wirelen"]),
                )
