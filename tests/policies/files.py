"""Policy files as their authors write them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

IMPORTS = "from netemu.policies import *  # noqa: F403\n"
"""One line, so that line 2 of a file is the first of the text under test."""


def written(folder: Path, text: str, name: str = "mine") -> str:
    """The path of a new policy file with ``text``, dedented, after a line of imports."""
    file = folder / f"{name}.py"
    file.write_text(IMPORTS + dedent(text).lstrip("\n"))
    return str(file)
