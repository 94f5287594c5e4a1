"""``netemu conformance`` as a person or a script meets it."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu.cli import COMMANDS

SMOKE = Path(__file__).parent.parent / "conformance" / "page_pool" / "01_smoke.jsonl.gz"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(COMMANDS, ["conformance", *map(str, arguments)])


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Vectors of which the kernel would have answered two lines otherwise."""
    lines = gzip.decompress(SMOKE.read_bytes()).decode().splitlines()
    for number in (2, 9):
        lines[number] = json.dumps(json.loads(lines[number]) | {"cache": 99})
    file = tmp_path / "wrong.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_equal_answers_are_counted_on_the_last_line() -> None:
    result = run("page_pool", SMOKE, SMOKE)
    assert (result.exit_code, result.stdout) == (0, "scripts=20 ops=970 divergences=0\n")


def test_each_different_answer_is_shown_and_the_status_is_1(wrong: Path) -> None:
    result = run("page_pool", wrong)
    *shown, last = result.stdout.splitlines()
    assert result.exit_code == 1
    assert last == "scripts=10 ops=485 divergences=2"
    assert shown == [
        f"{wrong}:3: script 01_smoke-000, 'alloc_pages 0': cache: expected 99, got 63",
        f"{wrong}:10: script 01_smoke-000, 'alloc_pages 0': cache: expected 99, got 57",
    ]


def test_json_holds_the_tally_and_every_divergence(wrong: Path) -> None:
    result = run("page_pool", wrong, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["scripts"], report["ops"], len(report["divergences"])) == (10, 485, 2)
    assert report["divergences"][0] == {
        "file": str(wrong),
        "script": "01_smoke-000",
        "line": 3,
        "op": "alloc_pages 0",
        "field": "cache",
        "expected": 99,
        "got": 63,
    }


@pytest.mark.parametrize("family", ["page_pool", "skb"])
@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b""), b'{"script": "x", "ops": 0}\n', b'{"script": "x", "ops": -1}\n', b'{"script": "x"}'],
    ids=["empty", "empty gzip", "no operation", "fewer than none", "no number"],
)
def test_a_file_that_tests_nothing_does_not_pass(tmp_path: Path, family: str, content: bytes) -> None:
    file = tmp_path / "nothing.jsonl"
    file.write_bytes(content)
    result = run(family, file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"netemu: error: {file}:")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    result = run("page_pool", tmp_path / "none.jsonl")
    assert result.exit_code == 1
    assert result.stderr == f"netemu: error: {tmp_path / 'none.jsonl'}: No such file or directory\n"


def test_no_file_is_wrong_usage() -> None:
    assert run("page_pool").exit_code == 2


def test_an_unknown_family_is_wrong_usage() -> None:
    assert run("page_full", SMOKE).exit_code == 2
