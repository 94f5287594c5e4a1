"""What a replay that is traced records."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..errors import UsageError
from ..machine import Machine
from ..net.plugin import Driver
from ..profiles.eras import function_names
from . import steps
from .lives import Lives
from .moment import Clock
from .tracepoints import Tracepoints


class Tracer:
    """Records what happens on a watched machine, from before anything has run on it.

    ``pages``, ``packets``: whose lives to tell (page numbers, and packets from 0 on in the order of their arrival).
    ``tracepoints``: record those that the kernel has.  Raises UsageError for a page that the machine does not have.
    """

    def __init__(
        self, machine: Machine, *, pages: Collection[int] = (), packets: Collection[int] = (), tracepoints: bool = False
    ) -> None:
        k = machine.k
        count = k.machine[0].pages
        for page in pages:
            if not 0 <= page < count:
                raise UsageError(f"page {page} is not in this machine, which has pages 0 to {count - 1}")
        for packet in packets:
            if packet < 0:
                raise UsageError(f"packets are numbered from 0: there is no packet {packet}")
        assert k.watch is not None
        self.watch = k.watch
        self.clock = Clock(k, k.watch, function_names(machine.era))
        self.lives = Lives(k, k.watch, self.clock, pages=pages, packets=packets) if pages or packets else None
        self.tracepoints = Tracepoints(k, k.watch, self.clock, machine.era) if tracepoints else None

    def follow(self, driver: Driver) -> None:
        """Lives go through the functions of this driver, which is loaded but has not done anything yet."""
        if self.lives is not None:
            steps.follow(self.lives, self.watch)
            steps.follow_operations(self.lives, driver.rx_poll_one, driver.tx_poll_one)

    def start(self) -> None:
        """The clocks of all CPUs are about to be set to 0: virtual time begins."""
        if self.tracepoints is not None:
            self.tracepoints.mark("netemu: the run begins")
        self.clock.start()

    def end(self) -> None:
        """The run is over; what comes now is the device going down."""
        if self.tracepoints is not None:
            self.tracepoints.mark("netemu: the run ends")

    def came(self, packets: int) -> None:
        """So many packets came in all.  Raises UsageError for a packet that is to be traced and is not among them."""
        for packet in sorted(self.lives.packets) if self.lives is not None else ():
            if packet >= packets:
                raise UsageError(f"packet {packet} is not in the trace: {packets} packets came, 0 to {packets - 1}")

    def report(self) -> dict[str, Any]:
        """``lives`` and ``tracepoints``, each only if it was asked for."""
        data: dict[str, Any] = {}
        if self.lives is not None:
            data["lives"] = self.lives.report()
        if self.tracepoints is not None:
            data["tracepoints"] = self.tracepoints.report()
        return data
