"""Buddy free lists: which block is taken, what is split, what merges, and to which end of a list a block goes."""

from __future__ import annotations

import pytest

from netemu import KernelBug, Machine
from netemu.handles import Page
from tests.mm.memory import arrange, assert_books_balance, free_lists, holds, occupied, small_machine


@pytest.fixture
def machine() -> Machine:
    """v4.19 with per-CPU lists of one page, so that every request and every free reaches the buddy lists."""
    return small_machine("v4.19", batch=1, high=0)


def test_a_single_page_splits_the_smallest_block_and_keeps_the_lower_half(machine: Machine) -> None:
    arrange(machine, {3: [8]})
    page = machine.alloc_pages()
    assert page is not None
    assert page.pfn == 8
    assert free_lists(machine) == {0: [9], 1: [10], 2: [12]}


def test_freeing_it_merges_all_halves_again(machine: Machine) -> None:
    arrange(machine, {3: [8]})
    page = machine.alloc_pages()
    assert page is not None
    page.frag_free()
    assert free_lists(machine) == {3: [8]}


def test_a_page_merges_with_its_buddy_and_then_with_the_next_block(machine: Machine) -> None:
    arrange(machine, {0: [3], 1: [0]})
    Page(machine, 2).frag_free()
    assert free_lists(machine) == {2: [0]}


def test_pages_whose_buddies_are_in_use_go_to_the_head_one_by_one(machine: Machine) -> None:
    arrange(machine, {})
    steps = {
        0: {0: [0]},
        2: {0: [2, 0]},
        4: {0: [4, 2, 0]},
        6: {0: [6, 4, 2, 0]},
        1: {0: [6, 4, 2], 1: [0]},
        3: {0: [6, 4], 2: [0]},
        5: {0: [6], 1: [4], 2: [0]},
        7: {3: [0]},
    }
    for pfn, lists in steps.items():
        Page(machine, pfn).frag_free()
        assert free_lists(machine) == lists


def test_a_page_that_is_about_to_merge_twice_goes_to_the_tail(machine: Machine) -> None:
    arrange(machine, {0: [8], 1: [2]})
    Page(machine, 0).frag_free()
    assert free_lists(machine) == {0: [8, 0], 1: [2]}


def test_the_largest_block_is_handed_out_and_restored_whole() -> None:
    machine = small_machine("v4.19", batch=1, high=0, memory_mb=8)
    arrange(machine, {10: [1024]})
    page = machine.alloc_pages(10)
    assert page is not None
    assert page.pfn == 1024
    assert free_lists(machine) == {}
    page.frag_free()
    assert free_lists(machine) == {10: [1024]}


def test_blocks_of_the_largest_order_never_merge() -> None:
    machine = small_machine("v4.19", batch=1, high=0, memory_mb=8)
    first, second = machine.alloc_pages(10), machine.alloc_pages(10)
    assert first is not None
    assert second is not None
    first.frag_free()
    second.frag_free()
    assert free_lists(machine) == {10: [second.pfn, first.pfn]}


def test_a_block_one_below_the_largest_order_goes_to_the_head_in_any_case() -> None:
    machine = small_machine("v4.19", batch=1, high=0, memory_mb=12)
    arrange(machine, {9: [2048], 10: [1024]})
    occupied(machine, 0, 9)
    Page(machine, 0).frag_free()
    assert free_lists(machine) == {9: [0, 2048], 10: [1024]}


def test_a_zone_does_not_merge_with_a_neighbour_zone() -> None:
    machine = small_machine("v4.19", batch=1, high=0, nodes=2)
    assert free_lists(machine, 0) == {10: [0]}
    assert free_lists(machine, 1) == {10: [1024]}
    page = machine.alloc_pages(0, nid=1)
    assert page is not None
    assert page.pfn == 1024
    page.frag_free()
    assert free_lists(machine, 1) == {10: [1024]}


def test_a_request_that_no_free_block_can_hold_fails_and_changes_nothing(machine: Machine) -> None:
    arrange(machine, {1: [4, 8]})
    assert machine.alloc_pages(2) is None
    assert free_lists(machine) == {1: [4, 8]}
    assert machine.k.zone[0].failures == 1


def test_a_request_above_the_largest_order_fails_without_taking_the_lock(machine: Machine) -> None:
    assert machine.alloc_pages(11) is None
    assert holds(machine) == (0, 0)


def test_a_full_node_is_helped_out_by_the_next() -> None:
    machine = small_machine("v4.19", batch=1, high=0, nodes=2)
    assert machine.alloc_pages(10, nid=1) is not None
    page = machine.alloc_pages(10, nid=1)
    assert page is not None
    assert page.pfn == 0


def test_memory_that_is_no_power_of_two_starts_as_the_largest_aligned_blocks() -> None:
    machine = small_machine("v4.19", memory_mb=7)
    assert free_lists(machine) == {8: [1536], 9: [1024], 10: [0]}
    assert_books_balance(machine)


@pytest.mark.parametrize("order", range(1, 11))
def test_every_block_above_a_single_page_costs_one_hold_each_way(machine: Machine, order: int) -> None:
    page = machine.alloc_pages(order)
    assert page is not None
    page.frag_free()
    assert holds(machine) == (1, 1)
    zone = machine.k.zone[0]
    assert (zone.pages_alloc, zone.pages_free) == (1 << order, 1 << order)
    assert (zone.allocated, zone.freed) == (1 << order, 1 << order)


def test_tails_of_a_compound_page_lead_to_its_head_and_are_cleared_when_it_is_freed(machine: Machine) -> None:
    page = machine.alloc_pages(3)
    assert page is not None
    tails = [machine.k.pages[page.pfn + i] for i in range(1, 8)]
    assert {tail.head for tail in tails} == {page.pfn}
    Page(machine, page.pfn + 5).put()
    assert page.refcount == 0
    assert all(tail.flags == 0 for tail in tails)
    assert_books_balance(machine)


@pytest.mark.parametrize("era", ["v4.19", "v5.15", "v6.12"])
def test_a_reference_too_many_is_noticed_where_it_is_dropped(era: str) -> None:
    machine = small_machine(era)
    page = machine.alloc_pages()
    assert page is not None
    page.put()
    with pytest.raises(KernelBug, match=rf"page {page.pfn}: reference dropped, but it had 0") as caught:
        page.put()
    assert caught.value.code == "MM-01"
    assert caught.value.where[-1] == "put_page"
    machine.check()


@pytest.mark.parametrize("batch", [1, 63], ids=["on the buddy lists", "on a per-CPU list"])
def test_a_free_page_that_is_freed_again_is_reported_and_left_where_it_is(batch: int) -> None:
    machine = small_machine("v6.1", batch=batch, high=6 * batch - 6)
    page = machine.alloc_pages()
    assert page is not None
    page.put()
    machine.k.pages[page.pfn].refcount = 1  # somebody writes to a page that is not theirs
    before = free_lists(machine)
    with pytest.raises(KernelBug, match="is free already") as caught:
        page.put()
    assert caught.value.code == "MM-11"
    assert free_lists(machine) == before


def test_a_page_that_leaves_with_the_signature_of_a_pool_is_reported_and_kept_out() -> None:
    machine = small_machine("v6.12")
    page = machine.page_pool(ring_size=16).alloc_pages()
    with pytest.raises(KernelBug, match=r"page_pool leak: page \d+ is freed with the signature of pool 0") as caught:
        page.put()
    assert caught.value.code == "MM-10"
    assert machine.k.zone[0].freed == 0
