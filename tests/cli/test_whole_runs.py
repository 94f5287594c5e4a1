"""The command over the real engine: each test is one or two processes, as a user starts them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from netemu import traces
from netemu.cli.measurements import write_capture
from netemu.pcap import packets

NETEMU = (sys.executable, "-m", "netemu.cli")
CHAIN = ["napi_consume_skb", "skb_release_data", "skb_free_head", "skb_free_frag", "page_frag_free", "__free_pages_ok"]


def netemu(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NETEMU, *map(str, arguments)], capture_output=True, text=True, check=False)


def replayed(*arguments: str | Path) -> dict[str, Any]:
    done = netemu("replay", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "flood.pcap"
    write_capture(path, 20_000)
    return path


def test_the_report_shows_the_chain_that_frees_a_page_and_blames_the_lock() -> None:
    trace = traces.path("router-imix.pcap")
    done = netemu("replay", trace, "--driver", "mlx5", "--era", "v4.19", "--recycle", "0")
    assert done.returncode == 0, done.stderr
    assert "Every freed page took zone->lock by itself: 1.00 acquisitions per page freed" in done.stdout
    functions = [line.split()[-1] for line in done.stdout.splitlines() if " %" in line]
    start = functions.index("napi_consume_skb")
    below = [name for name in functions[start:] if name in CHAIN]
    assert below[: len(CHAIN)] == CHAIN
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_json_is_the_same_twice_but_for_wall_time(capture: Path) -> None:
    one, two = replayed(capture), replayed(capture)
    assert one.pop("wall_s").keys() == two.pop("wall_s").keys() == {"compile", "read", "emulate"}
    assert json.dumps(one) == json.dumps(two)


def test_the_output_holds_what_was_forwarded(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    result = replayed(capture, "--out", out)
    assert len(list(packets(out))) == result["packets"]["forwarded"] > 0


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_long_replay_with_report_and_valid_output(
    capture: Path, tmp_path: Path, which: signal.Signals
) -> None:
    out = tmp_path / "out.pcap"
    command = [*NETEMU, "replay", capture, "--repeat", "1000000", "--out", out, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (out.exists() and out.stat().st_size > 100_000):
            time.sleep(0.02)
        process.send_signal(which)
        printed, said = process.communicate(timeout=120)
    assert process.returncode == 128 + which, said
    forwarded = json.loads(printed)["packets"]["forwarded"]
    assert sum(1 for _ in packets(out)) == forwarded > 0
    assert "interrupted" in said


def test_a_cut_capture_is_reported_up_to_the_cut(capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[: 24 + 100 * (16 + 64) - 7])
    done = netemu("replay", cut, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["packets"]["offered"] == 99
    assert done.stderr.splitlines()[-1].startswith("netemu: error: ")
    assert "7944" in done.stderr  # the offset of the record that is cut


@pytest.mark.parametrize("content", [b"", b"not a capture, only some words"])
def test_what_is_no_capture_is_one_line_and_status_1(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    for source in (path, tmp_path, tmp_path / "missing.pcap"):
        done = netemu("replay", source)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"netemu: error: {source}: ")


@pytest.mark.parametrize(
    "wrong",
    [["--era", "v9.9"], ["--driver", "e1000"], ["--platform", "abacus"], ["--set", "no_such_switch=1"]],
    ids=" ".join,
)
def test_names_that_do_not_exist_are_wrong_usage(capture: Path, wrong: list[str]) -> None:
    done = netemu("replay", capture, *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_pipe_is_replayed_like_the_file(capture: Path) -> None:
    piped = subprocess.run(
        [*NETEMU, "replay", "-", "--json"], input=capture.read_bytes(), capture_output=True, check=True
    )
    from_file = replayed(capture)
    assert json.loads(piped.stdout)["packets"] == from_file["packets"]


def test_bench_measures_everything_it_lists() -> None:
    done = netemu("bench", "--no-cold", "--packets", "50000", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures.pop("compile_cold_s") is None
    assert all(value > 0 for value in figures.pop("ns_per_packet").values())
    assert figures.pop("rss_mb") >= 0
    assert all(value > 0 for value in figures.values())
