"""The Python of docs/xdp.md runs, block by block, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "xdp.md"


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 6
    names: dict[str, Any] = {"address": 0, "looks": False}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    assert names["ports"][53] == 400
