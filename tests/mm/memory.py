"""Looking at the page allocator's lists, and arranging them, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netemu import Machine
from netemu.checks.conservation import take_stock
from netemu.mm.layout import NONE, NR_ORDERS, NR_PCP_LISTS, PG_BUDDY, PG_PCP

SMALL = {"memory_mb": 4, "skbs": 512}
"""A machine of 1024 pages: one block of the largest order."""


def small_machine(era: str = "v6.1", *, batch: int = 63, high: int = 378, **options: Any) -> Machine:
    """A machine of 1024 pages whose per-CPU lists are as long as those of a large zone, or as given."""
    machine = Machine(era=era, **(SMALL | options))
    set_pcps(machine, batch=batch, high=high)
    return machine


def set_pcps(machine: Machine, *, batch: int, high: int, high_max: int | None = None) -> None:
    """Give every per-CPU list this batch and high mark."""
    pcps = machine.k.arrays["pcp"]
    pcps["batch"] = batch
    pcps["high"] = pcps["high_min"] = high
    pcps["high_max"] = high if high_max is None else high_max


def _walk(machine: Machine, head: int, tail: int, flag: int) -> list[int]:
    found: list[int] = []
    before = NONE
    while head != NONE:
        page = machine.k.pages[head]
        assert page.flags & flag, f"page {head} is on a list, but does not know"
        assert page.prev == before, f"page {head} has the wrong neighbour"
        found.append(head)
        before, head = head, page.next
    assert tail == before
    return found


def free_lists(machine: Machine, zone: int = 0) -> dict[int, list[int]]:
    """Heads of the free blocks, by order, head of the list first; orders without any are left out."""
    lists = {}
    for order in range(NR_ORDERS):
        area = machine.k.free_area[zone * NR_ORDERS + order]
        blocks = _walk(machine, area.head, area.tail, PG_BUDDY)
        assert area.nr_free == len(blocks)
        assert all(machine.k.pages[pfn].order == order for pfn in blocks)
        if blocks:
            lists[order] = blocks
    assert machine.k.zone[zone].free == sum(len(blocks) << order for order, blocks in lists.items())
    return lists


def cpu_lists(machine: Machine, cpu: int = 0, zone: int = 0) -> list[list[int]]:
    """Blocks on each of a CPU's lists (orders 0..3 and 9), hot end first."""
    row = zone * machine.cpus + cpu
    lists = []
    for index in range(NR_PCP_LISTS):
        entry = machine.k.pcp_list[row * NR_PCP_LISTS + index]
        lists.append(_walk(machine, entry.head, entry.tail, PG_PCP))
    return lists


def arrange(machine: Machine, blocks: Mapping[int, Iterable[int]]) -> None:
    """Make exactly these blocks free (by order, head of the list first), every other page an order-0 page in use."""
    k = machine.k
    pages = k.arrays["pages"]
    pages["flags"] = 0
    pages["order"] = 0
    pages["refcount"] = 1
    k.arrays["free_area"]["head"] = k.arrays["free_area"]["tail"] = NONE
    k.arrays["free_area"]["nr_free"] = 0
    k.zone[0].free = 0
    for order, heads in blocks.items():
        linked = [NONE, *heads, NONE]
        for before, pfn, after in zip(linked, linked[1:-1], linked[2:], strict=False):
            pages["refcount"][pfn : pfn + (1 << order)] = 0
            page = k.pages[pfn]
            page.flags, page.order, page.prev, page.next = PG_BUDDY, order, before, after
            k.zone[0].free += 1 << order
        area = k.free_area[order]
        area.head, area.tail, area.nr_free = linked[1], linked[-2], len(linked) - 2
    assert free_lists(machine) == {order: list(heads) for order, heads in blocks.items()}


def occupied(machine: Machine, pfn: int, order: int) -> None:
    """Make the order-0 pages in use at ``pfn`` one block in use (after :func:`arrange`)."""
    pages = machine.k.arrays["pages"]
    pages["refcount"][pfn + 1 : pfn + (1 << order)] = 0
    pages["order"][pfn] = order


def holds(machine: Machine) -> tuple[int, int]:
    """How often zone->lock was held to take pages out and to give pages back."""
    zones = machine.k.arrays["zone"]
    assert (zones["acquisitions"] == zones["acquisitions_alloc"] + zones["acquisitions_free"]).all()
    return int(zones["acquisitions_alloc"].sum()), int(zones["acquisitions_free"].sum())


def assert_books_balance(machine: Machine, held: Iterable[int] = ()) -> None:
    """Every page has one place; nothing is lost but what the test itself holds."""
    books = take_stock(machine.k, held)
    assert books.errors == []
    assert books.leaks == []
