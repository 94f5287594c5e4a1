"""The parts of pcapng that are not packets: sections, interfaces and options, read and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from netemu.pcap.timestamps import BINARY, MICROSECONDS
from netemu.pcap.walk import INTERFACE_DESCRIPTION, INTERFACE_FIXED, SECTION_HEADER

BYTE_ORDER_MAGIC = 0x1A2B3C4D

_OPTION_END = 0
_IF_NAME = 2
_IF_TSRESOL = 9
_IF_TSOFFSET = 14

_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were captured.

    ``snaplen``: longest stored packet in bytes, 0 for no limit.  ``tsresol``: its clock, in the form of pcapng's
    if_tsresol (9 for ns, 6 for us, ``0x80 | n`` for 2^-n s).  ``tsoffset``: s to add to its times.
    """

    linktype: int
    snaplen: int
    tsresol: int = MICROSECONDS
    name: str = ""
    tsoffset: int = 0

    @property
    def quick_clock(self) -> tuple[int, int, int]:
        """(ns per tick, most ticks, ns to add) when int64 arithmetic converts its times; most ticks is -1 if not."""
        offset_ns = self.tsoffset * 10**9
        if self.tsresol & BINARY or self.tsresol > 9 or not -(2**63) <= offset_ns < 2**63:
            return 0, -1, 0
        factor = 10 ** (9 - self.tsresol)
        return factor, (2**63 - 1 - max(offset_ns, 0)) // factor, offset_ns


def parse_interface(block: bytes, order: str) -> Interface:
    """The interface that a whole description block tells of.  ``order``: ``<`` or ``>``.

    Raises ValueError, saying what is wrong, when an option does not fit.
    """
    linktype, snaplen = struct.unpack_from(order + "HxxI", block, 8)
    tsresol, tsoffset, name = MICROSECONDS, 0, ""
    for code, value in _options(block[INTERFACE_FIXED:-4], order):
        if code == _IF_TSRESOL:
            (tsresol,) = _unpacked("if_tsresol", "B", value)
        elif code == _IF_TSOFFSET:
            (tsoffset,) = _unpacked("if_tsoffset", order + "q", value)
        elif code == _IF_NAME:
            name = value[:_NAME_LIMIT].rstrip(b"\0").decode("utf-8", "replace")
    return Interface(linktype, snaplen, tsresol, name, tsoffset)


def _options(area: bytes, order: str) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(area):
        if len(area) - at < 4:
            raise ValueError("an option is cut off")
        code, length = struct.unpack_from(order + "HH", area, at)
        if code == _OPTION_END:
            return
        at += 4
        if length > len(area) - at:
            raise ValueError(f"option {code} of {length} bytes reaches beyond its block")
        yield code, area[at : at + length]
        at += length + 3 & ~3


def _unpacked(name: str, form: str, value: bytes) -> tuple[int, ...]:
    if len(value) != struct.calcsize(form):
        raise ValueError(f"option {name} has {len(value)} bytes in place of {struct.calcsize(form)}")
    return struct.unpack(form, value)


def encode_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options as they stand in a little-endian block, the end mark included; nothing if there are none."""
    made = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    return made + struct.pack("<HH", _OPTION_END, 0) if made else b""


def encode_block(kind: int, body: bytes) -> bytes:
    """A whole little-endian block of type ``kind``."""
    total = 12 + len(_padded(body))
    return struct.pack("<II", kind, total) + _padded(body) + struct.pack("<I", total)


def encode_section() -> bytes:
    """The block that starts a little-endian section of unknown length."""
    return encode_block(SECTION_HEADER, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1))


def encode_interface(interface: Interface) -> bytes:
    """The block that describes ``interface``."""
    options = [(_IF_NAME, interface.name.encode())] if interface.name else []
    options.append((_IF_TSRESOL, bytes([interface.tsresol])))
    if interface.tsoffset:
        options.append((_IF_TSOFFSET, struct.pack("<q", interface.tsoffset)))
    fixed = struct.pack("<HxxI", interface.linktype, interface.snaplen)
    return encode_block(INTERFACE_DESCRIPTION, fixed + encode_options(options))


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
