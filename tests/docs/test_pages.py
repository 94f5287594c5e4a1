"""The pages about policies, sweeps and formats: every block runs, and the reference is what the docstrings say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from netemu.net.policy_source import PUBLISHED
from tests.docs.sessions import ROOT, Session, blocks


@pytest.mark.parametrize(
    ("page", "jit"), [("recycling.md", "1"), ("policies.md", "0"), ("sweeps.md", "0"), ("tracing.md", "0")]
)
def test_every_block_runs(page: str, jit: str, tmp_path: Path) -> None:
    session = Session(tmp_path, jit)
    found = blocks(page)
    assert len(found) > 3
    for block in found:
        session.run(block)


def test_every_format_is_in_the_table() -> None:
    from netemu.report.formats import FORMATS

    page = (ROOT / "docs" / "sweeps.md").read_text()
    assert set(re.findall(r"^\| `--([\w-]+)` \|", page, re.MULTILINE)) == set(FORMATS)


def test_the_reference_is_made_from_the_docstrings() -> None:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "docs" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == builder.reference(), "run docs/build_reference.py"
    for name in PUBLISHED:
        assert f"- `{name}(" in page
