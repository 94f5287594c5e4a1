"""Cost profiles: every price belongs to something that exists and says where it is from; a wrong file is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu import Machine, UsageError
from netemu.cli import COMMANDS
from netemu.engine.kernel import NAMES, REGISTERED
from netemu.profiles.platforms import DEFAULT, load_platform, platform_names

SHIPPED = platform_names()
OWN = """\
description = "a [/strange] machine"
call = { ns = 2, source = "my own loop" }
[cost]
put_page = { ns = 7.25, source = "perf [1], :smile:" }
kfree_skb = { ns = 3, derived = "as put_page" }
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(COMMANDS, ["platforms", *arguments])


def words(text: str) -> str:
    """``text`` on one line."""
    return " ".join(text.split())


# -- the profiles that come with netemu ------------------------------------------------------------------------------


def test_four_machines_come_with_netemu() -> None:
    assert SHIPPED == ["cortex-a53", "i7-4790k", "i7-6700k", "xeon-e5-1650v4"]
    assert DEFAULT in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_price_is_of_a_function_or_cost_point_that_exists(name: str) -> None:
    assert sorted(load_platform(name).costs.keys() - set(NAMES[1:])) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cost_point_of_the_reference_machine_has_a_price_on_every_other(name: str) -> None:
    assert load_platform(name).costs.keys() == load_platform(DEFAULT).costs.keys()


def test_a_cost_that_refers_to_another_entry_names_one_that_is_there() -> None:
    named = set()
    for name in SHIPPED:
        costs = load_platform(name).costs
        found = {match[1] for cost in costs.values() if (match := re.match(r"as (\w+)(?=$|[,:;])", cost.origin))}
        assert sorted(found - costs.keys()) == [], name
        named |= found
    assert named


def test_what_is_scaled_from_the_xeon_follows_from_what_the_xeon_has() -> None:
    xeon = load_platform("xeon-e5-1650v4").costs
    checked = 0
    for name, decimals in (("i7-4790k", 2), ("cortex-a53", 1)):
        for point, cost in load_platform(name).costs.items():
            ratio = re.fullmatch(r"Xeon ([\d.]+) ns x ([\d.]+)", cost.origin)
            cycles = re.match(
                r"Xeon ([\d.]+) ns = ([\d.]+) cycles x ([\d.]+) ns(?:, and ([\d.]+) for one)?", cost.origin
            )
            if ratio:
                assert float(ratio[1]) == xeon[point].ns, point
                assert cost.ns == pytest.approx(float(ratio[1]) * float(ratio[2]), abs=0.51 * 10**-decimals), point
            elif cycles:
                assert float(cycles[1]) == xeon[point].ns, point
                assert float(cycles[2]) == pytest.approx(xeon[point].ns / 0.278, abs=0.051), point
                expected = float(cycles[1]) / 0.278 * float(cycles[3]) + float(cycles[4] or 0)
                assert cost.ns == pytest.approx(expected, abs=0.51 * 10**-decimals), point
            checked += bool(ratio or cycles)
    assert checked > 60


def test_the_hand_off_is_the_same_number_of_cycles_on_every_machine() -> None:
    cycle = {"cortex-a53": 1.762, "i7-4790k": 0.25, "i7-6700k": 0.25, "xeon-e5-1650v4": 0.278}
    cycles = [load_platform(name).costs["spin_lock_handoff"].ns / cycle[name] for name in SHIPPED]
    assert cycles == pytest.approx([190.0] * 4, rel=1e-3)


# -- a machine with a profile ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_machine_is_priced_by_its_profile_and_the_rest_costs_a_call(name: str) -> None:
    platform = load_platform(name)
    cost = Machine(platform=name, memory_mb=4, skbs=16).k.arrays["cost"]
    functions = {f.number for f in REGISTERED if f.traced}
    for number, point in enumerate(NAMES[1:], start=1):
        if point in platform.costs:
            assert cost[number] == round(platform.costs[point].ns * 1000), point
        else:
            assert cost[number] == (round(platform.call.ns * 1000) if number in functions else 0), point


def test_a_file_of_ones_own_prices_a_machine(own: Path) -> None:
    cost = Machine(platform=str(own), memory_mb=4, skbs=16).k.arrays["cost"]
    prices = [cost[NAMES.index(name)] for name in ("put_page", "kfree_skb", "ip_rcv", "buddy_merge")]
    assert prices == [7250, 3000, 2000, 0]


CALL = 'call = { ns = 1, source = "x" }\n'
WRONG = {
    "": "it needs a table [cost] with an entry for each operation",
    "cost = 3": "it needs a table [cost] with an entry for each operation",
    "[cost]": "it needs an entry 'call', what a function without an entry of its own costs",
    "call = 1\n[cost]": 'call: write an entry as { ns = 1.5, source = "..." }',
    f"{CALL}[cost]\nput_page = 4": 'put_page: write an entry as { ns = 1.5, source = "..." }',
    f'{CALL}[cost]\nput_page = {{ source = "x" }}': 'put_page: write an entry as { ns = 1.5, source = "..." }',
    f'{CALL}[cost]\nput_page = {{ ns = -1, source = "x" }}': "put_page: -1 ns is not a cost",
    f'{CALL}[cost]\nput_page = {{ ns = nan, source = "x" }}': "put_page: nan ns is not a cost",
    f'{CALL}[cost]\nput_page = {{ ns = true, source = "x" }}': "put_page: True ns is not a cost",
    f'{CALL}[cost]\nput_page = {{ ns = "4", source = "x" }}': "put_page: '4' ns is not a cost",
    f"{CALL}[cost]\nput_page = {{ ns = 4 }}": "put_page: an entry needs a source, or says how it is derived",
    f'{CALL}[cost]\nput_page = {{ ns = 4, source = " " }}': "put_page: an entry needs a source",
    f'{CALL}[cost]\nput_page = {{ ns = 4, source = "x", derived = "y" }}': "put_page: an entry has a source or is",
    f'{CALL}[cost]\nput_page = {{ ns = 4, sauce = "x" }}': "put_page: 'sauce' means nothing here",
    "call = {": "at end of document",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_one_line_that_says_what_and_where(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    result = run(str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"netemu: error: platform {file}: not a cost profile: ")
    assert WRONG[text] in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_machine_and_an_unreadable_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"unknown platform 'vax'; netemu has cortex-a53, i7-4790k, i7-6700k, xeon-e5-1650v4, or"
    ):
        load_platform("vax")
    with pytest.raises(UsageError, match="cannot read the platform file"):
        load_platform(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read the platform file"):
        load_platform(str(tmp_path / "binary.toml"))


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_list_has_a_line_for_each_machine_with_how_much_is_measured() -> None:
    result = run()
    assert result.exit_code == 0
    for name in SHIPPED:
        platform = load_platform(name)
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(name)]
        assert platform.description in line
        assert line.split()[-2:] == [str(platform.measured), str(platform.derived)]


def test_the_list_as_json() -> None:
    report = json.loads(run("--json").stdout)
    assert [row["platform"] for row in report] == SHIPPED
    for row in report:
        costs = load_platform(row["platform"]).costs
        assert row["measured"] + row["derived"] == len(costs)
        assert row["measured"] == len([cost for cost in costs.values() if cost.measured])


@pytest.mark.parametrize("name", SHIPPED)
def test_one_machine_shows_every_cost(name: str) -> None:
    result = run(name)
    assert result.exit_code == 0
    shown = {tuple(line.split()[:3]) for line in result.stdout.splitlines() if line[:1].isalpha() or line[:1] == "_"}
    for point, cost in load_platform(name).costs.items():
        assert (point, f"{cost.ns:.2f}", "measured" if cost.measured else "derived") in shown


def test_one_machine_shows_where_a_cost_is_from(own: Path) -> None:
    text = words(run(str(own)).stdout)
    assert "a [/strange] machine" in text
    assert "call (any function not listed) 2.00 measured my own loop" in text
    assert "put_page 7.25 measured perf [1], :smile:" in text
    assert "kfree_skb 3.00 derived as put_page" in text


def test_one_machine_as_json(own: Path) -> None:
    assert json.loads(run(str(own), "--json").stdout) == {
        "platform": str(own),
        "about": "a [/strange] machine",
        "measured": 1,
        "derived": 1,
        "call": {"ns": 2.0, "measured": True, "origin": "my own loop"},
        "costs": {
            "put_page": {"ns": 7.25, "measured": True, "origin": "perf [1], :smile:"},
            "kfree_skb": {"ns": 3.0, "measured": False, "origin": "as put_page"},
        },
    }


def test_an_unknown_name_is_wrong_usage() -> None:
    result = run("vax")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("netemu: error: unknown platform 'vax'; netemu has ")
