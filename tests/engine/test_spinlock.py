"""A lock in virtual time gives each request the first gap that it fits into, in whatever order they are simulated."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu import Machine
from netemu.engine.spinlock import HANDOFF, LOCK_INTERVALS, SPENT_INTERVALS, reserve

LOCK = 7


def machine(handoff: int) -> Machine:
    made = Machine(cpus=2, memory_mb=4, skbs=16)
    made.k.cost[HANDOFF] = handoff
    return made


class SlowLock:
    """Every held interval ever, searched from the start."""

    def __init__(self, handoff: int) -> None:
        self.handoff = handoff
        self.held: list[tuple[int, int]] = []

    def gap(self, wanted: int, length: int) -> int:
        start = wanted
        for begin, end in sorted(self.held):
            if end <= start:
                continue
            if begin >= start + length:
                break
            start = max(start, end)
        return start

    def reserve(self, wanted: int, length: int) -> int:
        start = self.gap(wanted, length)
        waits = start > wanted
        if waits:
            length += self.handoff
            start = self.gap(wanted, length)
        self.held.append((start, start + length))
        return start - wanted + (self.handoff if waits else 0)


requests = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 30)), min_size=1, max_size=120)


@given(requests=requests, handoff=st.sampled_from([0, 0, 5]))
def test_any_order_of_requests_is_served_as_the_slow_lock_serves_it(
    requests: list[tuple[int, int]], handoff: int
) -> None:
    made, slow = machine(handoff), SlowLock(handoff)
    take = reserve.interpreted()
    for wanted, length in requests:
        assert take(made.k, LOCK, wanted, length) == slow.reserve(wanted, length)
    lock = made.k.lock[LOCK]
    rows = [made.k.busy[LOCK * LOCK_INTERVALS + i] for i in range(lock.first, lock.last)]
    kept = [(row.start, row.end) for row in rows]
    assert kept == sorted(kept)
    assert all(end < begin for (_, end), (begin, _) in pairwise(kept))  # joined where they touch
    assert sum(end - begin for begin, end in kept) == sum(end - begin for begin, end in slow.held)


def test_what_no_cpu_can_ask_for_any_more_is_forgotten() -> None:
    made = machine(0)
    take = reserve.interpreted()
    for start in range(0, 1000, 10):
        take(made.k, LOCK, start, 5)
    made.k.horizon[0] = 500
    take(made.k, LOCK, 2000, 5)
    lock = made.k.lock[LOCK]
    assert made.k.busy[LOCK * LOCK_INTERVALS + lock.first].end > 500


def test_more_intervals_than_rows_forget_the_oldest() -> None:
    made = machine(0)
    take = reserve.interpreted()
    for start in range(0, (LOCK_INTERVALS + 100) * 10, 10):
        assert take(made.k, LOCK, start, 5) == 0
    assert made.k.lock[LOCK].last <= LOCK_INTERVALS
    assert take(made.k, LOCK, (LOCK_INTERVALS + 99) * 10, 5) == 5


def test_a_request_from_before_all_that_is_remembered_is_kept_too() -> None:
    made = machine(0)
    take = reserve.interpreted()
    for start in range(0, LOCK_INTERVALS * 10, 10):
        take(made.k, LOCK, 1000 + start, 5)
    assert take(made.k, LOCK, 3, 5) == 0
    assert made.k.busy[LOCK * LOCK_INTERVALS + made.k.lock[LOCK].first].start == 3


def test_rows_of_the_past_are_used_again() -> None:
    made = machine(0)
    take = reserve.interpreted()
    for start in range(0, 10_000, 10):
        made.k.horizon[0] = start
        assert take(made.k, LOCK, start, 5) == 0
    assert made.k.lock[LOCK].last <= 2 * SPENT_INTERVALS


@pytest.mark.parametrize("cpus", [1, 2])
def test_one_cpu_never_waits(cpus: int) -> None:
    made = Machine(cpus=cpus, memory_mb=4, skbs=16)
    for _ in range(20):
        page = made.alloc_pages(order=5)
        assert page is not None
        page.put()
    assert made.k.lock[0].contended == 0
    assert made.k.lock[0].acquisitions == 40
