"""Devices under watch: what programs do to packets, redirected frames, byte queue limits; and devices at rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm.layout import PAGE_SIZE
from ..net import bql, redirect, xdp
from ..net.skb_layout import SHARED_INFO_SIZE
from ..net.xdp_layout import XDP_PASS
from .ledger import Ledger
from .structure import Breach

if TYPE_CHECKING:
    from ..net.plugin import Driver, Nic
    from .checker import Checker


class Device(Protocol):
    """A device of the machine: its number, its driver, what the driver sees of it, and whether it is up."""

    number: int
    driver: Driver
    nic: Nic
    is_open: bool

    def pages_held(self) -> list[int]:
        """Pages in receive buffers and private caches."""


class DeviceRules:
    """Follows packets through programs, and bytes through transmit queues (XD-01, XD-03, BQL-01)."""

    def __init__(self, checker: Checker, ledger: Ledger, watch: Watch) -> None:
        self.checker = checker
        self.ledger = ledger
        hooks: list[tuple[Any, Any]] = [
            (xdp.bpf_prog_run_xdp, self.run_program),
            (redirect.xdp_do_redirect, self.redirect),
            (bql.dql_completed, self.completed),
        ]
        for function, hook in hooks:
            watch.wrap(function, hook)

    def run_program(self, body: Body, k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
        self._bounds(k, xdp, "before")
        verdict: int = body(k, cpu, rxq, xdp)
        self._bounds(k, xdp, "after")
        return verdict

    def _bounds(self, k: Kernel, row: int, when: str) -> None:
        x = k.xdp_buff[row]
        first = x.hard_start + xdp.xdp_frame_size(k)
        end = x.hard_start + x.frame_sz - SHARED_INFO_SIZE
        if not first <= x.data <= x.data_end or (k.era[0].xdp_frame_sz and x.data_end > end):
            self.ledger.report(
                "XD-01",
                f"{when} the program the packet is at {x.data - x.hard_start} to {x.data_end - x.hard_start} of its "
                f"buffer; {first - x.hard_start} to {end - x.hard_start} are free for it",
                self.ledger.of(x.hard_start // PAGE_SIZE),
            )

    def redirect(self, body: Body, k: Kernel, cpu: int, xdp: int) -> int:
        shadow = self.ledger.of(k.xdp_buff[xdp].hard_start // PAGE_SIZE)
        page = k.pages[shadow.pfn]
        if page.refcount != 1 and page.frag_count == 0:
            self.ledger.report(
                "XD-03", f"page {shadow.pfn} is redirected with {page.refcount} references: others use it", shadow
            )
        return int(body(k, cpu, xdp))

    def completed(self, body: Body, k: Kernel, cpu: int, txq: int, count: int) -> None:
        waiting = k.dql[txq].num_queued - k.dql[txq].num_completed
        if count > waiting:
            self.checker.report(
                "BQL-01", f"{count} bytes of transmit queue {txq} are completed, but {waiting} were queued"
            )
        body(k, cpu, txq, count)

    def leaks(self) -> None:
        """XDP frames that are never returned (XD-05)."""
        k = self.checker.k
        for frame in range(k.xdp[0].frame_made):
            row = k.xdp_frame[frame]
            if row.live:
                shadow = self.ledger.of(row.hard_start // PAGE_SIZE)
                self.ledger.report("XD-05", f"XDP frame {frame} in page {shadow.pfn} is never returned", shadow)


def device_breaches(device: Device) -> Iterator[Breach]:
    """What does not agree of a device at rest: the driver's rings and caches, and after its end, what is left."""
    nic = device.nic
    k = nic.k
    if device.is_open:
        yield from device.driver.breaches(nic)
        return
    held = sorted(device.pages_held())
    if held:
        yield "DR-06", f"{device.driver.name} is down, but its driver still holds {len(held)} pages, such as {held[0]}"
    pools = k.arrays["pool"][: k.pools[0].count]
    for index in range(nic.queues):
        for pool in np.flatnonzero((pools["rxq"] == nic.rxq(index) + 1) & (pools["alive"] != 0) & (pools["users"] > 0)):
            yield "DR-06", f"{device.driver.name} is down, but page_pool {pool} of queue {index} is not destroyed"
        q, dql = k.txq[nic.txq(index)], k.dql[nic.txq(index)]
        if q.head != q.tail:
            yield "DR-06", f"{device.driver.name} is down, but {q.tail - q.head} descriptors are left on queue {index}"
        if dql.num_queued != dql.num_completed:
            left = dql.num_queued - dql.num_completed
            yield "DR-06", f"{device.driver.name} is down, but {left} bytes of queue {index} are still under way"


def receive_books(k: Kernel, devices: Sequence[Device]) -> Iterator[Breach]:
    """BOOK-01: every frame that arrived is with the stack, was kept from it by a program, or is counted as dropped."""
    arrived = counted = waiting = 0
    for device in devices:
        arrived += k.wire[device.number].packets
        for index in range(device.nic.queues):
            q, verdicts = k.rxq[device.nic.rxq(index)], k.xdp_rxq[device.nic.rxq(index)].verdict
            waiting += q.cq_tail - q.cq_head
            counted += q.packets + q.out_of_buffer + q.oversize
            counted += sum(verdicts[n] for n in range(len(verdicts)) if n != XDP_PASS)
    counted += k.run[0].dropped_no_skb
    if waiting == 0 and arrived != counted:
        yield "BOOK-01", f"{arrived} frames have arrived, but {counted} are received, consumed by programs or dropped"
