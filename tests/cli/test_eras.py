"""``netemu eras`` as a person or a script meets it, and the page of the documentation that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu.cli import COMMANDS
from netemu.engine.era import SWITCHES
from netemu.profiles.eras import era_names, era_summary, era_switches

PAGE = Path(__file__).resolve().parents[2] / "docs" / "eras.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(COMMANDS, ["eras", *arguments])


def words(text: str) -> str:
    """``text`` on one line."""
    return " ".join(text.split())


def test_the_list_has_a_line_for_each_era() -> None:
    result = run()
    assert result.exit_code == 0
    starts = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("v")]
    assert starts == era_names()


def test_the_list_as_json_has_every_setting() -> None:
    report = json.loads(run("--json").stdout)
    assert report == [{"era": era, "about": era_summary(era), "switches": era_switches(era)} for era in era_names()]


def test_one_era_shows_each_of_its_switches() -> None:
    lines = run("v5.15").stdout.splitlines()
    shown = {tuple(line.split()[:2]) for line in lines if line[:1].isalpha()}
    assert set(era_switches("v5.15").items()) <= shown


def test_one_era_as_json() -> None:
    report = json.loads(run("v5.15", "--json").stdout)
    assert (report["era"], report["switches"]) == ("v5.15", era_switches("v5.15"))


def test_two_eras_show_what_differs_with_both_values_and_the_reason() -> None:
    result = run("v4.19", "v5.0")
    rows = {tuple(line.split()[:3]) for line in result.stdout.splitlines() if line[:1].isalpha()}
    assert ("page_frag_free", "buddy", "pcp") in rows
    assert ("netsec_rx", "netdev_alloc_skb", "napi_alloc_frag") in rows
    assert "pool_alloc" not in result.stdout
    assert "one hold per batch" in words(result.stdout)


def test_two_eras_as_json() -> None:
    report = json.loads(run("v6.1", "v4.19", "--json").stdout)
    assert (report["first"], report["second"]) == ("v6.1", "v4.19")
    newer, older = era_switches("v6.1"), era_switches("v4.19")
    assert {d["switch"]: (d["first"], d["second"]) for d in report["differences"]} == {
        name: (newer[name], older[name]) for name in SWITCHES if newer[name] != older[name]
    }
    assert all(d["why"] == SWITCHES[d["switch"]].why for d in report["differences"])


def test_an_era_does_not_differ_from_itself() -> None:
    assert run("v6.1", "v6.1").stdout == "v6.1 and v6.1 do not differ\n"
    assert json.loads(run("v6.1", "v6.1", "--json").stdout)["differences"] == []


@pytest.mark.parametrize("arguments", [["v6.0"], ["v4.19", "v6.0"], ["v6.0", "--json"]])
def test_an_unknown_era_is_one_line_that_names_those_there_are(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"netemu: error: unknown era 'v6.0'; netemu knows {', '.join(era_names())}\n"


@pytest.mark.parametrize("arguments", [["v4.19", "v5.0", "v5.4"], ["v4.19", "--markdown"], ["--markdown", "--json"]])
def test_what_does_not_go_together_is_wrong_usage(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_page_about_eras_is_current() -> None:
    _, _, rest = PAGE.read_text().partition("<!-- generated -->\n\n")
    written, _, _ = rest.partition("\n<!-- /generated -->")
    assert written == run("--markdown").stdout, "docs/eras.md: replace the generated part by netemu eras --markdown"


def test_the_page_names_every_switch() -> None:
    page = PAGE.read_text()
    assert [name for name in SWITCHES if f"- `{name}`: " not in page] == []
