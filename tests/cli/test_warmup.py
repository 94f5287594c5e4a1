"""``netemu warmup`` compiles once and says where the result is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stand_in import Warm


@pytest.fixture
def directory(warm: Warm, tmp_path: Path) -> Path:
    warm.kept_in = tmp_path
    return tmp_path


def test_cold_compiles_and_names_the_directory(run: Run, warm: Warm, directory: Path) -> None:
    warm.warm = False
    done = run("warmup", "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report == {"compile_s": 12.34, "cached": False, "directory": str(directory)}
    assert warm.is_warm()


def test_warm_compiles_nothing(run: Run, warm: Warm, directory: Path) -> None:
    assert run("warmup").stdout == f"already compiled: {directory}\n"
    report = json.loads(run("warmup", "--json").stdout)
    assert report == {"compile_s": 0.0, "cached": True, "directory": str(directory)}
    assert warm.reports_progress is None


def test_what_a_replay_needs_is_not_everything(run: Run, warm: Warm, directory: Path) -> None:
    assert json.loads(run("warmup", "--json").stdout)["cached"]
    assert json.loads(run("warmup", "--all", "--json").stdout) == {
        "compile_s": 12.34,
        "cached": False,
        "directory": str(directory),
    }
    assert json.loads(run("warmup", "--all", "--json").stdout)["cached"]


def test_no_writable_directory_is_said(run: Run, warm: Warm) -> None:
    warm.warm = False
    assert "no cache directory is writable" in run("warmup").stdout
    warm.warm = False
    assert json.loads(run("warmup", "--json").stdout)["directory"] is None
