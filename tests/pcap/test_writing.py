"""Writers: what is written reads back, here and in scapy and dpkt, and whole records are all there ever is."""

import io
import os
import struct

import dpkt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, RawPcapReader

from netemu.engine.jit import JIT
from netemu.errors import UsageError
from netemu.pcap import (
    MAX_CAPLEN,
    PACKET,
    Batch,
    CaptureError,
    Interface,
    PcapngWriter,
    PcapWriter,
    open_capture,
    open_writer,
    packets,
)
from netemu.pcap.timestamps import MOST_BINARY_DIGITS, MOST_DECIMAL_DIGITS, ticks_per_second
from tests.pcap import captures
from tests.pcap.reading import model_all, read_all

DATA = st.binary(max_size=90)
WIRELEN = st.none() | st.integers(0, 2**31 - 1)
CLASSIC_TIME = st.integers(0, 2**32 * 10**9 - 1)


def length_on_wire(data, wirelen):
    return len(data) if wirelen is None else wirelen


@given(st.lists(st.tuples(CLASSIC_TIME, DATA, WIRELEN), max_size=10), st.booleans(), st.integers(1, 100))
def test_pcap_reads_back(written, nanoseconds, snaplen):
    file = io.BytesIO()
    with PcapWriter(file, nanoseconds=nanoseconds, snaplen=snaplen) as writer:
        for ts_ns, data, wirelen in written:
            writer.write(ts_ns, data, wirelen=wirelen)
    expected = [
        (ts if nanoseconds else ts // 1000 * 1000, data[:snaplen], length_on_wire(data, wirelen))
        for ts, data, wirelen in written
    ]
    assert [p[:3] for p in model_all(file.getvalue())[0]] == expected
    assert list(packets(io.BytesIO(file.getvalue()))) == expected
    seen = RawPcapReader(io.BytesIO(file.getvalue()))
    assert [(data, meta.wirelen) for data, meta in seen] == [p[1:] for p in expected]
    assert [data for _, data in dpkt.pcap.Reader(io.BytesIO(file.getvalue()))] == [p[1] for p in expected]


CLOCKS = st.integers(0, MOST_DECIMAL_DIGITS) | st.integers(0, MOST_BINARY_DIGITS).map(lambda n: 0x80 | n)
INTERFACES = st.lists(
    st.tuples(CLOCKS, st.sampled_from([0, 17, 2**32 - 1]), st.text(max_size=9)), min_size=1, max_size=4
)
OPTIONS = st.lists(st.tuples(st.integers(3000, 30_000), st.binary(max_size=20)), max_size=3)


@given(st.data(), INTERFACES)
def test_pcapng_reads_back(draw, interfaces):
    written = draw.draw(
        st.lists(
            st.tuples(st.integers(0, 15 * 10**9), DATA, WIRELEN, st.integers(0, len(interfaces) - 1), OPTIONS),
            max_size=10,
        )
    )
    file = io.BytesIO()
    with PcapngWriter(file) as writer:
        for number, (tsresol, snaplen, name) in enumerate(interfaces):
            assert writer.add_interface(name, tsresol=tsresol, snaplen=snaplen) == number
        for ts_ns, data, wirelen, interface, options in written:
            writer.write(ts_ns, data, wirelen=wirelen, interface=interface, options=options)
        assert writer.packets == len(written)
    found, fault = read_all(file.getvalue())
    assert fault is None
    assert (found, None) == model_all(file.getvalue())
    for packet, (ts_ns, data, wirelen, interface, _) in zip(found, written, strict=True):
        tsresol, snaplen, _ = interfaces[interface]
        per_second = ticks_per_second(tsresol)
        slack = 0 if per_second >= 10**9 else 10**9 // per_second + 1
        assert packet[1:] == (data[: snaplen or None], length_on_wire(data, wirelen), interface)
        assert ts_ns - slack <= packet.ts_ns <= ts_ns
    assert [data for data, _ in RawPcapNgReader(io.BytesIO(file.getvalue()))] == [p.data for p in found]


def test_options_stand_behind_the_packet():
    file = io.BytesIO()
    with PcapngWriter(file) as writer:
        writer.add_interface("eth0")
        writer.write(1, b"abcde", options=[(2, struct.pack("<I", 1)), (1, b"hello")])
    made = file.getvalue()
    area = captures.options([(2, struct.pack("<I", 1)), (1, b"hello")])
    assert made.endswith(captures.enhanced(b"abcde", ticks=1, wirelen=5, extra=area))
    parsed = [data for _, data in dpkt.pcapng.Reader(io.BytesIO(made))]
    assert parsed == [b"abcde"]


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_a_batch_that_was_read_is_written_as_it_was(tmp_path, suffix):
    count = 40_000 if JIT else 400
    content = captures.classic_header() + b"".join(
        captures.classic_record(bytes([n % 256]) * (n % 97), seconds=n, fraction=n, wirelen=n) for n in range(count)
    )
    path = tmp_path / f"copy{suffix}"
    batch = Batch()
    with open_capture(io.BytesIO(content)) as reader, open_writer(path) as writer:
        while found := reader.read_into(batch):
            writer.write_batch(batch.data, batch.records[:found])
    assert list(packets(path)) == list(packets(io.BytesIO(content)))
    assert writer.packets == count
    if suffix == ".pcap":
        assert path.read_bytes() == content


def test_one_by_one_and_in_a_batch_make_the_same_file():
    data = np.arange(200, dtype=np.uint8)
    records = np.zeros(20, PACKET)
    records["ts_ns"] = np.arange(20) * 10**9
    records["offset"] = np.arange(20) * 7
    records["caplen"] = np.arange(20)
    records["wirelen"] = 99
    files = io.BytesIO(), io.BytesIO()
    for file, whole in zip(files, (True, False), strict=True):
        with PcapngWriter(file) as writer:
            writer.add_interface("eth0")
            if whole:
                writer.write_batch(np.frombuffer(data.tobytes(), np.uint8), records)
            else:
                for ts_ns, start, caplen, *_ in records.tolist():
                    writer.write(ts_ns, data[start : start + caplen].tobytes(), wirelen=99)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_packet_longer_than_any_is_cut_and_keeps_its_length_on_the_wire():
    for make in (PcapWriter, PcapngWriter):
        file = io.BytesIO()
        with make(file) as writer:
            if isinstance(writer, PcapngWriter):
                writer.add_interface("eth0")
            writer.write(0, bytes(MAX_CAPLEN + 50))
        ((_, data, wirelen),) = packets(io.BytesIO(file.getvalue()))
        assert (len(data), wirelen) == (MAX_CAPLEN, MAX_CAPLEN + 50)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": 61}, "not inside the data"),
        ({"offset": -1}, "not inside the data"),
        ({"offset": 2**63 - 1}, "not inside the data"),
        ({"caplen": -1}, "not inside the data"),
        ({"wirelen": -1}, "on the wire is negative"),
        ({"ts_ns": -1}, "does not fit the file's clock"),
        ({"interface": 1}, "has not been added"),
        ({"interface": -1}, "has not been added"),
    ],
)
def test_a_record_that_cannot_be_written_is_told_and_those_before_it_are_kept(change, words):
    records = np.zeros(3, PACKET)
    records["caplen"] = 40
    for field, value in change.items():
        records[2][field] = value
    file = io.BytesIO()
    with PcapngWriter(file) as writer:
        writer.add_interface("eth0")
        with pytest.raises(CaptureError, match=words) as caught:
            writer.write_batch(np.zeros(100, np.uint8), records)
        assert caught.value.packet == 2
        assert "packet 3 cannot be written" in str(caught.value)
        writer.write(0, b"next")
    assert caught.value.offset == len(file.getvalue()) - 36
    assert [len(data) for _, data, _ in packets(io.BytesIO(file.getvalue()))] == [40, 40, 4]


@pytest.mark.parametrize("ts_ns", [-1, 2**32 * 10**9])
def test_pcap_refuses_a_time_that_it_has_no_room_for(ts_ns):
    with PcapWriter(io.BytesIO()) as writer, pytest.raises(CaptureError, match="does not fit the file's clock"):
        writer.write(ts_ns, b"x")


def test_numbers_beyond_their_field_are_refused():
    with PcapWriter(io.BytesIO()) as writer:
        with pytest.raises(CaptureError, match="too large"):
            writer.write(2**63, b"x")
        with pytest.raises(CaptureError, match="too large"):
            writer.write(0, b"x", wirelen=2**31)


def test_settings_that_a_file_cannot_hold_are_refused():
    for wrong in ({"snaplen": 0}, {"snaplen": MAX_CAPLEN + 1}, {"linktype": -1}):
        with pytest.raises(ValueError, match="must be from"):
            PcapWriter(io.BytesIO(), **wrong)
    with PcapngWriter(io.BytesIO()) as writer:
        for tsresol in (MOST_DECIMAL_DIGITS + 1, 0x80 | (MOST_BINARY_DIGITS + 1), -1, 256):
            with pytest.raises(ValueError, match="tsresol"):
                writer.add_interface("eth0", tsresol=tsresol)
        with pytest.raises(ValueError, match="16 bits"):
            writer.add_interface("n" * 65_536)
        writer.add_interface("eth0")
        with pytest.raises(CaptureError, match="bytes of options"):
            writer.write(0, b"x", options=[(1, bytes(60_000))] * 10)


def test_the_ending_of_the_name_chooses_the_format(tmp_path):
    with open_writer(tmp_path / "a.PCAP", nanoseconds=False, snaplen=50):
        pass
    with open_capture(tmp_path / "a.PCAP") as reader:
        assert reader.format == "pcap"
        assert reader.interfaces == [Interface(linktype=1, snaplen=50, tsresol=6)]
    with open_writer(tmp_path / "a.pcapng", interfaces=("eth0", "eth1")) as writer:
        writer.write(0, b"x", interface=1)
    with open_capture(tmp_path / "a.pcapng") as reader:
        reader.read_into(Batch())
        assert [i.name for i in reader.interfaces] == ["eth0", "eth1"]
    for name in ("a.cap", "a"):
        with pytest.raises(UsageError, match=r"name it \.pcap or \.pcapng"):
            open_writer(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(CaptureError, match="cannot be written: No such file or directory"):
        open_writer(tmp_path / "missing" / "a.pcap")
    with pytest.raises(CaptureError, match="cannot be written: Is a directory"):
        PcapWriter(tmp_path)


class Full(io.FileIO):
    """A file on a disk that takes no more after ``room`` bytes, and only some at a time."""

    room = 100_000

    def write(self, data):
        left = self.room - self.tell()
        if not left:
            raise OSError(28, "No space left on device")
        return super().write(memoryview(data)[: min(left, 7_777)])


def write_on(writer, size: int, flush_every: int) -> None:
    """Write packets of ``size`` bytes, numbered by their time, until something stops it."""
    while True:
        writer.write(writer.packets, bytes(size))
        if writer.packets % flush_every == 0:
            writer.flush()


def test_a_full_disk_leaves_whole_records(tmp_path):
    path = tmp_path / "full.pcap"
    with Full(path, "w") as file:
        writer = PcapWriter(file)
        with pytest.raises(CaptureError, match="No space left on device") as caught:
            write_on(writer, size=900, flush_every=30)
        with pytest.raises(CaptureError, match="No space left on device"):
            writer.close()
        writer.close()
    found, fault = read_all(path.read_bytes())
    assert fault is None
    assert caught.value.offset == path.stat().st_size
    assert [p.ts_ns for p in found] == list(range(90))


class Interrupted(io.FileIO):
    """A file whose third write is broken off by the user, halfway."""

    writes = 0

    def write(self, data):
        self.writes += 1
        if self.writes == 3:
            super().write(memoryview(data)[: len(data) // 2 + 1])
            raise KeyboardInterrupt
        return super().write(data)


@pytest.mark.parametrize("make", [PcapWriter, PcapngWriter])
def test_after_an_interruption_the_file_is_whole(tmp_path, make):
    path = tmp_path / "interrupted"
    with Interrupted(path, "w") as file, make(file) as writer:
        if isinstance(writer, PcapngWriter):
            writer.add_interface("eth0")
        with pytest.raises(KeyboardInterrupt):
            write_on(writer, size=101, flush_every=10)
    found, fault = read_all(path.read_bytes())
    assert fault is None
    assert [p.ts_ns for p in found] == list(range(30))


def test_short_writes_to_a_pipe_arrive_whole():
    class Narrow(io.RawIOBase):
        def __init__(self) -> None:
            self.taken = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data):
            self.taken += bytes(data[:13])
            return len(bytes(data[:13]))

    pipe = Narrow()
    with PcapWriter(pipe) as writer:
        for n in range(50):
            writer.write(n, bytes(n))
            writer.flush()
    assert [data for _, data, _ in packets(io.BytesIO(bytes(pipe.taken)))] == [bytes(n) for n in range(50)]
    assert not pipe.closed


def test_a_target_that_does_not_wait_is_told():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with open(read_end, "rb"), open(write_end, "wb", buffering=0) as pipe:
        writer = PcapWriter(pipe)
        with pytest.raises(CaptureError, match="writing failed: the target does not wait"):
            write_on(writer, size=100_000, flush_every=10)
        with pytest.raises(CaptureError):
            writer.close()


def test_what_is_flushed_can_be_read_while_writing_goes_on(tmp_path):
    path = tmp_path / "growing.pcap"
    with PcapWriter(path) as writer:
        for n in range(3):
            writer.write(n, b"x" * n)
            writer.flush()
            assert len(list(packets(path))) == n + 1
    writer.close()
    with pytest.raises(CaptureError, match="the file is closed"):
        writer.write(0, b"late")
