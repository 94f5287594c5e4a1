"""Generated traffic: sizes, flows and queues as asked for, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from netemu.errors import UsageError
from netemu.net.rss import INDIRECTION, toeplitz_hash
from netemu.pcap import Batch
from netemu.traffic import SNAPPED, GeneratedTraffic


def packets(traffic: GeneratedTraffic, batch: Batch) -> list[tuple[bytes, int]]:
    """Bytes and wire length of every packet."""
    made = []
    while count := traffic.read_into(batch):
        for record in batch.records[:count]:
            at, length = int(record["offset"]), int(record["caplen"])
            made.append((bytes(batch.data[at : at + length]), int(record["wirelen"])))
    return made


def flow(data: bytes) -> bytes:
    return data[26:38]


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Batch(1 << 20, 512)


def test_a_packet_is_one_that_others_can_read(batch: Batch) -> None:
    ((data, length),) = packets(GeneratedTraffic({64: 1}, packets=1), batch)
    assert (len(data), length) == (60, 60)
    packet = Ether(data)
    assert packet[IP].len == 46
    assert packet[UDP].len == 26
    del packet[IP].chksum
    assert Ether(bytes(packet))[IP].chksum == Ether(data)[IP].chksum


def test_of_a_long_packet_the_headers_are_there(batch: Batch) -> None:
    ((data, length),) = packets(GeneratedTraffic({1518: 1}, packets=1), batch)
    assert (len(data), length) == (SNAPPED, 1514)
    assert Ether(data)[IP].len == 1500


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 2**31))
def test_there_are_as_many_packets_as_asked_for_in_no_more_flows(n: int, flows: int, seed: int) -> None:
    made = packets(GeneratedTraffic({64: 1, 128: 3}, packets=n, flows=flows, seed=seed), Batch(1 << 20, 512))
    assert len(made) == n
    assert {length for _, length in made} <= {60, 124}
    assert len({flow(data) for data, _ in made}) <= flows


def test_sizes_and_flows_are_drawn_by_weight(batch: Batch) -> None:
    made = packets(GeneratedTraffic({64: 7, 594: 4, 1518: 1}, packets=12_000, flows=4), batch)
    sizes = Counter(length + 4 for _, length in made)
    assert sizes[64] == pytest.approx(7000, rel=0.05)
    assert sizes[594] == pytest.approx(4000, rel=0.05)
    assert sizes[1518] == pytest.approx(1000, rel=0.1)
    assert Counter(flow(data) for data, _ in made).most_common()[-1][1] == pytest.approx(3000, rel=0.1)


@pytest.mark.parametrize("queues", [2, 3, 16])
def test_streams_take_turns_and_are_spread_evenly_over_the_queues(batch: Batch, queues: int) -> None:
    made = packets(GeneratedTraffic({64: 1}, packets=96, flows=48, in_turn=True, queues=queues), batch)
    ends = [flow(data) for data, _ in made]
    assert len(set(ends[:48])) == 48
    assert ends[:48] == ends[48:]
    assert [(toeplitz_hash(end) & (INDIRECTION - 1)) % queues for end in ends[:48]] == [i % queues for i in range(48)]


def test_a_rewound_source_says_the_same_again(batch: Batch) -> None:
    traffic = GeneratedTraffic({64: 1, 1518: 1}, packets=1000, flows=100, seed=5)
    first = packets(traffic, batch)
    traffic.rewind()
    assert packets(traffic, batch) == first


def test_the_same_seed_gives_the_same_packets_on_every_machine(batch: Batch) -> None:
    made = packets(GeneratedTraffic({64: 1, 128: 1}, packets=1000, flows=50, seed=1), batch)
    digest = hashlib.sha256(b"".join(data for data, _ in made)).hexdigest()
    assert digest == "416839346523e4c0cf8a5c4bf1f60b08c92d766cbbc7031686df5e85f761661a"
    assert packets(GeneratedTraffic({64: 1, 128: 1}, packets=1000, flows=50, seed=2), batch) != made


@pytest.mark.parametrize(
    ("sizes", "flows", "count", "said"),
    [
        ({}, 1, 1, "sizes"),
        ({63: 1}, 1, 1, "sizes"),
        ({64: 0}, 1, 1, "weights"),
        ({64: 1}, 0, 1, "flows"),
        ({64: 1}, 1, 0, "packet"),
    ],
)
def test_what_makes_no_traffic_is_refused(sizes: dict[int, int], flows: int, count: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        GeneratedTraffic(sizes, packets=count, flows=flows)
