"""Replaying packets through an emulated device: where pages and time go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .arrivals import Rate
from .checks.conservation import take_stock
from .engine import jit
from .errors import EmulatorError, KernelBug, UsageError
from .injection import DOWN, Plan
from .machine import DEFAULT_ERA, DEFAULT_MEMORY_MB, HELD_ROWS, Machine
from .net import run as engine_run
from .net import skbuff
from .net.device_layout import ACTION_DROP, ACTION_FORWARD, ACTION_GENERIC_XDP_DROP, ACTION_LOCAL, NETDEV_BUDGET
from .net.local import MAX_STREAMS
from .net.plugin_loader import load_driver
from .net.run import DONE, DRAIN, FAULTED, NEED_INPUT, OUTPUT_BYTES, OUTPUT_FULL, OUTPUT_ROWS, PAUSED, SAMPLE_DUE
from .net.skbuff import skb_defer_free_flush
from .netdevice import DeviceSettings, NetDevice
from .pcap import PACKET, Batch, CaptureError, open_writer
from .profiles.platforms import DEFAULT as DEFAULT_PLATFORM
from .programs import XdpProgram
from .recycling import set_recycling
from .results import ReplayResult, in_use, report
from .sampling import Sampler
from .sources import Source, open_source

ACTIONS = {
    "forward": ACTION_FORWARD,
    "local": ACTION_LOCAL,
    "drop": ACTION_DROP,
    "generic-xdp-drop": ACTION_GENERIC_XDP_DROP,
}
BATCH_PACKETS = 8192
BATCH_BYTES = 1 << 20
STEPS_COMPILED = 1 << 17
STEPS_INTERPRETED = 1 << 9
LONGEST_TRACE_NS = 30 * 24 * 3600 * 10**9

Progress = Callable[[int, int, "int | None"], "bool | None"]


class Replay:
    """One replay in progress: a machine with one device, a source, perhaps an output file and somebody who watches."""

    def __init__(
        self,
        machine: Machine,
        nic: NetDevice,
        source: Source,
        out: str | os.PathLike[str] | None,
        sampler: Sampler | None = None,
    ) -> None:
        self.machine = machine
        self.nic = nic
        self.source = source
        self.sampler = sampler
        self.batch = Batch(BATCH_BYTES, BATCH_PACKETS)
        self.read_seconds = 0.0
        self.emulate_seconds = 0.0
        self.error: CaptureError | None = None
        self._first: int | None = None
        self._last = 0
        self._shift = 0
        self._passes = 1
        self._left: int | None = None
        self._accepted = 0
        self.down_after: int | None = None
        """Packets after which the device goes down, whatever is under way."""
        self._writer = open_writer(Path(out), interfaces=("egress",)) if out is not None else None
        k = machine.k
        if k.arrays["feed"].dtype != PACKET:
            raise EmulatorError("netemu itself is wrong: the capture reader and the engine lay packets out differently")
        k.replace("feed", self.batch.records)
        k.replace("feed_data", self.batch.data)
        if self._writer is not None:
            k.run[0].record_output = 1
            machine.keep_contents()
            k.replace("out", np.zeros(OUTPUT_ROWS, PACKET))
            k.replace("out_data", np.zeros(OUTPUT_BYTES, np.uint8))

    def run(self, repeat: int, packets: int | None, progress: Progress | None) -> bool:
        """Replay ``repeat`` passes, or ``packets`` packets; False when ``progress`` asked to stop before the end."""
        k = self.machine.k
        self._passes = repeat if packets is None else packets
        self._left = packets
        steps = STEPS_COMPILED if jit.JIT else STEPS_INTERPRETED
        told = time.perf_counter()
        finished = True
        engine_run.start_agenda(k, 0)
        try:
            while True:
                start = time.perf_counter()
                reason = engine_run.run_machine(k, 0, steps)
                now = time.perf_counter()
                self.emulate_seconds += now - start
                if reason == FAULTED:
                    self.machine.check()
                elif reason == NEED_INPUT:
                    if self._accepted == self.down_after:
                        self._finish_polls()
                        break
                    self._read()
                elif reason == OUTPUT_FULL:
                    self._write()
                elif reason == SAMPLE_DUE and self.sampler is not None:
                    self.sampler.read()
                elif reason == DRAIN:
                    self.machine.drain_sockets()
                elif reason == DONE:
                    break
                if progress is not None and now - told > 0.2 and finished:
                    told = now
                    if progress(k.wire[self.nic.number].packets, self.source.offset, self.source.size):
                        finished = False
                        self._cut_off()
            if progress is not None and finished:
                progress(k.wire[self.nic.number].packets, self.source.offset, self.source.size)
        finally:
            self._write()
            self.machine.drain_sockets()
            if self._writer is not None:
                self._writer.close()
        return finished

    def _finish_polls(self) -> None:
        """``napi_disable``: whoever is polling comes to the end of it; nothing else is brought to its end."""
        k = self.machine.k
        self._cut_off()
        while any(k.softirq[cpu].running for cpu in range(self.machine.cpus)):
            if engine_run.run_machine(k, 0, 1) != PAUSED:
                break
        self.machine.check()

    def _cut_off(self) -> None:
        """Take no more packets; what is inside is brought to its end."""
        w = self.machine.k.wire[self.nic.number]
        w.end = w.next
        w.blocked = 0
        w.eof = 1

    def _read_batch(self) -> int:
        """Packets read into the batch that are to be replayed."""
        count = self.source.read_into(self.batch)
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        return count

    def _read(self) -> None:
        k = self.machine.k
        w = k.wire[self.nic.number]
        start = time.perf_counter()
        count = 0
        try:
            count = self._read_batch()
            while count == 0 and self._left != 0 and self._passes > 1 and self._first is not None:
                self._passes -= 1
                gap = max((self._last - self._shift - self._first) // max(w.packets - 1, 1), 1)
                self._shift = self._last - self._first + gap
                self.source.rewind()
                count = self._read_batch()
        except CaptureError as error:
            self.error = error
        self.read_seconds += time.perf_counter() - start
        if count == 0:
            w.eof = 1
            w.next = w.end = 0
            return
        times = self.batch.records["ts_ns"][:count]
        if self._first is None:
            self._first = int(times[0])
            k.run[0].start_ns = self._first
        times += self._shift
        # captures may be out of order; nothing arrives before what was captured before it
        np.maximum.accumulate(np.maximum(times, self._last if self._last else times[0]), out=times)
        self._last = int(times[-1])
        if self._last - self._first > LONGEST_TRACE_NS and w.mode == engine_run.RATE_RECORDED:
            raise UsageError(
                f"the trace's time stamps span more than {LONGEST_TRACE_NS // 10**9 // 86400} days; "
                "use --rate max or a fixed rate"
            )
        if self.down_after is not None:
            count = min(count, self.down_after - self._accepted)
        self._accepted += count
        w.next = 0
        w.end = count

    def _write(self) -> None:
        run = self.machine.k.run[0]
        if self._writer is not None and run.out_count:
            count = run.out_count
            self._writer.write_batch(self.machine.k.arrays["out_data"], self.machine.k.arrays["out"][:count])
        run.out_count = 0
        run.out_bytes = 0


def replay(
    trace: Any,
    *,
    driver: str = "mlx5",
    era: str = DEFAULT_ERA,
    switches: Mapping[str, str] | None = None,
    platform: str = DEFAULT_PLATFORM,
    cpus: int = 1,
    queues: int | None = None,
    recycle: str | float = "mechanism",
    action: str = "forward",
    xdp: XdpProgram | str | None = None,
    rate: str | float = "max",
    repeat: int = 1,
    packets: int | None = None,
    seed: int = 1,
    mtu: int = 1500,
    hold_us: float = 0.0,
    window: int = 0,
    streams: int = 1,
    consumer_cpu: str = "same",
    nodes: int = 1,
    memory_mb: int = DEFAULT_MEMORY_MB,
    pcp_batch: int | None = None,
    pcp_high: int | None = None,
    netdev_budget: int = NETDEV_BUDGET,
    options: Mapping[str, str] | None = None,
    settings: DeviceSettings | None = None,
    inject: Sequence[str] = (),
    check: str = "off",
    out: str | os.PathLike[str] | None = None,
    timeline: bool = False,
    progress: Progress | None = None,
) -> ReplayResult:
    """Replay a trace through one emulated device and say where pages and time went.

    ``trace``: a path, an open binary file, or an iterable of scapy packets or bytes.  ``queues`` defaults to
    the number of CPUs.  ``recycle``: ``"mechanism"``, the probability with which each recycle attempt
    succeeds, or a policy (a name or a ``.py`` file, with ``:parameter=value,...`` behind it).  ``rate``: ``"max"``
    (as fast as the emulated CPUs take it, nothing is lost), ``"recorded"``, ``"x2"`` or packets per second.
    ``xdp``: a program for every received packet, as :meth:`NetDevice.attach_xdp` takes it.
    ``packets``: go round the trace until so many were offered, instead of ``repeat`` times.
    ``hold_us``: virtual time for which local delivery holds a packet.
    ``consumer_cpu``: ``"same"`` as the queue's, or ``"shift:N"`` for one N further.  ``window``: packets that a stream
    may have on their way or unread before its sender stops (0: any number); packets belong to ``streams`` streams in
    turn.  ``nodes``, ``memory_mb``, ``pcp_batch``, ``pcp_high``: as for :class:`netemu.Machine`.  ``netdev_budget``:
    packets of one net_rx_action.  ``settings``: interrupt moderation, queue placement and link of the device.
    ``inject``: requests that fail on purpose, such as ``"page=100"``, ``"skb=every:50"`` or ``"dma=1%"``
    (:meth:`netemu.Machine.inject`), and ``"down=5000"`` for a device that goes down after so many packets.  ``check``:
    as for :class:`netemu.Machine`; what is found is in ``leaks``.  ``out``: capture file for what was transmitted.
    ``timeline``: read gauges and note polls over virtual time, for pictures.
    ``progress(packets, bytes read, size or None)`` is called a few times a second and may return True to stop.

    Raises :class:`netemu.UsageError` for options, :class:`netemu.CaptureError` for a trace without packets,
    :class:`netemu.KernelBug` when emulated code does what a kernel would complain about.
    """
    if action not in ACTIONS:
        raise UsageError(f"action is one of {', '.join(ACTIONS)}, not {action!r}")
    if packets is not None and packets < 1:
        raise UsageError(f"packets is at least 1, not {packets}")
    if repeat < 1:
        raise UsageError(f"repeat is at least 1, not {repeat}")
    if not 1 <= netdev_budget <= 1 << 20:
        raise UsageError(f"netdev_budget is 1 to {1 << 20} packets, not {netdev_budget}")
    arrivals = Rate.parse(str(rate))
    plans = [Plan.parse(text) for text in inject]
    if out is not None and _same_file(trace, out):
        raise UsageError(f"{out} is the trace itself: write the output to another file")
    with closing(open_source(trace)) as source:
        compiled_before = jit.compile_seconds
        machine = Machine(
            era=era,
            switches=switches,
            cpus=cpus,
            nodes=nodes,
            platform=platform,
            seed=seed,
            memory_mb=memory_mb,
            pcp_batch=pcp_batch,
            pcp_high=pcp_high,
            check=check,
            collect=True,
        )
        policy = set_recycling(machine, recycle)
        plugin = load_driver(driver)
        nic = machine.netdev(
            plugin,
            queues=min(cpus, plugin.max_queues) if queues is None else queues,
            mtu=mtu,
            options=options,
            settings=settings,
            xdp=xdp,
        )
        k = machine.k
        k.run[0].action = ACTIONS[action]
        k.run[0].netdev_budget = netdev_budget
        _set_consumers(machine, hold_us, consumer_cpu, window, streams)
        _aim_wire(machine, nic, arrivals)
        start_books(machine)
        initial = take_stock(k, nic.pages_held())
        sampler = Sampler(machine, nic) if timeline else None
        job = Replay(machine, nic, source, out, sampler)
        armed = [plan.arm(k, seed) for plan in plans if plan.site != DOWN]
        job.down_after = next((plan.nth for plan in plans if plan.site == DOWN), None)
        finished = job.run(repeat, packets, progress)
    if job.error is not None and k.wire[nic.number].packets == 0:
        raise job.error
    data = report(machine, nic, initial_in_use=in_use(initial.places))
    if policy is not None:
        data["policy"] = policy.report(k, range(nic.nic.rxq(0), nic.nic.rxq(0) + nic.nic.queues))
    if sampler is not None:
        data["timeline"] = sampler.report()
    counted = [(injection, injection.requests, injection.failed) for injection in armed]
    for injection in armed:
        machine.inject(injection.site, off=True)
    for cpu in range(cpus):
        if k.softnet[cpu].defer_count:
            with machine.softirq(cpu):
                skb_defer_free_flush(k, cpu)
    nic.stop()
    for cpu in range(cpus):
        _consume_held(machine, cpu)
        machine.page_frag_cache_drain(cpu=cpu)
    if job.down_after is not None:
        machine.wind_up()
    final = take_stock(k)
    data["leaks"] = [*final.leaks, *final.errors]
    if check != "off":
        with suppress(KernelBug):  # its reports are kept, and say the same
            machine.assert_clean()
        data["leaks"] += [str(report) for report in machine.reports]
    if plans:
        data["injected"] = {i.site: {"requests": n, "failed": f} for i, n, f in counted}
    data |= {
        "era": era,
        "switches": dict(switches or {}),
        "driver": driver,
        "platform": platform,
        "cpus": cpus,
        "seed": seed,
        "trace": str(trace) if isinstance(trace, (str, os.PathLike)) else type(trace).__name__,
        "options": {
            "queues": nic.nic.queues,
            "recycle": recycle,
            "action": action,
            "xdp": None if xdp is None else str(xdp),
            "rate": str(rate),
            "repeat": repeat,
            "packets": packets,
            "mtu": mtu,
            "hold_us": hold_us,
            "window": window,
            "streams": streams,
            "consumer_cpu": consumer_cpu,
            "nodes": nodes,
            "netdev_budget": netdev_budget,
            "memory_mb": memory_mb,
            "driver": nic.nic.options,
        },
        "wall_s": {
            "compile": jit.compile_seconds - compiled_before,
            "read": job.read_seconds,
            "emulate": job.emulate_seconds,
        },
    }
    return ReplayResult(data, not finished, str(job.error) if job.error else None, machine)


def _same_file(trace: Any, out: str | os.PathLike[str]) -> bool:
    if not isinstance(trace, (str, os.PathLike)):
        return False
    try:
        return os.path.samefile(trace, out)
    except OSError:  # one of them does not exist
        return False


def _set_consumers(machine: Machine, hold_us: float, consumer_cpu: str, window: int, streams: int) -> None:
    """Where and when local packets are read, and how many a stream may have on their way.  Raises UsageError."""
    if not 0 <= hold_us <= 1e9:
        raise UsageError(f"hold_us is 0 to 1e9 microseconds, not {hold_us}")
    if not 0 <= window <= HELD_ROWS:
        raise UsageError(f"window is 0 (none) to {HELD_ROWS} packets, not {window}")
    if not 1 <= streams <= MAX_STREAMS:
        raise UsageError(f"streams is 1 to {MAX_STREAMS}, not {streams}")
    kind, _, shift = consumer_cpu.partition(":")
    if consumer_cpu != "same" and not (kind == "shift" and shift.isdecimal()):
        raise UsageError(f"consumer_cpu is same or shift:N, not {consumer_cpu!r}")
    run = machine.k.run[0]
    run.hold = round(hold_us * 10**6)
    run.consumer_shift = int(shift or 0) % machine.cpus
    run.window = window
    run.streams = streams


def _aim_wire(machine: Machine, nic: NetDevice, rate: Rate) -> None:
    k = machine.k
    w = k.wire[nic.number]
    w.eof = 0
    w.mode = rate.mode
    w.lossless = 1 if rate.mode == engine_run.RATE_MAX else 0
    w.speed_num, w.speed_den, w.gap = rate.speed_num, rate.speed_den, rate.gap


def start_books(machine: Machine) -> None:
    """Forget what came before the part that a report is about (pages are counted from the start)."""
    k = machine.k
    k.arrays["path_cost"][:] = 0
    k.arrays["cpu"]["clock"] = 0
    k.arrays["cpu"]["idle"] = 0
    k.arrays["lock"][:] = 0
    zones = k.arrays["zone"]
    for name in zones.dtype.names or ():
        if name not in ("start", "end", "free", "managed", "allocated", "freed"):
            zones[name] = 0


def _consume_held(machine: Machine, cpu: int) -> None:
    """The local consumer of a CPU takes what it still holds (nothing, unless the device went down in mid-traffic)."""
    k = machine.k
    s = k.softirq[cpu]
    mask = k.run[0].held_mask
    while s.held_head != s.held_tail:
        skbuff.consume_skb(k, cpu, k.held[cpu * (mask + 1) + (s.held_head & mask)])
        s.held_head += 1
    machine.check()


__all__ = ["Replay", "ReplayResult", "replay"]
