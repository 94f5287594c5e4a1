"""The journal: what is in it survives, what was cut off does not, and two sweeps do not share it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netemu
from netemu.sweep.journal import Journal

ROWS = st.dictionaries(st.text("abcdef0123456789", min_size=4, max_size=4), st.dictionaries(st.text(), st.integers()))


@given(rows=ROWS, cut=st.integers(0, 400))
def test_a_torn_journal_gives_whole_rows_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, dict[str, int]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "sweep.jsonl"
    with Journal(path) as journal:
        for key, row in rows.items():
            journal.write(key, row)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    with Journal(path) as journal:
        kept = journal.rows(rows.keys())
        assert kept.items() <= rows.items()
        assert len(kept) == path.read_bytes().count(b"\n")
        for key in rows.keys() - kept.keys():
            journal.write(key, rows[key])
    with Journal(path) as journal:
        assert journal.rows(rows.keys()) == rows
        assert journal.rows([]) == {}


def test_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_bytes(b'not json\n[1]\n{"key": "a", "row": {"x": 1}}\n\xff\xfe\n{"ke')
    with Journal(path) as journal:
        assert journal.rows(["a"]) == {"a": {"x": 1}}


def test_two_sweeps_do_not_write_the_same_journal(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    with Journal(path), pytest.raises(netemu.NetemuError, match="being written by another sweep"):
        Journal(path)
    with Journal(path) as again:
        again.write("k", {})
