"""Classic pcap: every magic, and the same packets that scapy and dpkt see."""

import io

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapReader

from netemu.pcap import Batch, Interface, open_capture, packets
from tests.pcap import captures
from tests.pcap.reading import model_all, read_all

ORDERS = st.sampled_from("<>")
U32 = st.integers(0, 2**32 - 1)
RECORDS = st.lists(
    st.tuples(st.binary(max_size=100), U32, st.integers(0, 10**6 - 1), st.integers(0, 2**31 - 1)), max_size=20
)


def classic(records: list[tuple[bytes, int, int, int]], order: str, tsresol: int) -> bytes:
    return captures.classic_header(order, tsresol) + b"".join(
        captures.classic_record(data, order, seconds, fraction, wirelen=wirelen)
        for data, seconds, fraction, wirelen in records
    )


@given(records=RECORDS, order=ORDERS, tsresol=st.sampled_from([6, 9]))
def test_every_magic_gives_the_packets_that_scapy_and_dpkt_give(records, order, tsresol):
    content = classic(records, order, tsresol)
    found, fault = read_all(content)
    assert fault is None
    with RawPcapReader(io.BytesIO(content)) as scapy_reader:
        seen = [(meta.sec * 10**9 + meta.usec * 10 ** (9 - tsresol), data, meta.wirelen) for data, meta in scapy_reader]
    assert [(p.ts_ns, p.data, p.wirelen) for p in found] == seen
    assert [p.data for p in found] == [data for _, data in dpkt.pcap.Reader(io.BytesIO(content))]


@given(records=RECORDS, order=ORDERS, tsresol=st.sampled_from([6, 9]))
def test_agrees_with_the_model(records, order, tsresol):
    content = classic(records, order, tsresol)
    assert read_all(content) == (*model_all(content)[:1], None)


def test_interface_tells_the_header():
    content = captures.classic_header(">", tsresol=6, snaplen=96)
    with open_capture(io.BytesIO(content)) as reader:
        assert reader.format == "pcap"
        assert reader.interfaces == [Interface(linktype=1, snaplen=96, tsresol=6)]
        assert reader.offset == len(content)
        assert reader.size == len(content)


@pytest.mark.parametrize("order", ["<", ">"])
def test_upper_half_of_the_link_type_is_not_part_of_it(order):
    content = captures.classic_header(order, linktype=0x5400_0001) + captures.classic_record(b"frame", order)
    found, fault = read_all(content)
    assert fault is None
    assert [p.data for p in found] == [b"frame"]


def test_a_packet_longer_than_the_snapshot_length_is_read():
    content = captures.classic_header(snaplen=10) + captures.classic_record(b"x" * 50)
    assert [p.data for p in read_all(content)[0]] == [b"x" * 50]


def test_the_longest_packet_fits_the_smallest_batch():
    from netemu.pcap import LARGEST_WHOLE, MAX_CAPLEN

    longest = bytes(range(256)) * (MAX_CAPLEN // 256)
    content = captures.classic_header() + captures.classic_record(longest) * 3
    found, fault = read_all(content, Batch(LARGEST_WHOLE, 1))
    assert fault is None
    assert [p.data for p in found] == [longest] * 3


def test_offset_follows_the_packets_delivered():
    record = captures.classic_record(b"x" * 44)
    content = captures.classic_header() + record * 10
    batch = Batch(records=3)
    with open_capture(io.BytesIO(content)) as reader:
        seen = []
        while reader.read_into(batch):
            seen.append((batch.count, reader.offset))
    assert seen == [(3, 204), (3, 384), (3, 564), (1, 624)]


def test_packets_yields_time_bytes_and_length_on_the_wire(tmp_path):
    path = tmp_path / "one.pcap"
    path.write_bytes(captures.classic_header() + captures.classic_record(b"abc", seconds=5, fraction=7, wirelen=9))
    assert list(packets(path)) == [(5_000_000_007, b"abc", 9)]
    assert list(packets(str(path))) == [(5_000_000_007, b"abc", 9)]
