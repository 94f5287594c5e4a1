"""Packets with notes: a pcapng that says of each packet which way it went, and what became of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netemu.engine.jit import native
from netemu.pcap.batch import Bytes
from netemu.pcap.blocks import encode_block, encode_options
from netemu.pcap.pack import (
    DONE,
    FIRST,
    FULL,
    STATUS,
    TSRESOL,
    USED,
    block_fields,
    put_block_head,
    put_u32,
)
from netemu.pcap.timestamps import ticks
from netemu.pcap.walk import PACKET_FIXED
from netemu.pcap.writer import PcapngWriter, Target

INBOUND = 1
OUTBOUND = 2
NOTHING = -1
"""Of a note: there is nothing to say."""

NOTE = np.dtype(
    [
        ("packetid", "i8"),
        ("page", "i8"),
        ("direction", "i8"),
        ("queue", "i8"),
        ("verdict", "i8"),
        ("dropcount", "i8"),
        ("more_pages", "i8"),
        ("fate", "i8"),
        ("remark", "i8"),
    ]
)
"""What there is to say of one packet.

``packetid``: the same at every place where the packet was seen.  ``page``: number of the page that it starts on, or
NOTHING; ``more_pages``: how many follow; ``fate``: phrase about them.  ``direction``: INBOUND or OUTBOUND.
``verdict``: XDP action, or NOTHING.  ``dropcount``: packets lost before this one on its interface.  ``remark``: phrase
that is a comment by itself; 0: none.
"""

_COLUMNS = len(NOTE.names or ())
_PACKETID, _PAGE, _DIRECTION, _QUEUE, _VERDICT, _DROPCOUNT, _MORE_PAGES, _FATE, _REMARK = range(_COLUMNS)

_COMMENT = 1
_EPB_FLAGS = 2
_EPB_DROPCOUNT = 4
_EPB_PACKETID = 5
_EPB_QUEUE = 6
_EPB_VERDICT = 7
_VERDICT_XDP = 2
_INTERFACE_STATISTICS = 5
_ISB_IFRECV = 4
_ISB_IFDROP = 5

_LONGEST_PHRASE = 256
_MOST_OPTIONS = 2 * (_LONGEST_PHRASE + 64) + 128
"""Bytes that the options of one packet may take."""

# Phrases of every file, behind those that its writer was given.
_OWN_PHRASES = ("page 0x", " and ", " more")
_PAGE_IS, _AND, _MORE = (n - len(_OWN_PHRASES) for n in range(len(_OWN_PHRASES)))


@native("int64(uint8[::1], int64, uint8[::1], int64[::1], int64)")
def _put_phrase(out: Bytes, at: int, text: Bytes, starts: NDArray[np.int64], phrase: int) -> int:
    if phrase < 0:
        phrase += len(starts) - 1
    length = int(starts[phrase + 1] - starts[phrase])
    for i in range(length):
        out[at + i] = text[starts[phrase] + i]
    return at + length


@native("int64(uint8[::1], int64, int64, int64)")
def _put_number(out: Bytes, at: int, number: int, base: int) -> int:
    digits = 1
    rest = number // base
    while rest > 0:
        digits += 1
        rest = rest // base
    rest = number
    for i in range(digits):
        digit = rest % base
        rest = rest // base
        out[at + digits - 1 - i] = digit + (48 if digit < 10 else 87)
    return at + digits


@native("int64(uint8[::1], int64, int64, int64)")
def _put_head(out: Bytes, at: int, code: int, length: int) -> int:
    """Code and length of an option."""
    put_u32(out, at, code | length << 16)
    return at + 4


@native("int64(uint8[::1], int64, int64)")
def _end_comment(out: Bytes, start: int, at: int) -> int:
    """The text that follows the option at ``start`` ends at ``at``."""
    put_u32(out, start, _COMMENT | (at - start - 4) << 16)
    while (at - start) & 3:
        out[at] = 0
        at += 1
    return at


@native("int64(uint8[::1], int64, int64, int64, int64)")
def _put_number_option(out: Bytes, at: int, code: int, value: int, words: int) -> int:
    """A little-endian number of so many 32-bit words."""
    at = _put_head(out, at, code, 4 * words)
    put_u32(out, at, value & 0xFFFF_FFFF)
    if words == 2:
        put_u32(out, at + 4, value >> 32 & 0xFFFF_FFFF)
    return at + 4 * words


@native("int64(uint8[::1], int64, int64[::1], uint8[::1], int64[::1])")
def _put_note(out: Bytes, at: int, note: NDArray[np.int64], text: Bytes, starts: NDArray[np.int64]) -> int:
    """All options of one packet; where they end."""
    at = _put_number_option(out, at, _EPB_FLAGS, note[_DIRECTION], 1)
    if note[_DROPCOUNT] > 0:
        at = _put_number_option(out, at, _EPB_DROPCOUNT, note[_DROPCOUNT], 2)
    at = _put_number_option(out, at, _EPB_PACKETID, note[_PACKETID], 2)
    at = _put_number_option(out, at, _EPB_QUEUE, note[_QUEUE], 1)
    if note[_VERDICT] != NOTHING:  # an octet for the kind, then 64 bits in the byte order of the section
        at = _put_head(out, at, _EPB_VERDICT, 9)
        put_u32(out, at, _VERDICT_XDP | note[_VERDICT] << 8)
        put_u32(out, at + 4, note[_VERDICT] >> 24 & 0xFFFF_FFFF)
        put_u32(out, at + 8, note[_VERDICT] >> 56 & 0xFF)
        at += 12
    if note[_PAGE] != NOTHING:
        start = at
        at = _put_phrase(out, at + 4, text, starts, _PAGE_IS)
        at = _put_number(out, at, note[_PAGE], 16)
        if note[_MORE_PAGES] > 0:
            at = _put_phrase(out, at, text, starts, _AND)
            at = _put_number(out, at, note[_MORE_PAGES], 10)
            at = _put_phrase(out, at, text, starts, _MORE)
        out[at] = 32
        at = _put_phrase(out, at + 1, text, starts, note[_FATE])
        at = _end_comment(out, start, at)
    if note[_REMARK] > 0:
        start = at
        at = _put_phrase(out, at + 4, text, starts, note[_REMARK])
        at = _end_comment(out, start, at)
    return _put_head(out, at, 0, 0)


@native(
    "int64(uint8[::1], uint8[::1], int64[:], int64[:], int32[:], int32[:], int32[:], int64[:, ::1], int64[:, ::1],"
    " uint8[::1], int64[::1], int64[::1])"
)
def pack_noted(
    out: Bytes,
    data: Bytes,
    ts_ns: NDArray[np.int64],
    offset: NDArray[np.int64],
    caplen: NDArray[np.int32],
    wirelen: NDArray[np.int32],
    interface: NDArray[np.int32],
    outlets: NDArray[np.int64],
    notes: NDArray[np.int64],
    text: Bytes,
    starts: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Pack enhanced packet blocks, each with the options of its row of ``notes`` (see netemu.pcap.pack).

    Phrase ``n`` is ``text[starts[n]:starts[n + 1]]``.
    """
    used = state[USED]
    first = int(state[FIRST])
    number = first
    status = DONE
    while number < len(ts_ns):
        place = offset[number]
        outlet = interface[number]
        status, stored, high, low = block_fields(
            place, caplen[number], wirelen[number], len(data), outlet, ts_ns[number], outlets
        )
        if status != DONE:
            break
        if PACKET_FIXED + stored + _MOST_OPTIONS > len(out) - used:
            status = FULL
            break
        at = used + PACKET_FIXED
        out[at : at + stored] = data[place : place + stored]
        at += stored
        while at - used & 3:
            out[at] = 0
            at += 1
        at = _put_note(out, at, notes[number], text, starts)
        total = at + 4 - used
        put_u32(out, at, total)
        put_block_head(out, used, total, outlet, high, low, stored, wirelen[number])
        used = at + 4
        number += 1
    state[USED] = used
    state[STATUS] = status
    return number - first


class NotedWriter(PcapngWriter):
    """Writes a pcapng in which every packet has a note.  ``phrases``: texts that notes name by their places here."""

    def __init__(self, target: Target, phrases: Sequence[str]) -> None:
        texts = [phrase.encode() for phrase in (*phrases, *_OWN_PHRASES)]
        if any(len(text) > _LONGEST_PHRASE for text in texts):
            raise ValueError(f"a phrase has at most {_LONGEST_PHRASE} bytes")
        self._text = np.frombuffer(b"".join(texts), np.uint8).copy()
        self._starts = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
        super().__init__(target)

    def write_noted(self, data: Bytes, records: NDArray[Any], notes: NDArray[Any]) -> None:
        """As :meth:`write_batch`; ``notes``: a NOTE for each record."""
        if notes.dtype != NOTE or len(notes) != len(records):
            raise ValueError("there must be a NOTE for each record")
        columns = np.ascontiguousarray(notes).view(np.int64).reshape(len(notes), _COLUMNS)
        self._pack(pack_noted, data, records, columns, self._text, self._starts)

    def write_statistics(self, interface: int, ts_ns: int, received: int, dropped: int) -> None:
        """An interface statistics block: packets until ``ts_ns``, and how many of them the interface dropped."""
        high, low = ticks(ts_ns, int(self._outlets[interface, TSRESOL]))
        counts = [(_ISB_IFRECV, struct.pack("<Q", received)), (_ISB_IFDROP, struct.pack("<Q", dropped))]
        body = struct.pack("<III", interface, high, low) + encode_options(counts)
        self._append(encode_block(_INTERFACE_STATISTICS, body))
