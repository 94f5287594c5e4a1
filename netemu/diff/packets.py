"""The packets of a capture one by one, with their interface and, if somebody wants it, what a program said of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UsageError
from ..pcap import Batch, Interface, open_capture
from ..pcap.walk import ENHANCED_PACKET, PACKET_FIXED

_EPB_VERDICT = 7


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """``number``: place in its capture, from 1.  ``verdict``: kind (0 hardware, 1 TC, 2 XDP) and value, in hex."""

    number: int
    ts_ns: int
    wirelen: int
    data: bytes
    interface: str
    verdict: str | None = None


def captured(path: str, *, interface: str | None = None, verdicts: bool = False) -> Iterator[CapturedPacket]:
    """The packets of a capture; ``interface``: only those of the interface of this name.

    Raises CaptureError where the capture is damaged, after what comes before, and UsageError when it ends without an
    interface of the name.
    """
    number = 0
    with open_capture(path) as reader:
        batch = Batch()
        while count := reader.read_into(batch):
            names = [_name(described, place) for place, described in enumerate(reader.interfaces)]
            view = batch.data.data
            for ts_ns, offset, caplen, wirelen, where, _ in batch.records[:count].tolist():
                number += 1
                if interface is None or names[where] == interface:
                    verdict = _verdict(view, offset, caplen) if verdicts and reader.format == "pcapng" else None
                    data = bytes(view[offset : offset + caplen])
                    yield CapturedPacket(number, ts_ns, wirelen, data, names[where], verdict)
        names = [_name(described, place) for place, described in enumerate(reader.interfaces)]
    if interface is not None and interface not in names:
        raise UsageError(f"{path} has no interface {interface!r}; it has: {', '.join(names) or 'none'}")


def _name(described: Interface, place: int) -> str:
    return described.name or f"interface {place}"


def _verdict(view: memoryview, offset: int, caplen: int) -> str | None:
    """The verdict among the options behind a packet's bytes, in the byte order of its block; None: there is none."""
    start = offset - PACKET_FIXED
    if start < 0:
        return None
    for order in "<>":
        kind, total = struct.unpack_from(order + "II", view, start)
        if kind == ENHANCED_PACKET:
            break
    else:
        return None
    at, end = offset + (caplen + 3 & ~3), start + total - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", view, at)
        if code == 0 or at + 4 + length > end:
            return None
        if code == _EPB_VERDICT and length > 0:
            value = bytes(view[at + 5 : at + 4 + length])
            return f"{view[at + 4]}:{(value[::-1] if order == '<' else value).hex()}"
        at += 4 + (length + 3 & ~3)
    return None
