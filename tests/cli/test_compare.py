"""netemu compare as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stand_in import Engine, Result
from tests.replay.runs import IMIX
from tests.replay.runs import run as replayed


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netemu.cli", "compare", str(IMIX), *options],
        capture_output=True,
        text=True,
        check=False,
    )


BASE, TEST = "--era v4.19 --recycle 0 --packets 2000", "--era v4.19 --recycle 0 --packets 2000 --set page_frag_free=pcp"


def test_both_sides_are_replays_and_delta_is_their_difference() -> None:
    done = compare("--base", BASE, "--test", TEST, "--json")
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)
    base = replayed(IMIX, era="v4.19", recycle=0.0, packets=2000)
    assert {**compared["base"], "wall_s": 0} == {**json.loads(json.dumps(base)), "wall_s": 0}
    faster = 100 * (compared["test"]["pps"] / compared["base"]["pps"] - 1)
    assert compared["delta"]["pps_percent"] == pytest.approx(faster)
    assert compared["delta"]["pps_percent"] > 0
    assert compared["delta"]["zone_lock_acquisitions_percent"] < -50
    assert compared["delta"]["dropped"] == 0
    (gone,) = [row for row in compared["functions"] if row["function"] == "free_one_page"]
    assert gone["change_ns"] < 0 == gone["test_ns"]


def test_the_report_says_in_words_what_changed() -> None:
    done = compare("--base", BASE, "--test", TEST)
    assert done.returncode == 0
    assert "The test side is" in done.stdout
    assert "% faster." in done.stdout
    assert "zone->lock is taken" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_the_same_on_both_sides_differs_in_nothing() -> None:
    done = compare("--base", BASE, "--test", BASE, "--json")
    compared = json.loads(done.stdout)
    assert set(compared["delta"].values()) <= {0, None}
    assert {row["change_ns"] for row in compared["functions"]} == {0}


def test_a_leak_on_one_side_is_a_failed_comparison(run: Run, engine: Engine) -> None:
    engine.result = Result(leaks=("page 3: nobody holds it", "page 4: nobody holds it"))
    done = run("compare", "x.pcap", "--base", "", "--test", "")
    assert done.exit_code == 1
    said = "2 leaks or broken rules; the first: page 3: nobody holds it"
    assert done.stderr == f"netemu: error: base side: {said}\nnetemu: error: test side: {said}\n"


def test_a_cut_capture_is_compared_up_to_the_cut_and_fails(run: Run, engine: Engine) -> None:
    engine.result = Result(error="x.pcap: cut in packet 7")
    done = run("compare", "x.pcap", "--base", "", "--test", "", "--json")
    assert done.exit_code == 1
    assert set(json.loads(done.stdout)["delta"].values()) <= {0, None}
    assert done.stderr == "netemu: error: x.pcap: cut in packet 7; what came before it was replayed\n"


def test_wrong_options_are_wrong_usage(tmp_path: Path) -> None:
    done = compare("--base", "--nosuch", "--test", TEST)
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert compare("--base", BASE).returncode == 2
    assert compare("--base", BASE, "--test", "--recycle nosuch").returncode == 2
