"""Driver files as their authors write them: copies of the template, with mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[2] / "drivers" / "template" / "__init__.py"


def edited(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A copy of the template called ``name``, in which each ``(old, new)`` has been replaced."""
    text = TEMPLATE.read_text()
    for old, new in changes:
        assert old in text, f"the template has no {old!r}"
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def replay_interpreted(trace: Path, driver: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``netemu replay TRACE --driver FILE`` in a process of its own, without compiling."""
    return subprocess.run(
        [sys.executable, "-m", "netemu.cli", "replay", str(trace), "--driver", str(driver), *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NETEMU_JIT": "0"},
    )
