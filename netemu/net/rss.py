"""Receive-side scaling: the Toeplitz hash over addresses and ports, as the NIC computes it to choose a queue.

The published key and its verification suite are Microsoft's ("RSS hashing types", NDIS); drivers on Linux use
the same key when none is set.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
INPUT_BYTES = 36
"""IPv6 source and destination (32), ports (4)."""
INDIRECTION = 128

ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8


def toeplitz_table(key: bytes = KEY) -> npt.NDArray[np.uint32]:
    """What each byte value contributes at each input position, for a 40-byte ``key``."""
    bits = int.from_bytes(key, "big")
    width = 8 * len(key)
    rows = np.zeros((INPUT_BYTES, 256), np.uint32)
    for position in range(INPUT_BYTES):
        for bit in range(8):
            window = (bits >> (width - 32 - (8 * position + bit))) & 0xFFFFFFFF
            values = np.arange(256)
            rows[position, (values >> (7 - bit)) & 1 == 1] ^= np.uint32(window)
    return rows.reshape(-1)


def toeplitz_hash(data: bytes, key: bytes = KEY) -> int:
    """The hash of ``data`` (addresses and ports in network order, at most 36 bytes)."""
    rows = toeplitz_table(key).reshape(INPUT_BYTES, 256)
    result = 0
    for position, byte in enumerate(data):
        result ^= int(rows[position, byte])
    return result


@inlined
def hash_bytes(k: Kernel, at: int, count: int, position: int) -> int:
    """The contribution of ``count`` bytes of the frame at ``at``, from input position ``position`` on."""
    result = 0
    for i in range(count):
        result ^= k.toeplitz[(position + i) * 256 + k.feed_data[at + i]]
    return result


@kernel_function(traced=False, entry=True, rare=True)
def rss_hash(k: Kernel, cpu: int, at: int, length: int) -> int:
    """Hash of the frame at ``k.feed_data[at:at + length]``; 0 when it is not IP (the NIC then uses queue 0)."""
    end = at + length
    where = at + 14
    if where > end:
        return 0
    kind = (k.feed_data[at + 12] << 8) | k.feed_data[at + 13]
    while kind in (ETH_P_8021Q, ETH_P_8021AD):
        if where + 4 > end:
            return 0
        kind = (k.feed_data[where + 2] << 8) | k.feed_data[where + 3]
        where += 4
    if kind == ETH_P_IP:
        if where + 20 > end:
            return 0
        result = hash_bytes(k, where + 12, 8, 0)
        fragment = ((k.feed_data[where + 6] & 0x3F) << 8) | k.feed_data[where + 7]
        protocol = k.feed_data[where + 9]
        ports = where + (k.feed_data[where] & 15) * 4
        position = 8
        if fragment != 0:
            return result
    elif kind == ETH_P_IPV6:
        if where + 40 > end:
            return 0
        result = hash_bytes(k, where + 8, 32, 0)
        protocol = k.feed_data[where + 6]
        ports = where + 40
        position = 32
    else:
        return 0
    if protocol in (6, 17) and ports + 4 <= end:
        result ^= hash_bytes(k, ports, 4, position)
    return result


@inlined
def rss_queue(k: Kernel, dev: int, at: int, length: int) -> int:
    """The queue of a device that a frame is for."""
    if k.netdev[dev].queues == 1:
        return 0
    return k.rss_table[dev * INDIRECTION + (rss_hash(k, 0, at, length) & (INDIRECTION - 1))]
