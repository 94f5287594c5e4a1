"""What a trace can be, what a broken one leaves behind, and options that cannot be meant."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader, rdpcap

from netemu import CaptureError, UsageError, replay
from netemu.pcap import packets
from tests.replay.runs import DNS, IMIX, assert_books_balance, frames, run


def without_origin(data: dict[str, Any]) -> dict[str, Any]:
    """The report but for where the packets came from and how long it took."""
    return {key: value for key, value in data.items() if key not in ("wall_s", "trace")}


def test_a_list_of_bytes_replays_like_its_capture() -> None:
    assert without_origin(run(frames("dns.pcap"))) == without_origin(run(DNS))


def test_scapy_packets_keep_their_times() -> None:
    assert without_origin(run(rdpcap(str(DNS)), rate="recorded")) == without_origin(run(DNS, rate="recorded"))


def test_a_scapy_reader_is_a_trace() -> None:
    with PcapReader(str(DNS)) as reader:
        assert run(reader)["packets"]["forwarded"] == 800


def test_packets_made_by_hand_are_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    made = [link / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(dport=port) / bytes(20) for port in range(1, 50)]
    run((packet for packet in made), out=out)
    assert [data for _ts, data, _wire in packets(out)] == [bytes(packet) for packet in made]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_text_or_a_path_object(kind: type) -> None:
    assert run(kind(DNS))["packets"]["offered"] == 800


def test_an_open_file_is_read_and_left_open() -> None:
    with DNS.open("rb") as file:
        assert run(file)["packets"]["offered"] == 800
        assert not file.closed
    assert run(io.BytesIO(DNS.read_bytes()))["packets"]["offered"] == 800


def test_a_list_can_be_repeated_and_an_iterator_cannot() -> None:
    some = frames("dns.pcap", 10)
    assert run(some, repeat=3)["packets"]["offered"] == 30
    with pytest.raises(UsageError, match="give a list, not an iterator"):
        replay(iter(some), repeat=2)


def test_more_packets_than_one_batch_holds() -> None:
    assert run(frames("router-imix.pcap"), repeat=6)["packets"]["offered"] == 21_600


def test_an_empty_iterable_is_a_quiet_wire() -> None:
    data = run([])
    assert data["packets"]["offered"] == 0
    assert data["virtual_ns"] == 0.0


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (5, "not int"),
        ([5], "not int"),
        (["text"], "not str"),
        ([None], "not NoneType"),
        ([bytes(1 << 21)], "a packet of 2097152 bytes"),
    ],
)
def test_what_is_no_packet_is_refused(trace: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replay(trace)


def whole_records(capture: bytes) -> int:
    """Records of a little-endian pcap that are complete."""
    count, at = 0, 24
    while at + 16 <= len(capture):
        at += 16 + int.from_bytes(capture[at + 8 : at + 12], "little")
        count += at <= len(capture)
    return count


@pytest.mark.parametrize("keep", [24 + 76 * 5, -1, -17])
def test_a_cut_capture_reports_what_came_before_the_cut(tmp_path: Path, keep: int) -> None:
    whole = IMIX.read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole[:keep])
    complete = whole_records(cut.read_bytes())
    result = replay(cut)
    assert result["packets"]["offered"] == result["packets"]["forwarded"] == complete > 0
    assert result.error is not None
    assert result.error.startswith(f"{cut}: ")
    assert "\n" not in result.error
    assert_books_balance(result)


@pytest.mark.parametrize("content", [b"", b"\xd4\xc3\xb2\xa1\x02", b"not a capture, only words"])
def test_a_file_without_packets_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match="broken"):
        replay(path)


def test_progress_may_end_a_run_and_its_output_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    result = replay(DNS, repeat=1_000_000, out=out, progress=lambda packets, read, size: True)
    assert result.interrupted
    assert 0 < result["packets"]["offered"] < 800_000_000
    assert_books_balance(result)
    assert sum(1 for _ in packets(out)) == result["packets"]["forwarded"]


WRONG = {
    "era": {"era": "v9.9"},
    "driver": {"driver": "e1000"},
    "driver file": {"driver": "missing.py"},
    "platform": {"platform": "abacus"},
    "platform file": {"platform": "missing.toml"},
    "switch": {"switches": {"no_such_switch": "1"}},
    "switch value": {"switches": {"page_frag_free": "sideways"}},
    "driver option": {"options": {"colour": "red"}},
    "driver option value": {"options": {"rq": "round"}},
    "no cpu": {"cpus": 0},
    "many cpus": {"cpus": 129},
    "no queue": {"queues": 0},
    "many queues": {"queues": 65},
    "netsec queues": {"driver": "netsec", "queues": 2},
    "action": {"action": "eat"},
    "recycle word": {"recycle": "sometimes"},
    "recycle above 1": {"recycle": 1.5},
    "recycle below 0": {"recycle": -0.1},
    "recycle nan": {"recycle": float("nan")},
    "rate word": {"rate": "fast"},
    "rate 0": {"rate": 0},
    "rate x0": {"rate": "x0"},
    "rate nan": {"rate": "nan"},
    "repeat": {"repeat": 0},
    "small mtu": {"mtu": 67},
    "large mtu": {"mtu": 9979},
    "netsec mtu": {"driver": "netsec", "mtu": 1501},
    "hold": {"hold_us": -1},
    "hold nan": {"hold_us": float("nan")},
    "memory": {"memory_mb": 3},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_option_that_cannot_be_meant_is_one_line(wrong: str) -> None:
    with pytest.raises(UsageError) as refused:
        replay(DNS, **WRONG[wrong])
    assert str(refused.value)
    assert "\n" not in str(refused.value)
