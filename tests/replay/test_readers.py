"""Other programs read what a replay writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dpkt
import pytest
from scapy.utils import PcapNgReader, PcapReader

from netemu import traces
from netemu.net.xdp_layout import VERDICTS
from tests.bpf.shelf import object_file
from tests.replay.journals import read
from tests.replay.runs import MIXED, frames, run

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
FIELDS = (
    "frame.interface_name",
    "frame.packet_id",
    "frame.interface_queue",
    "frame.verdict.ebpf_xdp",
    "frame.drop_count",
    "frame.comment",
    "frame.time_epoch",
)


def tshark(path: Path, *options: str) -> list[dict[str, str]]:
    wanted = [word for name in FIELDS for word in ("-e", name)]
    told = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *wanted, *options],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in told.splitlines()]


def replayed(out: Path, *options: str) -> dict[str, Any]:
    """The JSON of ``netemu replay``."""
    done = subprocess.run(
        [sys.executable, "-m", "netemu.cli", "replay", str(MIXED), "--out", str(out), "--json", *options],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@needs_tshark
@pytest.mark.parametrize("program", ["vlan_swap", "dns_filter"])
def test_tshark_shows_verdicts_queues_and_numbers_that_agree_with_the_report(tmp_path: Path, program: str) -> None:
    out = tmp_path / "out.pcapng"
    data = replayed(out, "--xdp", str(object_file(program)), "--cpus", "2")
    rows = tshark(out)
    arrived = [row for row in rows if " rx" in row["frame.interface_name"]]
    assert [int(row["frame.packet_id"]) for row in arrived] == list(range(data["packets"]["offered"]))
    verdicts = Counter(row["frame.verdict.ebpf_xdp"] for row in arrived)
    assert {name: verdicts[str(code)] for code, name in enumerate(VERDICTS)} == data["xdp"]
    passed = Counter(int(row["frame.interface_queue"]) for row in arrived if row["frame.verdict.ebpf_xdp"] == "2")
    assert {q: passed[q] for q in (0, 1)} == {q: data["ethtool"][f"rx{q}_packets"] for q in (0, 1)}
    assert all(row["frame.comment"].startswith("page 0x") for row in arrived)
    chosen = tshark(out, "-Y", "frame.verdict.ebpf_xdp == 3")
    assert len(chosen) == data["xdp"]["tx"]


@needs_tshark
def test_tshark_reads_every_packet_to_the_nanosecond(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    replayed(out)
    told = read(out).packets
    rows = tshark(out)
    assert [row["frame.interface_name"] for row in rows] == [s.interface for s in told]
    assert [row["frame.time_epoch"].replace(".", "") for row in rows] == [str(s.ts_ns) for s in told]


@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_scapy_and_dpkt_read_what_was_transmitted(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out.{ending}"
    run(traces.path("dns.pcap"), out=out)
    sent = frames("dns.pcap")
    if ending == "pcap":
        with PcapReader(str(out)) as by_scapy, out.open("rb") as file:
            assert [bytes(packet) for packet in by_scapy] == sent
            assert [data for _ts, data in dpkt.pcap.Reader(file)] == sent
        return
    with PcapNgReader(str(out)) as by_scapy:
        told = [(packet.sniffed_on, bytes(packet), packet.comments) for packet in by_scapy]
    assert [data for name, data, _ in told if name == "mlx5_0 tx"] == sent
    assert [data for name, data, _ in told if name == "mlx5_0 rx"] == sent
    assert all(comments[0].startswith(b"page 0x") for name, _, comments in told if name == "mlx5_0 rx")
    with out.open("rb") as file:
        assert Counter(data for _ts, data in dpkt.pcapng.Reader(file)) == Counter(sent + sent)
