"""``--out`` carries exactly what was transmitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.utils import PcapNgReader, PcapReader

from netemu import UsageError, replay, traces
from netemu.pcap import packets
from netemu.profiles.eras import era_names
from tests.replay.runs import DNS, FLOOD, IMIX, JUMBO, frames, run

JUMBO_SETUPS: list[dict[str, Any]] = [{"mtu": 9000, "options": {"rq": rq}} for rq in ("striding", "legacy")]


def read_by_scapy(path: Path) -> list[bytes]:
    reader = PcapNgReader if path.suffix == ".pcapng" else PcapReader
    with reader(str(path)) as capture:
        return [bytes(packet) for packet in capture if path.suffix == ".pcap" or packet.sniffed_on.endswith(" tx")]


@pytest.mark.parametrize("setup", JUMBO_SETUPS, ids=["striding", "legacy"])
@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
@pytest.mark.parametrize("name", traces.names())
def test_forwarded_frames_leave_as_they_came(tmp_path: Path, name: str, ending: str, setup: dict[str, Any]) -> None:
    out = tmp_path / f"out.{ending}"
    run(traces.path(name), out=out, **setup)
    assert read_by_scapy(out) == [data for _ts, data, _wire in packets(traces.path(name))]


@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
@pytest.mark.parametrize("era", era_names())
@pytest.mark.parametrize("recycle", ["mechanism", 1])
def test_recycled_pages_never_mix_packets_up(tmp_path: Path, driver: str, era: str, recycle: str | int) -> None:
    out = tmp_path / "out.pcap"
    run(DNS, out=out, driver=driver, era=era, recycle=recycle, repeat=3)
    assert [data for _ts, data, _wire in packets(out)] == 3 * frames("dns.pcap")


def test_packets_that_are_dropped_or_delivered_are_not_in_the_output(tmp_path: Path) -> None:
    for action in ("local", "drop"):
        out = tmp_path / f"{action}.pcap"
        run(DNS, out=out, action=action)
        assert list(packets(out)) == []


def test_oversize_frames_are_not_in_the_output(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    data = run(JUMBO, out=out)
    small = [frame for frame in frames("jumbo.pcap") if len(frame) <= 1518]
    assert [frame for _ts, frame, _wire in packets(out)] == small
    assert data["packets"]["dropped"] == {"oversize": 96 - len(small)}


def test_with_drops_the_output_is_what_was_forwarded_in_order(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    numbered = [bytes(56) + n.to_bytes(4, "big") for n in range(6000)]
    data = run(numbered, out=out, rate="2e7")
    numbers = [int.from_bytes(frame[56:60], "big") for _ts, frame, _wire in packets(out)]
    assert len(numbers) == data["packets"]["forwarded"] < 6000
    assert numbers == sorted(set(numbers))


def test_time_stamps_are_when_the_wire_is_done_with_a_frame(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    data = run(IMIX, out=out, rate="recorded")
    came = [ts for ts, _data, _wire in packets(IMIX)]
    left = [ts for ts, _data, _wire in packets(out)]
    assert left == sorted(left)
    assert all(after > before for before, after in zip(came, left, strict=True))
    assert left[-1] - came[0] <= data["virtual_ns"]


def test_recording_the_output_changes_nothing_in_the_report(tmp_path: Path) -> None:
    recorded, plain = run(FLOOD, out=tmp_path / "out.pcap"), run(FLOOD)
    for data in (recorded, plain):
        del data["wall_s"]
    assert recorded == plain


def test_a_frame_that_was_captured_in_part_leaves_with_zeros(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pcap"
    header = b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8) + (20).to_bytes(4, "little") + (1).to_bytes(4, "little")
    record = bytes(8) + (20).to_bytes(4, "little") + (100).to_bytes(4, "little") + b"\xaa" * 20
    whole.write_bytes(header + record)
    out = tmp_path / "out.pcap"
    run(whole, out=out)
    assert [data for _ts, data, _wire in packets(out)] == [b"\xaa" * 20 + bytes(80)]


def test_the_trace_cannot_be_its_own_output(tmp_path: Path) -> None:
    trace = tmp_path / "trace.pcap"
    trace.write_bytes(DNS.read_bytes())
    with pytest.raises(UsageError, match="is the trace itself"):
        replay(trace, out=trace)
    assert trace.read_bytes() == DNS.read_bytes()
