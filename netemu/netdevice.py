"""Network devices of a machine: a driver's queues, rings and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine.layout import MAX_DEVICES
from .errors import UsageError
from .mm.layout import NONE
from .net.bql import netdev_tx_reset_queue
from .net.device_layout import MAX_QUEUES, NR_OPS, XPS_CPU, XPS_RXQ
from .net.plugin import Driver, Nic
from .net.plugin_loader import OPERATIONS, OPTIONAL, blaming
from .net.qdisc import qdisc_reset
from .net.rss import INDIRECTION
from .net.xdp_layout import VERDICTS

if TYPE_CHECKING:
    from .machine import Machine
    from .programs import ObjectFile, XdpProgram

MOST_BUFFERS = 1 << 20
"""Receive buffers of one queue, more than any driver has."""
LONGEST_MODERATION_US = 1e6


@dataclass(frozen=True)
class DeviceSettings:
    """What an administrator sets (``ethtool -C``, XPS, IRQ affinity, the link).  None: what the driver starts with.

    ``rx_usecs``, ``rx_frames``, ``tx_usecs``, ``tx_frames``: an interrupt comes so long after the first completion,
    or with so many.  ``bql``: byte queue limits.  ``xps``: ``"cpu"`` (the transmit queue of the sending CPU),
    ``"shift:N"`` (that of the CPU N further, so that completions run there) or ``"rxq"`` (that of the receive queue).
    ``irq_affinity``: the CPU of each queue's interrupt; queues beyond the list start again at its beginning.
    ``link_gbps``: another link speed.
    """

    rx_usecs: float | None = None
    rx_frames: int | None = None
    tx_usecs: float | None = None
    tx_frames: int | None = None
    bql: bool = True
    xps: str = "cpu"
    irq_affinity: Sequence[int] | None = None
    link_gbps: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self) | {"irq_affinity": None if self.irq_affinity is None else list(self.irq_affinity)}

    def apply(self, row: Any, driver: Driver) -> None:
        """Write the settings to the device's row of ``k.netdev``.  Raises UsageError."""
        for name in ("rx_usecs", "tx_usecs"):
            value = getattr(self, name)
            value = getattr(driver, name) if value is None else value
            if not 0 <= value <= LONGEST_MODERATION_US:
                raise UsageError(f"{name} is 0 to {LONGEST_MODERATION_US} microseconds, not {value}")
            setattr(row, name, round(value * 10**6))
        for name in ("rx_frames", "tx_frames"):
            value = getattr(self, name)
            value = getattr(driver, name) if value is None else value
            if not 1 <= value <= MOST_BUFFERS:
                raise UsageError(f"{name} is 1 to {MOST_BUFFERS} frames, not {value}")
            setattr(row, name, value)
        row.bql = int(self.bql)
        row.xps, row.xps_shift = self._xps()
        gbps = driver.link_gbps if self.link_gbps is None else self.link_gbps
        if not 0.001 <= gbps <= 8000:
            raise UsageError(f"link_gbps is 0.001 to 8000, not {gbps}")
        row.ps_per_byte = round(8000 / gbps)

    def _xps(self) -> tuple[int, int]:
        if self.xps == "cpu":
            return XPS_CPU, 0
        if self.xps == "rxq":
            return XPS_RXQ, 0
        kind, colon, shift = self.xps.partition(":")
        if kind == "shift" and colon and shift.isdecimal():
            return XPS_CPU, int(shift)
        raise UsageError(f"xps is cpu, rxq or shift:N, not {self.xps!r}")

    def cpu_of(self, index: int, cpus: int) -> int:
        """CPU that takes the interrupts of queue ``index``.  Raises UsageError."""
        if self.irq_affinity is None:
            return index % cpus
        if not self.irq_affinity:
            raise UsageError("irq_affinity names no CPU")
        for cpu in self.irq_affinity:
            if not 0 <= cpu < cpus:
                raise UsageError(f"irq_affinity names CPU {cpu}; the machine has CPUs 0 to {cpus - 1}")
        return self.irq_affinity[index % len(self.irq_affinity)]


class ReceiveMemoryError(UsageError):
    """The machine has no memory for the receive buffers of a device that is opened."""


class NetDevice:
    """A network device: a driver's queues, rings and pools on a machine."""

    def __init__(
        self,
        machine: Machine,
        driver: Driver,
        queues: int,
        mtu: int,
        options: Mapping[str, str],
        settings: DeviceSettings,
        xdp: XdpProgram | ObjectFile | str | None = None,
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
        settings.apply(row, driver)
        row.egress = number
        row.fn_poll, row.fn_tx, row.fn_rx, row.fn_refill = driver.poll, driver.poll_tx, driver.poll_rx, driver.refill
        row.tx_cq_budget = driver.tx_cq_budget
        row.xdp_gathers = int(driver.xdp_gathers)
        k.wire[number].eof = 1  # nothing is plugged in
        k.arrays["rss_table"].reshape(-1, INDIRECTION)[number] = np.arange(INDIRECTION) % queues
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
            napi.cpu = settings.cpu_of(index, machine.cpus)
            napi.rxq = napi.txq = taken + index
            softirq = k.softirq[napi.cpu]
            napi.next_on_cpu = softirq.first_napi
            softirq.first_napi = taken + index + 1
        self.nic: Nic = Nic(k, number, queues, mtu, driver.check_options(options))
        if machine.checker is not None:
            machine.checker.follow(driver)
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
        if self.nic.page_parts > 1 and (self.nic.xdp or not self.driver.splits_pages):
            why = "an XDP program needs whole pages" if self.nic.xdp else f"driver {self.driver.name} does not do that"
            raise UsageError(f"the recycle policy cuts pages into parts: {why}")
        self._forget_batches()
        with blaming(self.driver, "open"):
            self.driver.open(self.nic)
        self.is_open = True
        self.machine.k.netdev[self.number].alive = 1
        try:
            for index in range(self.nic.queues):
                with self.machine.softirq(self.nic.cpu(index)):
                    _fill(self.driver, self.nic, index)
        except ReceiveMemoryError:
            self.stop()
            raise
        self.machine.check()

    def attach_xdp(self, program: XdpProgram | ObjectFile | str) -> None:
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
        self._forget_batches()
        if not self.nic.xdp:
            self._reopen(xdp=True)

    def _forget_batches(self) -> None:
        """No packet that waits has a verdict any more."""
        for index in range(self.nic.queues):
            self.machine.k.rxq[self.nic.rxq(index)].batched = 0

    def detach_xdp(self) -> None:
        """Received packets go to the stack again."""
        row = self.machine.k.netdev[self.number]
        row.xdp_prog = row.xdp_looks = 0
        if self.nic.xdp:
            self._reopen(xdp=False)

    def _reopen(self, *, xdp: bool) -> None:
        k = self.machine.k
        forced, policy = k.recycle[0].forced, k.policy[0].active
        if self.is_open:
            self.stop()
        k.recycle[0].forced, k.policy[0].active = forced, policy  # stopping a device ends recycling
        self.nic.xdp = xdp
        self._open()

    def xdp_verdicts(self) -> dict[str, int]:
        """How often the program said what."""
        rows = [self.machine.k.xdp_rxq[self.nic.rxq(i)].verdict for i in range(self.nic.queues)]
        return {name: sum(row[value] for row in rows) for value, name in enumerate(VERDICTS)}

    def forward_to(self, egress: NetDevice) -> None:
        """Have what is received here and forwarded leave through ``egress``, a device of the same machine."""
        if egress.machine is not self.machine:
            raise UsageError("packets are forwarded between devices of one machine")
        self.machine.k.netdev[self.number].egress = egress.number

    @property
    def peer(self) -> NetDevice | None:
        """The device at the other end of the cable, if there is one."""
        peer = self.machine.k.netdev[self.number].cable
        return self.machine.devices[peer - 1] if peer else None

    def stop(self) -> None:
        """``dev_close``: free what waits for transmission or is on the rings, give back every buffer, end the pools."""
        self._clean_transmit_rings()
        with blaming(self.driver, "stop"):
            self.driver.stop(self.nic)
        self.is_open = False
        self.machine.k.netdev[self.number].alive = 0
        self.machine.check()
        for program in self.programs:
            if hasattr(program, "finish"):
                program.finish()

    def _clean_transmit_rings(self) -> None:
        k = self.machine.k
        for index in range(self.nic.queues):
            cpu = self.nic.cpu(index)
            txq = k.txq[self.nic.txq(index)]
            qdisc_reset(k, cpu, self.nic.txq(index))
            with blaming(self.driver, "tx_poll_one"), self.machine.softirq(cpu):
                while txq.head != txq.tail and not k.error[0].code:
                    self.driver.tx_poll_one(k, cpu, self.nic.txq(index), 0)
            netdev_tx_reset_queue(k, cpu, self.nic.txq(index))

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
            raise ReceiveMemoryError(
                f"driver {driver.name}: the machine's memory is too small for receive queue {index}"
            )
        idle = 0 if left else idle + 1
        if idle == 2:
            return
    raise UsageError(f"driver {driver.name}: rx_refill has posted {MOST_BUFFERS} buffers and does not return 0")
