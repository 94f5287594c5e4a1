"""``netemu diff`` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import netemu
from netemu.cli import COMMANDS
from netemu.pcap import PcapngWriter, PcapWriter, packets
from tests.replay.runs import DNS, HTTP, MIXED


def diff(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(COMMANDS, ["diff", *map(str, arguments)])
    assert done.exit_code == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def figures(*arguments: object, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(diff(*arguments, "--json", status=status).stdout)
    return found


def copy(path: Path, *, without: tuple[int, ...] = (), changed: tuple[int, ...] = (), later: int = 0) -> Path:
    """The DNS capture with some packets (from 0) left out or one byte of them changed, ``later`` ns later."""
    with PcapWriter(path) as writer:
        for number, (ts_ns, data, wirelen) in enumerate(packets(DNS)):
            flipped = data[:40] + bytes([data[40] ^ (number in changed)]) + data[41:]
            if number not in without:
                writer.write(ts_ns + later, flipped, wirelen=wirelen)
    return path


def test_a_capture_is_the_same_as_itself(tmp_path: Path) -> None:
    for trace in (DNS, MIXED):
        assert diff(trace, trace, "--times", "--interfaces", "--verdicts").stdout.endswith("the same\n")
    assert figures(DNS, copy(tmp_path / "copy.pcap"))["equal"] == 800


def test_missing_and_changed_packets_are_named(tmp_path: Path) -> None:
    other = copy(tmp_path / "other.pcap", without=(5, 6, 700), changed=(20,))
    found = figures(DNS, other, status=1)
    assert found["packets"] == {"a": 800, "b": 797}
    assert (found["equal"], found["changed"], found["only_in"]) == (796, 1, {"a": 3, "b": 0})
    assert found["aspects"] == {"bytes": 1}
    assert [(d["differs"], d["a"]["number"]) for d in found["first"]] == [
        (["missing"], 6),
        (["missing"], 7),
        (["bytes"], 21),
        (["missing"], 701),
    ]
    assert found["first"][2]["byte"] == 40
    assert found["first"][2]["b"]["number"] == 19
    told = diff(DNS, other, "--limit", "3", status=1).stdout
    assert "796 the same, 1 changed, 3 only in A, 0 only in B" in told
    assert "bytes differs, from byte 40" in told
    assert told.endswith("and 1 more\n")
    assert figures(other, DNS, status=1)["only_in"] == {"a": 0, "b": 3}


def test_bytes_beyond_snaplen_are_not_looked_at(tmp_path: Path) -> None:
    other = copy(tmp_path / "other.pcap", changed=(20,))
    assert figures(DNS, other, "--snaplen", "40")["same"]
    assert not figures(DNS, other, "--snaplen", "41", status=1)["same"]


def test_times_are_compared_when_asked_for(tmp_path: Path) -> None:
    later = copy(tmp_path / "later.pcap", later=7)
    assert figures(DNS, later)["same"]
    assert figures(DNS, later, "--times", status=1)["aspects"] == {"time": 800}
    assert figures(DNS, later, "--times", "--tolerance", "7")["same"]
    assert figures(DNS, later, "--times", "--tolerance", "6", status=1)["changed"] == 800


def test_order_does_not_matter_by_content(tmp_path: Path) -> None:
    backwards = tmp_path / "backwards.pcap"
    with PcapWriter(backwards) as writer:
        for ts_ns, data, wirelen in reversed(list(packets(DNS))):
            writer.write(ts_ns, data, wirelen=wirelen)
    assert figures(DNS, backwards, "--pair", "content")["equal"] == 800
    assert not figures(DNS, backwards, status=1)["same"]


def test_interfaces_are_compared_and_chosen_by_name(tmp_path: Path) -> None:
    left, right = tmp_path / "left.pcapng", tmp_path / "right.pcapng"
    for path, names in ((left, ("eth0", "eth1")), (right, ("eth0", "eth2"))):
        with PcapngWriter(path) as writer:
            for name in names:
                writer.add_interface(name)
            for n in range(10):
                writer.write(n, bytes(60), interface=n % 2)
    assert figures(left, right)["same"]
    assert figures(left, right, "--interfaces", status=1)["aspects"] == {"interface": 5}
    chosen = figures(left, right, "--interface-a", "eth1", "--interface-b", "eth2")
    assert chosen["packets"] == {"a": 5, "b": 5}
    assert "it has: eth0, eth2" in diff(left, right, "--interface-b", "eth7", status=2).stderr


def test_what_a_replay_forwards_is_what_it_was_given(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    netemu.replay(HTTP, out=out)
    for place in ("rx", "tx"):
        assert figures(HTTP, out, "--interface-b", f"mlx5_0 {place}")["equal"] == 600


def test_verdicts_of_two_replays_are_compared(tmp_path: Path) -> None:
    for verdict in ("pass", "drop"):
        netemu.replay(DNS, xdp=verdict, out=tmp_path / f"{verdict}.pcapng")
    arguments = (tmp_path / "pass.pcapng", tmp_path / "drop.pcapng")
    places = ("--interface-a", "mlx5_0 rx", "--interface-b", "mlx5_0 rx")
    assert figures(*arguments, *places)["same"]
    found = figures(*arguments, *places, "--verdicts", status=1)
    assert found["aspects"] == {"verdict": 800}
    assert found["first"][0]["a"]["verdict"] == "2:0000000000000002"
    assert found["first"][0]["b"]["verdict"] == "2:0000000000000001"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [((DNS,), 2), ((DNS, DNS, "--tolerance", "5"), 2), ((DNS, DNS, "--pair", "luck"), 2), ((DNS, "missing.pcap"), 1)],
)
def test_wrong_usage_and_bad_input_are_one_message(arguments: tuple[object, ...], status: int) -> None:
    assert "rror: " in diff(*arguments, status=status).stderr


def test_the_exit_status_is_that_of_the_process(tmp_path: Path) -> None:
    other = copy(tmp_path / "other.pcap", without=(5,))
    for second, status in ((DNS, 0), (other, 1)):
        command = [sys.executable, "-m", "netemu.cli", "diff", str(DNS), str(second), "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert (done.returncode, json.loads(done.stdout)["same"]) == (status, status == 0)


def test_one_of_the_two_can_come_through_a_pipe() -> None:
    for sides in (("-", str(DNS)), (str(DNS), "-")):
        command = [sys.executable, "-m", "netemu.cli", "diff", *sides, "--json"]
        done = subprocess.run(command, input=DNS.read_bytes(), capture_output=True, check=False)
        assert (done.returncode, json.loads(done.stdout)["same"]) == (0, True)
    assert "Only one of A and B" in diff("-", "-", status=2).stderr


def test_a_cut_capture_is_bad_input(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(DNS.read_bytes()[:-20])
    assert "cut.pcap" in diff(DNS, cut, status=1).stderr
