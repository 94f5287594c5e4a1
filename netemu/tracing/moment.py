"""When and where something happens: on which CPU, in which context, by which call path, at what virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checks.history import context_of
from ..engine.faults import call_path
from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..net.run import wire_step

NIC = -1
"""In place of a CPU: what the device does by itself."""


@dataclass(frozen=True, slots=True)
class Moment:
    """``clock``: ps; ``cpu``: NIC for the device; ``path``: root first; ``early``: before virtual time began."""

    clock: int
    cpu: int
    context: str
    path: tuple[str, ...]
    early: bool


class Clock:
    """Tells the moment on a watched machine, with functions under the names that ``renamed`` says they have.

    Virtual time begins at :meth:`start`: what happened before, such as opening the device, has times below 0.
    """

    def __init__(self, k: Kernel, watch: Watch, renamed: Mapping[str, str]) -> None:
        self.k = k
        self.watch = watch
        self.renamed = renamed
        self._arrival: int | None = None
        self._begun: dict[int, int] | None = None
        self._paths: dict[int, tuple[str, ...]] = {}
        on_the_wire: Any = wire_step
        watch.wrap(on_the_wire, self._take_frame)

    def start(self) -> None:
        """The clocks of all CPUs are about to be set to 0."""
        self._begun = {cpu: int(clock) for cpu, clock in enumerate(self.k.arrays["cpu"]["clock"])}

    def now(self) -> Moment:
        """This moment, of the NIC that takes a frame or of the CPU that runs."""
        if self._arrival is not None:
            return Moment(self._arrival, NIC, "NIC", (), self._begun is None)
        return self.on(self.watch.cpu)

    def on(self, cpu: int) -> Moment:
        """The moment that a CPU has come to."""
        c = self.k.cpu[cpu]
        return Moment(c.clock, cpu, context_of(c), self.path(c.node), self._begun is None)

    def time(self, moment: Moment) -> int:
        """Virtual time of a moment, ps."""
        if moment.early and self._begun is not None:
            return moment.clock - self._begun.get(moment.cpu, 0)
        return moment.clock

    def path(self, node: int) -> tuple[str, ...]:
        """The functions down to a node of the call tree."""
        known = self._paths.get(node)
        if known is None:
            names = call_path(self.k, node)
            known = self._paths[node] = tuple(self.renamed.get(name, name) for name in names)
        return known

    def _take_frame(self, body: Body, k: Kernel, dev: int) -> None:
        """The NIC is at work, when its frame has arrived and not when the CPUs are simulated."""
        self._arrival = k.wire[dev].arrival
        try:
            body(k, dev)
        finally:
            self._arrival = None
