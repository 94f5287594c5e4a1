"""Comparison of vector lines: each wrong answer is found where it stands, and damaged files are named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.testing.conformance import Divergence, Tally, replay_vectors
from netemu.testing.vectors import VectorError

SMOKE = Path(__file__).parent.parent / "conformance" / "page_pool" / "01_smoke.jsonl.gz"
LINES = [json.loads(line) for line in gzip.decompress(SMOKE.read_bytes()).splitlines()][:51]
"""The first script: its header and its operations."""


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    file = folder / "vectors.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def replayed(file: Path) -> tuple[list[Divergence], Tally]:
    tally = Tally()
    return list(replay_vectors("page_pool", [file], tally)), tally


def test_a_script_of_the_kernels_answers_is_replayed_whole(tmp_path: Path) -> None:
    assert replayed(write(tmp_path, LINES)) == ([], Tally(scripts=1, ops=50, divergences=0))


def altered(value: Any) -> Any:
    if isinstance(value, list):
        return [*value[:-1], altered(value[-1])] if value else [0]
    if isinstance(value, str):
        return f"{value}!"
    return 1 if value is None else value + 1


@given(data=st.data())
def test_one_wrong_answer_is_one_divergence_on_its_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    number = data.draw(st.integers(1, len(LINES) - 1))
    field = data.draw(st.sampled_from([name for name in LINES[number] if name not in ("op", "pool")]))
    right = LINES[number][field]
    lines = [*LINES]
    lines[number] = LINES[number] | {field: altered(right)}
    (divergence,), tally = replayed(write(tmp_path_factory.mktemp("vectors"), lines))
    assert (divergence.line, divergence.field) == (number + 1, field)
    assert (divergence.expected, divergence.got) == (altered(right), right)
    assert tally == Tally(scripts=1, ops=50, divergences=1)


@given(data=st.data())
def test_a_change_that_a_line_does_not_tell_is_a_divergence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    untold = {"ret", "page", "cache", "ring", "slots", "hold", "rel", "infl", "st", "got", "freed"}
    candidates = [
        (number, field) for number, line in enumerate(LINES) if number > 1 for field in line if field in untold
    ]
    number, field = data.draw(st.sampled_from(candidates))
    lines = [*LINES]
    lines[number] = {name: value for name, value in LINES[number].items() if name != field}
    found, _ = replayed(write(tmp_path_factory.mktemp("vectors"), lines))
    if field == "page":  # the first line about a page has nothing to differ from
        assert all(divergence.field == "page" for divergence in found)
    else:
        assert [(divergence.line, divergence.field) for divergence in found] == [(number + 1, field)]


def without_header(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return lines[1:]


def cut_short(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return lines[:20]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (without_header, ':1: a script must start with {"script": NAME, "ops": N}, N at least 1'),
        (cut_short, ": script 01_smoke-000 ends after 19 of 50 operations; fetch the file again"),
    ],
)
def test_a_damaged_script_is_named(
    tmp_path: Path, damage: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], text: str
) -> None:
    file = write(tmp_path, damage(LINES))
    with pytest.raises(VectorError) as error:
        replayed(file)
    assert str(error.value) == f"{file}{text}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"script": "x", "ops": 1}\n{"op": ', "2: not JSON"),
        (b'{"script": "x", "ops": ' + b"1" * 5000 + b"}\n", "1: not JSON"),
        (b"[" * 100_000, "1: not JSON"),
        (b"[]\n", "1: a line must hold one JSON object"),
        (b"\xff\xfe\n", "1: not JSON"),
        (b'{"script": "x", "ops": 1}\n{"ret": 1}\n', '2: an operation needs "op"'),
        (b'{"script": "x", "ops": "2"}\n', "1: a script must start with"),
        (SMOKE.read_bytes()[:2000], " damaged gzip data ("),
        (SMOKE.read_bytes()[:-8] + bytes(8), " damaged gzip data ("),
    ],
)
def test_a_damaged_file_is_named_with_the_line(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "vectors"
    file.write_bytes(content)
    with pytest.raises(VectorError) as error:
        replayed(file)
    assert str(error.value).startswith(f"{file}:")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("dance 0", "there is no operation 'dance'"),
        ("alloc_pages 7", "there is no pool 7"),
        ("alloc_pages x", "there is no pool x"),
        ("alloc_pages", "'alloc_pages' lacks an argument"),
        ("put_full_page 0 4000 1", "there is no page 4000"),
        ("put_full_page 0 -1 1", "there is no page -1"),
        ("put_bulk 0 0+1", "block 0 has no base page 1"),
        ("put_bulk 0" + " 0" * 5000, "a bulk return takes at most 4096 pages"),
        ("create 0 order=0", "pool 0 exists already"),
        ("create 1 colour=3", "a pool has no parameter 'colour'"),
        ("create 1 order=11", "there are no pages of order 11; the largest is 10"),
        ("create 1 nid=4", "there is no node 4; nodes are 0 to 3"),
        ("create 1 order=big", "'big' is not a number"),
        ("fragment_page 0 99999999999999999999", "99999999999999999999 does not fit 64 bits"),
        ("set_node_limit 9 1", "there is no node 9; nodes are 0 to 3"),
        ("advance -5", "time does not go backwards"),
    ],
)
def test_an_operation_without_sense_is_named_with_file_line_and_script(
    tmp_path: Path, operation: str, text: str
) -> None:
    file = write(tmp_path, [{"script": "s", "ops": 3}, *LINES[1:3], {"op": operation}])
    with pytest.raises(VectorError) as error:
        replayed(file)
    assert str(error.value) == f"{file}:4: script s, {operation!r}: {text}"


def test_more_pools_than_a_machine_holds_are_named_with_the_line(tmp_path: Path) -> None:
    operations = [f"create {slot} size=1" for slot in range(257)]
    file = write(tmp_path, [{"script": "s", "ops": 257}, *({"op": operation} for operation in operations)])
    with pytest.raises(
        VectorError, match=r":258: script s, 'create 256 size=1': a machine holds at most 256 page_pools"
    ):
        replayed(file)


def test_a_machine_without_memory_for_more_blocks_is_no_answer(tmp_path: Path) -> None:
    operations = ["create 0 order=10", *["alloc_pages 0"] * 300]
    file = write(tmp_path, [{"script": "s", "ops": 301}, *({"op": operation} for operation in operations)])
    with pytest.raises(VectorError, match=r"no memory left for block 256 of order 10: give the machine more"):
        replayed(file)
