"""A batch: the reused memory that a reader fills with packets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKET = np.dtype(
    [
        ("ts_ns", "i8"),
        ("offset", "i8"),
        ("caplen", "i4"),
        ("wirelen", "i4"),
        ("interface", "i4"),
        ("reserved", "i4"),
    ]
)
"""One packet: time in ns since 1970, place and length of its bytes in the batch's data, length on the wire,
index of its interface in the reader's list."""

MAX_CAPLEN = 262_144
"""Longest stored packet that is believed, in bytes; a longer one means a damaged file."""

LARGEST_WHOLE = MAX_CAPLEN + 4_096
"""Longest record or block that has to be in memory at once, in bytes."""

Bytes = NDArray[np.uint8]
Fields = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def fields(records: NDArray[Any]) -> Fields:
    """The columns of a PACKET array in the order that compiled functions take them."""
    return (records["ts_ns"], records["offset"], records["caplen"], records["wirelen"], records["interface"])


class Batch:
    """Memory for the packets of one read: ``records[:count]`` say where in ``data`` each packet lies.

    A packet's bytes are ``data[offset:offset + caplen]``, valid until the batch is filled again; they may be changed
    in place.  Sizes are in bytes and packets.  Arrays given in place of sizes are filled where they are: ``data``
    one-dimensional, contiguous uint8 of at least LARGEST_WHOLE bytes, ``records`` one-dimensional PACKET.
    """

    __slots__ = ("columns", "count", "data", "records")

    def __init__(self, data: Bytes | int = 1 << 20, records: NDArray[Any] | int = 16_384) -> None:
        self.data = np.empty(data, np.uint8) if isinstance(data, int) else data
        self.records = np.zeros(records, PACKET) if isinstance(records, int) else records
        self.count = 0
        if self.data.dtype != np.uint8 or self.data.ndim != 1 or not self.data.flags.carray:
            raise ValueError("a batch's data must be a writable, contiguous, one-dimensional uint8 array")
        if self.records.dtype != PACKET or self.records.ndim != 1 or not self.records.flags.writeable:
            raise ValueError("a batch's records must be a writable one-dimensional PACKET array")
        if len(self.data) < LARGEST_WHOLE:
            raise ValueError(
                f"a batch needs {LARGEST_WHOLE} bytes of data for the longest packet, not {len(self.data)}"
            )
        if len(self.records) == 0:
            raise ValueError("a batch needs room for at least one record")
        self.columns = fields(self.records)
