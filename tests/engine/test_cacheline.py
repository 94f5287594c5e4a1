"""A line that another CPU wrote last costs a transfer, once; one's own costs nothing."""

from __future__ import annotations

from netemu import Machine
from netemu.engine.cacheline import COLD_LINE
from netemu.mm.layout import MAX_ORDER
from netemu.mm.page_alloc import drop_page


def spent(made: Machine, cpu: int, action: object) -> int:
    before = made.k.cpu[cpu].clock
    action()  # type: ignore[operator]
    return made.k.cpu[cpu].clock - before


def test_dropping_a_reference_of_a_page_that_another_cpu_took_costs_one_line_more() -> None:
    made = Machine(cpus=2, memory_mb=64, skbs=16)
    page = made.alloc_pages(cpu=0)
    assert page is not None
    for _ in range(3):
        page.get()
    at_home = spent(made, 0, lambda: drop_page(made.k, 0, page.pfn))
    away = spent(made, 1, lambda: drop_page(made.k, 1, page.pfn))
    again = spent(made, 1, lambda: drop_page(made.k, 1, page.pfn))
    assert away - at_home == made.k.cost[COLD_LINE]
    assert again == at_home


def test_an_uncontended_lock_costs_a_line_more_when_it_changes_hands() -> None:
    made = Machine(era="v4.19", cpus=2, memory_mb=64, skbs=16)

    def pair(cpu: int) -> int:
        made.k.cpu[cpu].clock = made.k.arrays["cpu"]["clock"].max() + 10**9  # long after everybody else
        page = made.alloc_pages(order=MAX_ORDER, cpu=cpu)
        assert page is not None
        return spent(made, cpu, lambda: page.put(cpu=cpu))

    assert pair(0) == pair(0)
    first_on_the_other = pair(1)
    assert pair(1) == pair(0) - 0 * first_on_the_other
