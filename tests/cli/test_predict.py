"""``netemu predict`` and ``netemu reproduce`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu import cli

SMALL = '[defaults]\ncount = 50\nwarmup = 20\nmemory_mb = 64\nkind = "page_alloc"\n'


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.COMMANDS, arguments, prog_name="netemu")


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "x.toml"


def test_json_has_the_documented_keys_and_stands_alone(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetrics = ["ns_per_op", { share = "__alloc_pages" }]\n')
    result = run("predict", str(write), "--json")
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert [entry.keys() for entry in made] == [{"name", "metric", "value", "inputs"}] * 2
    assert made[1]["metric"] == "share of __alloc_pages, % of busy time"
    assert made[0]["inputs"] == {"kind": "page_alloc", "count": 50, "warmup": 20, "memory_mb": 64}


def test_a_table_has_a_column_for_each_swept_key(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetric = "ns_per_op"\nsweep = { cpus = [1, 2] }\n')
    result = run("predict", str(write))
    assert result.exit_code == 0
    head, _rule, one, two = [line.split() for line in result.stdout.splitlines()]
    assert head == ["experiment", "cpus", "metric", "value"]
    assert one[:3] == ["a", "1", "ns_per_op"]
    assert two[:3] == ["a", "2", "ns_per_op"]


@pytest.mark.parametrize(("published", "status", "verdict"), [(56, 0, "holds"), (90, 1, "missed")])
def test_a_check_tells_by_its_status_whether_all_figures_hold(
    write: Path, published: float, status: int, verdict: str
) -> None:
    write.write_text(
        SMALL + f'[a]\nera = "v4.19"\nmetric = "ns_per_op"\npublished = {published}\nsource = "somewhere"\n'
    )
    result = run("predict", str(write), "--check")
    assert result.exit_code == status
    assert verdict in result.stdout
    assert "somewhere" in result.stdout
    (entry,) = json.loads(run("predict", str(write), "--check", "--json").stdout)
    assert entry["published"] == published
    assert entry["holds"] is (status == 0)


def test_markdown_is_a_table_for_a_document(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetric = "ns_per_op"\n')
    lines = run("predict", str(write), "--markdown").stdout.splitlines()
    assert lines[:2] == ["| experiment | metric | value |", "| --- | --- | --- |"]
    assert len(lines) == 3


def test_a_mistake_is_one_line_and_status_1(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetric = "ns_per_op"\norder = 11\n')
    result = run("predict", str(write))
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line == f"netemu: error: {write}: experiment 'a': order is a whole number from 0 to 10; it says 11"


def test_figures_of_earlier_experiments_are_printed_when_a_later_one_fails(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetric = "ns_per_op"\n[b]\nmetric = "ns_per_op"\nburst = 30000\n')
    result = run("predict", str(write), "--json")
    assert result.exit_code == 1
    assert [entry["name"] for entry in json.loads(result.stdout)] == ["a"]
    assert "experiment 'b': loop: CPU 0 found no memory" in result.stderr


def test_a_figure_that_a_run_has_not_is_a_dash_and_says_why(write: Path) -> None:
    write.write_text(SMALL + '[a]\nmetric = "pages_per_hold"\n[b]\nmetric = "ns_per_op"\n')
    result = run("predict", str(write))
    assert result.exit_code == 0
    assert "- (zone->lock was never taken)" in result.stdout
    assert "ns_per_op" in result.stdout
    write.write_text(SMALL + '[a]\nmetric = "pages_per_hold"\npublished = 4\n')
    checked = run("predict", str(write), "--check")
    assert checked.exit_code == 1
    assert "missed" in checked.stdout


def test_a_file_that_is_not_there_is_said_with_its_name() -> None:
    result = run("predict", "nope.toml")
    assert result.exit_code == 1
    assert result.stderr == "netemu: error: nope.toml: No such file or directory\n"


def test_an_id_that_is_none_is_wrong_usage() -> None:
    result = run("reproduce", "S9")
    assert result.exit_code == 2
    assert "S1, S2, S3, S4" in result.stderr


def test_a_published_result_is_put_beside_what_is_emulated(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run("reproduce", "S4", "--json", "--html", str(page))
    assert result.exit_code == 0
    (made,) = json.loads(result.stdout)
    assert made.keys() >= {"id", "what", "published", "emulated", "inputs"}
    assert made["id"] == "S4"
    assert made["published"].keys() <= made["emulated"].keys()
    assert all(chosen["why"] for chosen in made["inputs"].values())
    assert "Cortex-A53" in page.read_text()
