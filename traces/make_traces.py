"""Makes the sample captures: ``python -m netemu.traces.make_traces [FOLDER]``.

One function per capture returns its packets in time order, built by scapy.  Nothing depends on the clock, the host or
an unseeded generator, and every header field that scapy would otherwise choose is set, so the files come out byte for
byte the same each time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrSegmentRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

from netemu.traces import DESCRIPTIONS, pcapng

SECOND = 1_000_000_000  # ns
EPOCH = 1_700_000_000 * SECOND  # every capture starts here, in ns since 1970
LINK_BITS_PER_NS = 10  # 10 Gbit/s
FCS = 4  # check sequence: on the wire, not in the capture
WIRE_GAP = 8 + 12  # preamble and the gap between frames, bytes
MIN_FRAME = 60  # shortest frame as captured

UPSTREAM_MAC = "02:00:00:00:00:01"
ROUTER_MAC = "02:00:00:00:00:02"


class Timed(NamedTuple):
    """One captured frame."""

    ns: int
    """Time since :data:`EPOCH`."""
    frame: bytes
    """Ethernet header to payload, padded to the shortest frame."""


def wire_ns(frame_bytes: int) -> int:
    """Time that a captured frame of this size takes on the link, rounded up, ns."""
    return -(-(frame_bytes + FCS + WIRE_GAP) * 8 // LINK_BITS_PER_NS)


def payload(size: int) -> bytes:
    """``size`` bytes that compress well and show an offset error at once: 0, 1, 2 ... 255, 0 ..."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def ethernet(packet: Packet, *, src: str = UPSTREAM_MAC, dst: str = ROUTER_MAC) -> bytes:
    """``packet`` in an Ethernet frame, padded with zeros to the shortest frame."""
    return bytes(Ether(src=src, dst=dst) / packet).ljust(MIN_FRAME, b"\0")


def back_to_back(frames: Iterable[bytes]) -> Iterator[Timed]:
    """``frames`` at line rate."""
    ns = 0
    for frame in frames:
        yield Timed(ns, frame)
        ns += wire_ns(len(frame))


class Flow(NamedTuple):
    """Who talks to whom, through the router."""

    src: str
    dst: str
    sport: int
    dport: int
    is_tcp: bool

    @classmethod
    def draw(cls, rng: random.Random, *, is_tcp: bool) -> Flow:
        """A client in 10.0.0.0/11 and one of the servers in 192.0.2.0/24."""
        return cls(
            src=f"10.{rng.randrange(32)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
            dst=f"192.0.2.{rng.randrange(1, 255)}",
            sport=rng.randrange(1024, 65536),
            dport=rng.choice((80, 443) if is_tcp else (443, 4500, 5060)),
            is_tcp=is_tcp,
        )


def router_imix() -> Iterator[Timed]:
    """3600 frames: 300 groups of 7 short, 4 middle and 1 long one, shuffled.

    A few of the 256 flows carry most packets (weights 1, 1/2, 1/3 ...).  Four of five flows are UDP.  The gaps between
    frames are exponential, and the link is busy 60 % of the time.
    """
    rng = random.Random("router-imix")
    sizes = ([64] * 7 + [594] * 4 + [1518]) * 300
    rng.shuffle(sizes)
    flows = [Flow.draw(rng, is_tcp=number % 5 == 4) for number in range(256)]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(flows))))
    mean_wire_ns = sum(wire_ns(size - FCS) for size in sizes) / len(sizes)
    mean_pause_ns = mean_wire_ns * (1 - 0.6) / 0.6
    ns = 0
    for number, size in enumerate(sizes):
        flow = rng.choices(flows, cum_weights=weights)[0]
        ports = {"sport": flow.sport, "dport": flow.dport}
        transport = TCP(seq=number, ack=1, flags="A", window=512, **ports) if flow.is_tcp else UDP(**ports)
        headers = 14 + 20 + len(transport)
        packet = (
            IP(src=flow.src, dst=flow.dst, id=number, flags="DF", ttl=62)
            / transport
            / Raw(payload(size - FCS - headers))
        )
        yield Timed(ns, ethernet(packet))
        ns += wire_ns(size - FCS) + round(rng.expovariate(1 / mean_pause_ns))


def flood_64() -> Iterator[Timed]:
    """3000 shortest frames at line rate: one victim, each packet from another source address and port."""
    rng = random.Random("flood-64")
    victim = "198.51.100.7"

    def frames() -> Iterator[bytes]:
        for number in range(3000):
            source = f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            packet = IP(src=source, dst=victim, ttl=rng.randrange(40, 64), id=number)
            yield ethernet(packet / UDP(sport=rng.randrange(1024, 65536), dport=53) / Raw(payload(18)))

    yield from back_to_back(frames())


class Conversation:
    """One TCP connection between a client and a server, packet by packet."""

    MSS = 1460

    def __init__(
        self, client: tuple[str, int], server: tuple[str, int], start_ns: int, rtt_ns: int, rng: random.Random
    ):
        self.ends = (client, server)
        self.macs = (UPSTREAM_MAC, ROUTER_MAC)
        self.next_seq = [rng.randrange(2**31), rng.randrange(2**31)]
        self.next_id = [rng.randrange(2**15), rng.randrange(2**15)]
        self.ns = start_ns
        self.half_rtt_ns = rtt_ns // 2
        self.packets: list[Timed] = []

    def send(
        self, side: int, flags: str, data: bytes = b"", options: list[tuple[str, int | None]] | None = None
    ) -> None:
        """One packet from ``side`` (0 the client, 1 the server), acknowledging all that the other side sent."""
        here, there = self.ends[side], self.ends[1 - side]
        tcp = TCP(
            sport=here[1],
            dport=there[1],
            seq=self.next_seq[side],
            ack=self.next_seq[1 - side] if "A" in flags else 0,
            flags=flags,
            window=64240,
            options=options or [],
        )
        packet = IP(src=here[0], dst=there[0], id=self.next_id[side] & 0xFFFF, flags="DF", ttl=64) / tcp
        if data:
            packet /= Raw(data)
        frame = ethernet(packet, src=self.macs[side], dst=self.macs[1 - side])
        self.packets.append(Timed(self.ns, frame))
        self.next_id[side] += 1
        self.next_seq[side] += len(data) + ("S" in flags) + ("F" in flags)
        self.ns += wire_ns(len(frame))

    def wait_for_other_side(self) -> None:
        """Half a round trip passes."""
        self.ns += self.half_rtt_ns

    def open(self) -> None:
        """The three packets of the handshake."""
        options: list[tuple[str, int | None]] = [("MSS", self.MSS), ("NOP", None), ("WScale", 7)]
        for side, flags in ((0, "S"), (1, "SA")):
            self.send(side, flags, options=options)
            self.wait_for_other_side()
        self.send(0, "A")

    def exchange(self, request: bytes, response: bytes) -> None:
        """A request, and its response in full segments; the client acknowledges every second one and the last."""
        self.send(0, "PA", request)
        self.wait_for_other_side()
        segments = [response[at : at + self.MSS] for at in range(0, len(response), self.MSS)]
        for number, segment in enumerate(segments, start=1):
            is_last = number == len(segments)
            self.send(1, "PA" if is_last else "A", segment)
            if number % 2 == 0 or is_last:
                self.send(0, "A")
        self.wait_for_other_side()

    def close(self) -> None:
        """Both sides finish, the server first."""
        self.send(1, "FA")
        self.wait_for_other_side()
        self.send(0, "FA")
        self.wait_for_other_side()
        self.send(1, "A")


def http() -> Iterator[Timed]:
    """24 connections that overlap in time, one to three requests each, to one server."""
    rng = random.Random("http")
    packets: list[Timed] = []
    for number in range(24):
        client = (f"10.1.{number // 8}.{10 + number}", 40000 + rng.randrange(20000))
        talk = Conversation(
            client, ("203.0.113.80", 80), rng.randrange(SECOND // 10), rng.randrange(200_000, 20_000_000), rng
        )
        talk.open()
        for page in range(rng.randrange(1, 4)):
            request = f"GET /{number}/{page} HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n"
            body = payload(rng.choice((300, 1200, 6000, 18000)))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
            talk.exchange(request.encode(), head.encode() + body)
        talk.close()
        packets += talk.packets
    yield from sorted(packets)


def dns() -> Iterator[Timed]:
    """400 queries to one resolver, every answer a few milliseconds later, one in ten of them "no such name"."""
    rng = random.Random("dns")
    resolver = "203.0.113.53"
    packets: list[Timed] = []
    for number in range(400):
        client = f"10.2.{rng.randrange(4)}.{rng.randrange(1, 255)}"
        port = rng.randrange(1024, 65536)
        name = f"{rng.choice(('www', 'mail', 'api', 'cdn'))}{rng.randrange(100)}.example.com."
        is_v6, is_unknown = rng.random() < 0.3, rng.random() < 0.1
        kind, address = (
            ("AAAA", f"2001:db8::{rng.randrange(1, 2**16):x}") if is_v6 else ("A", f"192.0.2.{rng.randrange(1, 255)}")
        )
        question = DNSQR(qname=name, qtype=kind, qclass="IN")
        answer = DNSRR(rrname=name, type=kind, rclass="IN", ttl=300, rdata=address)
        transaction = rng.randrange(2**16)
        asked = IP(src=client, dst=resolver, id=number, ttl=64) / UDP(sport=port, dport=53)
        asked /= DNS(id=transaction, qr=0, rd=1, qd=question)
        told = IP(src=resolver, dst=client, id=number, ttl=60) / UDP(sport=53, dport=port)
        told /= DNS(
            id=transaction,
            qr=1,
            rd=1,
            ra=1,
            rcode=3 if is_unknown else 0,
            qd=question,
            an=[] if is_unknown else [answer],
        )
        ns = number * 500_000 + rng.randrange(400_000)
        packets.append(Timed(ns, ethernet(asked)))
        packets.append(Timed(ns + rng.randrange(300_000, 8_000_000), ethernet(told, src=ROUTER_MAC, dst=UPSTREAM_MAC)))
    yield from sorted(packets)


def mixed_kinds() -> Iterator[bytes]:
    """The frames of the mixed capture: 32 rounds of the kinds that a parser must tell apart."""
    for number in range(32):
        ask = ARP(op="who-has", hwsrc=UPSTREAM_MAC, psrc="10.3.0.1", pdst="10.3.0.2", hwdst="00:00:00:00:00:00")
        tell = ARP(op="is-at", hwsrc=ROUTER_MAC, psrc="10.3.0.2", hwdst=UPSTREAM_MAC, pdst="10.3.0.1")
        yield ethernet(ask, dst="ff:ff:ff:ff:ff:ff")
        yield ethernet(tell, src=ROUTER_MAC, dst=UPSTREAM_MAC)
        ip = IP(src="10.3.0.1", dst="10.3.0.2", id=number, ttl=64)
        udp = UDP(sport=7000 + number, dport=9000) / Raw(payload(100 + number))
        yield ethernet(Dot1Q(vlan=100, prio=number % 8) / ip / udp)
        yield ethernet(Dot1AD(vlan=200) / Dot1Q(vlan=100 + number % 4) / ip / udp)
        yield ethernet(ip / ICMP(type="echo-request", id=1, seq=number) / Raw(payload(56)))
        for part in fragment(ip / UDP(sport=7000 + number, dport=9000) / Raw(payload(3500)), fragsize=1480):
            yield ethernet(part)
        yield from mixed_ipv6(number, udp)


def mixed_ipv6(number: int, udp: Packet) -> Iterator[bytes]:
    """Neighbour discovery, plain UDP and each kind of extension header."""
    here, there = "2001:db8::1", "2001:db8::2"
    ask = ICMPv6ND_NS(tgt=there) / ICMPv6NDOptSrcLLAddr(lladdr=UPSTREAM_MAC)
    tell = ICMPv6ND_NA(tgt=there, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ROUTER_MAC)
    yield ethernet(IPv6(src=here, dst="ff02::1:ff00:2", hlim=255) / ask, dst="33:33:ff:00:00:02")
    yield ethernet(IPv6(src=there, dst=here, hlim=255) / tell, src=ROUTER_MAC, dst=UPSTREAM_MAC)
    ip = IPv6(src=here, dst=there, hlim=64, fl=number)
    yield ethernet(ip / udp)
    padding = PadN(optdata=bytes(4))
    yield ethernet(ip / IPv6ExtHdrHopByHop(options=[padding]) / IPv6ExtHdrDestOpt(options=[padding]) / udp)
    yield ethernet(ip / IPv6ExtHdrSegmentRouting(addresses=[there], segleft=0, lastentry=0) / udp)
    whole = bytes(ip / UDP(sport=7000 + number, dport=9000) / Raw(payload(2800)))[40:]
    for at in range(0, len(whole), 1400):
        more = at + 1400 < len(whole)
        part = IPv6ExtHdrFragment(nh=17, offset=at // 8, m=int(more), id=number) / Raw(whole[at : at + 1400])
        yield ethernet(ip / part)


MIXED_INTERFACES = (
    pcapng.Interface("eth0", pcapng.MICROSECONDS),
    pcapng.Interface("eth1", pcapng.NANOSECONDS),
    pcapng.Interface("eth2", pcapng.power_of_two(20)),
)


def mixed() -> bytes:
    """The whole pcapng file: the frames in turn on three interfaces, a comment, and a block that readers skip."""
    blocks = [pcapng.section_header(), *map(pcapng.interface_description, MIXED_INTERFACES), pcapng.vendor_block()]
    ns = 0
    for number, frame in enumerate(mixed_kinds()):
        interface = number % len(MIXED_INTERFACES)
        comment = "the first packet" if number == 0 else None
        blocks.append(pcapng.enhanced_packet(interface, MIXED_INTERFACES[interface].units(EPOCH + ns), frame, comment))
        ns += 25_000 + wire_ns(len(frame))
    return b"".join(blocks)


def jumbo() -> Iterator[Timed]:
    """16 bursts of four jumbo segments, each burst followed by the shortest frames that acknowledge it."""
    mss = 9000 - 40
    ns = 0
    seq = 1
    for burst in range(16):
        data = [
            IP(src="10.4.0.1", dst="10.4.0.2", id=burst * 4 + part, flags="DF", ttl=64)
            / TCP(sport=5001, dport=40001, seq=seq + part * mss, ack=1, flags="A", window=512)
            / Raw(payload(mss))
            for part in range(4)
        ]
        seq += 4 * mss
        acks = [
            IP(src="10.4.0.2", dst="10.4.0.1", id=burst * 2 + part, flags="DF", ttl=64)
            / TCP(sport=40001, dport=5001, seq=1, ack=seq - (1 - part) * 2 * mss, flags="A", window=512)
            for part in range(2)
        ]
        frames = [ethernet(packet) for packet in data]
        frames += [ethernet(packet, src=ROUTER_MAC, dst=UPSTREAM_MAC) for packet in acks]
        for timed in back_to_back(frames):
            yield Timed(ns + timed.ns, timed.frame)
        ns += 100_000


def pcap(packets: Callable[[], Iterator[Timed]], *, nano: bool) -> Callable[[Path], None]:
    """What writes ``packets`` as a little-endian pcap, in nanoseconds or microseconds."""
    unit = 1 if nano else 1000

    def write(path: Path) -> None:
        with PcapWriter(str(path), linktype=1, endianness="<", nano=nano) as writer:
            writer.write_header(None)
            for ns, frame in packets():
                second, rest = divmod(EPOCH + ns, SECOND)
                writer.write_packet(frame, sec=second, usec=rest // unit)

    return write


WRITERS: dict[str, Callable[[Path], object]] = {
    "router-imix.pcap": pcap(router_imix, nano=True),
    "flood-64.pcap": pcap(flood_64, nano=True),
    "http.pcap": pcap(http, nano=False),
    "dns.pcap": pcap(dns, nano=False),
    "mixed.pcapng": lambda path: path.write_bytes(mixed()),
    "jumbo.pcap": pcap(jumbo, nano=False),
}


def write_all(folder: Path) -> None:
    """Write every capture into ``folder``."""
    for name in DESCRIPTIONS:
        WRITERS[name](folder / name)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
