"""Random sequences on the page allocator leave exactly the lists, counts and lock holds of the slow model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import Machine
from netemu.handles import Page
from netemu.mm.page_alloc import drain_pages_zone
from tests.mm.memory import assert_books_balance, cpu_lists, free_lists, holds, set_pcps, small_machine
from tests.mm.model import LIST_ORDERS, SLOW, SlowAllocator

CPUS = 2
PAGES = 2048

cpus = st.integers(0, CPUS - 1)
low_orders = st.sampled_from([0, 0, 0, 0, 1, 2, 3])
any_order = st.integers(0, 10)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), cpus, low_orders, st.integers(1, 40)),
        st.tuples(st.just("alloc"), cpus, any_order, st.just(1)),
        st.tuples(st.just("put"), cpus, st.integers(0, 1000), st.integers(1, 40)),
        st.tuples(st.just("frag_free"), cpus, st.integers(0, 1000), st.integers(1, 40)),
        st.tuples(st.just("get"), cpus, st.integers(0, 1000), st.just(1)),
        st.tuples(st.just("drain"), cpus, st.just(0), st.just(1)),
    ),
    min_size=5,
    max_size=40,
)
geometries = st.sampled_from([(1, 0, 0), (3, 18, 18), (3, 18, 60), (7, 42, 42), (7, 42, 200), (63, 378, 378)])


class Both:
    """An emulated allocator and the model beside it."""

    def __init__(self, era: str, geometry: tuple[int, int, int]) -> None:
        batch, high, high_max = geometry
        self.machine: Machine = small_machine(era, memory_mb=8, cpus=CPUS)
        set_pcps(self.machine, batch=batch, high=high, high_max=high_max)
        self.model: SlowAllocator = SLOW[era](PAGES, CPUS, batch, high, high_max)
        self.held: list[int] = []  # one entry per reference

    def step(self, kind: str, cpu: int, which: int) -> None:
        if kind == "alloc":
            page = self.machine.alloc_pages(which, cpu=cpu)
            expected = self.model.alloc(cpu, which)
            assert (page and page.pfn) == expected
            if page:
                self.held.append(page.pfn)
        elif kind == "drain":
            drain_pages_zone(self.machine.k, cpu, 0)
            self.model.drain(cpu)
        elif self.held:
            pfn = self.held[which % len(self.held)]
            if kind == "get":
                Page(self.machine, pfn).get()
                self.model.get(pfn)
                self.held.append(pfn)
                return
            self.held.remove(pfn)
            self.model.put(cpu, pfn, fragment=kind == "frag_free")
            if kind == "put":
                Page(self.machine, pfn).put(cpu=cpu)
            else:
                Page(self.machine, pfn).frag_free(cpu=cpu)

    def compare(self) -> None:
        machine, model = self.machine, self.model
        assert free_lists(machine) == {order: blocks for order, blocks in enumerate(model.buddy.free) if blocks}
        for cpu, pcp in enumerate(model.pcps):
            assert cpu_lists(machine, cpu) == [pcp.lists[order] for order in LIST_ORDERS]
            assert machine.k.pcp[cpu].count == pcp.count
            assert machine.k.pcp[cpu].high == pcp.high
        assert holds(machine) == (len(model.alloc_holds), len(model.free_holds))
        zone = machine.k.zone[0]
        assert (zone.pages_alloc, zone.pages_free) == (sum(model.alloc_holds), sum(model.free_holds))
        assert zone.allocated - zone.freed == sum(1 << order for order in model.orders.values())
        assert {pfn: machine.k.pages[pfn].refcount for pfn in model.references} == model.references
        assert_books_balance(machine, set(self.held))


@pytest.mark.parametrize("era", SLOW)
@given(geometry=geometries, script=steps)
@settings(max_examples=120)
def test_any_sequence_agrees_with_the_model(
    era: str, geometry: tuple[int, int, int], script: list[tuple[Any, ...]]
) -> None:
    both = Both(era, geometry)
    for kind, cpu, which, times in script:
        for _ in range(times):
            both.step(kind, cpu, which)
        both.compare()


@pytest.mark.parametrize("era", SLOW)
@given(geometry=geometries, script=steps)
@settings(max_examples=12)
def test_when_everything_is_given_back_memory_is_whole_again(
    era: str, geometry: tuple[int, int, int], script: list[tuple[Any, ...]]
) -> None:
    both = Both(era, geometry)
    for kind, cpu, which, times in script:
        for _ in range(times):
            both.step(kind, cpu, which)
    while both.held:
        both.step("put", 0, 0)
    for cpu in range(CPUS):
        both.step("drain", cpu, 0)
    both.compare()
    assert set(free_lists(both.machine)) == {10}
    assert both.machine.k.zone[0].free == PAGES
