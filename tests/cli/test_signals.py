"""SIGINT and SIGTERM end a replay with the report so far; a closed pipe ends it quietly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netemu.cli.interruption import Interruption
from tests.report.sample_result import locked_frees

ROOT = Path(__file__).parents[2]


def endless_replay(*arguments: str) -> subprocess.Popen[str]:
    """A ``netemu replay`` that only a signal ends, already under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.stand_in", "replay", "x.pcap", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "under way\n"
    return process


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_replay_with_its_json(which: signal.Signals) -> None:
    process = endless_replay("--json")
    process.send_signal(which)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + which
    assert json.loads(out) == locked_frees()
    assert err == "netemu: interrupted; the report covers what was replayed until then\n"


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_closed_pipe_ends_quietly(as_json: list[str]) -> None:
    process = endless_replay(*as_json)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """What Python does on SIGINT, also where it was started by a shell that has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_handler")
def test_a_second_signal_acts_as_usual() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == before
