"""The few pcapng blocks that the sample captures need, little-endian.

Written out here, apart from the emulator's own reader and writer, so that the samples can judge them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERNET = 1
OPT_END, OPT_COMMENT, IF_NAME, IF_TSRESOL = 0, 1, 2, 9
MICROSECONDS, NANOSECONDS = 6, 9
SECOND = 1_000_000_000  # ns


def power_of_two(exponent: int) -> int:
    """``if_tsresol`` for a clock that counts in units of 2**-exponent seconds."""
    return 0x80 | exponent


@dataclass(frozen=True)
class Interface:
    """A capture interface and the resolution of its clock, in the coding of ``if_tsresol``."""

    name: str
    tsresol: int

    def units(self, ns: int) -> int:
        """``ns`` in units of this interface's clock, rounded down."""
        exponent = self.tsresol & 0x7F
        per_second: int = 2**exponent if self.tsresol & 0x80 else 10**exponent
        return ns * per_second // SECOND


def _to_32_bits(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _to_32_bits(value)


def section_header() -> bytes:
    """A section of unknown length, version 1.0."""
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface_description(interface: Interface) -> bytes:
    """An Ethernet interface.  Microseconds are the default and are left unsaid."""
    options = _option(IF_NAME, interface.name.encode())
    if interface.tsresol != MICROSECONDS:
        options += _option(IF_TSRESOL, bytes([interface.tsresol]))
    return _block(1, struct.pack("<HHI", ETHERNET, 0, 0) + options + _option(OPT_END, b""))


def enhanced_packet(interface: int, units: int, frame: bytes, comment: str | None = None) -> bytes:
    """A frame seen by the interface of this number at ``units`` of its clock."""
    header = struct.pack("<IIIII", interface, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame))
    options = _option(OPT_COMMENT, comment.encode()) + _option(OPT_END, b"") if comment else b""
    return _block(6, header + _to_32_bits(frame) + options)


def vendor_block() -> bytes:
    """A block of a kind that no reader knows (the highest bit marks private use)."""
    return _block(0x80000001, b"skip me!")
