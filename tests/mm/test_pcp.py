"""Per-CPU page lists: when zone->lock is taken, how many pages move, and which."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from netemu import Machine
from netemu.handles import Page
from netemu.mm.page_alloc import alloc_pages_bulk
from netemu.mm.zone_setup import low_watermark, zone_batchsize
from tests.mm.memory import arrange, assert_books_balance, cpu_lists, free_lists, holds, set_pcps, small_machine

BEFORE_V514 = ["v4.19", "v5.0", "v5.4", "v5.10"]


def all_in_use(era: str, *, memory_mb: int = 4, **options: int) -> Machine:
    """A machine where every page is somebody's and every per-CPU list is empty."""
    machine = small_machine(era, memory_mb=memory_mb, **options)
    arrange(machine, {})
    return machine


def put(machine: Machine, pfns: Iterable[int], cpu: int = 0) -> None:
    for pfn in pfns:
        Page(machine, pfn).put(cpu=cpu)


def take(machine: Machine, count: int, cpu: int = 0, order: int = 0) -> list[int]:
    """Numbers of ``count`` fresh blocks."""
    pages = [machine.alloc_pages(order, cpu=cpu) for _ in range(count)]
    assert None not in pages
    return [page.pfn for page in pages if page]


def count(machine: Machine, cpu: int = 0) -> int:
    """Base pages on the CPU's lists by their own count, which agrees with the lists."""
    kept: int = machine.k.pcp[cpu].count
    orders = (0, 1, 2, 3, 9)
    assert kept == sum(len(blocks) << order for order, blocks in zip(orders, cpu_lists(machine, cpu), strict=True))
    return kept


@pytest.mark.parametrize("era", BEFORE_V514)
@pytest.mark.parametrize(("allocs", "lock_holds", "left"), [(63, 1, 0), (64, 2, 62), (630, 10, 0)])
def test_an_empty_list_takes_one_batch_per_hold(era: str, allocs: int, lock_holds: int, left: int) -> None:
    machine = small_machine(era)
    take(machine, allocs)
    assert holds(machine) == (lock_holds, 0)
    assert count(machine) == left


@pytest.mark.parametrize("era", BEFORE_V514)
@pytest.mark.parametrize(("frees", "lock_holds", "left"), [(377, 0, 377), (378, 1, 315), (630, 5, 315)])
def test_a_list_at_its_high_mark_gives_one_batch_back(era: str, frees: int, lock_holds: int, left: int) -> None:
    machine = all_in_use(era)
    put(machine, range(frees))
    assert holds(machine) == (0, lock_holds)
    assert machine.k.zone[0].pages_free == 63 * lock_holds
    assert count(machine) == left


def test_the_lock_is_held_at_the_points_of_the_sawtooth() -> None:
    machine = all_in_use("v5.0")
    points = []
    for pfn in range(630):
        put(machine, [pfn])
        if holds(machine)[1] > len(points):
            points.append(pfn + 1)
    assert points == [378, 441, 504, 567, 630]


def test_alternating_requests_and_frees_never_take_the_lock() -> None:
    machine = all_in_use("v4.19")
    put(machine, range(100))
    for _ in range(10_000):
        put(machine, take(machine, 1))
    assert holds(machine) == (0, 0)
    assert count(machine) == 100


@pytest.mark.parametrize(("allocs", "lock_holds", "left"), [(315, (0, 1), 0), (316, (1, 1), 62)])
def test_pages_that_stayed_on_the_list_are_handed_out_without_the_lock(
    allocs: int, lock_holds: tuple[int, int], left: int
) -> None:
    machine = all_in_use("v4.19")
    put(machine, range(378))
    take(machine, allocs)
    assert holds(machine) == lock_holds
    assert count(machine) == left


def test_the_newest_page_is_handed_out_and_the_oldest_are_given_back() -> None:
    machine = all_in_use("v5.10", batch=2, high=6)
    put(machine, [10, 20, 30, 40, 50])
    assert take(machine, 1) == [50]
    put(machine, [60, 70])
    assert cpu_lists(machine)[0] == [70, 60, 40, 30]
    assert free_lists(machine) == {0: [20, 10]}


def test_a_refill_keeps_the_order_of_memory() -> None:
    machine = small_machine("v5.4", batch=5, high=30)
    assert take(machine, 5) == [0, 1, 2, 3, 4]


def test_the_sawtooth_of_v515_doubles_with_every_round_of_frees_only() -> None:
    machine = all_in_use("v5.15", memory_mb=8)
    freed, left = [], []
    for pfn in range(1500):
        before = machine.k.zone[0].pages_free
        put(machine, [pfn])
        if machine.k.zone[0].pages_free > before:
            freed.append(machine.k.zone[0].pages_free - before)
            left.append(count(machine))
    assert freed == [63, 126, 252, 315, 315, 315]
    assert left == [315, 252, 126, 63, 63, 63]


def test_a_request_halves_the_factor_of_v515_again() -> None:
    machine = all_in_use("v5.15", memory_mb=8)
    put(machine, range(441))
    assert holds(machine) == (0, 2)
    assert count(machine) == 252
    assert machine.k.pcp[0].free_factor == 2
    take(machine, 2)
    assert machine.k.pcp[0].free_factor == 0


def test_v61_stops_doubling_after_five_rounds() -> None:
    machine = all_in_use("v6.1", memory_mb=8, batch=2, high=400)
    freed = []
    for pfn in range(1500):
        before = machine.k.zone[0].pages_free
        put(machine, [pfn])
        if machine.k.zone[0].pages_free > before:
            freed.append(machine.k.zone[0].pages_free - before)
    assert freed[:7] == [2, 4, 8, 16, 32, 64, 64]
    assert set(freed[6:]) == {64}


def test_v61_empties_the_list_when_a_high_order_block_follows_a_round_of_frees() -> None:
    machine = small_machine("v6.1", memory_mb=8)
    (block,) = take(machine, 1, order=2)
    machine.k.pcp[0].free_factor = 0
    put(machine, take(machine, 600))
    assert machine.k.pcp[0].free_factor > 0
    put(machine, [block])
    assert count(machine) == 0
    assert machine.k.zone[0].free == 2048


def test_v612_gives_back_what_was_freed_in_a_row() -> None:
    machine = all_in_use("v6.12")
    put(machine, range(378))
    assert machine.k.zone[0].pages_free == 315
    assert count(machine) == 63


def test_v612_refills_twice_as_much_each_time_nobody_frees() -> None:
    machine = small_machine("v6.12", memory_mb=8)
    sizes = []
    for _ in range(1071):
        before = machine.k.zone[0].pages_alloc
        take(machine, 1)
        if machine.k.zone[0].pages_alloc > before:
            sizes.append(machine.k.zone[0].pages_alloc - before)
    assert sizes == [63, 126, 252, 315, 315]


def test_v612_lets_a_busy_list_grow_to_its_upper_limit() -> None:
    machine = small_machine("v6.12", memory_mb=8)
    set_pcps(machine, batch=63, high=378, high_max=1000)
    take(machine, 1)
    assert machine.k.pcp[0].high == 378 + 63
    take(machine, 63)
    assert machine.k.pcp[0].high == 378 + 63 + 126
    take(machine, 1500)
    assert machine.k.pcp[0].high == 1000


@pytest.mark.parametrize(("era", "kept"), [("v5.10", {0}), ("v5.15", {0, 1, 2, 3, 9}), ("v6.12", {0, 1, 2, 3, 9})])
@pytest.mark.parametrize("order", range(11))
def test_which_orders_the_lists_keep(era: str, kept: set[int], order: int) -> None:
    machine = small_machine(era, batch=1, high=5000)
    (block,) = take(machine, 1, order=order)
    put(machine, [block])
    assert count(machine) == ((1 << order) if order in kept else 0)
    assert take(machine, 1, order=order) == [block]


@pytest.mark.parametrize("era", ["v5.15", "v6.1"])
@pytest.mark.parametrize(("order", "refill"), [(1, 31), (2, 15), (3, 7)])
def test_a_list_of_larger_blocks_is_refilled_in_proportion(era: str, order: int, refill: int) -> None:
    machine = small_machine(era)
    take(machine, 1, order=order)
    assert machine.k.zone[0].pages_alloc == refill << order
    assert holds(machine) == (1, 0)


def test_an_empty_zone_costs_one_look_at_the_buddy_lists() -> None:
    machine = all_in_use("v5.10")
    assert machine.alloc_pages() is None
    assert holds(machine) == (1, 0)
    assert count(machine) == 0


@pytest.mark.parametrize("era", ["v4.19", "v5.15", "v6.12"])
def test_draining_gives_every_page_of_the_cpu_back_and_leaves_other_cpus_alone(era: str) -> None:
    from netemu.mm.page_alloc import drain_pages_zone

    machine = small_machine(era, cpus=2)
    pages = take(machine, 100)
    put(machine, pages[:60])
    put(machine, pages[60:], cpu=1)
    drain_pages_zone(machine.k, 0, 0)
    assert count(machine, 0) == 0
    assert count(machine, 1) == 40
    drain_pages_zone(machine.k, 1, 0)
    assert free_lists(machine) == {10: [0]}
    assert_books_balance(machine)


def test_lists_of_cpus_are_apart() -> None:
    machine = small_machine("v5.10", cpus=2)
    (page,) = take(machine, 1, cpu=0)
    put(machine, [page], cpu=1)
    assert (count(machine, 0), count(machine, 1)) == (62, 1)
    assert take(machine, 1, cpu=1) == [page]


@pytest.mark.parametrize(
    ("megabytes", "batch"),
    [(4, 0), (8, 0), (16, 0), (64, 3), (128, 7), (256, 15), (512, 31), (768, 63), (1024, 63), (65536, 63)],
)
def test_batch_follows_from_the_size_of_the_zone(megabytes: int, batch: int) -> None:
    assert zone_batchsize(megabytes << 8) == batch


@pytest.mark.parametrize(("megabytes", "batch", "high"), [(16, 1, 0), (64, 3, 18), (512, 31, 186), (1024, 63, 378)])
def test_before_v514_a_list_holds_up_to_six_batches(megabytes: int, batch: int, high: int) -> None:
    pcp = Machine(era="v5.10", memory_mb=megabytes, skbs=16).k.pcp[0]
    assert (pcp.batch, pcp.high) == (batch, high)


def test_a_list_of_a_tiny_zone_gives_every_page_back_at_once() -> None:
    machine = Machine(era="v5.10", memory_mb=4, skbs=16)
    put(machine, take(machine, 1))
    assert holds(machine) == (1, 1)
    assert count(machine) == 0


@pytest.mark.parametrize(("cpus", "high"), [(1, 1286), (4, 321), (8, 252)])
def test_from_v515_the_cpus_share_the_low_watermark(cpus: int, high: int) -> None:
    # 1 GiB: min_free_kbytes 4096, so 1024 pages, and 1/1000 of the zone (262) is more than a quarter of that
    assert low_watermark(262144, 262144) == 1286
    pcps = Machine(era="v5.15", cpus=cpus, skbs=16).k.arrays["pcp"]
    assert set(pcps["high"]) == {high}


def test_a_bulk_of_one_page_is_an_ordinary_allocation() -> None:
    def price(count: int) -> int:
        machine = Machine(era="v6.1", memory_mb=64, skbs=16)
        put(machine, take(machine, 8))  # the list holds enough for either way
        start = machine.k.cpu[0].clock
        if count:
            assert alloc_pages_bulk.interpreted()(machine.k, 0, 0, count) == count
        else:
            take(machine, 1)
        return int(machine.k.cpu[0].clock - start)

    assert price(1) >= price(0) > 0
    assert price(2) < 2 * price(0)
