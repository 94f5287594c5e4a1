"""Assertions about what a piece of a test did to pages: recycling, traffic to the page allocator, zone->lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from netemu.handles import PagePool, PoolStatistics
from netemu.machine import Machine


def different_statistics(left: Any, right: Any) -> list[str]:
    """The counters that differ, for a failed comparison."""
    lines = ["page_pool statistics differ:"]
    others = asdict(right)
    width = max(len(name) for name in others)
    for name, value in asdict(left).items():
        if value != others[name]:
            lines.append(f"  {name:<{width}}  {value:>8}  !=  {others[name]:>8}  ({others[name] - value:+d})")
    return lines


def changes(before: PoolStatistics, after: PoolStatistics) -> str:
    """The counters that moved, one per line."""
    moved = {name: value for name, value in asdict(after - before).items() if value}
    return "\n".join(f"  {name:<24} +{value}" for name, value in moved.items()) or "  (no counter moved)"


@contextmanager
def assert_recycled(pool: PagePool) -> Iterator[None]:
    """Every page that comes back to ``pool`` inside is kept by it: none goes on to the page allocator."""
    __tracebackhide__ = True
    before = pool.statistics()
    yield
    done = pool.statistics() - before
    kept = done.recycle_cached + done.recycle_ring
    lost = done.recycle_ring_full + done.recycle_released_refcnt
    if lost or not kept:
        said = f"{lost} of {kept + lost} pages were not recycled" if lost else "no page came back"
        raise AssertionError(f"{said}:\n{changes(before, pool.statistics())}")


@dataclass(frozen=True)
class Traffic:
    """Pages that went from and to the page allocator, and acquisitions of zone->lock."""

    allocated: int
    freed: int
    acquisitions: int


def traffic(machine: Machine) -> Traffic:
    """The counters of all zones since the machine was made."""
    zones = machine.k.arrays["zone"]
    return Traffic(*(int(zones[name].sum()) for name in ("allocated", "freed", "acquisitions")))


@contextmanager
def assert_no_allocator_traffic(machine: Machine) -> Iterator[None]:
    """No page is taken from or given back to the page allocator inside."""
    __tracebackhide__ = True
    before = traffic(machine)
    yield
    after = traffic(machine)
    allocated, freed = after.allocated - before.allocated, after.freed - before.freed
    if allocated or freed:
        raise AssertionError(f"{allocated} pages were allocated and {freed} freed; none should have been")


@contextmanager
def assert_lock_holds(machine: Machine, *, at_most: int) -> Iterator[None]:
    """zone->lock is taken at most so often inside."""
    __tracebackhide__ = True
    before = traffic(machine)
    yield
    holds = traffic(machine).acquisitions - before.acquisitions
    if holds > at_most:
        raise AssertionError(f"zone->lock was taken {holds} times; at most {at_most} were expected")
