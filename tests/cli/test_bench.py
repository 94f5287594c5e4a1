"""``netemu bench``: the capture it measures with, and how its figures are printed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from netemu.cli import measurements
from netemu.cli.bench import table
from netemu.pcap import packets
from tests.cli.conftest import Run

FIGURES: dict[str, Any] = {
    "ns_per_packet": {"rx_drop": 71.5, "forward": 180.0},
    "read_mpps": 52.1,
    "read_vs_dpkt": None,
    "replay_mpps": 4.2,
    "replay_vs_scapy": 1_234.5,
    "compile_cold_s": None,
    "start_warm_s": 0.9,
    "rss_mb": 1.5,
}


@pytest.mark.parametrize("number", [1, 100, 16_384, 20_000])
def test_the_generated_capture_holds_what_it_says(tmp_path: Path, number: int) -> None:
    measurements.write_capture(tmp_path / "flood.pcap", number)
    times, frames, lengths = zip(*packets(tmp_path / "flood.pcap"), strict=True)
    assert len(frames) == number
    assert {len(frame) for frame in frames} == {64}
    assert set(lengths) == {64}
    assert all(later - earlier == 100 for earlier, later in pairwise(times))


def test_every_generated_packet_is_sound_and_has_a_flow_of_its_own(tmp_path: Path) -> None:
    measurements.write_capture(tmp_path / "flood.pcap", 16_384)
    frames = [frame for _, frame, _ in packets(tmp_path / "flood.pcap")]
    flows = {frame[26:38] for frame in frames}
    assert len(flows) == 16_384
    for frame in frames[::1_111]:
        seen = Ether(frame)
        assert seen[UDP].len == len(frame) - 34
        checksum = seen[IP].chksum
        del seen[IP].chksum
        assert Ether(bytes(seen))[IP].chksum == checksum


def test_readers_beside_it_count_the_packets(tmp_path: Path) -> None:
    measurements.write_capture(tmp_path / "flood.pcap", 1_000)
    for reader in (measurements.read_all, measurements.count_with_dpkt, measurements.count_with_scapy):
        assert reader(tmp_path / "flood.pcap") == 1_000


def test_figures_that_were_not_measured_are_said_to_be_so() -> None:
    lines = table(FIGURES)
    assert "emulating, forward" + " " * 29 + "180.0 ns/packet" in lines
    assert [line.split("  ")[-1] for line in lines if "dpkt" in line or "nothing" in line] == ["not measured"] * 2


def test_json_and_notes_keep_to_their_streams(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*, packets: int, rounds: int, cold: bool, note: Any) -> dict[str, Any]:
        note(f"{packets} packets, {rounds} rounds, cold {cold}")
        return FIGURES

    monkeypatch.setattr(measurements, "measure", measured)
    done = run("bench", "--json", "--packets", "5", "--rounds", "2", "--cold")
    assert json.loads(done.stdout) == FIGURES
    assert done.stderr == "netemu: 5 packets, 2 rounds, cold True\n"
    assert run("bench").stdout.splitlines() == table(FIGURES)
