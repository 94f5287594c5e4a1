"""Every switch makes the difference that it is documented to make, and every era is on the right side of it."""

from __future__ import annotations

from itertools import combinations

import pytest

from netemu.engine.era import SWITCHES
from netemu.profiles.eras import era_names
from tests.eras import memory_signs, packet_signs, pool_signs, xdp_signs
from tests.eras.signs import SIGNS, Setting
from tests.eras.table import TABLE

SOURCES = (memory_signs, packet_signs, pool_signs, xdp_signs)
ERAS = era_names()
VALUES = [(switch, value) for switch, sign in SIGNS.items() for value in sign.expected]


@pytest.mark.parametrize(("switch", "value"), VALUES)
def test_each_value_of_a_switch_shows(switch: str, value: str) -> None:
    sign = SIGNS[switch]
    assert sign.look(Setting("v6.1", {**sign.given, switch: value})) == sign.expected[value]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("switch", SIGNS)
def test_an_era_does_what_the_table_says(era: str, switch: str) -> None:
    sign = SIGNS[switch]
    assert sign.look(Setting(era, sign.given)) == sign.expected[TABLE[switch][ERAS.index(era)]]


def test_every_switch_has_a_sign() -> None:
    assert SIGNS.keys() == SWITCHES.keys()


@pytest.mark.parametrize("switch", SIGNS)
def test_a_sign_tells_every_value_from_every_other(switch: str) -> None:
    sign = SIGNS[switch]
    assert tuple(sign.expected) == SWITCHES[switch].values
    assert switch not in sign.given
    for one, other in combinations(sign.expected.values(), 2):
        assert one != other
