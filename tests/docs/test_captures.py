"""The page about captures, run block by block."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.docs.sessions import Session, blocks


def test_every_block_runs(tmp_path: Path) -> None:
    session = Session(tmp_path, "1")
    found = blocks("captures.md")
    assert [block.language for block in found] == ["sh", "sh", "text", "sh", "text"]
    if shutil.which("tshark") is None:
        del found[1:3]
    for block in found:
        session.run(block)
