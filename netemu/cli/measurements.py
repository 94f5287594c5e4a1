"""What ``netemu bench`` measures and how: wall time of replays and readers in this process, start-up in fresh ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import netemu
from netemu.pcap import PACKET, Batch, PcapWriter, open_capture

FRAME_BYTES = 64
_BLOCK = 16384
"""Distinct packets in the generated capture: each has a flow of its own."""
_GAP_NS = 100
_DPKT_PACKETS = 200_000
_SCAPY_PACKETS = 3_000
_MEMORY_SMALL, _MEMORY_REPEAT = 100_000, 100

REPLAYS: dict[str, dict[str, str]] = {
    "rx_drop": {"driver": "mlx5", "era": "v6.1", "action": "drop"},
    "forward": {"driver": "mlx5", "era": "v6.1", "action": "forward"},
    "forward_v419": {"driver": "mlx5", "era": "v4.19", "action": "forward"},
    "forward_netsec": {"driver": "netsec", "era": "v6.1", "action": "forward"},
}
"""The replays of the ``ns_per_packet`` table: name and options."""

_PEAK_MEMORY = """
import json, sys, netemu
def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
netemu.replay(sys.argv[1], repeat=1)
small = peak_kib()
netemu.replay(sys.argv[1], repeat=int(sys.argv[2]))
print(json.dumps(peak_kib() - small))
"""


def write_capture(path: Path, packets: int) -> None:
    """Write a pcap of ``packets`` UDP packets of 64 bytes, spread over 16384 flows."""
    frames = np.zeros((_BLOCK, FRAME_BYTES), dtype=np.uint8)
    flow = np.arange(_BLOCK)
    header = bytes.fromhex("020000000002020000000001080045000032000040004011")
    frames[:, : len(header)] = np.frombuffer(header, dtype=np.uint8)
    frames[:, 26:34] = (10, 0, 0, 0, 10, 1, 0, 1)  # source and destination address
    frames[:, 28], frames[:, 29] = flow >> 8, flow & 0xFF
    frames[:, 34], frames[:, 35] = 0x80 | flow >> 8, flow & 0xFF  # source port
    frames[:, 36:40] = (0, 9, 0, 30)  # destination port, UDP length
    words = frames[:, 14:34].astype(np.uint32)
    total = (words[:, 0::2] << 8 | words[:, 1::2]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    frames[:, 24], frames[:, 25] = checksum >> 8, checksum & 0xFF

    records = np.zeros(_BLOCK, dtype=PACKET)
    records["offset"] = flow * FRAME_BYTES
    records["caplen"] = records["wirelen"] = FRAME_BYTES
    records["ts_ns"] = 1_600_000_000 * 10**9 + flow * _GAP_NS
    with PcapWriter(path) as writer:
        for first in range(0, packets, _BLOCK):
            writer.write_batch(frames.reshape(-1), records[: min(_BLOCK, packets - first)])
            records["ts_ns"] += _BLOCK * _GAP_NS


def measure(*, packets: int, rounds: int, cold: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """The figures of ``netemu bench``: medians of ``rounds`` interleaved rounds over a capture of ``packets``.

    ``cold``: also time a first run with nothing compiled.  ``note`` is told what goes on.  What cannot be
    measured here (a reader that is not installed, memory outside Linux) is None.
    """
    with tempfile.TemporaryDirectory(prefix="netemu-bench-") as folder:
        capture = Path(folder) / "flood-64.pcap"
        note(f"writing a capture of {packets:,} packets of {FRAME_BYTES} bytes")
        write_capture(capture, packets)
        seconds = _per_packet(capture, packets, rounds, note)
        small = Path(folder) / "small.pcap"
        write_capture(small, _MEMORY_SMALL)
        note("starting fresh processes")
        start_warm = median(_process_seconds("replay", str(small), "--json") for _ in range(3))
        compile_cold = _compile_cold(Path(folder) / "cache", note) if cold else None
        growth = _memory_growth_mb(small, note)
    return {
        "ns_per_packet": {name: round(1e9 * seconds[name], 1) for name in REPLAYS},
        "read_mpps": _mpps(seconds["read"]),
        "read_vs_dpkt": _times_faster(seconds, "dpkt", "read"),
        "replay_mpps": _mpps(seconds["replay"]),
        "replay_vs_scapy": _times_faster(seconds, "scapy", "replay"),
        "compile_cold_s": compile_cold,
        "start_warm_s": round(start_warm, 2),
        "rss_mb": growth,
    }


def _mpps(seconds_per_packet: float) -> float:
    return round(1e-6 / seconds_per_packet, 2)


def _times_faster(seconds: dict[str, float], slow: str, fast: str) -> float | None:
    return round(seconds[slow] / seconds[fast], 1) if slow in seconds else None


def _per_packet(capture: Path, packets: int, rounds: int, note: Callable[[str], None]) -> dict[str, float]:
    """Median wall seconds per packet of every reader and replay; one unmeasured round goes before."""
    subjects: dict[str, Callable[[], float]] = {
        "read": lambda: _timed(lambda: read_all(capture)),
        **{name: lambda options=options: _emulation(capture, options) for name, options in REPLAYS.items()},  # type: ignore[misc]
        "replay": lambda: _timed(lambda: _replay(capture)),
    }
    for name, reader in (("dpkt", count_with_dpkt), ("scapy", count_with_scapy)):
        if find_spec(name):
            subjects[name] = lambda reader=reader: _timed(lambda: reader(capture))  # type: ignore[misc]
        else:
            note(f"{name} is not installed: its row is left out")
    note("warming up")
    for subject in subjects.values():
        subject()
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds):
        note(f"round {number + 1} of {rounds}")
        for name, subject in subjects.items():
            samples[name].append(subject())
    return {name: median(values) for name, values in samples.items()}


def _timed(work: Callable[[], int]) -> float:
    """Wall seconds per packet of ``work``, which returns how many packets it went through."""
    start = time.perf_counter()
    packets = work()
    return (time.perf_counter() - start) / packets


def _emulation(capture: Path, options: dict[str, Any]) -> float:
    """Wall seconds per packet that a replay spent emulating, its reading left out."""
    result = netemu.replay(capture, **options).to_dict()
    return float(result["wall_s"]["emulate"]) / int(result["packets"]["offered"])


def _replay(capture: Path) -> int:
    return int(netemu.replay(capture).to_dict()["packets"]["offered"])


def read_all(capture: Path) -> int:
    """Packets in ``capture``, read with netemu's own reader."""
    total = 0
    batch = Batch()
    with open_capture(capture) as reader:
        while count := reader.read_into(batch):
            total += count
    return total


def count_with_dpkt(capture: Path) -> int:
    """Packets at the start of ``capture``, at most 200,000, read with dpkt."""
    import dpkt

    with capture.open("rb") as file:
        return sum(1 for _ in islice(dpkt.pcap.Reader(file), _DPKT_PACKETS))


def count_with_scapy(capture: Path) -> int:
    """Packets at the start of ``capture``, at most 3,000, read with scapy's PcapReader."""
    import scapy.layers.all  # noqa: F401  so that packets are dissected, as a scapy user's are
    from scapy.utils import PcapReader

    with PcapReader(str(capture)) as reader:
        return sum(1 for _ in islice(reader, _SCAPY_PACKETS))


def _process_seconds(*arguments: str) -> float:
    """Wall seconds of one ``netemu`` command in a process of its own."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "netemu.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _compile_cold(cache: Path, note: Callable[[str], None]) -> float:
    """Wall seconds that compiling everything takes when nothing is cached."""
    note("compiling from nothing")
    done = subprocess.run(
        [sys.executable, "-m", "netemu.cli", "warmup", "--json"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "NETEMU_CACHE_DIR": str(cache)},
    )
    return round(float(json.loads(done.stdout)["compile_s"]), 1)


def _memory_growth_mb(capture: Path, note: Callable[[str], None]) -> float | None:
    """Growth of peak memory, in MB of 10**6 bytes, from replaying 100,000 packets to replaying 10 million."""
    if not Path("/proc/self/status").exists():
        note("peak memory can only be read on Linux: left out")
        return None
    note(f"peak memory from {_MEMORY_SMALL:,} to {_MEMORY_SMALL * _MEMORY_REPEAT:,} packets")
    done = subprocess.run(
        [sys.executable, "-c", _PEAK_MEMORY, str(capture), str(_MEMORY_REPEAT)], check=True, stdout=subprocess.PIPE
    )
    return round(float(json.loads(done.stdout)) * 1024 / 1e6, 1)
