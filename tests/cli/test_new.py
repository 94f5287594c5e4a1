"""``netemu new``: names for files to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu.cli import COMMANDS


def new(*arguments: str) -> Result:
    return CliRunner().invoke(COMMANDS, ["new", *arguments], prog_name="netemu")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("policy", "lifo"), ("policy", "lifo.py"), ("policy", "mechanism"), ("driver", "mlx5"), ("driver", "netsec")],
)
def test_a_name_that_is_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = new(kind, name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("is the name of one that is installed: choose another name\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["policy", "driver"])
def test_another_name_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert new(kind, "mine").exit_code == 0
    assert (tmp_path / "mine.py").exists()
