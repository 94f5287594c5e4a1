"""What a person at a terminal sees while netemu works: a bar for long replays, a spinner while it compiles."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

import click

from netemu.cli.interruption import Interruption

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LONG_S = 0.5
"""A replay that takes longer than this gets a bar."""

_COMPILING = "compiling the engine for this machine, once (some tens of seconds)"


class ReplayProgress:
    """The ``progress`` callable of a replay: draws a bar on a terminal, and stops the run when it was interrupted."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._started = monotonic()
        self._visible = sys.stderr.isatty()
        self._bar: Progress | None = None
        self._row: TaskID | None = None

    def __call__(self, done_packets: int, done_bytes: int, total_bytes: int | None) -> bool:
        """Show how far the replay is; True asks it to stop."""
        if self._visible and monotonic() - self._started > _LONG_S:
            self._draw(done_packets, done_bytes, total_bytes)
        return self._interruption.signum is not None

    def _draw(self, done_packets: int, done_bytes: int, total_bytes: int | None) -> None:
        if self._bar is None or self._row is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("replaying"),
                BarColumn(),
                TextColumn("{task.fields[packets]:,} packets"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._row = self._bar.add_task("replaying", total=total_bytes, packets=0)
            self._bar.start()
        self._bar.update(self._row, completed=done_bytes, packets=done_packets)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()


class RunsProgress:
    """Follows a series of runs: on a terminal, says which one it is at; all stop when the series was interrupted."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._started = monotonic()
        self._visible = sys.stderr.isatty()
        self._bar: Progress | None = None
        self._row: TaskID | None = None

    def begin(self, name: str, done: int, total: int) -> None:
        """A run begins; ``done`` of ``total`` are over."""
        if not self._visible or (self._bar is None and done and monotonic() - self._started < _LONG_S):
            return
        if self._bar is None or self._row is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.fields[name]}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._row = self._bar.add_task("", total=total, name=name)
            self._bar.start()
        self._bar.update(self._row, completed=done, name=name)

    def stopped(self) -> bool:
        """Was there an interruption?"""
        return self._interruption.signum is not None

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()


def compile_if_needed(*, everything: bool = False) -> float:
    """Compile the engine unless that was done before, and say so: it is the one long wait.  Returns its seconds.

    ``everything``: also what only scripts and tests call.
    """
    from netemu import warm

    if warm.is_warm(everything=everything):
        return 0.0
    if not sys.stderr.isatty():
        click.echo(f"netemu: {_COMPILING}", err=True)
        return warm.warm_up(None, everything=everything)
    from rich.console import Console

    with Console(stderr=True).status(_COMPILING) as status:
        return warm.warm_up(
            lambda done, total: status.update(f"{_COMPILING}: {done} of {total}"), everything=everything
        )
