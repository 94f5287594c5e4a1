"""The compiled walks: from the bytes in a buffer to packet records.

Both walks have one form: ``walk(data, ts_ns, offset, caplen, wirelen, interface, clocks, state) -> packets``.  They
start at ``state[POSITION]``, stop before the first thing that they cannot finish, and say in ``state[STATUS]`` why.
Lengths from the file are unsigned 32-bit numbers held in int64, so that no sum of them overflows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netemu.engine.jit import native
from netemu.pcap.batch import LARGEST_WHOLE, MAX_CAPLEN, Bytes
from netemu.pcap.linktype import ETHERNET
from netemu.pcap.timestamps import Int, nanoseconds

# What a walk is told and tells: places in the state array.
POSITION = 0  # index of the first byte not walked yet
END = 1  # index after the last byte in the buffer
STATUS = 2  # why the walk stopped
NEED = 3  # bytes from POSITION on that the next step wants in the buffer
CULPRIT = 4  # the number that is wrong
SKIP = 5  # bytes of a block still to be passed over, its trailing length included
BLOCK = 6  # total length of the block that SKIP belongs to
BIG_ENDIAN = 7
UNIT_NS = 8  # classic: ns per unit of the time's fraction
FIRST_INTERFACE = 9  # index of the section's first interface among all
INTERFACES = 10  # interfaces of the section
STATE_LENGTH = 11

# Why a walk stopped.
FULL = 0  # no record left
MORE = 1  # NEED bytes are not there yet
SECTION = 2  # a section header stands at POSITION
INTERFACE = 3  # a whole interface description stands at POSITION
BAD_CAPLEN = 4
BAD_WIRELEN = 5
BAD_BLOCK = 6  # total length below 12 or no multiple of 4
BAD_TRAILER = 7  # the length that ends a block differs from the one that starts it
BAD_BODY = 8  # the block is too short for what it says it holds
BAD_INTERFACE = 9  # interface that the section has not described
BAD_LINKTYPE = 10
BAD_TIME = 11
BAD_DESCRIPTION = 12  # an interface description of absurd length

# Columns of the interface table.
LINKTYPE = 0
SNAPLEN = 1
TSRESOL = 2
OFFSET_S = 3
QUICK_FACTOR = 4  # ns per tick, for ticks up to QUICK_LIMIT
QUICK_LIMIT = 5  # -1 when the general conversion must do
QUICK_OFFSET_NS = 6
CLOCK_COLUMNS = 7

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
OBSOLETE_PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

CLASSIC_HEADER = 24
CLASSIC_RECORD = 16
SECTION_FIXED = 24
INTERFACE_FIXED = 16
PACKET_FIXED = 28
SIMPLE_FIXED = 12
SMALLEST_BLOCK = 12

_MAX_WIRELEN = 2**31 - 1
_SECOND = 1_000_000_000

_WALK = "int64(uint8[::1], int64[:], int64[:], int32[:], int32[:], int32[:], int64[:, ::1], int64[::1])"


@native("int64(uint8[::1], int64, int64)")
def _u16(data: Bytes, at: int, big_endian: int) -> Int:
    i = np.uint64(at)
    first = np.int64(data[i])
    second = np.int64(data[i + np.uint64(1)])
    return first << 8 | second if big_endian else second << 8 | first


@native("int64(uint8[::1], int64, int64)")
def _u32(data: Bytes, at: int, big_endian: int) -> Int:
    i = np.uint64(at)
    a = np.int64(data[i])
    b = np.int64(data[i + np.uint64(1)])
    c = np.int64(data[i + np.uint64(2)])
    d = np.int64(data[i + np.uint64(3)])
    return a << 24 | b << 16 | c << 8 | d if big_endian else d << 24 | c << 16 | b << 8 | a


@native(_WALK)
def walk_classic(
    data: Bytes,
    ts_ns: NDArray[np.int64],
    offset: NDArray[np.int64],
    caplen: NDArray[np.int32],
    wirelen: NDArray[np.int32],
    interface: NDArray[np.int32],
    clocks: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Walk the records of a classic pcap."""
    big_endian = state[BIG_ENDIAN]
    unit_ns = state[UNIT_NS]
    at = state[POSITION]
    end = state[END]
    room = len(ts_ns)
    found = 0
    status = FULL
    while found < room:
        if end - at < CLASSIC_RECORD:
            status = MORE
            state[NEED] = CLASSIC_RECORD
            break
        stored = _u32(data, at + 8, big_endian)
        length = _u32(data, at + 12, big_endian)
        if stored > MAX_CAPLEN:
            status = BAD_CAPLEN
            state[CULPRIT] = stored
            break
        if length > _MAX_WIRELEN:
            status = BAD_WIRELEN
            state[CULPRIT] = length
            break
        if end - at < CLASSIC_RECORD + stored:
            status = MORE
            state[NEED] = CLASSIC_RECORD + stored
            break
        ts_ns[found] = _u32(data, at, big_endian) * _SECOND + _u32(data, at + 4, big_endian) * unit_ns
        offset[found] = at + CLASSIC_RECORD
        caplen[found] = stored
        wirelen[found] = length
        interface[found] = 0
        found += 1
        at += CLASSIC_RECORD + stored
    state[POSITION] = at
    state[STATUS] = status
    return found


@native(_WALK)
def walk_blocks(
    data: Bytes,
    ts_ns: NDArray[np.int64],
    offset: NDArray[np.int64],
    caplen: NDArray[np.int32],
    wirelen: NDArray[np.int32],
    interface: NDArray[np.int32],
    clocks: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Walk the blocks of a pcapng section; blocks that hold no packet are passed over."""
    big_endian = state[BIG_ENDIAN]
    at = state[POSITION]
    end = state[END]
    skip = state[SKIP]
    room = len(ts_ns)
    found = 0
    status = FULL
    while found < room:
        if skip:
            passed = min(skip - 4, end - at)
            at += passed
            skip -= passed
            if skip > 4 or end - at < 4:
                status = MORE
                state[NEED] = 4
                break
            state[CULPRIT] = _u32(data, at, big_endian)
            if state[CULPRIT] != state[BLOCK]:
                status = BAD_TRAILER
                break
            at += 4
            skip = 0
            continue

        left = end - at
        if left < SMALLEST_BLOCK:
            status = MORE
            state[NEED] = SMALLEST_BLOCK
            break
        kind = _u32(data, at, big_endian)
        if kind == SECTION_HEADER:
            # its byte order, and so its length, is for the caller to find out
            status = SECTION
            if left < SECTION_FIXED:
                status = MORE
                state[NEED] = SECTION_FIXED
            break
        total = _u32(data, at + 4, big_endian)
        if total < SMALLEST_BLOCK or total & 3:
            status = BAD_BLOCK
            state[CULPRIT] = total
            break
        state[BLOCK] = total

        if kind == INTERFACE_DESCRIPTION:
            status = INTERFACE
            if total > LARGEST_WHOLE:
                status = BAD_DESCRIPTION
                state[CULPRIT] = total
            elif total < INTERFACE_FIXED + 4:
                status = BAD_BODY
                state[CULPRIT] = total
            elif left < total:
                status = MORE
                state[NEED] = total
            elif _u32(data, at + total - 4, big_endian) != total:
                status = BAD_TRAILER
                state[CULPRIT] = _u32(data, at + total - 4, big_endian)
            break
        if kind != ENHANCED_PACKET and kind != OBSOLETE_PACKET and kind != SIMPLE_PACKET:
            skip = total
            continue

        fixed = SIMPLE_FIXED if kind == SIMPLE_PACKET else PACKET_FIXED
        if total < fixed + 4:
            status = BAD_BODY
            state[CULPRIT] = total
            break
        if left < fixed:
            status = MORE
            state[NEED] = fixed
            break
        local: Int = 0
        if kind == ENHANCED_PACKET:
            local = _u32(data, at + 8, big_endian)
        elif kind == OBSOLETE_PACKET:
            local = _u16(data, at + 8, big_endian)
        if local >= state[INTERFACES]:
            status = BAD_INTERFACE
            state[CULPRIT] = local
            break
        number = state[FIRST_INTERFACE] + local
        if clocks[number, LINKTYPE] != ETHERNET:
            status = BAD_LINKTYPE
            state[CULPRIT] = clocks[number, LINKTYPE]
            break
        if kind == SIMPLE_PACKET:
            length = _u32(data, at + 8, big_endian)
            stored = length
            if clocks[number, SNAPLEN]:
                stored = min(length, clocks[number, SNAPLEN])
        else:
            stored = _u32(data, at + 20, big_endian)
            length = _u32(data, at + 24, big_endian)
        if stored > MAX_CAPLEN:
            status = BAD_CAPLEN
            state[CULPRIT] = stored
            break
        if length > _MAX_WIRELEN:
            status = BAD_WIRELEN
            state[CULPRIT] = length
            break
        packet_end = fixed + (stored + 3 & ~3)
        if packet_end + 4 > total:
            status = BAD_BODY
            state[CULPRIT] = total
            break
        # A block that options swell beyond reason is not held whole: they are passed over after the packet.
        wanted = total if total <= LARGEST_WHOLE else packet_end
        if left < wanted:
            status = MORE
            state[NEED] = wanted
            break
        if wanted == total and _u32(data, at + total - 4, big_endian) != total:
            status = BAD_TRAILER
            state[CULPRIT] = _u32(data, at + total - 4, big_endian)
            break

        time: Int = np.int64(0)
        if kind != SIMPLE_PACKET:
            high = _u32(data, at + 12, big_endian)
            low = _u32(data, at + 16, big_endian)
            if high < 1 << 31 and (high << 32 | low) <= clocks[number, QUICK_LIMIT]:
                time = (high << 32 | low) * clocks[number, QUICK_FACTOR] + clocks[number, QUICK_OFFSET_NS]
            else:
                fits, time = nanoseconds(high, low, clocks[number, TSRESOL], clocks[number, OFFSET_S])
                if not fits:
                    status = BAD_TIME
                    break
        ts_ns[found] = time
        offset[found] = at + fixed
        caplen[found] = stored
        wirelen[found] = length
        interface[found] = number
        found += 1
        at += wanted
        skip = total - wanted
    state[POSITION] = at
    state[SKIP] = skip
    state[STATUS] = status
    return found
