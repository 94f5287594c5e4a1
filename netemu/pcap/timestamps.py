"""Exact conversion between nanoseconds and the ticks of a capture's clock.

A clock is the byte that pcapng calls if_tsresol: ``n`` means 10^-n s per tick, ``0x80 | n`` means 2^-n s.  Ticks are
unsigned 64-bit numbers and travel as two halves, because that is how files hold them.
"""

from __future__ import annotations

import numpy as np

from netemu.engine.jit import native

Int = int | np.int64
"""An integer of compiled code, which is one of numpy's when the same code runs as plain Python."""

MICROSECONDS = 6
NANOSECONDS = 9
BINARY = 0x80
"""Bit of if_tsresol that makes its exponent one of base 2."""

MOST_BINARY_DIGITS = 33
"""Finest base-2 clock that can be written; a finer one has no room for a present-day date."""
MOST_DECIMAL_DIGITS = 18
"""Finest base-10 clock that can be written."""

_SECOND = 1_000_000_000
_LAST_SECOND = (2**63 - 1) // _SECOND
_LAST_NANOSECOND = (2**63 - 1) % _SECOND
_FIRST_BEHIND = -(-(2**63) // _SECOND)
_FIRST_NANOSECOND = -(2**63) % _SECOND

_U_SECOND = np.uint64(_SECOND)
_U_LAST_SECOND = np.uint64(_LAST_SECOND)
_U_FIRST_BEHIND = np.uint64(_FIRST_BEHIND)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_POWERS_OF_TEN = np.array([10**n for n in range(20)], dtype=np.uint64)


def ticks_per_second(tsresol: int) -> int:
    """Ticks in a second of the clock ``tsresol``."""
    exponent = tsresol & ~BINARY
    return int((2 if tsresol & BINARY else 10) ** exponent)


@native("UniTuple(int64, 2)(int64, int64, int64, int64)")
def nanoseconds(high: Int, low: Int, tsresol: int, offset_s: int) -> tuple[int, Int]:
    """(1, time in ns, rounded down) of a tick count plus an offset in s, or (0, 0) when it is outside int64."""
    ticks = np.uint64(high) << _HALF | np.uint64(low)
    exponent = tsresol & 0x7F
    seconds = _ZERO
    fraction = ticks
    part = _ZERO
    if tsresol & BINARY:
        if exponent < 64:
            seconds = ticks >> np.uint64(exponent)
            fraction = ticks - (seconds << np.uint64(exponent))
        if exponent < 32:
            part = fraction * _U_SECOND >> np.uint64(exponent)
        elif exponent < 96:
            # the product has 94 bits: its upper 62 are enough, as at least 32 are shifted out
            upper = (fraction >> _HALF) * _U_SECOND + ((fraction & _LOW_HALF) * _U_SECOND >> _HALF)
            part = upper >> np.uint64(exponent - 32)
    else:
        if exponent < 20:
            seconds = ticks // _POWERS_OF_TEN[exponent]
            fraction = ticks - seconds * _POWERS_OF_TEN[exponent]
        if exponent <= 9:
            part = fraction * _POWERS_OF_TEN[9 - exponent]
        elif exponent < 29:
            part = fraction // _POWERS_OF_TEN[exponent - 9]
    rest = np.int64(part)
    if offset_s >= 0:
        ahead = np.uint64(offset_s)
        if seconds > _U_LAST_SECOND or ahead > _U_LAST_SECOND or seconds + ahead > _U_LAST_SECOND:
            return 0, 0
        whole = np.int64(seconds + ahead)
    else:
        back = np.uint64(-(offset_s + 1)) + _ONE
        if seconds < back:
            behind = back - seconds
            if behind > _U_FIRST_BEHIND or (behind == _U_FIRST_BEHIND and rest < _FIRST_NANOSECOND):
                return 0, 0
            return 1, -np.int64(behind - _ONE) * _SECOND + (rest - _SECOND)
        if seconds - back > _U_LAST_SECOND:
            return 0, 0
        whole = np.int64(seconds - back)
    if whole == _LAST_SECOND and rest > _LAST_NANOSECOND:
        return 0, 0
    return 1, whole * _SECOND + rest


@native("UniTuple(int64, 2)(int64, int64)")
def ticks(ts_ns: int, tsresol: int) -> tuple[Int, Int]:
    """(upper, lower 32 bits) of the tick count for a time in ns, or (-1, 0) when 64 unsigned bits cannot hold it.

    A clock finer than 1 ns gets the first tick of that nanosecond, so that it reads back unchanged; a coarser one
    rounds down.  Exponents up to MOST_BINARY_DIGITS and MOST_DECIMAL_DIGITS.
    """
    if ts_ns < 0:
        return -1, 0
    exponent = tsresol & 0x7F
    seconds = np.uint64(ts_ns // _SECOND)
    rest = np.uint64(ts_ns % _SECOND)
    if tsresol & BINARY:
        if exponent and seconds >> np.uint64(64 - exponent):
            return -1, 0
        scaled = rest << np.uint64(exponent)
        if exponent >= 30:
            scaled += _U_SECOND - _ONE
        count = (seconds << np.uint64(exponent)) + scaled // _U_SECOND
    elif exponent <= 9:
        count = np.uint64(ts_ns) // _POWERS_OF_TEN[9 - exponent]
    else:
        factor = _POWERS_OF_TEN[exponent - 9]
        if np.uint64(ts_ns) > np.uint64(0xFFFF_FFFF_FFFF_FFFF) // factor:
            return -1, 0
        count = np.uint64(ts_ns) * factor
    return np.int64(count >> _HALF), np.int64(count & _LOW_HALF)
