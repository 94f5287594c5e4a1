"""Network devices of a machine: a driver's queues, rings and pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .engine.layout import MAX_DEVICES
from .errors import UsageError
from .mm.layout import NONE
from .net.device_layout import MAX_QUEUES, NR_OPS
from .net.plugin import Driver, Nic
from .net.plugin_loader import OPERATIONS, OPTIONAL, blaming
from .net.xdp_layout import VERDICTS
from .xdp_object import ObjectProgram

if TYPE_CHECKING:
    from .machine import Machine
    from .programs import XdpProgram

MOST_BUFFERS = 1 << 20
"""Receive buffers of one queue, more than any driver has."""


class NetDevice:
    """A network device: a driver's queues, rings and pools on a machine."""

    def __init__(
        self,
        machine: Machine,
        driver: Driver,
        queues: int,
        mtu: int,
        options: Mapping[str, str],
        xdp: XdpProgram | str | None = None,
    ) -> None:
        if not 1 <= queues <= driver.max_queues:
            raise UsageError(f"driver {driver.name} has 1 to {driver.max_queues} queues, not {queues}")
        if not 68 <= mtu <= driver.max_mtu:
            raise UsageError(f"driver {driver.name} takes an MTU of 68 to {driver.max_mtu}, not {mtu}")
        k = machine.k
        number = len(machine.devices)
        if number >= MAX_DEVICES:
            raise UsageError(f"a machine has at most {MAX_DEVICES} devices")
        taken = sum(d.nic.queues for d in machine.devices)
        if taken + queues > MAX_QUEUES:
            raise UsageError(f"a machine has at most {MAX_QUEUES} queues; {taken} are taken")
        self.machine = machine
        self.driver = driver
        self.number = number
        self.is_open = False
        self.programs: list[XdpProgram] = []
        """What was attached to it: its code has to stay, frames on their way or not."""
        row = k.netdev[number]
        row.mtu = mtu
        row.hw_mtu = driver.largest_frame(mtu)
        row.queues = queues
        row.rxq0 = row.txq0 = taken
        row.ps_per_byte = round(8000 / driver.link_gbps)
        row.egress = number
        row.fn_poll, row.fn_tx, row.fn_rx, row.fn_refill = driver.poll, driver.poll_tx, driver.poll_rx, driver.refill
        row.tx_cq_budget = driver.tx_cq_budget
        row.xdp_gathers = int(driver.xdp_gathers)
        k.machine[0].devices = number + 1
        for index in range(queues):
            for table, extra in (("rxq", {"pool": NONE}), ("txq", {}), ("napi", {})):
                entry = getattr(k, table)[taken + index]
                entry.dev = number
                for field, value in extra.items():
                    setattr(entry, field, value)
            k.rxq[taken + index].index = k.txq[taken + index].index = index
            k.rxq[taken + index].napi = k.txq[taken + index].napi = taken + index
            napi = k.napi[taken + index]
            napi.cpu = index % machine.cpus
            napi.rxq = napi.txq = taken + index
            softirq = k.softirq[napi.cpu]
            napi.next_on_cpu = softirq.first_napi
            softirq.first_napi = taken + index + 1
        self.nic: Nic = Nic(k, number, queues, mtu, driver.check_options(options))
        for op, operation in OPERATIONS.items():
            with blaming(driver, f"{operation} cannot be compiled"):
                k.ops[number * NR_OPS + op] = getattr(driver, operation).address(k)
        for op, operation in OPTIONAL.items():
            if getattr(driver, operation) is not None:
                with blaming(driver, f"{operation} cannot be compiled"):
                    k.ops[number * NR_OPS + op] = getattr(driver, operation).address(k)
        if xdp is None:
            self._open()
        else:
            self.attach_xdp(xdp)

    def _open(self) -> None:
        """``ndo_open``: set up rings and pools, and post receive buffers."""
        with blaming(self.driver, "open"):
            self.driver.open(self.nic)
        self.is_open = True
        self.machine.k.netdev[self.number].alive = 1
        for index in range(self.nic.queues):
            with self.machine.softirq(self.nic.cpu(index)):
                _fill(self.driver, self.nic, index)
        self.machine.check()

    def attach_xdp(self, program: XdpProgram | str) -> None:
        """Run ``program`` on every received packet from now on.

        ``program``: one of aborted, drop, pass, tx and redirect, which do that to every packet, or an object with an
        ``attach(device)`` that answers (address, looks at bytes).  The first program reopens the device, as its
        driver lays out receive buffers in another way for XDP; another one takes its place at once.  Raises
        UsageError when the driver cannot do it, as with an MTU that is too large.
        """
        from .programs import attach

        if not self.nic.xdp:
            with blaming(self.driver, "check_xdp"):
                self.driver.check_xdp(self.nic)
        address, looks = attach(program, self)
        row = self.machine.k.netdev[self.number]
        row.xdp_prog, row.xdp_looks = address, looks
        if not self.nic.xdp:
            self._reopen(xdp=True)

    def detach_xdp(self) -> None:
        """Received packets go to the stack again."""
        row = self.machine.k.netdev[self.number]
        row.xdp_prog = row.xdp_looks = 0
        if self.nic.xdp:
            self._reopen(xdp=False)

    def _reopen(self, *, xdp: bool) -> None:
        if self.is_open:
            self.stop()
        self.nic.xdp = xdp
        self._open()

    def xdp_verdicts(self) -> dict[str, int]:
        """How often the program said what."""
        rows = [self.machine.k.xdp_rxq[self.nic.rxq(i)].verdict for i in range(self.nic.queues)]
        return {name: sum(row[value] for row in rows) for value, name in enumerate(VERDICTS)}

    def stop(self) -> None:
        """``ndo_stop``: give back every buffer and destroy the pools."""
        with blaming(self.driver, "stop"):
            self.driver.stop(self.nic)
        self.is_open = False
        self.machine.k.netdev[self.number].alive = 0
        self.machine.check()
        for program in self.programs:
            if isinstance(program, ObjectProgram):
                program.finish()

    def ethtool(self) -> dict[str, int]:
        """``ethtool -S``: the driver's private counters."""
        with blaming(self.driver, "statistics"):
            return self.driver.statistics(self.nic)

    def pages_held(self) -> list[int]:
        """Page numbers in the driver's receive buffers and private caches."""
        with blaming(self.driver, "pages_held"):
            return list(self.driver.pages_held(self.nic))


def _fill(driver: Driver, nic: Nic, index: int) -> None:
    """Post receive buffers until the driver has no more to post: it says so twice where it posts in bulk."""
    idle = 0
    for _ in range(MOST_BUFFERS):
        with blaming(driver, "rx_refill"):
            left = driver.rx_refill(nic.k, nic.cpu(index), nic.rxq(index), 0)
        if left < 0:
            raise UsageError(f"driver {driver.name}: the machine's memory is too small for receive queue {index}")
        idle = 0 if left else idle + 1
        if idle == 2:
            return
    raise UsageError(f"driver {driver.name}: rx_refill has posted {MOST_BUFFERS} buffers and does not return 0")
