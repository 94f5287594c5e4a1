"""Where the headers of a packet are, for XDP programs of users: one set of rules for every way to run them.

The packet is ``k.memory[start:end]``.  Answers are offsets from ``start``, or -1 where a header is not there, whole.
"""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel

ETH_P_IP, ETH_P_IPV6, ETH_P_8021Q, ETH_P_8021AD = 0x0800, 0x86DD, 0x8100, 0x88A8
IPPROTO_TCP, IPPROTO_UDP = 6, 17
MOST_TAGS = 2
"""VLAN tags that are looked behind."""


@kernel_function(traced=False)
def two_bytes(k: Kernel, at: int) -> int:
    """Big-endian, at an address."""
    return k.memory[at] * 256 + k.memory[at + 1]


@kernel_function(traced=False, entry=True, rare=True)
def ethertype_at(k: Kernel, start: int, end: int) -> int:
    """The EtherType behind the VLAN tags."""
    at = start + 12
    last = at + 4 * MOST_TAGS
    while at + 2 <= end:
        kind = two_bytes(k, at)
        if at == last or (kind != ETH_P_8021Q and kind != ETH_P_8021AD):
            return at - start
        at += 4
    return -1


@kernel_function(traced=False, entry=True, rare=True)
def ipv4_at(k: Kernel, start: int, end: int) -> int:
    """The IPv4 header, with its options."""
    at = ethertype_at(k, start, end)
    if at < 0 or start + at + 22 > end or two_bytes(k, start + at) != ETH_P_IP:
        return -1
    first = k.memory[start + at + 2]
    if first < 0x45 or first > 0x4F or start + at + 2 + (first & 15) * 4 > end:
        return -1
    return at + 2


@kernel_function(traced=False, entry=True, rare=True)
def ipv6_at(k: Kernel, start: int, end: int) -> int:
    """The IPv6 header."""
    at = ethertype_at(k, start, end)
    if at < 0 or start + at + 42 > end or two_bytes(k, start + at) != ETH_P_IPV6:
        return -1
    return at + 2 if k.memory[start + at + 2] >> 4 == 6 else -1


@kernel_function(traced=False, entry=True, rare=True)
def transport_at(k: Kernel, start: int, end: int, protocol: int, size: int) -> int:
    """A header of ``size`` bytes of that IP protocol: none in fragments behind the first, or behind IPv6 extensions."""
    at = ipv4_at(k, start, end)
    if at >= 0:
        ip = start + at
        if k.memory[ip + 9] != protocol or (two_bytes(k, ip + 6) & 0x1FFF) != 0:
            return -1
        at += (k.memory[ip] & 15) * 4
    else:
        at = ipv6_at(k, start, end)
        if at < 0 or k.memory[start + at + 6] != protocol:
            return -1
        at += 40
    return at if size <= end - start - at else -1
