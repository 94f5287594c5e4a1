"""Every exhibit in both directions: the checker names the broken rule, and has nothing to say after the fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netemu import UsageError
from netemu.checks.rules import RULES
from netemu.engine.era import SWITCHES
from netemu.museum import EXHIBITS, chosen, show
from netemu.profiles.eras import check_switch, era_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "museum.md"


@pytest.mark.parametrize("id", EXHIBITS)
def test_the_bug_is_detected_and_the_fix_is_clean(id: str) -> None:
    showing = show(EXHIBITS[id])
    assert showing.detected, [f"{report.id}: {report.what}" for report in showing.broken]
    assert showing.clean_after_fix, "\n\n".join(map(str, showing.fixed))


def test_there_are_at_least_forty() -> None:
    assert len(EXHIBITS) >= 40


@pytest.mark.parametrize("id", EXHIBITS)
def test_an_exhibit_is_told_and_names_what_exists(id: str) -> None:
    piece = EXHIBITS[id]
    assert piece.rule in RULES
    assert piece.era in era_names()
    assert len(piece.story) > 40
    assert "bench.machine(" in piece.operations
    if piece.behaviour in SWITCHES:
        check_switch(piece.behaviour, piece.broken)
        check_switch(piece.behaviour, piece.fixed)
    else:
        assert "bench.broken" in piece.operations


def test_an_exhibit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no exhibit"):
        chosen(["I.999"])


def test_the_page_of_the_documentation_is_what_the_command_writes() -> None:
    from netemu.cli.museum import page

    assert PAGE.read_text() == page(chosen([])), "write docs/museum.md anew: netemu museum --markdown"


def test_a_report_reads_like_one() -> None:
    """Sections in order: what, where, the object with its holders, its history, the rule, the cause."""
    report = show(EXHIBITS["I.7"]).main_report()
    assert report is not None
    text = str(report)
    places = [text.index(part) for part in ("PP-02 (error): page_pool leak: page ", "CPU 0, softirq", "  page ")]
    places += [text.index(part) for part in ("history, oldest first:", "given to sk_buff", "rule:", "usual cause:")]
    assert places == sorted(places)
    assert "napi_consume_skb -> skb_release_data -> skb_free_head -> skb_free_frag -> page_frag_free" in text


def test_json_has_the_documented_keys() -> None:
    from click.testing import CliRunner

    from netemu.cli import COMMANDS

    result = CliRunner().invoke(COMMANDS, ["museum", "I.1", "--json"])
    assert result.exit_code == 0
    (entry,) = json.loads(result.stdout)
    assert entry == {
        "id": "I.1",
        "title": "skbuff: fix coalescing for page_pool fragment recycling",
        "rule": "SK-06",
        "detected": True,
        "clean_after_fix": True,
    }


def test_one_exhibit_is_shown_with_its_operations_and_the_report() -> None:
    from click.testing import CliRunner

    from netemu.cli import COMMANDS

    result = CliRunner().invoke(COMMANDS, ["museum", "I.4"])
    assert result.exit_code == 0
    for part in ("avoid mixing", "Operations:", "gro_receive(second)", "SK-11 (error)", "Fixed:\n\nno report"):
        assert part in result.stdout
