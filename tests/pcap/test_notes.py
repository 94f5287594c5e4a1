"""Packets with notes: what is written reads back, field by field, in a reader that shares no code with the writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.pcap import PACKET, packets
from netemu.pcap.notes import INBOUND, NOTE, NOTHING, OUTBOUND, NotedWriter
from tests.replay.journals import read

PHRASES = ["", "recycled", "dropped: qdisc", "x" * 256]
NOTES = st.tuples(
    st.integers(0, 2**63 - 1),  # packetid
    st.just(NOTHING) | st.integers(0, 2**40),  # page
    st.sampled_from([INBOUND, OUTBOUND]),
    st.integers(0, 2**32 - 1),  # queue
    st.just(NOTHING) | st.integers(0, 2**63 - 1),  # verdict
    st.integers(0, 2**63 - 1),  # dropcount
    st.integers(0, 300),  # more_pages
    st.integers(0, 3),  # fate
    st.integers(0, 3),  # remark
)
WRITTEN = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.binary(max_size=70), st.integers(0, 1), NOTES), min_size=1, max_size=8
)


def comments(note: tuple[int, ...]) -> list[str]:
    _, page, _, _, _, _, more, fate, remark = note
    said = []
    if page != NOTHING:
        said.append(f"page {page:#x}{f' and {more} more' if more else ''} {PHRASES[fate]}")
    if remark:
        said.append(PHRASES[remark])
    return said


@given(WRITTEN)
def test_every_field_of_every_note_reads_back(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    path = tmp_path_factory.mktemp("notes") / "noted.pcapng"
    records = np.zeros(len(written), PACKET)
    at = 0
    for row, (ts_ns, data, interface, _note) in enumerate(written):
        records[row] = (ts_ns, at, len(data), len(data) + 4, interface, 0)
        at += len(data)
    with NotedWriter(path, PHRASES) as writer:
        for name in ("left", "right"):
            writer.add_interface(name)
        held = np.frombuffer(bytearray(b"".join(data for _, data, _, _ in written) or b"\0"), np.uint8)
        writer.write_noted(held, records, np.array([note for *_, note in written], NOTE))
        writer.write_statistics(1, 2**62, 2**40, 3)
    told = read(path)
    assert told.counts == {"right": (2**40, 3)}
    for (ts_ns, data, interface, note), seen in zip(written, told.packets, strict=True):
        assert (seen.ts_ns, seen.data, seen.wirelen) == (ts_ns, data, len(data) + 4)
        assert seen.interface == ("left", "right")[interface]
        assert (seen.packet_id, seen.direction, seen.queue, seen.dropcount) == (note[0], note[2], note[3], note[5])
        assert seen.verdict == (None if note[4] == NOTHING else note[4])
        assert seen.comments == comments(note)
    assert list(packets(path)) == [(ts_ns, data, len(data) + 4) for ts_ns, data, _, _ in written]


def test_a_file_larger_than_the_buffer_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.pcapng"
    count = 4000
    records = np.zeros(count, PACKET)
    records["caplen"] = records["wirelen"] = 1500
    notes = np.zeros(count, NOTE)
    notes["packetid"] = np.arange(count)
    notes["fate"] = 3
    with NotedWriter(path, PHRASES) as writer:
        writer.add_interface("eth0")
        writer.write_noted(np.arange(1500, dtype=np.int64).astype(np.uint8), records, notes)
    assert [seen.packet_id for seen in read(path).packets] == list(range(count))


def test_notes_that_do_not_match_their_packets_are_refused(tmp_path: Path) -> None:
    with NotedWriter(tmp_path / "x.pcapng", PHRASES) as writer, pytest.raises(ValueError, match="NOTE for each"):
        writer.write_noted(np.zeros(9, np.uint8), np.zeros(2, PACKET), np.zeros(1, NOTE))
    with pytest.raises(ValueError, match="at most 256"):
        NotedWriter(tmp_path / "y.pcapng", ["x" * 257])
