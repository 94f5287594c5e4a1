"""pcapng: sections, interfaces, clocks, options and the blocks that are passed over."""

import io

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from netemu.pcap import Interface, open_capture
from tests.pcap import captures
from tests.pcap.model import LARGEST_WHOLE
from tests.pcap.reading import model_all, read_all

COMMENT = [(1, b"a comment"), (2, b"\1\0\0\0"), (2988, b"odd")]


@st.composite
def sections(draw: st.DrawFn) -> bytes:
    """One section with interfaces of any clock, packets of all kinds, and blocks that hold none."""
    order = draw(st.sampled_from("<>"))
    content = captures.section(order, captures.options(COMMENT, order) if draw(st.booleans()) else b"")
    snaplens = []
    for _ in range(draw(st.integers(1, 3))):
        snaplens.append(draw(st.sampled_from([0, 40, 262_144])))
        tsresol = draw(st.none() | st.integers(0, 12) | st.integers(0, 255))
        tsoffset = draw(st.none() | st.integers(-(2**33), 2**33))
        content += captures.interface(order, 1, snaplens[-1], tsresol, tsoffset, name=draw(st.sampled_from(["", "e0"])))
    for _ in range(draw(st.integers(0, 8))):
        data = draw(st.binary(max_size=60))
        number = draw(st.integers(0, len(snaplens) - 1))
        ticks = draw(st.integers(0, 2**63) | st.integers(0, 2**32))
        kind = draw(st.sampled_from(["enhanced", "enhanced", "obsolete", "simple", "other"]))
        if kind == "enhanced":
            extra = captures.options(COMMENT, order, end=draw(st.booleans())) if draw(st.booleans()) else b""
            content += captures.enhanced(data, order, ticks, number, extra=extra)
        elif kind == "obsolete":
            content += captures.obsolete(data, order, ticks, number)
        elif kind == "simple":
            content += captures.simple(data[: snaplens[0] or None], len(data), order)
        else:
            content += captures.block(draw(st.sampled_from([4, 5, 10, 0xBAD, 0x8000_0001])), data, order)
    return content


@given(content=st.lists(sections(), min_size=1, max_size=3).map(b"".join))
def test_agrees_with_the_model(content):
    found, fault = read_all(content)
    expected, damaged_at = model_all(content)
    assert found == expected
    assert (fault and fault.offset) == damaged_at


@given(
    order=st.sampled_from("<>"),
    tsresol=st.sampled_from([None, 3, 6, 9]),
    packets=st.lists(st.tuples(st.binary(min_size=1, max_size=80), st.integers(0, 2**42)), max_size=12),
)
def test_gives_the_packets_that_scapy_and_dpkt_give(order, tsresol, packets):
    content = captures.section(order) + captures.interface(order, tsresol=tsresol)
    content += b"".join(captures.enhanced(data, order, ticks, wirelen=len(data)) for data, ticks in packets)
    found, fault = read_all(content)
    assert fault is None
    with RawPcapNgReader(io.BytesIO(content)) as scapy_reader:
        seen = [
            (((meta.tshigh << 32) + meta.tslow) * 10**9 // meta.tsresol, data, meta.wirelen)
            for data, meta in scapy_reader
        ]
    assert [(p.ts_ns, p.data, p.wirelen) for p in found] == seen
    assert [p.data for p in found] == [data for _, data in dpkt.pcapng.Reader(io.BytesIO(content))]


def test_interfaces_of_all_sections_are_numbered_through():
    content = (
        captures.section("<")
        + captures.interface("<", name="eth0", snaplen=96)
        + captures.interface("<", name="eth1", tsresol=9, tsoffset=-3)
        + captures.enhanced(b"first", "<", number=1, ticks=4_000_000_000)
        + captures.section(">")
        + captures.interface(">", name="eth2", tsresol=0x80 | 10)
        + captures.enhanced(b"second", ">", ticks=1536)
    )
    with open_capture(io.BytesIO(content)) as reader:
        assert reader.format == "pcapng"
    found, fault = read_all(content)
    assert fault is None
    assert [(p.data, p.interface, p.ts_ns) for p in found] == [(b"first", 1, 10**9), (b"second", 2, 1_500_000_000)]


def test_interfaces_are_listed_as_they_are_read():
    from netemu.pcap import Batch

    content = captures.section() + captures.interface(name="eth0", snaplen=96, tsresol=9, tsoffset=5)
    with open_capture(io.BytesIO(content + captures.enhanced(b"x"))) as reader:
        assert reader.interfaces == []
        assert reader.read_into(Batch()) == 1
        assert reader.interfaces == [Interface(linktype=1, snaplen=96, tsresol=9, name="eth0", tsoffset=5)]


def test_a_simple_packet_takes_its_length_from_the_snapshot_length():
    content = captures.section() + captures.interface(snaplen=6) + captures.simple(b"abcdef", wirelen=1500)
    found, fault = read_all(content)
    assert fault is None
    assert [(p.data, p.wirelen, p.ts_ns) for p in found] == [(b"abcdef", 1500, 0)]


def test_an_interface_that_is_not_ethernet_matters_only_when_a_packet_is_on_it():
    content = captures.section() + captures.interface(linktype=228) + captures.interface()
    content += captures.enhanced(b"ether", number=1)
    assert read_all(content)[1] is None
    found, fault = read_all(content + captures.enhanced(b"ip", number=0))
    assert [p.data for p in found] == [b"ether"]
    assert fault is not None
    assert fault.offset == len(content)
    assert "link type 228, IPV4" in str(fault)


@pytest.mark.parametrize("size", [LARGEST_WHOLE - 12, LARGEST_WHOLE, 3_000_000])
def test_a_block_larger_than_the_buffer_is_passed_over(size):
    content = captures.section() + captures.interface() + captures.enhanced(b"before")
    content += captures.block(10, b"s" * size) + captures.enhanced(b"after")
    found, fault = read_all(content)
    assert fault is None
    assert [p.data for p in found] == [b"before", b"after"]


def test_a_packet_with_more_options_than_the_buffer_holds_is_read():
    many = captures.options([(1, b"c" * 60_000)] * 30)
    content = captures.section(extra=many) + captures.interface()
    content += captures.enhanced(b"first", extra=many) + captures.enhanced(b"second")
    found, fault = read_all(content)
    assert fault is None
    assert [p.data for p in found] == [b"first", b"second"]
