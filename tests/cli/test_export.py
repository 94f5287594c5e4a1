"""``netemu export``: what is no result is bad input, and what a result lacks is said in words of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu.cli import COMMANDS
from tests.report.sample_result import locked_frees


def export(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(COMMANDS, ["export", *map(str, arguments)], input=stdin, prog_name="netemu")


@pytest.mark.parametrize("text", ["garbage", "{}", "[]", "", "[" * 100_000])
def test_what_is_no_result_is_bad_input(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    for done, name in ((export(file, "folded"), str(file)), (export("-", "folded", stdin=text), "standard input")):
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"netemu: error: {name}: not ")
        assert done.stderr.endswith("give what netemu replay --json prints\n")


@pytest.mark.parametrize("form", ["perfetto", "html"])
def test_a_result_without_a_timeline_says_which_option_adds_it(tmp_path: Path, form: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(locked_frees() | {"options": {"recycle": 0}}))
    done = export(file, form)
    assert done.exit_code == 2
    assert "replay with --timeline" in done.stderr
