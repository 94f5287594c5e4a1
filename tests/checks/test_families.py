"""Each member of a family of bugs breaks its rule, at once or when the machine is wound up; their twins break none."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.checks import packet_misuse, page_misuse
from tests.checks.scripts import Script, machine, name_of, reports_of

WRONG = {**packet_misuse.WRONG, **page_misuse.WRONG}


@pytest.mark.parametrize("script", WRONG, ids=name_of)
def test_a_member_of_the_family_breaks_its_rule(script: Script) -> None:
    m = machine()
    with suppress(MemoryError):  # what a refused operation ends with
        script(m)
    reports = reports_of(m)
    assert WRONG[script] in [rule for rule, _ in reports], reports


@pytest.mark.parametrize("script", [*packet_misuse.RIGHT, *page_misuse.RIGHT], ids=name_of)
def test_the_same_operations_done_right_break_none(script: Script) -> None:
    m = machine()
    script(m)
    assert reports_of(m) == []
