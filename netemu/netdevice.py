"""Network devices of a machine: a driver's queues, rings and pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .engine.layout import MAX_DEVICES
from .errors import UsageError
from .mm.layout import NONE
from .net.device_layout import MAX_QUEUES, NR_OPS
from .net.plugin import Driver, Nic
from .net.plugin_loader import OPERATIONS, blaming
from .net.rss import INDIRECTION

if TYPE_CHECKING:
    from .machine import Machine

MOST_BUFFERS = 1 << 20
"""Receive buffers of one queue, more than any driver has."""


class NetDevice:
    """A network device: a driver's queues, rings and pools on a machine."""

    def __init__(self, machine: Machine, driver: Driver, queues: int, mtu: int, options: Mapping[str, str]) -> None:
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
        row = k.netdev[number]
        row.alive = 1
        row.mtu = mtu
        row.hw_mtu = driver.largest_frame(mtu)
        row.queues = queues
        row.rxq0 = row.txq0 = taken
        row.ps_per_byte = round(8000 / driver.link_gbps)
        row.egress = number
        row.fn_poll, row.fn_tx, row.fn_rx, row.fn_refill = driver.poll, driver.poll_tx, driver.poll_rx, driver.refill
        row.tx_cq_budget = driver.tx_cq_budget
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
            napi.cpu = index % machine.cpus
            napi.rxq = napi.txq = taken + index
            softirq = k.softirq[napi.cpu]
            napi.next_on_cpu = softirq.first_napi
            softirq.first_napi = taken + index + 1
        self.nic: Nic = Nic(k, number, queues, mtu, driver.check_options(options))
        for op, operation in OPERATIONS.items():
            with blaming(driver, f"{operation} cannot be compiled"):
                k.ops[number * NR_OPS + op] = getattr(driver, operation).address(k)
        with blaming(driver, "open"):
            driver.open(self.nic)
        for index in range(queues):
            cpu = self.nic.cpu(index)
            with machine.softirq(cpu):
                _fill(driver, self.nic, index)
        machine.check()

    def forward_to(self, egress: NetDevice) -> None:
        """Have what is received here and forwarded leave through ``egress``, a device of the same machine."""
        if egress.machine is not self.machine:
            raise UsageError("packets are forwarded between devices of one machine")
        self.machine.k.netdev[self.number].egress = egress.number

    def stop(self) -> None:
        """``ndo_stop``: give back every buffer and destroy the pools."""
        with blaming(self.driver, "stop"):
            self.driver.stop(self.nic)
        self.machine.check()

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
