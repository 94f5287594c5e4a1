"""The one loop around the engine: a machine, what arrives at its devices, and where what they transmit goes.

:meth:`Emulation.advance` calls the engine once and gives it what it asks for, as long as that can be had at once.
A replay calls it until all is done; a :class:`~netemu.pipeline.Pipeline` calls it from a thread and looks after what
has to be waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

import numpy as np

from ..engine import jit
from ..errors import EmulatorError
from ..machine import Machine
from ..net import cable_setup
from ..net import run as engine_run
from ..net.device_layout import NEVER
from ..net.journey import TRANSMITTED
from ..net.run import (
    DONE,
    DRAIN,
    FAULTED,
    NEED_INPUT,
    OUTPUT_BYTES,
    OUTPUT_FULL,
    OUTPUT_ROWS,
    PAUSED,
    SAMPLE_DUE,
)
from ..pcap import PACKET, Batch
from .feed import AT_REST, BATCH_BYTES, BATCH_PACKETS, Feed
from .frames import Frames
from .journal import Journal
from .outlet import Outlet

STEPS_COMPILED = 1 << 17
STEPS_INTERPRETED = 1 << 9


class State(Enum):
    """How things stand after :meth:`Emulation.advance`."""

    RUNNING = "running"
    WAITING = "waiting"
    """For input that has to be waited for, or for the limit of time to be moved on."""
    OUTPUT = "output"
    """There are frames for sinks that have to be waited for."""
    DONE = "done"


class Sampler(Protocol):
    """Somebody who watches."""

    def read(self) -> None:
        """Take a reading, and say when the next is due."""


class Emulation:
    """``feeds``: at most one for each device.  ``outlets``: where frames go that devices have transmitted.

    ``sampler``: reads gauges when they are due.  ``journal``: file that tells of every packet, to be closed by
    :meth:`close`.  ``until_ns``: virtual time after which nothing arrives any more.  ``seconds``: wall time that the
    engine took.  ``paced``: leave it to the caller to hand out what is transmitted, and to say how far time has come.
    """

    def __init__(
        self,
        machine: Machine,
        feeds: Sequence[Feed],
        outlets: Iterable[Outlet] = (),
        *,
        sampler: Sampler | None = None,
        journal: str | os.PathLike[str] | None = None,
        until_ns: int | None = None,
    ) -> None:
        self.machine = machine
        self.feeds = list(feeds)
        self.outlets = list(outlets)
        self.sampler = sampler
        self.journal: Journal | None = None
        self.seconds = 0.0
        self.paced = False
        self._until_ns = until_ns
        self._steps = STEPS_COMPILED if jit.JIT and machine.k.watch is None else STEPS_INTERPRETED
        self._started = False
        self._clock_is_set = False
        self._is_written = False  # to sinks, some of which have to be waited for
        cables = cable_setup.rooms(machine.k)
        self._place_input(cables)
        if self.outlets or journal is not None or cables:
            _record_output(machine)
        if journal is not None:
            self.journal = Journal(machine, journal, self.feeds)

    def _place_input(self, cables: Sequence[cable_setup.Room]) -> None:
        k = self.machine.k
        if k.arrays["feed"].dtype != PACKET:
            raise EmulatorError("netemu itself is wrong: the capture reader and the engine lay packets out differently")
        count = max(len(self.feeds), 1)
        records = np.zeros(count * BATCH_PACKETS + sum(cable.rows for cable in cables), PACKET)
        data = np.zeros(count * BATCH_BYTES + sum(cable.bytes for cable in cables), np.uint8)
        for n, feed in enumerate(self.feeds):
            row, byte = n * BATCH_PACKETS, n * BATCH_BYTES
            feed.place(Batch(data[byte : byte + BATCH_BYTES], records[row : row + BATCH_PACKETS]), row, byte)
        k.replace("feed", records)
        k.replace("feed_data", data)
        if cables:
            k.replace("cable_arrival", np.zeros(len(records), np.int64))
        row, byte = count * BATCH_PACKETS, count * BATCH_BYTES
        for cable in cables:
            cable_setup.plug_in(k, cable, row, byte)
            row, byte = row + cable.rows, byte + cable.bytes

    # -- running -------------------------------------------------------------------------------------------------

    def advance(self, steps: int = 1 << 62) -> State:
        """Run the engine until it asks for something, and see to that; after ``steps`` of it at the latest.

        Raises :class:`netemu.KernelBug` when emulated code does what a kernel would complain about, and whatever
        sources and sinks raise.
        """
        k = self.machine.k
        self.start()
        start = time.perf_counter()
        reason = engine_run.run_machine(k, 0, min(steps, self._steps))
        self.seconds += time.perf_counter() - start
        if reason == FAULTED:
            self.machine.check()
        if reason == DRAIN:
            self.machine.drain_sockets()
        if reason == SAMPLE_DUE and self.sampler is not None:
            self.sampler.read()
        if reason == NEED_INPUT:
            return self._read()
        if reason == DONE:
            self.machine.drain_sockets()
        if reason in (OUTPUT_FULL, DONE):
            if self.has_output and (self.paced or not self.deliver()):
                return State.OUTPUT
            return State.DONE if reason == DONE else State.RUNNING
        return State.RUNNING

    def advance_for(self, seconds: float) -> State:
        """As :meth:`advance`, again and again for about so long."""
        end = time.perf_counter() + seconds
        while True:
            state = self.advance()
            if state is not State.RUNNING or time.perf_counter() >= end:
                return state

    def start(self, start_ns: int | None = None) -> None:
        """Begin: virtual time 0 is the time stamp ``start_ns``, or that of the first packet.  Once is enough.

        With ``start_ns``, recorded traffic is shifted to begin there.
        """
        if self._started:
            return
        self._started = True
        for feed in self.feeds:
            if start_ns is not None:
                feed.start_at(start_ns)
            feed.read()
        firsts = [feed.first for feed in self.feeds if feed.first is not None]
        if start_ns is not None or firsts:
            self._set_clock(min(firsts) if start_ns is None else start_ns)
        if self._until_ns is not None:
            self.limit(self.machine.k.run[0].start_ns + self._until_ns)
        engine_run.start_agenda(self.machine.k, 0)

    def cut_off(self) -> None:
        """Let nothing else arrive; what has is brought to its end."""
        for feed in self.feeds:
            feed.cut_off()
        self.pull_cables()

    def pull_cables(self) -> None:
        """What is on its way between devices is lost, and nothing else takes that way."""
        for device in self.machine.devices:
            cable_setup.pull_out(self.machine.k, device.number)

    def finish_polls(self) -> None:
        """``napi_disable``: whoever is polling comes to the end of it; nothing else is brought to its end."""
        k = self.machine.k
        self.cut_off()
        while any(k.softirq[cpu].running for cpu in range(self.machine.cpus)):
            if engine_run.run_machine(k, 0, 1) not in (PAUSED, SAMPLE_DUE):
                break
        self.machine.check()

    def finish(self) -> None:
        """Ask no source for anything else; what they have given arrives, and is brought to its end."""
        for feed in self.feeds:
            feed.finish()

    def _read(self) -> State:
        self.machine.drain_sockets()
        hungry = [feed for feed in self.feeds if feed.is_hungry]
        if not hungry and not self.paced:  # the time is up
            self.cut_off()
            self.limit(None)
            return State.RUNNING
        read = [feed.read() for feed in hungry]
        return State.RUNNING if any(read) else State.WAITING

    def close(self) -> None:
        """The journal is complete."""
        if self.journal is not None:
            self.journal.close()

    # -- time ----------------------------------------------------------------------------------------------------

    def _set_clock(self, start_ns: int) -> None:
        self.machine.k.run[0].start_ns = start_ns
        self._clock_is_set = True

    def start_clock(self, feed: Feed) -> None:
        """If no packet has come before, the first of ``feed`` came at virtual time 0."""
        if not self._clock_is_set and feed.first is not None:
            self._set_clock(feed.first)

    @property
    def next_ns(self) -> int | None:
        """When, as a time stamp, there is something to do again, as :meth:`advance` left it; None: never."""
        run = self.machine.k.run[0]
        return None if run.next_at >= AT_REST else int(run.start_ns - -run.next_at // 1000)

    def limit(self, until_ns: int | None) -> None:
        """Do what is due by this time stamp, and nothing later; None: no limit."""
        run = self.machine.k.run[0]
        run.limit = NEVER if until_ns is None else (until_ns - run.start_ns) * 1000 + 1

    # -- output --------------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Has anything been transmitted since the last delivery?"""
        return bool(self.machine.k.run[0].out_count)

    def output(self) -> Frames:
        """Frames transmitted since the last delivery, oldest first for each device."""
        k = self.machine.k
        return Frames(k.arrays["out_data"], k.arrays["out"][: k.run[0].out_count])

    def deliver(self) -> bool:
        """Hand what was transmitted to the sinks; False when some of them have to be waited for, by the caller."""
        if self._is_written:
            return False
        frames = self.output()
        if len(frames):
            at_once = [outlet.write(frames) for outlet in self.outlets]
            self._is_written = not all(at_once)
        if not self._is_written:
            self.delivered()
        return not self._is_written

    def delivered(self) -> None:
        """Every sink has had what was transmitted."""
        self._is_written = False
        if self.journal is not None:
            self.journal.take(self.output())
        run = self.machine.k.run[0]
        run.out_count = 0
        run.out_bytes = 0


def _record_output(machine: Machine) -> None:
    k = machine.k
    k.run[0].record_output = TRANSMITTED
    machine.keep_contents()
    k.replace("out", np.zeros(OUTPUT_ROWS, PACKET))
    k.replace("out_data", np.zeros(OUTPUT_BYTES, np.uint8))
