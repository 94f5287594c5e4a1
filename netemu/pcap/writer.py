"""Writing captures: whole records only, so that the file is valid at any moment."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import PurePath
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from netemu.errors import UsageError
from netemu.pcap import pack
from netemu.pcap.batch import MAX_CAPLEN, PACKET, Bytes, fields
from netemu.pcap.blocks import Interface, encode_interface, encode_options, encode_section
from netemu.pcap.errors import CaptureError
from netemu.pcap.linktype import ETHERNET
from netemu.pcap.timestamps import BINARY, MICROSECONDS, MOST_BINARY_DIGITS, MOST_DECIMAL_DIGITS, NANOSECONDS

Target = str | os.PathLike[str] | IO[bytes]
Option = tuple[int, bytes]

_BUFFER = 1 << 20
_MOST_OPTIONS = 1 << 19
_NO_OPTIONS = np.empty(0, np.uint8)
_CLASSIC_MAGIC = {MICROSECONDS: 0xA1B2C3D4, NANOSECONDS: 0xA1B23C4D}

_REASONS = {
    pack.BAD_PLACE: ("its bytes are not inside the data", "give offset and caplen that are"),
    pack.BAD_TIME: ("its time does not fit the file's clock", "use times from 1970 on and a clock with room for them"),
    pack.BAD_INTERFACE: ("its interface has not been added", "add it first"),
    pack.BAD_WIRELEN: ("its length on the wire is negative", "give the length in bytes"),
}


class CaptureWriter:
    """What both formats share: a reused buffer of whole records, and the file behind it.

    ``path``: name for messages.  ``packets``: packets written so far.  On a seekable file an interrupted write is
    done again in full by the next :meth:`flush` or :meth:`close`.  A file object that was handed in is left open.
    """

    def __init__(
        self, target: Target, head: bytes, packer: Callable[..., int], outlets: Iterable[Interface] = ()
    ) -> None:
        if isinstance(target, str | os.PathLike):
            self.path = os.fspath(target)
            self._file: Any = _create(self.path)
            self._owned = True
        else:
            name = getattr(target, "name", None)
            self.path = name if isinstance(name, str) else "<stream>"
            self._file = target
            self._owned = False
        self._seekable = bool(self._file.seekable())
        self._flushed = self._file.tell() if self._seekable else 0
        self._sent = 0  # bytes of the buffer that the file already has
        self._closed = False
        self.packets = 0
        self._packer = packer
        self._buffer = np.empty(_BUFFER, np.uint8)
        self._state = np.zeros(pack.STATE_LENGTH, np.int64)
        self._outlets = np.zeros((0, pack.OUTLET_COLUMNS), np.int64)
        for interface in outlets:
            self._add_outlet(interface)
        self._one = np.zeros(1, PACKET)
        self._append(head)

    def write(
        self, ts_ns: int, data: bytes | bytearray | memoryview, *, wirelen: int | None = None, interface: int = 0
    ) -> None:
        """Append one packet: time in ns since 1970, bytes, length on the wire (of ``data`` if not given).

        Bytes beyond the snapshot length are left out.  Raises CaptureError when the format cannot hold the packet.
        """
        self._write_one(ts_ns, data, wirelen, interface, b"")

    def write_batch(self, data: Bytes, records: NDArray[Any]) -> None:
        """Append the packets that PACKET ``records`` tell of, whose bytes are in ``data``.

        Raises CaptureError at the first that the format cannot hold; those before it are written.
        """
        if records.dtype != PACKET or records.ndim != 1:
            raise ValueError("records must be a one-dimensional PACKET array")
        self._pack(self._packer, data, records, _NO_OPTIONS)

    def flush(self) -> None:
        """Hand every whole record to the file.  Raises CaptureError when the file takes no more."""
        if self._closed:
            return
        used = int(self._state[pack.USED])
        try:
            if self._seekable:
                self._file.seek(self._flushed)
                self._sent = 0
            view = self._buffer.data[:used]
            while self._sent < used:
                sent = self._file.write(view[self._sent :])
                if sent is None:
                    raise BlockingIOError("the target does not wait")
                self._sent += sent
            if not self._owned:
                self._file.flush()
        except OSError as error:
            self._cut_back()
            raise CaptureError(
                f"writing failed: {error.strerror or error}",
                "make room, or write elsewhere",
                path=self.path,
                offset=self._flushed,
                packet=self.packets,
            ) from error
        self._flushed += used
        self._sent = 0
        self._state[pack.USED] = 0

    def close(self) -> None:
        """Flush, and close the file if it was opened here.  A second call does nothing."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            if self._owned:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add_outlet(self, interface: Interface) -> int:
        row = np.array([[interface.snaplen, interface.tsresol]], np.int64)
        self._outlets = np.concatenate((self._outlets, row))
        return len(self._outlets) - 1

    def _append(self, made: bytes) -> None:
        """Append bytes that are whole blocks."""
        if len(made) > _BUFFER - self._state[pack.USED]:
            self.flush()
        used = int(self._state[pack.USED])
        self._buffer[used : used + len(made)] = np.frombuffer(made, np.uint8)
        self._state[pack.USED] = used + len(made)

    def _write_one(
        self,
        ts_ns: int,
        data: bytes | bytearray | memoryview,
        wirelen: int | None,
        interface: int,
        options: bytes,
    ) -> None:
        held = bytearray(data)
        length = len(held) if wirelen is None else wirelen
        try:
            self._one[0] = (ts_ns, 0, len(held), length, interface, 0)
        except OverflowError as error:
            raise self._refused("a number of it is too large", "give times in int64 ns and lengths in int32") from error
        encoded = np.frombuffer(bytearray(options), np.uint8) if options else _NO_OPTIONS
        self._pack(self._packer, np.frombuffer(held or bytearray(1), np.uint8), self._one, encoded)

    def _pack(self, packer: Callable[..., int], data: Bytes, records: NDArray[Any], *beside: NDArray[Any]) -> None:
        """Have ``packer`` append the records to the buffer; ``beside``: what it takes besides."""
        if self._closed:
            raise self._refused("the file is closed", "write before closing it")
        if not data.flags.carray:
            data = np.array(data, np.uint8)
        columns = fields(records)
        state = self._state
        done = 0
        while True:
            state[pack.FIRST] = done
            packed = packer(self._buffer, data, *columns, self._outlets, *beside, state)
            done += packed
            self.packets += packed
            status = int(state[pack.STATUS])
            if status == pack.DONE:
                return
            if status != pack.FULL:
                raise self._refused(*_REASONS[status])
            self.flush()

    def _refused(self, what: str, remedy: str) -> CaptureError:
        return CaptureError(
            f"packet {self.packets + 1} cannot be written: {what}",
            remedy,
            path=self.path,
            offset=self._flushed + int(self._state[pack.USED]),
            packet=self.packets,
        )

    def _cut_back(self) -> None:
        """Take what a failed flush left in the file out of it again."""
        if self._seekable:
            with suppress(OSError):  # the failure that led here is the one to tell
                self._file.truncate(self._flushed)


class PcapWriter(CaptureWriter):
    """Writes a classic pcap, which has one interface: the ``interface`` of packets is not kept.

    ``snaplen``: longest stored packet in bytes.  ``nanoseconds``: clock of the file; us otherwise.
    """

    def __init__(
        self, target: Target, *, linktype: int = ETHERNET, snaplen: int = MAX_CAPLEN, nanoseconds: bool = True
    ) -> None:
        if not 0 < snaplen <= MAX_CAPLEN:
            raise ValueError(f"snaplen must be from 1 to {MAX_CAPLEN} bytes, not {snaplen}")
        if not 0 <= linktype <= 0xFFFF:
            raise ValueError(f"linktype must be from 0 to 65535, not {linktype}")
        interface = Interface(linktype, snaplen, NANOSECONDS if nanoseconds else MICROSECONDS)
        head = struct.pack("<IHHiIII", _CLASSIC_MAGIC[interface.tsresol], 2, 4, 0, 0, snaplen, linktype)
        super().__init__(target, head, pack.pack_classic, (interface,))


class PcapngWriter(CaptureWriter):
    """Writes a pcapng of one section; every interface is added before its first packet."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, encode_section(), pack.pack_blocks)

    def add_interface(
        self, name: str, *, linktype: int = ETHERNET, tsresol: int = NANOSECONDS, snaplen: int = 0
    ) -> int:
        """Describe an interface; returns its number.

        ``tsresol``: its clock, as in pcapng's if_tsresol.  ``snaplen``: longest stored packet in bytes, 0 for no limit.
        """
        exponent = tsresol & ~BINARY
        if not 0 <= exponent <= (MOST_BINARY_DIGITS if tsresol & BINARY else MOST_DECIMAL_DIGITS):
            raise ValueError(
                f"tsresol {tsresol} is outside 10^-0..10^-{MOST_DECIMAL_DIGITS} s and 2^-0..2^-{MOST_BINARY_DIGITS} s"
            )
        if not 0 <= linktype <= 0xFFFF or not 0 <= snaplen <= 0xFFFF_FFFF or len(name.encode()) > 0xFFFF:
            raise ValueError("an interface's linktype and name length have 16 bits, its snaplen 32")
        interface = Interface(linktype, snaplen, tsresol, name)
        self._append(encode_interface(interface))
        return self._add_outlet(interface)

    def write(
        self,
        ts_ns: int,
        data: bytes | bytearray | memoryview,
        *,
        wirelen: int | None = None,
        interface: int = 0,
        options: Sequence[Option] = (),
    ) -> None:
        """As for any writer; ``options`` are (code, value) pairs of the enhanced packet block, values little-endian."""
        encoded = encode_options(options)
        if len(encoded) > _MOST_OPTIONS:
            raise self._refused(f"{len(encoded)} bytes of options", f"keep to {_MOST_OPTIONS}")
        self._write_one(ts_ns, data, wirelen, interface, encoded)


def open_writer(
    path: str | os.PathLike[str],
    *,
    interfaces: Sequence[str] = ("eth0",),
    snaplen: int = MAX_CAPLEN,
    nanoseconds: bool = True,
) -> CaptureWriter:
    """A writer of Ethernet packets in the format that the name ends with: ``.pcap`` or ``.pcapng``.

    ``interfaces``: names of a pcapng's interfaces, numbered from 0.  Raises UsageError for other endings.
    """
    if check_ending(path) == ".pcap":
        return PcapWriter(path, snaplen=snaplen, nanoseconds=nanoseconds)
    writer = PcapngWriter(path)
    for name in interfaces:
        writer.add_interface(name, tsresol=NANOSECONDS if nanoseconds else MICROSECONDS, snaplen=snaplen)
    return writer


def check_ending(path: str | os.PathLike[str]) -> str:
    """The ending of a capture to be written: ``.pcap`` or ``.pcapng``.  Raises UsageError for others."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in (".pcap", ".pcapng"):
        what = f"no format is known for the ending {suffix!r}" if suffix else "no format is known without an ending"
        raise UsageError(f"{os.fspath(path)}: {what}; name it .pcap or .pcapng")
    return suffix


def _create(path: str) -> io.FileIO:
    try:
        return io.FileIO(path, "w")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CaptureError(f"cannot be written: {reason}", "choose another place", path=path) from error
