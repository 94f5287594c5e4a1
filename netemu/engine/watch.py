"""Watched machines: every kernel function can be followed, call by call, without a trace of it in other machines.

A machine that is watched (``k.watch`` is set before anything runs) executes the same source as plain Python, with a
small wrapper around each kernel function, inlined helpers included.  The wrapper knows who else wants to be in the
way: an *around* hook receives the function's body and calls it, or not; a *point* hook hears of every entry and every
return.  Machines without a watch run as ever: compiled code has no part in this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .kernel import KernelFunction
    from .layout import Kernel

Body = Callable[..., Any]
Around = Callable[..., Any]
"""``hook(body, k, *arguments)``: what happens instead of a call; most hooks call ``body(k, *arguments)``."""
Point = Callable[["KernelFunction", bool], None]
"""``hook(function, entering)``: between two steps of emulated code; others may run meanwhile."""


@dataclass
class Running:
    """Where one thread of emulated code is: on which CPU, how deep in calls, and what its followers know of it."""

    notes: Any
    cpu: int = 0
    depth: int = 0
    entry: str = ""  # the kernel function that was called from outside


class Watch:
    """What surrounds kernel functions of one machine.

    ``now`` belongs to the thread of emulated code that runs: whoever lets another one run in between puts a
    :meth:`fresh` one in its place, and puts it back.
    """

    def __init__(self, notes: Callable[[], Any]) -> None:
        self.around: dict[KernelFunction, Around] = {}
        self.points: list[Point] = []
        self._notes = notes
        self.now = self.fresh()

    def fresh(self, cpu: int = 0) -> Running:
        """The state of a thread that has not started."""
        return Running(self._notes(), cpu)

    @property
    def cpu(self) -> int:
        """The CPU whose code runs, as far as it said so."""
        return self.now.cpu

    @property
    def depth(self) -> int:
        """Kernel functions that are being executed: 1 in one that a handle has called."""
        return self.now.depth

    def wrap(self, function: KernelFunction, hook: Around) -> None:
        """Put ``hook`` around ``function``, outside of what is there already."""
        inner = self.around.get(function)
        if inner is None:
            self.around[function] = hook
            return

        def both(body: Body, k: Kernel, *arguments: Any) -> Any:
            return hook(lambda k, *a: inner(body, k, *a), k, *arguments)

        self.around[function] = both


def watched_form(function: KernelFunction, body: Body, *, with_cpu: bool) -> Body:
    """``body`` as a watched machine runs it.  ``with_cpu``: its second parameter is the CPU."""

    def step(k: Kernel, *arguments: Any) -> Any:
        watch = k.watch
        if watch is None:
            return body(k, *arguments)
        now = watch.now
        before = now.cpu
        if with_cpu:
            now.cpu = arguments[0]
        if now.depth == 0:
            now.entry = function.name
        now.depth += 1
        if watch.points:
            for point in watch.points:
                point(function, True)
        try:
            hook = watch.around.get(function)
            result = body(k, *arguments) if hook is None else hook(body, k, *arguments)
        finally:
            now.depth -= 1
            now.cpu = before
        if watch.points:
            for point in watch.points:
                point(function, False)
        return result

    step.__name__ = function.__name__
    return step
