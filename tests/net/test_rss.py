"""The receive hash: the published verification suite, on bare input and on whole frames."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import inet_aton

from netemu import Machine
from netemu.net.rss import KEY, rss_hash, toeplitz_hash

# "Verifying the RSS Hash Calculation": source, destination, their ports, hash without and with ports
IPV4 = [
    ("66.9.149.187", "161.142.100.80", 2794, 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", "65.69.140.83", 14230, 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", "12.22.207.184", 12898, 38024, 0xD2D0A5DE, 0x5C2B394A),
    ("38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xAFC7327F),
    ("153.39.163.191", "202.188.127.2", 44251, 1303, 0x5D1809C5, 0x10E828A2),
]
IPV6 = [
    ("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0F0C461C, 0xDDE51BBF),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4B61E985, 0x02D1FEEF),
]
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
Case = tuple[str, str, int, int, int, int]


def address(text: str) -> bytes:
    return ip_address(text).packed


def hash_of(frame: bytes) -> int:
    """What the emulated NIC makes of a frame."""
    machine = Machine(memory_mb=4, skbs=16)
    padding = b"\xa5" * 7  # the frame does not start where the table does, and other bytes follow it
    machine.k.replace("feed_data", np.frombuffer(padding + frame + padding, np.uint8).copy())
    result: int = rss_hash(machine.k, 0, len(padding), len(frame))
    machine.check()
    return result


def hash_of_packet(packet: Packet) -> int:
    return hash_of(bytes(packet))


def ip_of(case: Case, **fields: int) -> Packet:
    source, destination = case[:2]
    layer = IPv6 if ":" in source else IP
    return layer(src=source, dst=destination, **fields)


def ports_of(case: Case) -> dict[str, int]:
    return {"sport": case[2], "dport": case[3]}


@pytest.mark.parametrize("case", IPV4 + IPV6)
def test_the_published_suite_on_bare_input(case: Case) -> None:
    source, destination, sport, dport, without, with_ports = case
    addresses = address(source) + address(destination)
    assert toeplitz_hash(addresses) == without
    assert toeplitz_hash(addresses + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")) == with_ports


@pytest.mark.parametrize("case", IPV4 + IPV6)
@pytest.mark.parametrize("transport", [TCP, UDP])
def test_the_published_suite_on_frames_with_ports(case: Case, transport: type[Packet]) -> None:
    assert hash_of_packet(ETHER / ip_of(case) / transport(**ports_of(case)) / Raw(b"x" * 20)) == case[5]


@pytest.mark.parametrize("case", IPV4 + IPV6)
def test_the_published_suite_on_frames_without_ports(case: Case) -> None:
    assert hash_of_packet(ETHER / ip_of(case) / Raw(b"x" * 40)) == case[4]


@pytest.mark.parametrize("case", [IPV4[0], IPV6[0]])
@pytest.mark.parametrize("tags", [[Dot1Q(vlan=5)], [Dot1AD(vlan=7), Dot1Q(vlan=5)]], ids=["one tag", "two tags"])
def test_vlan_tags_do_not_matter(case: Case, tags: list[Packet]) -> None:
    frame = ETHER.copy()
    for tag in tags:
        frame = frame / tag.copy()
    assert hash_of_packet(frame / ip_of(case) / TCP(**ports_of(case))) == case[5]


@pytest.mark.parametrize(
    "fields", [{"flags": 1}, {"frag": 100}, {"flags": 1, "frag": 100}], ids=["first", "last", "middle"]
)
def test_fragments_of_ipv4_are_hashed_by_address_so_that_they_stay_together(fields: dict[str, int]) -> None:
    assert hash_of_packet(ETHER / ip_of(IPV4[0], **fields) / UDP(**ports_of(IPV4[0]))) == IPV4[0][4]


def test_dont_fragment_is_no_fragment() -> None:
    assert hash_of_packet(ETHER / ip_of(IPV4[0], flags=2) / UDP(**ports_of(IPV4[0]))) == IPV4[0][5]


def test_fragments_of_ipv6_are_hashed_by_address() -> None:
    fragment = ip_of(IPV6[0]) / IPv6ExtHdrFragment(offset=10, nh=17) / Raw(b"x" * 40)
    assert hash_of_packet(ETHER / fragment) == IPV6[0][4]


def test_options_move_the_ports() -> None:
    packet = IP(src=IPV4[0][0], dst=IPV4[0][1], options=[IPOption_NOP()] * 8) / TCP(**ports_of(IPV4[0]))
    assert hash_of_packet(ETHER / packet) == IPV4[0][5]


def test_what_has_no_ports_is_hashed_by_address() -> None:
    assert hash_of_packet(ETHER / ip_of(IPV4[1]) / ICMP()) == IPV4[1][4]


@pytest.mark.parametrize(
    "packet",
    [ETHER / ARP(hwsrc=ETHER.src, psrc="192.0.2.1"), Ether(src=ETHER.src, dst=ETHER.dst, type=0x88CC) / Raw(b"x" * 60)],
    ids=["ARP", "LLDP"],
)
def test_what_is_not_ip_has_no_hash(packet: Packet) -> None:
    assert hash_of_packet(packet) == 0


@pytest.mark.parametrize(
    ("length", "expected"), [(0, 0), (13, 0), (14, 0), (33, 0), (34, "addresses"), (37, "addresses"), (38, "ports")]
)
def test_a_frame_that_ends_early_is_hashed_as_far_as_it_goes(length: int, expected: str | int) -> None:
    frame = bytes(ETHER / ip_of(IPV4[0]) / TCP(**ports_of(IPV4[0])))
    assert hash_of(frame[:length]) == {"addresses": IPV4[0][4], "ports": IPV4[0][5]}.get(str(expected), 0)


@pytest.mark.parametrize("length", [15, 17, 18])
def test_a_frame_that_ends_in_its_tags_has_no_hash(length: int) -> None:
    frame = bytes(ETHER / Dot1Q(vlan=5) / ip_of(IPV4[0]))
    assert hash_of(frame[:length]) == 0


def test_the_key_is_the_published_one() -> None:
    assert len(KEY) == 40
    assert KEY[:4] == inet_aton("109.90.86.218")


@given(st.binary(max_size=36), st.binary(min_size=40, max_size=40))
@settings(max_examples=50)
def test_the_hash_is_the_sum_of_key_windows_under_the_set_bits(data: bytes, key: bytes) -> None:
    bits = "".join(f"{byte:08b}" for byte in key)
    expected = 0
    for position, bit in enumerate("".join(f"{byte:08b}" for byte in data)):
        if bit == "1":
            expected ^= int(bits[position : position + 32], 2)
    assert toeplitz_hash(data, key) == expected


FRAMES = [
    bytes(packet / TCP(sport=1, dport=2))
    for packet in (
        ETHER / ip_of(IPV4[0]),
        ETHER / ip_of(IPV6[0]),
        ETHER / Dot1Q(vlan=1) / ip_of(IPV4[0]),
        ETHER / Dot1AD(vlan=1) / Dot1Q(vlan=1) / ip_of(IPV6[0]),
    )
]


@given(st.sampled_from(FRAMES), st.integers(0, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_frame_is_read_beyond_its_end(frame: bytes, length: int, damage: int) -> None:
    """Cut anywhere, with one byte changed (a header length that points further, say), whatever follows."""
    cut = bytearray(frame)[:length]
    if cut:
        cut[damage % len(cut)] ^= damage >> 24
    machine = Machine(memory_mb=4, skbs=16)
    hashes = []
    for rest in (b"\x00", b"\xff"):
        machine.k.replace("feed_data", np.frombuffer(bytes(cut) + rest * 64, np.uint8).copy())
        hashes.append(rss_hash(machine.k, 0, 0, len(cut)))
    assert hashes[0] == hashes[1]
