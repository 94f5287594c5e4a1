"""netemu sweep as a user runs it: killed and resumed, on Dask, with points that fail; always the same table."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from netemu.sweep.journal import Journal
from tests.replay.runs import IMIX

SPEC = f"""
title = "Small grid"
trace = "{IMIX}"
[fixed]
packets = 300
rq = "legacy"
[grid]
recycle = ["none", "mlx5_rx_cache", 0.5]
era = ["v4.19", "v6.1"]
"""


class Sweeper:
    """Runs ``netemu sweep`` over one spec in one folder."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        (folder / "grid.toml").write_text(text)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "netemu.cli", "sweep", "grid.toml", "--jobs", "1", *options],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def journal(self, name: str = "grid") -> list[str]:
        file = self.folder / f"{name}.jsonl"
        return file.read_text().splitlines() if file.exists() else []

    def table(self, name: str = "grid") -> list[dict[str, str]]:
        with (self.folder / f"{name}.csv").open() as file:
            return list(csv.DictReader(file))

    def files(self, name: str = "grid") -> tuple[bytes, bytes]:
        return (self.folder / f"{name}.csv").read_bytes(), (self.folder / f"{name}.parquet").read_bytes()


@pytest.fixture(scope="module")
def sweeper(tmp_path_factory: pytest.TempPathFactory) -> Sweeper:
    """A folder in which the whole sweep has been run."""
    made = Sweeper(tmp_path_factory.mktemp("sweep"), SPEC)
    done = made.run("--out", "whole")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Small grid: 6 points in whole.csv, whole.parquet")
    return made


def test_each_row_can_be_repeated_by_its_command(sweeper: Sweeper) -> None:
    rows = sweeper.table("whole")
    assert [(row["recycle"], row["era"]) for row in rows] == [
        (recycle, era) for recycle in ("none", "mlx5_rx_cache", "0.5") for era in ("v4.19", "v6.1")
    ]
    row = rows[2]
    words = row["command"].split()
    assert words[:2] == ["netemu", "replay"]
    done = subprocess.run(
        [sys.executable, "-m", "netemu.cli", *words[1:], "--json"], capture_output=True, text=True, check=True
    )
    data = json.loads(done.stdout)
    assert float(row["pps"]) == data["pps"]
    assert int(row["pages_freed"]) == data["pages"]["freed"]


def test_parquet_holds_the_same_as_csv(sweeper: Sweeper) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    columns: dict[str, list[Any]] = parquet.read_table(sweeper.folder / "whole.parquet").to_pydict()
    rows = sweeper.table("whole")
    assert list(columns) == list(rows[0])
    assert columns["pps"] == [float(row["pps"]) for row in rows]
    assert columns["received"] == [300] * 6
    assert columns["recycle"] == [row["recycle"] for row in rows]


def test_killed_and_started_again_it_gives_the_same_table(sweeper: Sweeper) -> None:
    process = sweeper.start("--out", "killed")
    deadline = time.monotonic() + 120
    while not sweeper.journal("killed"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    before = sweeper.journal("killed")
    assert 0 < len(before) <= 6
    with (sweeper.folder / "killed.jsonl").open("a") as torn:
        torn.write('{"key": "0123')
    done = sweeper.run("--out", "killed")
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 6 points are known already" in done.stderr or len(before) == 6
    assert sweeper.journal("killed")[: len(before)] == before
    assert len(sweeper.journal("killed")) == 6
    assert sweeper.files("killed") == sweeper.files("whole")


def test_interrupted_it_says_how_far_it_came_and_goes_on(sweeper: Sweeper) -> None:
    process = sweeper.start("--out", "stopped")
    deadline = time.monotonic() + 120
    while not sweeper.journal("stopped"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=120)
    known = len(sweeper.journal("stopped"))
    if known < 6:
        assert process.returncode == 130
        assert f"interrupted: {known} of 6 points are done; run the same command again to go on" in err
        assert not (sweeper.folder / "stopped.csv").exists()
    assert sweeper.run("--out", "stopped").returncode == 0
    assert sweeper.files("stopped") == sweeper.files("whole")


def test_a_finished_sweep_is_not_run_again_unless_asked(sweeper: Sweeper) -> None:
    (sweeper.folder / "again.jsonl").write_text("\n".join(sweeper.journal("whole")) + "\n")
    done = sweeper.run("--out", "again")
    assert done.stderr == ""
    assert sweeper.files("again") == sweeper.files("whole")
    fresh = sweeper.run("--out", "again", "--fresh", "--json")
    assert "6 of 6 points after" in fresh.stderr
    rows = json.loads(fresh.stdout)["rows"]
    assert [row["point"] for row in rows] == list(range(6))
    assert sweeper.files("again") == sweeper.files("whole")


def test_dask_gives_the_same_table_byte_for_byte(sweeper: Sweeper) -> None:
    pytest.importorskip("distributed")
    done = sweeper.run("--dask", "local", "--out", "dask")
    assert done.returncode == 0, done.stderr
    assert sweeper.files("dask") == sweeper.files("whole")


def test_a_point_that_cannot_be_replayed_is_a_row_with_its_error(tmp_path: Path) -> None:
    text = SPEC.replace('["none", "mlx5_rx_cache", 0.5]', '["half_flip"]').replace(
        '["v4.19", "v6.1"]', '["v6.1", "v6.6"]'
    )
    failing = Sweeper(tmp_path, text)
    done = failing.run()
    assert done.returncode == 1
    assert "1 of 2 points failed, the first one with: the recycle policy cuts pages" in done.stderr
    good, bad = failing.table()
    assert good["error"] == ""
    assert bad["error"].startswith("the recycle policy cuts pages into 2 buffers")
    assert bad["pps"] == ""


def test_wrong_options_are_found_before_anything_runs(tmp_path: Path) -> None:
    wrong = Sweeper(tmp_path, SPEC.replace("packets = 300", "packets = 0"))
    done = wrong.run()
    assert done.returncode == 2
    assert "point 0 (netemu replay" in done.stderr
    assert not (tmp_path / "grid.csv").exists()


def test_a_journal_in_use_is_left_alone(tmp_path: Path) -> None:
    busy = Sweeper(tmp_path, SPEC)
    with Journal(tmp_path / "grid.jsonl"):
        done = busy.run()
    assert done.returncode == 1
    assert "being written by another sweep" in done.stderr
