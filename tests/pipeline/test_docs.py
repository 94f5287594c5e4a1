"""The examples of docs/pipeline.md, as they are printed, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from netemu import traces

DOC = Path(__file__).resolve().parents[2] / "docs" / "pipeline.md"


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "dns.pcap").symlink_to(traces.path("dns.pcap"))
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(examples) == 4
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(DOC), "exec"), names)
    assert (tmp_path / "routed.pcapng").stat().st_size > 800 * 60
    assert (tmp_path / "seen.pcapng").stat().st_size > 800 * 60
