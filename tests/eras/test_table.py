"""The data of the eras is what the master table says, row for row, and nothing beside it."""

from __future__ import annotations

from itertools import pairwise

import pytest

import netemu
from netemu.engine.era import SWITCHES
from netemu.profiles.eras import differences, era_names, era_summary, era_switches
from tests.eras.table import COLUMNS, TABLE


def test_the_table_and_netemu_know_the_same_eras_and_switches() -> None:
    assert era_names() == COLUMNS
    assert TABLE.keys() == SWITCHES.keys()
    assert {name: len(row) for name, row in TABLE.items()} == dict.fromkeys(TABLE, len(COLUMNS))


@pytest.mark.parametrize("era", COLUMNS)
def test_an_era_sets_every_switch_as_in_the_table(era: str) -> None:
    column = COLUMNS.index(era)
    assert era_switches(era) == {name: row[column] for name, row in TABLE.items()}


@pytest.mark.parametrize("neighbours", list(pairwise(COLUMNS)), ids="-".join)
def test_neighbours_differ_exactly_where_the_table_does(neighbours: tuple[str, str]) -> None:
    older, newer = (COLUMNS.index(era) for era in neighbours)
    expected = {name: (row[older], row[newer]) for name, row in TABLE.items() if row[older] != row[newer]}
    found = {difference.switch: (difference.first, difference.second) for difference in differences(*neighbours)}
    assert found == expected
    assert found


@pytest.mark.parametrize("name", TABLE)
def test_each_value_of_a_switch_is_one_that_it_declares_and_the_oldest_is_the_first(name: str) -> None:
    declared = SWITCHES[name].values
    assert set(TABLE[name]) <= set(declared)
    assert TABLE[name][0] == declared[0]


@pytest.mark.parametrize("era", COLUMNS)
def test_an_era_has_its_line(era: str) -> None:
    assert len(era_summary(era)) > 20


@pytest.mark.parametrize("name", TABLE)
def test_a_machine_has_the_switch_by_its_code(name: str) -> None:
    machine = netemu.Machine(era="v5.15", memory_mb=4, skbs=16)
    assert getattr(machine.k.era[0], name) == SWITCHES[name].values.index(TABLE[name][COLUMNS.index("v5.15")])
