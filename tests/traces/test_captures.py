"""The bundled captures: reproducible, readable by scapy, and what their descriptions say."""

import re
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet import defragment as defragment4
from scapy.layers.inet6 import (
    ICMPv6ND_NS,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrSegmentRouting,
    defragment6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q
from scapy.packet import Packet
from scapy.plist import PacketList
from scapy.utils import RawPcapNgReader, rdpcap

from netemu import traces
from netemu.traces import make_traces

FCS = 4


@pytest.fixture(scope="module")
def packets() -> dict[str, PacketList]:
    return {name: rdpcap(str(traces.path(name))) for name in traces.names()}


def wire_sizes(capture: PacketList) -> Counter[int]:
    return Counter(len(packet) + FCS for packet in capture)


def flow(packet: Packet) -> tuple[str, str, int, int, int]:
    ip = packet[IP]
    return ip.src, ip.dst, ip.proto, ip.sport, ip.dport


def test_the_committed_files_are_what_the_script_writes(tmp_path: Path) -> None:
    make_traces.write_all(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(traces.names())
    different = [name for name in traces.names() if (tmp_path / name).read_bytes() != traces.path(name).read_bytes()]
    assert different == []


def test_every_capture_file_is_described_and_every_description_has_its_file() -> None:
    folder = traces.path(traces.names()[0]).parent
    assert sorted(file.name for file in folder.glob("*.pcap*")) == sorted(traces.DESCRIPTIONS)


def test_the_captures_stay_small() -> None:
    assert sum(traces.path(name).stat().st_size for name in traces.names()) <= 3_000_000


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no bundled capture 'nope'; there are router-imix\.pcap, "):
        traces.path("nope")


@pytest.mark.parametrize("name", traces.names())
def test_times_never_go_back_and_no_frame_is_a_runt(packets: dict[str, PacketList], name: str) -> None:
    capture = packets[name]
    assert all(later.time >= earlier.time for earlier, later in pairwise(capture))
    assert min(map(len, capture)) >= make_traces.MIN_FRAME
    assert capture[0].time >= Decimal(make_traces.EPOCH) / make_traces.SECOND


@pytest.mark.parametrize("name", traces.names())
def test_ipv4_and_transport_checksums_are_right(packets: dict[str, PacketList], name: str) -> None:
    whole = [packet for packet in packets[name] if IP in packet and not packet[IP].flags.MF and packet[IP].frag == 0]
    assert whole
    for packet in whole[:: max(1, len(whole) // 100)]:
        again = packet[IP].copy()
        transport = again.payload
        del again.chksum, transport.chksum
        rebuilt = IP(bytes(again))
        assert (rebuilt.chksum, rebuilt.payload.chksum) == (packet[IP].chksum, packet[IP].payload.chksum)


def test_router_imix_is_seven_to_four_to_one_over_many_flows(packets: dict[str, PacketList]) -> None:
    capture = packets["router-imix.pcap"]
    groups = len(capture) // 12
    assert wire_sizes(capture) == {64: 7 * groups, 594: 4 * groups, 1518: groups}
    per_flow = Counter(map(flow, capture))
    assert 200 < len(per_flow) <= 256
    assert per_flow.most_common(1)[0][1] > 10 * len(capture) / 256


def test_router_imix_keeps_the_link_busy_60_percent_and_never_above_line_rate(packets: dict[str, PacketList]) -> None:
    capture = packets["router-imix.pcap"]
    busy = [make_traces.wire_ns(len(packet)) for packet in capture]
    gaps = [round((later.time - earlier.time) * make_traces.SECOND) for earlier, later in pairwise(capture)]
    assert all(gap >= wire for gap, wire in zip(gaps, busy, strict=False))
    assert sum(busy[:-1]) / sum(gaps) == pytest.approx(0.6, abs=0.02)


def test_flood_is_shortest_frames_at_line_rate_to_one_victim(packets: dict[str, PacketList]) -> None:
    capture = packets["flood-64.pcap"]
    assert set(wire_sizes(capture)) == {64}
    assert len({packet[IP].dst for packet in capture}) == 1
    assert len({packet[IP].src for packet in capture}) > 0.99 * len(capture)
    gaps = {round((later.time - earlier.time) * make_traces.SECOND) for earlier, later in pairwise(capture)}
    assert gaps == {68}  # 84 bytes at 10 Gbit/s are 67.2 ns


def test_http_conversations_are_whole_and_acknowledge_every_byte(packets: dict[str, PacketList]) -> None:
    server = 80
    talks: dict[tuple[str, int], list[Packet]] = {}
    for packet in packets["http.pcap"]:
        client = (packet[IP].src, packet.sport) if packet.dport == server else (packet[IP].dst, packet.dport)
        talks.setdefault(client, []).append(packet)
    assert len(talks) == 24
    for talk in talks.values():
        assert [str(packet[TCP].flags) for packet in talk[:3]] == ["S", "SA", "A"]
        assert dict(talk[0][TCP].options)["MSS"] == 1460
        assert [str(packet[TCP].flags) for packet in talk[-3:]] == ["FA", "FA", "A"]
        sent = {server: 1, talk[0].sport: 1}
        first = {talk[0].sport: talk[0].seq, server: talk[1].seq}
        for packet in talk[2:]:
            assert packet.seq == first[packet.sport] + sent[packet.sport]
            assert packet.ack == first[packet.dport] + sent[packet.dport]
            size = packet[IP].len - 40
            assert size <= 1460
            sent[packet.sport] += size + packet[TCP].flags.F
        assert sent[server] > 300
    assert wire_sizes(packets["http.pcap"])[1518] > 100


def test_every_dns_query_is_answered_once_and_some_names_are_unknown(packets: dict[str, PacketList]) -> None:
    queries, answers = [], []
    for packet in packets["dns.pcap"]:
        (answers if packet[DNS].qr else queries).append(packet)
    asked = Counter((packet[IP].src, packet.sport, packet[DNS].id, packet[DNS].qd[0].qname) for packet in queries)
    told = Counter((packet[IP].dst, packet.dport, packet[DNS].id, packet[DNS].qd[0].qname) for packet in answers)
    assert asked == told
    assert Counter(packet[DNS].rcode for packet in answers).keys() == {0, 3}
    assert all((packet[DNS].ancount == 0) == (packet[DNS].rcode == 3) for packet in answers)
    assert {packet[DNS].qd[0].qtype for packet in queries} == {1, 28}


def test_mixed_holds_every_kind_that_it_names(packets: dict[str, PacketList]) -> None:
    capture = packets["mixed.pcapng"]
    double_tagged = [packet for packet in capture if Dot1AD in packet and Dot1Q in packet]
    single_tagged = [packet for packet in capture if Dot1Q in packet and Dot1AD not in packet]
    assert double_tagged
    assert single_tagged
    for kind in (
        ARP,
        ICMPv6ND_NS,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrSegmentRouting,
        IPv6ExtHdrFragment,
    ):
        assert [packet for packet in capture if kind in packet], kind.__name__


def test_mixed_fragments_come_together_again(packets: dict[str, PacketList]) -> None:
    capture = packets["mixed.pcapng"]
    parts = PacketList([packet for packet in capture if IP in packet and (packet[IP].flags.MF or packet[IP].frag)])
    assert [len(packet[IP]) - 20 for packet in parts[:3]] == [1480, 1480, 3508 - 2960]
    *_, whole = defragment4(parts)
    assert {len(packet[IP]) for packet in whole} == {20 + 8 + 3500}
    parts = [packet for packet in capture if IPv6ExtHdrFragment in packet]
    number = parts[0][IPv6ExtHdrFragment].id
    joined = defragment6([packet for packet in parts if packet[IPv6ExtHdrFragment].id == number])
    assert len(joined[UDP]) == 8 + 2800


def test_mixed_clocks_differ_and_agree_on_the_time() -> None:
    with RawPcapNgReader(str(traces.path("mixed.pcapng"))) as reader:
        records = [metadata for _, metadata in reader]
    assert {(record.ifname, record.tsresol) for record in records} == {
        (b"eth0", 10**6),
        (b"eth1", 10**9),
        (b"eth2", 2**20),
    }
    seconds = [Decimal((record.tshigh << 32) + record.tslow) / record.tsresol for record in records]
    steps = [later - earlier for earlier, later in pairwise(seconds)]
    assert all(Decimal("20e-6") < step < Decimal("30e-6") for step in steps)
    assert records[0].comments == [b"the first packet"]


def test_jumbo_mixes_9018_byte_frames_with_the_shortest(packets: dict[str, PacketList]) -> None:
    capture = packets["jumbo.pcap"]
    sizes = wire_sizes(capture)
    assert sizes.keys() == {64, 9018}
    assert sizes[9018] == 2 * sizes[64]
    data = [packet for packet in capture if len(packet) > 9000]
    assert all(later.seq - earlier.seq == 8960 for earlier, later in pairwise(data))
    last_ack = [packet for packet in capture if len(packet) == 60][-1].ack
    assert last_ack == data[-1].seq + 8960


def test_the_readme_describes_the_captures_in_the_same_words() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = dict(re.findall(r"^\| `traces/(\S+)` \| (.*) \|$", readme, flags=re.MULTILINE))
    assert rows == traces.DESCRIPTIONS
