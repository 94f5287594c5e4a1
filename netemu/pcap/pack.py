"""The compiled packing: from packet records to the bytes of a file.

Both packers have one form: ``pack(out, data, ts_ns, offset, caplen, wirelen, interface, outlets, options, state) ->
packets``.  They start with record ``state[FIRST]``, append whole records to ``out`` at ``state[USED]``, and say in
``state[STATUS]`` why they stopped.  Files are little-endian.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netemu.engine.jit import native
from netemu.pcap.batch import MAX_CAPLEN, Bytes
from netemu.pcap.timestamps import Int, ticks
from netemu.pcap.walk import CLASSIC_RECORD, ENHANCED_PACKET, PACKET_FIXED

# What a packer is told and tells: places in the state array.
USED = 0  # bytes of out that are taken
FIRST = 1  # the record to start with
STATUS = 2
STATE_LENGTH = 3

# Why a packer stopped.
DONE = 0
FULL = 1  # the next record does not fit into what is left of out
BAD_PLACE = 2  # the record's bytes are not inside data
BAD_TIME = 3  # the file's clock cannot hold the time
BAD_INTERFACE = 4
BAD_WIRELEN = 5

# Columns of the outlet table: one row for each interface of the file.
SNAPLEN = 0  # 0 for no limit
TSRESOL = 1
OUTLET_COLUMNS = 2

_SECOND = 1_000_000_000

_PACK = (
    "int64(uint8[::1], uint8[::1], int64[:], int64[:], int32[:], int32[:], int32[:], int64[:, ::1], uint8[::1],"
    " int64[::1])"
)


@native("void(uint8[::1], int64, int64)")
def put_u32(out: Bytes, at: int, value: Int) -> None:
    i = np.uint64(at)
    out[i] = value & 0xFF
    out[i + np.uint64(1)] = value >> 8 & 0xFF
    out[i + np.uint64(2)] = value >> 16 & 0xFF
    out[i + np.uint64(3)] = value >> 24 & 0xFF


@native("int64(int64, int64, int64, int64)")
def misfit(place: int, stored: int, length: int, size: int) -> int:
    """The reason why a record cannot be written, or DONE.  ``size``: bytes of data."""
    if stored < 0 or place < 0 or place > size - stored:
        return BAD_PLACE
    return BAD_WIRELEN if length < 0 else DONE


@native("UniTuple(int64, 4)(int64, int64, int64, int64, int64, int64, int64[:, ::1])")
def block_fields(
    place: int, caplen: int, wirelen: int, size: int, outlet: int, ts_ns: int, outlets: NDArray[np.int64]
) -> tuple[int, Int, Int, Int]:
    """Of an enhanced packet block: why it cannot be written, or DONE; bytes to store; both halves of the time."""
    status = misfit(place, caplen, wirelen, size)
    if status != DONE:
        return status, 0, 0, 0
    if outlet < 0 or outlet >= len(outlets):
        return BAD_INTERFACE, 0, 0, 0
    limit = outlets[outlet, SNAPLEN]
    if limit == 0 or limit > MAX_CAPLEN:
        limit = np.int64(MAX_CAPLEN)
    high, low = ticks(ts_ns, outlets[outlet, TSRESOL])
    return BAD_TIME if high < 0 else DONE, min(caplen, limit), high, low


@native("void(uint8[::1], int64, int64, int64, int64, int64, int64, int64)")
def put_block_head(
    out: Bytes, at: int, total: Int, outlet: Int, high: Int, low: Int, stored: Int, wirelen: Int
) -> None:
    """What an enhanced packet block of ``total`` bytes has in front of the packet."""
    put_u32(out, at, ENHANCED_PACKET)
    put_u32(out, at + 4, total)
    put_u32(out, at + 8, outlet)
    put_u32(out, at + 12, high)
    put_u32(out, at + 16, low)
    put_u32(out, at + 20, stored)
    put_u32(out, at + 24, wirelen)


@native(_PACK)
def pack_classic(
    out: Bytes,
    data: Bytes,
    ts_ns: NDArray[np.int64],
    offset: NDArray[np.int64],
    caplen: NDArray[np.int32],
    wirelen: NDArray[np.int32],
    interface: NDArray[np.int32],
    outlets: NDArray[np.int64],
    options: Bytes,
    state: NDArray[np.int64],
) -> int:
    """Pack records of a classic pcap, which knows no interfaces and no options."""
    unit_ns = 1 if outlets[0, TSRESOL] == 9 else 1000
    used = state[USED]
    first = int(state[FIRST])
    number = first
    status = DONE
    while number < len(ts_ns):
        place = offset[number]
        status = misfit(place, caplen[number], wirelen[number], len(data))
        if status != DONE:
            break
        stored = min(np.int64(caplen[number]), outlets[0, SNAPLEN])
        seconds = ts_ns[number] // _SECOND
        if seconds < 0 or seconds > 0xFFFF_FFFF:
            status = BAD_TIME
            break
        if CLASSIC_RECORD + stored > len(out) - used:
            status = FULL
            break
        put_u32(out, used, seconds)
        put_u32(out, used + 4, ts_ns[number] % _SECOND // unit_ns)
        put_u32(out, used + 8, stored)
        put_u32(out, used + 12, wirelen[number])
        used += CLASSIC_RECORD
        out[used : used + stored] = data[place : place + stored]
        used += stored
        number += 1
    state[USED] = used
    state[STATUS] = status
    return number - first


@native(_PACK)
def pack_blocks(
    out: Bytes,
    data: Bytes,
    ts_ns: NDArray[np.int64],
    offset: NDArray[np.int64],
    caplen: NDArray[np.int32],
    wirelen: NDArray[np.int32],
    interface: NDArray[np.int32],
    outlets: NDArray[np.int64],
    options: Bytes,
    state: NDArray[np.int64],
) -> int:
    """Pack enhanced packet blocks of a pcapng, each with the same ``options`` (encoded, often empty)."""
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
        padding = -stored & 3
        total = PACKET_FIXED + stored + padding + len(options) + 4
        if total > len(out) - used:
            status = FULL
            break
        put_block_head(out, used, total, outlet, high, low, stored, wirelen[number])
        at = used + PACKET_FIXED
        out[at : at + stored] = data[place : place + stored]
        at += stored
        out[at : at + padding] = 0
        at += padding
        out[at : at + len(options)] = options
        put_u32(out, at + len(options), total)
        used += total
        number += 1
    state[USED] = used
    state[STATUS] = status
    return number - first
