"""The i7-4790k profile gives back the page allocator's published cycles when the emulated kernel does the same."""

from __future__ import annotations

import pytest

from netemu import Machine
from netemu.mm.page_alloc import alloc_pages_node, drop_page

CYCLE_PS = 250
PAIRS = 200
BLOCKS = 64


def machine(cpus: int) -> Machine:
    return Machine(era="v4.19", platform="i7-4790k", cpus=cpus, memory_mb=256, skbs=16)


def leave_blocks_without_free_buddies(made: Machine, order: int) -> None:
    """Put blocks of ``order`` on their list whose buddies are in use, so that nothing is split or merged."""
    alloc, free = alloc_pages_node.interpreted(), drop_page.interpreted()
    taken = sorted(alloc(made.k, 0, 0, order, 0) for _ in range(2 * BLOCKS))
    for pfn in taken[::2]:
        free(made.k, 0, pfn)


def cycles_per_pair(made: Machine, order: int) -> float:
    """Alloc + free of one block in a loop on every CPU at once, the CPU with the smallest clock next; the mean."""
    alloc, free = alloc_pages_node.interpreted(), drop_page.interpreted()
    clock = made.k.arrays["cpu"]["clock"]
    clock[:] = begin = clock.max()
    held = [-1] * made.cpus
    done = 0
    while done < PAIRS * made.cpus:
        cpu = int(clock.argmin())
        made.k.horizon[0] = clock[cpu]
        if held[cpu] < 0:
            held[cpu] = alloc(made.k, cpu, 0, order, 0)
        else:
            free(made.k, cpu, held[cpu])
            held[cpu] = -1
            done += 1
    made.check()
    return float(clock.mean() - begin) / PAIRS / CYCLE_PS


def test_order_0_by_the_per_cpu_lists_takes_272_cycles() -> None:
    made = machine(1)
    cycles_per_pair(made, 0)  # fills the list
    assert cycles_per_pair(made, 0) == pytest.approx(272, rel=0.01)


def test_a_block_past_the_per_cpu_lists_takes_377_cycles_without_its_tail_pages() -> None:
    made = machine(1)
    leave_blocks_without_free_buddies(made, 3)
    assert cycles_per_pair(made, 3) == pytest.approx(377, rel=0.01)


def test_two_cpus_that_meet_at_the_zone_lock_take_2131_cycles_each() -> None:
    made = machine(2)
    leave_blocks_without_free_buddies(made, 3)
    assert cycles_per_pair(made, 3) == pytest.approx(2131, rel=0.05)
    assert made.k.lock[0].contended >= 0.95 * (4 * PAIRS - 2)
