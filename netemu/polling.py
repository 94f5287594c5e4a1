"""A NAPI instance that a script schedules, polls and completes, as the poll function of a driver does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine


class NapiStruct:
    """One NAPI of a CPU.  ``scheduled`` (NAPI_STATE_SCHED): somebody polls it, or will; ``missed``: once more then.

    Source: net/core/dev.c (napi_schedule_prep, napi_complete_done, napi_poll), v4.19 to v6.12.
    """

    def __init__(self, machine: Machine, cpu: int) -> None:
        self.machine = machine
        self.cpu = machine.checked_cpu(cpu)
        self.scheduled = False
        self.missed = False
        self._budget: int | None = None
        self._completed = False
        self._work = 0

    def schedule(self) -> bool:
        """``napi_schedule``; False: it is scheduled already, and will look once more (NAPI_STATE_MISSED)."""
        if self.scheduled:
            self.missed = True
            return False
        self.scheduled = True
        return True

    @contextmanager
    def poll(self, budget: int = 64) -> Iterator[NapiStruct]:
        """The poll function runs, in the context that goes with ``budget`` (:meth:`netemu.Machine.napi`)."""
        if self._budget is not None:
            self._report("is polled while another poll of it runs")
        elif not self.scheduled:
            self._report("is polled, but is not scheduled")
        before, self._budget, self._completed, self._work = self._budget, budget, False, 0
        try:
            with self.machine.napi(self.cpu, budget):
                yield self
            if budget and not self._completed and self._work < budget:
                self._report(f"returns {self._work} of {budget} and has not completed: nobody polls it again")
        finally:
            self._budget = before

    def work(self, packets: int = 1) -> None:
        """``packets`` more are received in this poll."""
        self._work += packets
        if self._budget is not None and self._work > self._budget:
            self._report(f"has received {self._work} packets with a budget of {self._budget}")

    def complete_done(self, work: int | None = None) -> bool:
        """``napi_complete_done``; False: it was missed, and is scheduled again.  ``work``: packets received."""
        done = self._work if work is None else work
        if not self.scheduled or self._completed:
            self._report("is completed, but is not scheduled")
        elif self._budget is None:
            self._report("is completed outside of its poll")
        elif self._budget and done >= self._budget:
            self._report(f"is completed with {done} of {self._budget} done: it has to stay scheduled")
        elif self._budget == 0:
            self._report("is completed by netpoll, under the poll that owns it")
        self._completed = True
        self.scheduled, self.missed = self.missed, False
        return not self.scheduled

    def _report(self, what: str) -> None:
        checker = self.machine.checker
        if checker is not None:
            checker.report("NAPI-01", f"the NAPI of CPU {self.cpu} {what}")
            self.machine.check()
