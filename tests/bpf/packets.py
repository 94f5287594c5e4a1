"""Packets for the programs: diverse, malformed in many ways, and always the same."""

from __future__ import annotations

import random
import struct

SEED = 20240229
COUNT = 640
SHORTEST, LONGEST = 14, 3520

IPV4, IPV6, ARP, VLAN, QINQ, OLD_QINQ, MPLS, PPPOE = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8864
ICMP, IPIP, TCP, UDP, SIX_IN_FOUR, GRE, ICMPV6 = 1, 4, 6, 17, 41, 47, 58
PORTS = (53, 80, 80, 80, 443, 443, 8080, 4789, 22, 123, 65535, 0)
SIZES = (0, 1, 5, 18, 26, 64, 100, 250, 470, 512, 900, 1200, 1400)


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Maker:
    """Builds packets from one seeded source of choices."""

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)

    def ethernet(self, payload: bytes, proto: int, tags: tuple[int, ...] = ()) -> bytes:
        r = self.random
        macs = bytes([2, 0, 0, 0, r.randrange(4), r.randrange(256), 2, 0, 0, 1, 0, r.randrange(256)])
        data = payload
        for tag in reversed(tags):
            data = struct.pack("!HH", r.randrange(4096), proto) + data
            proto = tag
        return macs + struct.pack("!H", proto) + data

    def ipv4(self, payload: bytes, protocol: int, **changed: int) -> bytes:
        r = self.random
        options = bytes(r.choice((0,) * 12 + (4, 8, 40)))
        words = 5 + len(options) // 4
        if r.randrange(3):  # flows that come again
            source, target = bytes([10, r.choice((0, 0, 1)), 2, 5]), bytes([192, 168, 0, r.choice((1, 1, 2, 3))])
        else:
            source = bytes([10, r.randrange(3), r.choice((0, 2)), r.randrange(8)])
            target = bytes([192, 168, r.randrange(2), r.randrange(6)])
        head = struct.pack(
            "!BBHHHBBH4s4s",
            changed.get("version", 4) << 4 | changed.get("words", words),
            changed.get("tos", r.choice((0, 0, 0x10, 0xB8))),
            changed.get("length", words * 4 + len(payload)),
            r.randrange(65536),
            changed.get("fragment", 0),
            changed.get("ttl", r.choice((64, 63, 2, 1, 0, 255))),
            protocol,
            0,
            source,
            target,
        )
        head += options
        good = checksum(head) ^ changed.get("spoiled", 0)
        return head[:10] + struct.pack("!H", good) + head[12:] + payload

    def ipv6(self, payload: bytes, following: int) -> bytes:
        r = self.random
        source = bytes.fromhex("20010db8000000") + bytes([r.randrange(3)]) + bytes(7) + bytes([r.randrange(8)])
        target = bytes.fromhex("fe80") + bytes(13) + bytes([r.randrange(4)])
        hops = r.choice((64, 33, 70, 2, 1, 0, 255, 40))
        return (
            struct.pack("!IHBB", 6 << 28 | r.randrange(1 << 20), len(payload), following, hops)
            + source
            + target
            + payload
        )

    def extensions(self, payload: bytes, following: int) -> tuple[bytes, int]:
        """Puts one to seven extension headers in front."""
        r = self.random
        for _ in range(r.randrange(1, 8)):
            kind = r.choice((0, 43, 60, 60, 44))
            words = r.choice((0, 0, 1, 3)) if kind != 44 else 0
            payload = bytes([following, words]) + self.bytes(6 + 8 * words) + payload
            following = kind
        return payload, following

    def bytes(self, length: int) -> bytes:
        return self.random.randbytes(length)

    def tcp(self, size: int, flags: int | None = None) -> bytes:
        r = self.random
        flags = (
            r.choice((0x02, 0x02, 0x12, 0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x04, 0x29, 0x30, 0xFF, 0))
            if flags is None
            else flags
        )
        source, target = 1024 + r.randrange(2), r.choice((80, 80, 80, 443, 443, r.choice(PORTS)))
        offset = r.choice((5, 5, 5, 8, 15, 0, 3))
        head = struct.pack(
            "!HHIIBBHHH", source, target, r.randrange(1 << 32), 7, offset << 4, flags, 1024, r.randrange(65536), 0
        )
        return head + self.bytes(size)

    def udp(self, payload: bytes, port: int | None = None) -> bytes:
        r = self.random
        port = r.choice(PORTS) if port is None else port
        return (
            struct.pack("!HHHH", 1024 + r.randrange(2), port, 8 + len(payload), r.choice((0, 0x1234, 0xFFFF))) + payload
        )

    def dns(self) -> bytes:
        r = self.random
        name = r.choice(
            (b"example\3com", b"Bad\7example", b"a\1b\1c", b"x" * 63, b"ads\7tracker\3net", b"y" * 60 + b"\4long" * 9)
        )
        return (
            struct.pack("!HHHHHH", r.randrange(65536), 0x100, r.choice((1, 1, 1, 0)), 0, 0, 0)
            + b"\7"
            + name
            + b"\0\0\1\0\1"
        )

    def icmp(self, size: int, kind: int) -> bytes:
        body = struct.pack("!BBHHH", kind, 0, 0, self.random.randrange(65536), 1) + self.bytes(size)
        return body[:2] + struct.pack("!H", checksum(body)) + body[4:]

    def transport(self) -> tuple[bytes, int]:
        """Something that goes into IPv4, and its protocol."""
        r = self.random
        size = r.choice(SIZES)
        choice = r.randrange(12)
        if choice < 4:
            return self.tcp(size), TCP
        if choice < 6:
            return self.udp(self.bytes(size)), UDP
        if choice == 6:
            return self.udp(self.dns(), 53), UDP
        if choice in (7, 10, 11):
            return self.icmp(size, r.choice((8, 8, 8, 0, 3, 11))), ICMP
        if choice == 8:
            inner = self.ethernet(self.ipv4(self.tcp(20), TCP), IPV4)
            return self.udp(struct.pack("!II", r.choice((0x08000000, 0)), 77 << 8) + inner, 4789), UDP
        return self.bytes(size), r.choice((50, 51, 132, 255, 0, 2))

    def packet(self) -> bytes:
        """A well-formed packet of some kind."""
        r = self.random
        payload, protocol = self.transport()
        tags = r.choice(((),) * 16 + ((VLAN,), (QINQ, VLAN), (OLD_QINQ,), (VLAN, VLAN, VLAN), (VLAN,) * 5))
        kind = r.randrange(20)
        if kind < 10:
            return self.ethernet(self.ipv4(payload, protocol), IPV4, tags)
        if kind < 13:
            following = {ICMP: ICMPV6}.get(protocol, protocol)
            if following == ICMPV6:
                payload = self.icmp(r.choice(SIZES), r.choice((128, 128, 129, 135)))
            if r.randrange(3) == 0:
                payload, following = self.extensions(payload, following)
            return self.ethernet(self.ipv6(payload, following), IPV6, tags)
        if kind == 13:
            return self.ethernet(self.ipv4(self.ipv4(payload, protocol), IPIP), IPV4)
        if kind == 14:
            return self.ethernet(self.ipv4(self.ipv6(payload, protocol), SIX_IN_FOUR), IPV4)
        if kind == 15:
            head = struct.pack("!HH", r.choice((0, 0, 0x2000, 0x8000)), r.choice((IPV4, IPV6, 0x6558)))
            return self.ethernet(self.ipv4(head + self.ipv4(payload, protocol), GRE), IPV4)
        if kind == 16:
            return self.ethernet(struct.pack("!HHBBH", 1, IPV4, 6, 4, r.randrange(1, 3)) + self.bytes(20), ARP)
        if kind == 17:
            return self.ethernet(self.bytes(r.choice(SIZES)), r.choice((MPLS, PPPOE, 0x88CC, 0x0004, 0xFFFF)))
        fragment = r.choice((0x2000, 0x2010, 0x0010, 0x4000))
        return self.ethernet(self.ipv4(payload, protocol, fragment=fragment), IPV4, tags)

    def malformed(self) -> bytes:
        """A packet with something wrong."""
        r = self.random
        payload, protocol = self.transport()
        kind = r.randrange(9)
        if kind == 0:
            return self.ethernet(self.ipv4(payload, protocol, words=r.randrange(16)), IPV4)
        if kind == 1:
            return self.ethernet(self.ipv4(payload, protocol, version=r.randrange(16)), IPV4)
        if kind == 2:
            return self.ethernet(self.ipv4(payload, protocol, length=r.randrange(65536)), IPV4)
        if kind == 3:
            return self.ethernet(self.ipv4(payload, protocol, spoiled=1 << r.randrange(16)), IPV4)
        whole = self.packet()
        if kind == 4:
            data = bytearray(whole)
            for _ in range(r.randrange(1, 9)):
                data[r.randrange(len(data))] = r.randrange(256)
            return bytes(data)
        if kind == 5:
            return self.bytes(r.randrange(SHORTEST, 200))
        return whole[: r.randrange(SHORTEST, min(len(whole), 120) + 1)]


def packets(count: int = COUNT, seed: int = SEED) -> list[bytes]:
    """The first ``count`` packets: every third is malformed, and none is longer than 3,520 bytes."""
    maker = Maker(seed)
    made = []
    for number in range(count):
        data = maker.malformed() if number % 3 == 2 else maker.packet()
        if number % 71 == 70:
            data += maker.bytes(maker.random.randrange(1500, 2000))
        made.append(data[:LONGEST].ljust(SHORTEST, b"\0"))
    return made
