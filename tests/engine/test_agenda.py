"""The agenda names the CPU that can act first, whatever changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu import Machine
from netemu.engine.agenda import NO_CPU_TIME, act_no_later, first_time, first_to_act, may_be_next, next_time, set_agenda

times = st.one_of(st.integers(0, 20), st.just(NO_CPU_TIME))


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 13, 128])
def test_it_is_the_earliest_and_of_several_the_lowest(cpus: int) -> None:
    made = Machine(cpus=cpus, memory_mb=4, skbs=16)
    change, first, guess = set_agenda.interpreted(), first_to_act.interpreted(), may_be_next.interpreted()
    time_of, earliest = next_time.interpreted(), first_time.interpreted()
    now = [NO_CPU_TIME] * cpus

    @given(st.lists(st.tuples(st.integers(0, cpus - 1), times), max_size=40))
    def check(changes: list[tuple[int, int]]) -> None:
        for cpu, when in changes:
            change(made.k, cpu, when)
            now[cpu] = when
            assert [time_of(made.k, n) for n in range(cpus)] == now
            assert earliest(made.k) == min(now)
            assert first(made.k) == now.index(min(now))
            assert cpus == 1 or guess(made.k) != first(made.k)

    check()


def test_a_wake_up_only_brings_forward() -> None:
    made = Machine(cpus=2, memory_mb=4, skbs=16)
    wake = act_no_later.interpreted()
    wake(made.k, 1, 50)
    wake(made.k, 1, 70)
    assert next_time.interpreted()(made.k, 1) == 50
    assert first_to_act.interpreted()(made.k) == 1
