"""Several CPUs at once: tasks that take turns inside kernel functions, by a schedule that is data.

Emulated code is executed one step after the other; what happens between two steps of one CPU is up to the script.
:func:`interleave` runs tasks side by side and switches at the entries and returns of network functions, as a list of
numbers says; :class:`Interruption` lets one thing happen at one named place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .engine.kernel import KernelFunction
from .engine.layout import Kernel
from .engine.spinlock import spin_lock, spin_unlock
from .engine.watch import Running, Watch
from .errors import UsageError

if TYPE_CHECKING:
    from .machine import Machine

NOT_PREEMPTED = ("netemu.engine.", "netemu.mm.")
"""Modules whose functions run with interrupts off or under a lock: nothing gets in between their steps."""


class _Scratch:
    """What C functions keep on their stack, or return by reference, and netemu in tables that all CPUs share.

    It belongs to whoever runs: kept while others do.
    """

    TABLES = ("page_array", "coalesced")

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.tables = {name: k.arrays[name].copy() for name in self.TABLES}
        self.frag_offset: int = k.pools[0].frag_offset

    def restore(self) -> None:
        """Put it back."""
        for name, kept in self.tables.items():
            self.k.arrays[name][:] = kept
        self.k.pools[0].frag_offset = self.frag_offset


class _Task:
    """One CPU's share of an interleaving, in a thread of its own that waits for its turn."""

    def __init__(self, cpu: int, function: Callable[[], object], running: Running) -> None:
        self.cpu = cpu
        self.function = function
        self.running = running
        self.turn = threading.Semaphore(0)
        self.started = False
        self.done = False
        self.error: BaseException | None = None
        self.result: object = None


class _Interleaving:
    def __init__(self, machine: Machine, watch: Watch, schedule: Sequence[int]) -> None:
        self.machine = machine
        self.watch = watch
        self.schedule: Iterator[int] = iter(schedule)
        self.tasks: list[_Task] = []
        self.order: dict[_Task, int] = {}
        self.current: _Task | None = None
        self.over = threading.Semaphore(0)
        self.locked = 0
        self.switches = 0

    def run(self) -> list[object]:
        mine = self.watch.now
        threads = [threading.Thread(target=self._body, args=(task,), daemon=True) for task in self.tasks]
        self.watch.points.append(self.point)
        try:
            for thread in threads:
                thread.start()
            self._switch(self.tasks[0])
            self.over.acquire()
        finally:
            self.watch.points.remove(self.point)
            self.watch.now = mine
        for thread in threads:
            thread.join()
        for task in self.tasks:
            if task.error is not None:
                raise task.error
        return [task.result for task in self.tasks]

    def _body(self, task: _Task) -> None:
        task.turn.acquire()
        try:
            with self.machine.on_cpu(task.cpu):
                task.result = task.function()
        except BaseException as error:
            task.error = error
        task.done = True
        waiting = self._runnable()
        if waiting:
            self._switch(waiting[0])
        else:
            self.over.release()

    def _runnable(self) -> list[_Task]:
        """Tasks that can go on: of those on one CPU only the one that came last, which interrupts the others."""
        top: dict[int, _Task] = {}
        for task in self.tasks:
            if task.started and not task.done:
                top[task.cpu] = task if task.cpu not in top else self._later(top[task.cpu], task)
        return [task for task in self.tasks if not task.done and (not task.started or top[task.cpu] is task)]

    def _later(self, one: _Task, other: _Task) -> _Task:
        return max(one, other, key=lambda task: self.order[task])

    def _switch(self, task: _Task) -> None:
        if not task.started:
            task.started = True
            self.order[task] = len(self.order)
        self.current = task
        self.watch.now = task.running
        task.turn.release()

    def point(self, function: KernelFunction, entering: bool) -> None:
        """Between two steps: the schedule says whether somebody else goes on."""
        if function is spin_lock and entering:
            self.locked += 1
        elif function is spin_unlock and not entering:
            self.locked -= 1
        if self.locked or function.__module__.startswith(NOT_PREEMPTED):
            return
        me = self.current
        choice = next(self.schedule, 0)
        others = [task for task in self._runnable() if task is not me]
        if choice == 0 or not others or me is None:
            return
        self.switches += 1
        scratch = _Scratch(self.machine.k)
        self._switch(others[(choice - 1) % len(others)])
        me.turn.acquire()
        scratch.restore()


def interleave(
    machine: Machine, tasks: Sequence[tuple[int, Callable[[], object]]], schedule: Sequence[int] = ()
) -> list[object]:
    """Run ``(cpu, function)`` tasks side by side on a checked machine; their results, in order.

    At every entry and return of a network function one number of ``schedule`` is used up: 0 goes on, n switches to the
    n-th of the other tasks that can run.  After its end everybody runs to completion in turn, so an empty schedule is
    one task after the other.  A task on the CPU of another one is an interrupt: it ends before the other goes on.
    Raises what a task has raised.
    """
    watch = machine.k.watch
    if watch is None:
        raise UsageError('interleaving needs a machine that is followed step by step: Machine(check="every")')
    turns = _Interleaving(machine, watch, schedule)
    turns.tasks = [_Task(machine.checked_cpu(cpu), function, watch.fresh(cpu)) for cpu, function in tasks]
    if not turns.tasks:
        return []
    results = turns.run()
    machine.check()
    return results


class Interruption:
    """Something that happens once, at a named place inside a kernel function.  ``happened`` says whether it did."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.happened = False


@contextmanager
def interrupted(
    machine: Machine,
    place: str,
    function: Callable[[], object],
    *,
    inside: str | None = None,
    returning: bool = False,
    nth: int = 1,
) -> Iterator[Interruption]:
    """While the block runs: at the ``nth`` entry to (or return from) kernel function ``place``, run ``function``.

    ``inside`` restricts that to calls made below another kernel function.  ``function`` runs on the CPU it says.
    """
    watch = machine.k.watch
    if watch is None:
        raise UsageError('interruptions need a machine that is followed step by step: Machine(check="every")')
    made = Interruption(function)
    entered: list[str] = []
    left = nth

    def point(called: KernelFunction, entering: bool) -> None:
        nonlocal left
        names = (called.__name__, called.name)
        here = place in names and (inside is None or inside in entered)
        if entering:
            entered.extend(names)
        else:
            del entered[-2:]
        if made.happened or entering == returning or not here:
            return
        left -= 1
        if left == 0:
            made.happened = True
            before, watch.now = watch.now, watch.fresh(watch.cpu)
            depth, entered[:] = list(entered), []
            scratch = _Scratch(machine.k)
            try:
                function()
            finally:
                scratch.restore()
                watch.now = before
                entered[:] = depth

    watch.points.append(point)
    try:
        yield made
    finally:
        watch.points.remove(point)
