"""A pipeline: sources, the devices of a machine, and sinks, run together on trio."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

import trio

from ..errors import UsageError
from ..machine import Machine
from ..netdevice import NetDevice
from .arrivals import Rate
from .cabling import check_cabled, check_for_loops
from .emulation import Emulation
from .feed import Feed
from .outlet import Outlet
from .realtime import RealTime
from .run import Run
from .sinks import AsyncSink, open_sinks
from .sources import AsyncSource, Source, open_live_source
from .wrappers import Wrapper, changes_of, innermost, wrappers_of


@dataclass(frozen=True)
class Traffic:
    """Packets of one device: ``arrived`` on its wire, ``received`` by its driver, lost without a buffer or for their
    length, and ``transmitted``; ``cable_drops`` were sent to it over a cable and lost, because it
    was down or the cable was pulled out."""

    arrived: int
    received: int
    out_of_buffer: int
    oversize: int
    transmitted: int
    cable_drops: int = 0


class Pipeline:
    """What arrives at the devices of a machine, and where what they transmit goes.

    ``realtime``: virtual time is wall time (trio's clock): recorded packets arrive, and transmitted ones are handed
    on, when they are due, from the start of the run on.  Otherwise the run goes as fast as it can.  ``grace``: s that a
    sink, and frames that go round by cables, may take when the run is cancelled.  ``journal``: a pcapng to write, which
    tells what happened to every packet of every device.  ``until_ns``: virtual time after which nothing arrives at any
    device; what is inside is brought to its end.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        realtime: bool = False,
        grace: float = 5.0,
        journal: str | os.PathLike[str] | None = None,
        until_ns: int | None = None,
    ) -> None:
        if until_ns is not None and (realtime or until_ns < 0):
            why = "in real time, cancel the run" if realtime else f"not {until_ns}"
            raise UsageError(f"until_ns is a virtual time from 0 on: {why}")
        self.machine = machine
        self.realtime = realtime
        self.grace = grace
        self.journal = journal
        self.until_ns = until_ns
        self._feeds: list[Feed] = []
        self._outlets: list[Outlet] = []
        self._wrappers: list[Wrapper] = []
        self._has_run = False

    def plug(
        self,
        device: NetDevice | Wrapper,
        *,
        source: Any = None,
        sinks: Any = (),
        rate: str | float | None = None,
        repeat: int = 1,
    ) -> Self:
        """Connect a device: ``source`` is what arrives at it, ``sinks`` get what it transmits.

        ``source``: a capture, an iterable or async iterable of packets (bytes, scapy packets, :class:`Packet`), or a
        source.  ``sinks``: one of, or a list of, a capture file to write, a function or coroutine function of a
        :class:`Packet`, or a sink.  ``rate``: as in :func:`netemu.replay`; default is as fast as the machine
        takes it, and in real time as recorded.  ``repeat``: passes over the source.  Raises UsageError.
        """
        nic = innermost(device)
        if nic.machine is not self.machine:
            raise UsageError("a pipeline connects devices of one machine")
        if nic.number in {feed.device for feed in self._feeds} | {outlet.device for outlet in self._outlets}:
            raise UsageError(f"device {nic.number} is plugged in already")
        if repeat < 1:
            raise UsageError(f"repeat is at least 1, not {repeat}")
        if nic.peer is not None:
            check_cabled(nic, has_source=source is not None, is_wrapped=device is not nic)
        arriving, transmitted = changes_of(device)
        self._wrappers += wrappers_of(device)
        if source is not None:
            if rate is None:
                rate = "recorded" if self.realtime else "max"
            opened = open_live_source(source)
            if repeat > 1 and not isinstance(opened, Source):
                raise UsageError("a source that has to be waited for cannot be repeated")
            self._feeds.append(
                Feed(self.machine.k, nic.number, opened, Rate.parse(str(rate)), repeat=repeat, changes=arriving)
            )
        made = open_sinks(sinks)
        if made or transmitted:
            self._outlets.append(Outlet(nic.number, made, changes=transmitted))
        return self

    def route(self, ingress: NetDevice | Wrapper, egress: NetDevice | Wrapper) -> Self:
        """Have what is received on ``ingress`` and forwarded leave through ``egress``."""
        innermost(ingress).forward_to(innermost(egress))
        return self

    def cable(self, left: NetDevice | Wrapper, right: NetDevice | Wrapper, *, delay_ns: float = 0) -> Self:
        """Have what each of two devices transmits arrive at the other, as :meth:`netemu.Machine.cable` has it.

        They have no sources then; their sinks get what they transmit, beside.  Raises UsageError.
        """
        for device in (left, right):
            nic = innermost(device)
            fed = nic.number in {feed.device for feed in self._feeds}
            wrapped = device is not nic or nic in map(innermost, self._wrappers)
            check_cabled(nic, has_source=fed, is_wrapped=wrapped)
        self.machine.cable(innermost(left), innermost(right), delay_ns=delay_ns)
        return self

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until every source is at its end and everything has come to rest; then close sources and sinks.

        Cancelled, it asks the sources for nothing else, brings what they have given to its end and to the sinks, and
        closes.  What broke a source off (such as :class:`netemu.CaptureError`) is raised after what came before it is
        through.  A pipeline runs once.
        """
        if self._has_run:
            raise UsageError("a pipeline runs once: make another")
        if self.until_ns is None and not self.realtime:
            check_for_loops(self.machine)
        self._has_run = True
        emulation = Emulation(self.machine, self._feeds, self._outlets, journal=self.journal, until_ns=self.until_ns)
        run = RealTime(emulation) if self.realtime else Run(emulation)
        try:
            async with trio.open_nursery() as nursery:
                for feed in self._feeds:
                    if feed.is_live:
                        nursery.start_soon(run.receive, feed)
                task_status.started()
                await run.emulate()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                if not run.is_over:
                    await run.finish(self.grace)
                await self._close(emulation)
        errors = [run.failure, *(feed.error for feed in self._feeds)]
        for error in errors:
            if error is not None:
                raise error

    def traffic(self, device: NetDevice | Wrapper) -> Traffic:
        """What a device has seen so far."""
        k, nic = self.machine.k, innermost(device).nic
        rxqs = [k.rxq[nic.rxq(i)] for i in range(nic.queues)]
        return Traffic(
            arrived=k.wire[nic.dev].packets,
            received=sum(q.packets for q in rxqs),
            out_of_buffer=sum(q.out_of_buffer for q in rxqs),
            oversize=sum(q.oversize for q in rxqs),
            transmitted=k.netdev[nic.dev].tx_packets,
            cable_drops=k.cable[nic.dev].drops,
        )

    async def _close(self, emulation: Emulation) -> None:
        """Close everything; when some of it fails, tell of the first failure."""
        opened: list[Any] = [feed.source for feed in self._feeds]
        opened += [*self._wrappers, emulation]
        opened += [sink for outlet in self._outlets for sink in (*outlet.sinks, *outlet.async_sinks)]
        failures = []
        for thing in opened:
            try:
                if isinstance(thing, AsyncSource | AsyncSink):
                    with trio.move_on_after(self.grace):
                        await thing.aclose()
                else:
                    await trio.to_thread.run_sync(thing.close)
            except Exception as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
