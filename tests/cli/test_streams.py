"""Captures that come through a pipe: taken where they are read once, refused with the reason where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stand_in import Engine


@pytest.mark.parametrize("command", [["compare", "--base", "", "--test", ""], ["exhaust"]])
def test_what_is_read_more_than_once_cannot_be_a_stream(
    run: Run, engine: Engine, tmp_path: Path, command: list[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name, called in (("-", "standard input"), (str(pipe), str(pipe))):
        done = run(command[0], name, *command[1:])
        assert (done.exit_code, done.stdout) == (2, "")
        said = f"{called} is a stream, and {command[0]} reads the capture more than once: write it to a file first."
        assert said in done.stderr
    assert engine.called_with == {}
