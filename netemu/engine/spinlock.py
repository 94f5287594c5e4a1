"""Spinlocks in virtual time: first come, first served, by the clocks of the CPUs that ask.

CPUs are simulated one step at a time, so a request of an earlier virtual time can be simulated after one of a
later time.  A lock therefore remembers the intervals for which it is held, and a late request takes the first
gap that it fits into.  How long a lock is held is known only at its release: that is when the wait is charged,
to ``queued_spin_lock_slowpath`` below the function that took the lock.  A lock that was waited for costs its
hand-off on top.  Waiters of a queued spinlock spin each on a line of their own, so that a hand-off costs the same
however many wait; but everybody in the queue waits for the hand-offs before his own.

With one CPU there is nobody to wait for, and no interval is kept.
"""

from __future__ import annotations

import numpy as np

from .cacheline import fetch_line
from .kernel import cost_point, inlined, kernel_function
from .layout import DECLARED, Kernel, table
from .path import charge, spend

LOCK_INTERVALS = 1 << 10
"""Busy intervals that one lock remembers."""
SPENT_INTERVALS = 16
"""Intervals of the past that a lock keeps at most before its rows are used again."""
MAX_LOCKS = 1024

LOCK_CLASSES: dict[str, range] = {}
"""Numbers of the locks of each class."""


def lock_class(name: str, count: int) -> int:
    """Declare ``count`` locks of one kind; the number of the first."""
    first = sum(len(numbers) for numbers in LOCK_CLASSES.values())
    if first + count > MAX_LOCKS:
        raise TypeError(f"no room for {count} locks of class {name!r}")
    LOCK_CLASSES[name] = range(first, first + count)
    DECLARED.append(f"locks {name} {count}")
    return first


table(
    "lock",
    [
        ("requested", "i8"),  # when the holder asked for it, ps
        ("first", "i4"),  # intervals in use: rows first..last-1 of this lock's share of k.busy
        ("last", "i4"),
        ("line", "i4"),  # CPU that took it last, + 1: its cache has the lock's line
        ("acquisitions", "i8"),
        ("contended", "i8"),
        ("wait", "i8"),  # ps
        ("hold", "i8"),  # ps
    ],
    whole_lines=True,
)
table("busy", [("start", "i8"), ("end", "i8")])  # [lock * LOCK_INTERVALS + i], by time, without overlap
table("horizon", "i8")  # no CPU will ask for anything before this time, ps
table("lock_journal", [("cpu", "i4"), ("lock", "i4"), ("requested", "i8"), ("length", "i8"), ("wait", "i8")])
table("lock_journal_use", [("count", "i8"), ("room", "i8")])

HANDOFF = cost_point("spin_lock_handoff")


@kernel_function(inline=True)
def _raw_spin_lock(k: Kernel, cpu: int, lock: int) -> None:
    """The uncontended part of taking and releasing a spinlock; its line may have to come from another CPU."""
    k.lock[lock].line = fetch_line(k, cpu, k.lock[lock].line)


@kernel_function
def queued_spin_lock_slowpath(k: Kernel, cpu: int, ps: int) -> None:
    """Wait ``ps`` picoseconds for the holders before us, the hand-off included."""
    spend(k, cpu, ps)


@inlined
def request_lock(k: Kernel, cpu: int, lock: int) -> None:
    """From now on the CPU holds the lock, or waits for it: which of the two is found out at the release."""
    held = k.lock[lock]
    held.acquisitions += 1
    held.requested = k.cpu[cpu].clock


@inlined
def spin_lock(k: Kernel, cpu: int, lock: int) -> None:
    """Take a lock; the matching :func:`spin_unlock` comes in the same step of the same CPU."""
    _raw_spin_lock(k, cpu, lock)
    request_lock(k, cpu, lock)


@inlined
def spin_lock_inlined(k: Kernel, cpu: int, lock: int, price: int) -> None:
    """Take a lock whose uncontended cost is measured as a part of its caller: the cost point ``price``."""
    charge(k, cpu, price)
    k.lock[lock].line = fetch_line(k, cpu, k.lock[lock].line)
    request_lock(k, cpu, lock)


@inlined
def spin_unlock(k: Kernel, cpu: int, lock: int) -> None:
    """Release a lock, and charge what taking it had to wait."""
    held = k.lock[lock]
    length = k.cpu[cpu].clock - held.requested
    held.hold += length
    if k.machine[0].cpus > 1:
        settle_wait(k, cpu, lock, length)


@kernel_function(traced=False)
def settle_wait(k: Kernel, cpu: int, lock: int, length: int) -> None:
    """Find the time at which the lock was free for ``length``, and wait until then."""
    held = k.lock[lock]
    wait = reserve(k, lock, held.requested, length)
    if k.lock_journal_use[0].room > 0:
        write_journal(k, cpu, lock, length, wait)
    if wait > 0:
        held.contended += 1
        held.wait += wait
        queued_spin_lock_slowpath(k, cpu, wait)


@kernel_function(traced=False)
def write_journal(k: Kernel, cpu: int, lock: int, length: int, wait: int) -> None:
    """Keep one hold for whoever asked for a journal, while there is room."""
    use = k.lock_journal_use[0]
    if use.count < use.room:
        entry = k.lock_journal[use.count]
        entry.cpu = cpu
        entry.lock = lock
        entry.requested = k.lock[lock].requested
        entry.length = length
        entry.wait = wait
        use.count += 1


def keep_journal(k: Kernel, room: int) -> None:
    """Record the next ``room`` holds of all locks in ``k.arrays["lock_journal"]``."""
    k.replace("lock_journal", np.zeros(room, k.arrays["lock_journal"].dtype))
    k.lock_journal_use[0].count = 0
    k.lock_journal_use[0].room = room


@kernel_function(traced=False)
def first_gap(k: Kernel, lock: int, at: int, wanted: int, length: int) -> int:
    """The earliest time from ``wanted`` on at which the lock is free for ``length``; ``at``: where to start looking."""
    base = lock * LOCK_INTERVALS
    start = wanted
    last = k.lock[lock].last
    while at < last and k.busy[base + at].start < start + length:
        start = max(start, k.busy[base + at].end)
        at += 1
    return start


@kernel_function(traced=False)
def reserve(k: Kernel, lock: int, wanted: int, length: int) -> int:
    """Hold the lock for ``length`` from the first gap after ``wanted`` on; returns how long that is to wait (ps)."""
    held = k.lock[lock]
    base = lock * LOCK_INTERVALS
    while held.first < held.last and k.busy[base + held.first].end <= k.horizon[0]:
        held.first += 1
    if held.first >= SPENT_INTERVALS and held.first > 4 * (held.last - held.first):
        make_room(k, lock)
    low = held.first
    high = held.last
    while low < high:  # the first interval that ends after `wanted`
        middle = (low + high) >> 1
        if k.busy[base + middle].end > wanted:
            high = middle
        else:
            low = middle + 1
    start = first_gap(k, lock, low, wanted, length)
    if start > wanted:
        length += k.cost[HANDOFF]
        start = first_gap(k, lock, low, wanted, length)
    insert_interval(k, lock, low, start, start + length)
    wait = start - wanted
    if wait > 0:
        wait += k.cost[HANDOFF]
    return wait


@kernel_function(traced=False)
def insert_interval(k: Kernel, lock: int, at: int, start: int, end: int) -> None:
    """Keep a busy interval, joined with the neighbours that it touches; ``at``: no earlier one ends after it."""
    held = k.lock[lock]
    base = lock * LOCK_INTERVALS
    while at < held.last and k.busy[base + at].start < start:
        at += 1
    if at > held.first and k.busy[base + at - 1].end == start:
        k.busy[base + at - 1].end = end
        if at < held.last and k.busy[base + at].start == end:
            k.busy[base + at - 1].end = k.busy[base + at].end
            remove_interval(k, lock, at)
        return
    if at < held.last and k.busy[base + at].start == end:
        k.busy[base + at].start = start
        return
    if held.last == LOCK_INTERVALS:
        at = max(at - make_room(k, lock), 0)
    for i in range(held.last, at, -1):
        k.busy[base + i].start = k.busy[base + i - 1].start
        k.busy[base + i].end = k.busy[base + i - 1].end
    k.busy[base + at].start = start
    k.busy[base + at].end = end
    held.last += 1


@inlined
def remove_interval(k: Kernel, lock: int, at: int) -> None:
    """Close the gap that a joined interval leaves."""
    held = k.lock[lock]
    base = lock * LOCK_INTERVALS
    held.last -= 1
    for i in range(at, held.last):
        k.busy[base + i].start = k.busy[base + i + 1].start
        k.busy[base + i].end = k.busy[base + i + 1].end


@kernel_function(traced=False)
def make_room(k: Kernel, lock: int) -> int:
    """Move the intervals to the start of their rows; when all are in use, the oldest is forgotten.  Rows gained."""
    held = k.lock[lock]
    base = lock * LOCK_INTERVALS
    gained = max(held.first, 1)
    for i in range(held.last - gained):
        k.busy[base + i].start = k.busy[base + gained + i].start
        k.busy[base + i].end = k.busy[base + gained + i].end
    held.last -= gained
    held.first = max(held.first - gained, 0)
    return gained
