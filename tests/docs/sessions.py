"""The code blocks of a page, run in their order as one session.

``sh`` blocks run in a folder that has the checkout's traces; a block whose first line says ```` ```LANGUAGE FILE ````
is written to that file; other ``python`` blocks run as they are; ``text`` has to be in the output of the block before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file that it is, its text."""

    language: str
    file: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page in ``docs``."""
    text = (ROOT / "docs" / page).read_text()
    return [Block(*found) for found in re.findall(r"^```(\w+) ?([\w.]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


class Session:
    """A folder in which blocks run one after the other; ``jit`` "0": interpreted, for small runs."""

    def __init__(self, folder: Path, jit: str) -> None:
        self.folder = folder
        self.output = ""
        (folder / "traces").symlink_to(ROOT / "traces")
        (folder / "docs").symlink_to(ROOT / "docs")
        commands = folder / "bin"
        commands.mkdir()
        netemu = commands / "netemu"
        netemu.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m netemu.cli "$@"\n')
        netemu.chmod(0o755)
        self.environment = {**os.environ, "NETEMU_JIT": jit, "PATH": f"{commands}:{os.environ['PATH']}"}

    def run(self, block: Block) -> None:
        """Run a block, or save it, or look for it in what was printed before."""
        if block.file:
            (self.folder / block.file).write_text(block.text)
        elif block.language == "sh":
            self.output = self._run(["sh", "-e", "-c", block.text])
        elif block.language == "python":
            self.output = self._run([sys.executable, "-c", block.text])
        else:
            assert block.language == "text", f"nobody knows how to run {block.language}"
            assert block.text.rstrip("\n") in self.output

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout
