"""XDP programs for the tests: each as native code and as guarded Python, over one set of maps."""

from __future__ import annotations

from typing import Any

from netemu import XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, ArrayMap, HashMap, XdpPacket, xdp

FIELDS = ("length", "linear", "queue", "ethertype", "vlan", "ipv4", "ipv6", "udp", "tcp")
seen = ArrayMap(len(FIELDS) * 512)
"""What :func:`parse` said of each packet."""


def row_of(packet: XdpPacket) -> int:
    return packet.number() % 512 * 9


def parse(packet: XdpPacket) -> int:
    at = row_of(packet)
    seen[at] = packet.length()
    seen[at + 1] = packet.linear()
    seen[at + 2] = packet.queue()
    seen[at + 3] = packet.ethertype()
    seen[at + 4] = packet.vlan()
    seen[at + 5] = packet.ipv4()
    seen[at + 6] = packet.ipv6()
    seen[at + 7] = packet.udp()
    seen[at + 8] = packet.tcp()
    return XDP_DROP


def told() -> list[tuple[int, ...]]:
    """What :func:`parse` said, packet by packet, as far as it was called; forgets it."""
    values = list(seen)
    rows = [tuple(values[at : at + 9]) for at in range(0, len(values), 9)]
    for at in range(len(seen)):
        seen[at] = 0
    return [row for row in rows if row[0]]


def rewrite(packet: XdpPacket) -> int:
    """Swaps hardware addresses, cuts four bytes at the end, adds a VLAN tag in front."""
    to, origin = packet.u48(0), packet.u48(6)
    if packet.adjust_tail(-4) != 0 or packet.adjust_head(-4) != 0:
        return XDP_ABORTED
    packet.set_u48(0, origin)
    packet.set_u48(6, to)
    packet.set_u16(12, 0x8100)
    packet.set_u16(14, 7)
    packet.set_u8(16, 8)
    packet.set_u8(17, 0)
    return XDP_TX


ports = HashMap(4)


def faulty(packet: XdpPacket) -> int:
    """Does at packet 5 what the first byte of the packets says."""
    what = packet.u8(0)
    if packet.number() != 5:
        return XDP_PASS
    if what == 1:
        return packet.u16(packet.linear() - 1)
    if what == 2:
        return packet.u8(-1)
    if what == 3:
        return ports[77]
    if what == 4:
        for key in range(5):
            ports[key] = 1
    if what == 5:
        return seen[len(seen)]
    if what == 6:
        return 1 // (what - 6)
    return XDP_PASS


aims, reached = ArrayMap(256), ArrayMap(256)
"""The byte that :func:`reaches` wants of each packet; whether it got it."""


def reaches(packet: XdpPacket) -> int:
    """Reads or writes one field: packets take turns in which."""
    number = packet.number()
    at = aims[number]
    which = number % 8
    if which == 0:
        packet.u8(at)
    if which == 1:
        packet.u16(at)
    if which == 2:
        packet.u32(at)
    if which == 3:
        packet.u48(at)
    if which == 4:
        packet.set_u8(at, 0)
    if which == 5:
        packet.set_u16(at, 0)
    if which == 6:
        packet.set_u32(at, 0)
    if which == 7:
        packet.set_u48(at, 0)
    reached[number] = 1
    return XDP_DROP


def reaches_further(packet: XdpPacket) -> int:
    """Uses the sum of positive numbers as an offset or index, where it may be beyond 64 bits."""
    number = packet.number()
    at = aims[number]
    if at < 0:
        return XDP_PASS
    which = number % 4
    if which == 0:
        packet.u32(at + 8)
    if which == 1:
        packet.set_u48(at + 8, 0)
    if which == 2:
        reached[at + 8] = 2
    if which == 3:
        ports[at + 8] += 1
    reached[number] = 1
    return XDP_DROP


_made: dict[Any, Any] = {}


def made(function: Any, compiled: bool, **options: Any) -> Any:
    """The program of a function; what is compiled is compiled once."""
    key = function, compiled, *options.items()
    if key not in _made:
        _made[key] = xdp(compiled=compiled, **options)(function)
    return _made[key]
