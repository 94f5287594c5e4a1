"""Files that commands write: nothing that is there is lost, and nothing that was found is."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stand_in import Engine

FORMATS = ("--html", "--folded", "--ethtool")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "c.pcap"
    path.write_bytes(b"a capture")
    return path


def sides(*options: str) -> list[str]:
    return ["--base", "", "--test", "", *options]


@pytest.mark.parametrize("option", FORMATS)
def test_a_report_never_takes_the_place_of_the_capture(run: Run, engine: Engine, capture: Path, option: str) -> None:
    (capture.parent / "link").symlink_to(capture)
    for name in (capture, capture.parent / "link", capture.parent / "." / "c.pcap"):
        done = run("replay", str(capture), option, str(name))
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == (f"netemu: error: {option} {name} is a file that this run reads: write to another file\n")
    assert capture.read_bytes() == b"a capture"
    assert engine.called_with == {}


def test_the_same_holds_for_a_comparison(run: Run, engine: Engine, capture: Path) -> None:
    assert run("compare", str(capture), *sides("--html", str(capture))).exit_code == 2
    assert capture.read_bytes() == b"a capture"
    assert engine.called_with == {}


@pytest.mark.parametrize("option", ["--driver", "--platform", "--recycle", "--xdp"])
def test_other_files_that_a_run_reads_are_safe_too(run: Run, tmp_path: Path, option: str) -> None:
    read = tmp_path / "mine.py"
    read.write_text("x = 1")
    for name in (str(read), f"{read}:name"):
        assert run("replay", "c.pcap", option, name, "--folded", str(read)).exit_code == 2
    assert read.read_text() == "x = 1"


def test_two_outputs_are_two_files(run: Run, engine: Engine, tmp_path: Path) -> None:
    same = tmp_path / "a.pcap"
    for one, other in (("--html", "--folded"), ("--folded", "--out")):
        done = run("replay", "c.pcap", one, str(same), other, str(same))
        assert done.exit_code == 2
        assert done.stderr == f"netemu: error: {one} and {other} are both {same}: give each its own file\n"
    assert engine.called_with == {}
    assert not same.exists()


def test_what_discards_or_passes_on_may_be_named_twice(run: Run) -> None:
    assert run("replay", "c.pcap", "--folded", "/dev/null", "--ethtool", "/dev/null").exit_code == 0


@pytest.mark.parametrize("command", ["replay c.pcap", "compare c.pcap --base '' --test ''"])
def test_a_file_that_cannot_be_written_is_found_before_the_run(run: Run, engine: Engine, command: str) -> None:
    done = run(*shlex.split(command), "--html", "/no/such/folder/x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "netemu: error: /no/such/folder/x: No such file or directory\n"
    assert engine.called_with == {}


def test_what_was_written_before_stays_when_the_run_fails(run: Run, engine: Engine, tmp_path: Path) -> None:
    engine.failure = RuntimeError("no luck")
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("kept")
    run("replay", "c.pcap", "--folded", str(old), "--ethtool", str(new))
    assert old.read_text() == "kept"
    assert not new.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_names_the_file_and_the_report_is_printed(run: Run, tmp_path: Path) -> None:
    done = run("replay", "c.pcap", "--folded", "/dev/full", "--ethtool", str(tmp_path / "e"))
    assert done.exit_code == 1
    assert "Call graph" in done.stdout
    assert done.stderr == "netemu: error: /dev/full: No space left on device; the file is not complete\n"
    assert (tmp_path / "e").read_text().startswith("NIC statistics")
