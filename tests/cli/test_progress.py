"""What is shown while netemu works: a bar and a spinner on a terminal, at most one line elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from netemu.cli import progress as shown
from netemu.cli.interruption import Interruption
from netemu.cli.progress import ReplayProgress, compile_if_needed
from tests.cli.stand_in import Warm


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal (in the test itself: pytest takes it back between set-up and call)."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the progress sees, in seconds; a test moves it."""
    now = [100.0]
    monkeypatch.setattr(shown, "monotonic", lambda: now[0])
    return now


def test_a_short_replay_shows_nothing(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = at_a_terminal(monkeypatch)
    progress = ReplayProgress(Interruption())
    clock[0] += 0.4
    assert progress(10, 100, 200) is False
    progress.close()
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("total", [200, None])
def test_a_long_replay_gets_a_bar(monkeypatch: pytest.MonkeyPatch, clock: list[float], total: int | None) -> None:
    terminal = at_a_terminal(monkeypatch)
    progress = ReplayProgress(Interruption())
    clock[0] += 0.6
    assert progress(12_345, 100, total) is False
    progress.close()
    assert "replaying" in terminal.getvalue()
    assert "12,345 packets" in terminal.getvalue()


def test_a_pipe_gets_no_bar(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    progress = ReplayProgress(Interruption())
    clock[0] += 60
    assert progress(10, 100, 200) is False
    progress.close()
    assert pipe.getvalue() == ""


def test_an_interruption_asks_the_replay_to_stop() -> None:
    interruption = Interruption()
    progress = ReplayProgress(interruption)
    assert progress(1, 1, None) is False
    interruption.signum = 2
    assert progress(2, 2, None) is True


def test_compiling_shows_how_far_it_is_on_a_terminal(monkeypatch: pytest.MonkeyPatch, warm: Warm) -> None:
    terminal = at_a_terminal(monkeypatch)
    warm.warm = False
    compile_if_needed()
    assert warm.is_warm()
    assert warm.reports_progress is True
    assert "compiling the engine for this machine, once" in terminal.getvalue()


def test_compiling_is_one_line_in_a_pipe(monkeypatch: pytest.MonkeyPatch, warm: Warm) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    warm.warm = False
    compile_if_needed()
    assert warm.is_warm()
    assert pipe.getvalue().count("\n") == 1
