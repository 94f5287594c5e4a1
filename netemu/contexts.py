"""Who runs: the CPU and the context (process, bottom halves off, softirq, hard interrupt) of what a script does.

Every operation of a handle runs on some CPU in some context.  A script says which with the context managers here; an
operation outside all of them runs where it usually does (allocation from a pool in its consumer's softirq, a receive
buffer's in softirq on CPU 0, everything else in process context on CPU 0).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from .engine.layout import Kernel
from .errors import UsageError

PROCESS = "process"
BH_OFF = "bottom halves off"
SOFTIRQ = "softirq"
HARDIRQ = "hardirq"
IRQS_OFF = "interrupts off"


@dataclass(frozen=True)
class Context:
    """A CPU and what runs on it; ``budget`` of the poll that runs, if one does."""

    cpu: int
    kind: str
    budget: int | None = None


class _Stack(threading.local):
    def __init__(self) -> None:
        self.entered: list[Context] = []
        self.cpu: int | None = None


class Contexts:
    """The contexts of a machine: mixed into :class:`netemu.Machine`.  Interleaved tasks each have a stack of their
    own.
    """

    k: Kernel
    cpus: int

    def __init__(self) -> None:
        self._contexts = _Stack()

    # -- entering --------------------------------------------------------------------------------------------------

    def process(self, cpu: int = 0) -> AbstractContextManager[Context]:
        """Run what is inside in process context on ``cpu``: no softirq, bottom halves and interrupts on."""
        return self._entered(Context(self.checked_cpu(cpu), PROCESS), 0, 0, 0)

    def bh_disabled(self, cpu: int = 0) -> AbstractContextManager[Context]:
        """``local_bh_disable`` in process context on ``cpu``."""
        c = self.k.cpu[self.checked_cpu(cpu)]
        return self._entered(Context(cpu, BH_OFF), c.serving_softirq, c.bh_disabled + 1, c.hardirq)

    def softirq(self, cpu: int = 0) -> AbstractContextManager[Context]:
        """Run what is inside in softirq on ``cpu``, on top of what runs there."""
        c = self.k.cpu[self.checked_cpu(cpu)]
        return self._entered(Context(cpu, SOFTIRQ), c.serving_softirq + 1, c.bh_disabled, c.hardirq)

    def napi(self, cpu: int = 0, budget: int = 64) -> AbstractContextManager[Context]:
        """Inside a poll function on ``cpu``; budget 0 is netpoll: interrupts off, and not in softirq."""
        c = self.k.cpu[self.checked_cpu(cpu)]
        if budget == 0:
            return self._entered(Context(cpu, IRQS_OFF, 0), 0, 0, c.hardirq + 1)
        return self._entered(Context(cpu, SOFTIRQ, budget), c.serving_softirq + 1, c.bh_disabled, c.hardirq)

    def hardirq(self, cpu: int = 0) -> AbstractContextManager[Context]:
        """Inside an interrupt handler on ``cpu``."""
        c = self.k.cpu[self.checked_cpu(cpu)]
        return self._entered(Context(cpu, HARDIRQ), c.serving_softirq, c.bh_disabled, c.hardirq + 1)

    def irqs_off(self, cpu: int = 0) -> AbstractContextManager[Context]:
        """``local_irq_save`` on ``cpu``: to network code the same as an interrupt handler."""
        c = self.k.cpu[self.checked_cpu(cpu)]
        return self._entered(Context(cpu, IRQS_OFF), c.serving_softirq, c.bh_disabled, c.hardirq + 1)

    @contextmanager
    def on_cpu(self, cpu: int) -> Iterator[None]:
        """Operations outside of a context of their own run on ``cpu``."""
        before, self._contexts.cpu = self._contexts.cpu, self.checked_cpu(cpu)
        try:
            yield
        finally:
            self._contexts.cpu = before

    @contextmanager
    def _entered(self, context: Context, serving: int, bh_off: int, hardirq: int) -> Iterator[Context]:
        c = self.k.cpu[context.cpu]
        before = c.serving_softirq, c.bh_disabled, c.hardirq
        c.serving_softirq, c.bh_disabled, c.hardirq = serving, bh_off, hardirq
        self._contexts.entered.append(context)
        try:
            yield context
        finally:
            self._contexts.entered.pop()
            c.serving_softirq, c.bh_disabled, c.hardirq = before

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def context(self) -> Context | None:
        """The innermost context that the script is in; None outside all of them."""
        entered = self._contexts.entered
        return entered[-1] if entered else None

    def checked_cpu(self, cpu: int) -> int:
        """``cpu``.  Raises UsageError when the machine has no such CPU."""
        if not 0 <= cpu < self.cpus:
            raise UsageError(f"the machine has CPUs 0 to {self.cpus - 1}, not {cpu}")
        return cpu

    def where(self, cpu: int | None, usual: int = 0) -> int:
        """The CPU that an operation runs on: the one asked for, else the context's, else the usual one."""
        if cpu is not None:
            return self.checked_cpu(cpu)
        context = self.context
        if context is not None:
            return context.cpu
        return usual if self._contexts.cpu is None else self._contexts.cpu

    def usually_in_softirq(self, cpu: int) -> AbstractContextManager[Context | None]:
        """Softirq on ``cpu``, unless the script has said in which context it is."""
        context = self.context
        return self.softirq(cpu) if context is None or context.cpu != cpu else nullcontext()
