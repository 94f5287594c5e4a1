"""Sources: pipes with short reads, rewinding, memory that does not grow."""

import io
import itertools
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.engine.jit import JIT
from netemu.pcap import LARGEST_WHOLE, PACKET, Batch, CaptureError, open_capture, packets
from tests.pcap import captures
from tests.pcap.reading import read_all

FRAMES = [bytes([n]) * (n * 37 % 90) for n in range(40)]
CLASSIC = captures.classic_header() + b"".join(captures.classic_record(f, seconds=n) for n, f in enumerate(FRAMES))
BLOCKS = (
    captures.section(">")
    + captures.interface(">")
    + b"".join(captures.enhanced(f, ">", ticks=n) + captures.block(4, f, ">") for n, f in enumerate(FRAMES))
)


@pytest.mark.parametrize("content", [CLASSIC, BLOCKS], ids=["pcap", "pcapng"])
@given(chunks=st.lists(st.integers(1, 700), min_size=1, max_size=8), records=st.integers(1, 50))
def test_a_pipe_gives_the_same_packets_however_its_reads_are_cut(content, chunks, records):
    found, fault = read_all(captures.Pipe(content, chunks), Batch(LARGEST_WHOLE, records))
    assert fault is None
    assert [p.data for p in found] == FRAMES


def test_an_operating_system_pipe_is_read_while_it_is_written():
    read_end, write_end = os.pipe()

    def feed() -> None:
        with open(write_end, "wb", buffering=0) as pipe:
            for start in range(0, len(BLOCKS), 333):
                pipe.write(BLOCKS[start : start + 333])

    feeder = threading.Thread(target=feed)
    feeder.start()
    with open(read_end, "rb", buffering=0) as pipe, open_capture(pipe) as reader:
        assert reader.size is None
        assert [data for _, data, _ in packets_of(reader)] == FRAMES
        with pytest.raises(CaptureError, match="cannot be read a second time") as caught:
            reader.rewind()
        assert caught.value.offset == len(BLOCKS)
    feeder.join()


def packets_of(reader):
    batch = Batch()
    while count := reader.read_into(batch):
        for ts_ns, start, caplen, wirelen, *_ in batch.records[:count].tolist():
            yield ts_ns, batch.data[start : start + caplen].tobytes(), wirelen


def test_whole_packets_of_a_live_source_are_delivered_before_more_arrive():
    asked_for_more = []

    def pieces():
        yield captures.classic_header()
        yield captures.classic_record(b"early") + captures.classic_record(b"late")[:9]
        asked_for_more.append(True)
        yield captures.classic_record(b"late")[9:]

    with open_capture(captures.Synthetic(pieces())) as reader:
        batch = Batch()
        assert reader.read_into(batch) == 1
        assert not asked_for_more
        assert reader.read_into(batch) == 1
        assert reader.read_into(batch) == 0


@pytest.mark.parametrize("content", [CLASSIC, BLOCKS], ids=["pcap", "pcapng"])
def test_rewinding_gives_the_same_packets_again(tmp_path, content):
    path = tmp_path / "capture"
    path.write_bytes(content)
    with open_capture(path) as reader:
        assert reader.size == len(content)
        assert reader.path == str(path)
        first = list(packets_of(reader))
        reader.rewind()
        assert reader.offset < len(content)
        assert list(packets_of(reader)) == first
        reader.rewind()
        assert reader.read_into(Batch(records=7)) == 7
        reader.rewind()
        assert list(packets_of(reader)) == first


def test_rewinding_after_a_fault_reads_up_to_it_again():
    with open_capture(io.BytesIO(CLASSIC[:-1])) as reader:
        for _ in range(2):
            assert reader.read_into(Batch()) == len(FRAMES) - 1
            for _ in range(2):
                with pytest.raises(CaptureError):
                    reader.read_into(Batch())
            reader.rewind()


def test_a_file_object_is_read_from_where_it_stands_and_left_open():
    file = io.BytesIO(b"preface" + CLASSIC)
    file.seek(7)
    with open_capture(file) as reader:
        assert reader.size == len(CLASSIC)
        assert len(list(packets_of(reader))) == len(FRAMES)
        reader.rewind()
        assert len(list(packets_of(reader))) == len(FRAMES)
    assert not file.closed


def test_a_source_with_nothing_but_read_is_enough():
    class OnlyRead:
        def __init__(self, content: bytes) -> None:
            self.read = io.BytesIO(content).read

    assert [data for _, data, _ in packets(OnlyRead(CLASSIC))] == FRAMES


def test_each_read_may_fill_another_batch():
    first, second = Batch(records=3), Batch(LARGEST_WHOLE, 5)
    with open_capture(io.BytesIO(CLASSIC)) as reader:
        found = []
        for batch in itertools.cycle([first, second]):
            if not reader.read_into(batch):
                break
            for _, start, caplen, *_ in batch.records[: batch.count].tolist():
                found.append(batch.data[start : start + caplen].tobytes())
            batch.data[:] = 0xEE
    assert found == FRAMES


def test_a_batch_of_few_records_may_follow_one_of_many():
    count = 4_000
    content = captures.classic_header() + b"".join(
        captures.classic_record(bytes(1_000), seconds=n) for n in range(count)
    )
    large, small = Batch(), Batch(records=2)
    found = []
    with open_capture(io.BytesIO(content)) as reader:
        for batch in itertools.cycle([large, large, large, small, small]):
            if not reader.read_into(batch):
                break
            found += (batch.records["ts_ns"][: batch.count] // 10**9).tolist()
            assert reader.offset == 24 + 1_016 * len(found)
    assert found == list(range(count))


def test_arrays_that_are_passed_in_are_filled_in_place():
    data, records = np.zeros(LARGEST_WHOLE, np.uint8), np.zeros((2, 50), PACKET)[0]
    with open_capture(io.BytesIO(CLASSIC)) as reader:
        assert reader.read_into(Batch(data, records)) == len(FRAMES)
    start = records["offset"][5]
    assert data[start : start + len(FRAMES[5])].tobytes() == FRAMES[5]


@pytest.mark.parametrize(
    ("data", "records", "reason"),
    [
        (LARGEST_WHOLE - 1, 10, "bytes of data"),
        (LARGEST_WHOLE, 0, "at least one record"),
        (np.zeros(LARGEST_WHOLE, np.int8), 10, "uint8"),
        (np.zeros(LARGEST_WHOLE * 2, np.uint8)[::2], 10, "contiguous"),
        (LARGEST_WHOLE, np.zeros(10, np.int64), "PACKET"),
    ],
)
def test_a_batch_that_cannot_be_filled_is_refused(data, records, reason):
    with pytest.raises(ValueError, match=reason):
        Batch(data, records)


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_memory_stays_the_same_however_long_the_stream(form):
    count = 300_000 if JIT else 3_000
    if form == "pcap":
        head, piece = captures.classic_header(), captures.classic_record(b"x" * 60)
    else:
        head, piece = captures.section() + captures.interface(), captures.enhanced(b"x" * 60)
    pieces = itertools.chain([head], itertools.repeat(piece * 1000, count // 1000))
    source = captures.Synthetic(pieces)
    batch = Batch()
    data, records = batch.data, batch.records
    total = 0
    with open_capture(source) as reader:
        while found := reader.read_into(batch):
            total += found
            assert reader.offset == len(head) + total * len(piece)
    assert total == count
    assert batch.data is data
    assert batch.records is records
    assert source.largest_read <= len(data)


def test_a_huge_block_is_passed_over_without_being_held():
    size = 100_000_000 if JIT else 2_000_000
    start = captures.block(10, b"", total=size + 12)[:8]
    pieces = itertools.chain(
        [captures.section() + captures.interface() + start],
        itertools.repeat(b"s" * 100_000, size // 100_000),
        [(size + 12).to_bytes(4, "little") + captures.enhanced(b"after")],
    )
    source = captures.Synthetic(pieces)
    found, fault = read_all(source)
    assert fault is None
    assert [p.data for p in found] == [b"after"]
    assert source.largest_read <= 1 << 20
