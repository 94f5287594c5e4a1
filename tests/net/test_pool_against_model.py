"""Random sequences on a page_pool and on its ring leave what the slow models say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import Machine, Page
from netemu.mm.layout import NONE
from netemu.net.page_pool import page_pool_put_page_bulk, page_pool_update_nid
from netemu.net.pool_work import advance
from netemu.net.ptr_ring import batch_of, ring_consume, ring_empty, ring_produce
from tests.mm.memory import assert_books_balance
from tests.net.pool_model import SlowOldPool, SlowPool, SlowRing
from tests.net.pools import cached, counters, hold_and_release, pool_machine, ringed

MODELS: dict[str, type[SlowPool]] = {"v4.19": SlowOldPool, "v6.1": SlowPool}
NODES = 2

counts = st.one_of(st.integers(1, 10), st.integers(30, 140))
places = st.integers(0, 1000)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), counts, st.just(0)),
        st.tuples(st.just("alloc"), counts, st.just(0)),
        st.tuples(st.just("put direct"), counts, places),
        st.tuples(st.just("put"), counts, places),
        st.tuples(st.just("put bulk"), counts, places),
        st.tuples(st.just("get_page"), st.integers(1, 5), places),
        st.tuples(st.just("put_page"), st.integers(1, 5), places),
        st.tuples(st.just("update_nid"), st.integers(0, NODES - 1), places),
    ),
    min_size=3,
    max_size=20,
)


class Both:
    """An emulated pool and the model beside it; which pages the allocator gives is the emulator's word."""

    def __init__(self, era: str, ring_size: int) -> None:
        self.machine: Machine = pool_machine(era, cpus=1, nodes=NODES, memory_mb=8)
        self.pool = self.machine.page_pool(ring_size=ring_size, nid=0)
        self.model = MODELS[era](ring_size, 0, self.fresh)
        self.outside: list[int] = []
        self.extra: list[int] = []

    def fresh(self, wanted: int, node: int) -> list[int]:
        """Pages that the emulated pool has just taken: signed by it and unknown to the model."""
        pages = self.machine.k.arrays["pages"]
        signed = {int(pfn) for pfn in (pages["pp"] == self.pool.number + 1).nonzero()[0]}
        known = {pfn for pfn, references in self.model.references.items() if references > 0}
        new = signed - known
        assert len(new) == wanted
        assert set(pages["nid"][list(new)]) == {node}
        self.model.nodes |= dict.fromkeys(new, node)
        # the order in the cache is the allocator's; the page in hand came last
        order = [pfn for pfn in cached(self.pool) if pfn in new]
        return order + sorted(new - set(order))

    def step(self, kind: str, count: int, place: int) -> None:
        if kind == "alloc":
            for _ in range(count):
                page = self.pool.alloc_pages()
                assert page.pfn == self.model.alloc()
                self.outside.append(page.pfn)
        elif kind == "update_nid":
            page_pool_update_nid(self.machine.k, 0, self.pool.number, count)
            self.model.update_node(count)
        elif kind == "put_page":
            for _ in range(min(count, len(self.extra))):
                pfn = self.extra.pop(place % len(self.extra))
                Page(self.machine, pfn).put()
                self.model.put_page(pfn)
        elif kind == "get_page":
            for pfn in self.outside[:count]:
                Page(self.machine, pfn).get()
                self.model.get_page(pfn)
                self.extra.append(pfn)
        else:
            start = place % (len(self.outside) or 1)
            given, self.outside = (
                self.outside[start : start + count],
                self.outside[:start] + self.outside[start + count :],
            )
            self.give_back(kind, given)

    def give_back(self, kind: str, given: list[int]) -> None:
        if kind == "put bulk":
            self.machine.k.arrays["page_array"][: len(given)] = given
            page_pool_put_page_bulk(self.machine.k, 0, self.pool.number, len(given))
            self.model.put_bulk(given)
        else:
            for pfn in given:
                self.pool.put_page(Page(self.machine, pfn), direct=kind == "put direct")
                self.model.put(pfn, direct=kind == "put direct")

    def compare(self) -> None:
        assert cached(self.pool) == self.model.cache
        assert ringed(self.pool) == self.model.ring.items()
        assert counters(self.pool) == +self.model.stats
        assert hold_and_release(self.pool) == (self.model.hold, self.model.release)
        inflight = len(self.model.cache) + len(self.model.ring.items()) + len(self.outside)
        assert self.pool.inflight == inflight * self.model.counts_pages
        live = {pfn: count for pfn, count in self.model.references.items() if count > 0}
        assert {pfn: self.machine.k.pages[pfn].refcount for pfn in live} == live
        assert_books_balance(self.machine, {*self.outside, *self.extra})


@pytest.mark.parametrize("era", MODELS)
@given(ring_size=st.sampled_from([4, 31, 32, 100, 256]), script=steps)
@settings(max_examples=60)
def test_any_sequence_agrees_with_the_model(era: str, ring_size: int, script: list[tuple[Any, ...]]) -> None:
    both = Both(era, ring_size)
    for step in script:
        both.step(*step)
        both.compare()


@pytest.mark.parametrize("era", MODELS)
@given(script=steps, late=st.booleans())
@settings(max_examples=25)
def test_a_destroyed_pool_ends_when_its_pages_are_back_and_leaves_nothing(
    era: str, script: list[tuple[Any, ...]], late: bool
) -> None:
    both = Both(era, 64)
    for step in script:
        both.step(*step)
    while both.extra:
        both.step("put_page", 100, 0)
    if era == "v4.19" or not late:  # v4.19 forgets what is still out
        both.step("put", 5000, 0)
    both.pool.destroy()
    both.model.destroy()
    assert both.pool.alive == (not both.model.destroyed)
    assert both.pool.alive == bool(both.outside)
    both.step("put", 5000, 0)
    advance(both.machine.k, 0, 1000)
    both.model.scrub()
    assert not both.pool.alive
    both.compare()
    assert both.pool.inflight == 0
    assert_books_balance(both.machine)
    zones = both.machine.k.arrays["zone"]
    assert int(zones["allocated"].sum()) == int(zones["freed"].sum())


@given(
    size=st.sampled_from([1, 2, 15, 31, 32, 33, 48, 64]),
    script=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=20),
)
@settings(max_examples=100)
def test_the_ring_is_a_fifo_that_can_be_full_before_its_last_slot(size: int, script: list[tuple[bool, int]]) -> None:
    machine = pool_machine()
    k, pool = machine.k, machine.page_pool(ring_size=size).number
    produce, consume, empty = ring_produce.interpreted(), ring_consume.interpreted(), ring_empty.interpreted()
    model = SlowRing(size)
    number = 0
    for producing, times in script:
        for _ in range(times):
            if producing:
                assert produce(k, pool, number) == model.produce(number)
                number += 1
            else:
                item = model.consume()
                assert consume(k, pool) == (NONE if item is None else item)
            assert empty(k, pool) == model.empty()


def test_up_to_fifteen_used_slots_still_look_occupied() -> None:
    machine = pool_machine()
    k, pool = machine.k, machine.page_pool(ring_size=32).number
    produce, consume = ring_produce.interpreted(), ring_consume.interpreted()
    assert [produce(k, pool, pfn) for pfn in range(33)] == [True] * 32 + [False]
    assert [consume(k, pool) for _ in range(15)] == list(range(15))
    assert not produce(k, pool, 100)
    assert consume(k, pool) == 15
    assert [produce(k, pool, 100 + i) for i in range(17)] == [True] * 16 + [False]


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (31, 1), (32, 16), (1024, 16)])
def test_used_slots_are_cleared_in_groups_of_two_cache_lines_if_the_ring_is_large_enough(size: int, batch: int) -> None:
    assert batch_of(size) == batch
