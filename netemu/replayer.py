"""Replaying packets through an emulated device: where pages and time go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Any

from .checks.checker import LEAK_RULES
from .checks.conservation import Books, take_stock
from .engine import jit
from .errors import KernelBug, UsageError
from .files import same_file
from .injection import DOWN, Plan
from .machine import DEFAULT_ERA, DEFAULT_MEMORY_MB, HELD_ROWS, Machine
from .net import skbuff
from .net.device_layout import ACTION_DROP, ACTION_FORWARD, ACTION_GENERIC_XDP_DROP, ACTION_LOCAL, NETDEV_BUDGET
from .net.local import MAX_STREAMS
from .net.plugin_loader import load_driver
from .net.skbuff import skb_defer_free_flush
from .netdevice import DeviceSettings
from .pipeline.arrivals import Rate
from .pipeline.emulation import Emulation, State
from .pipeline.feed import Feed
from .pipeline.journal import is_journal
from .pipeline.outlet import Outlet
from .pipeline.sinks import Capture
from .pipeline.sources import Source, open_source
from .profiles.platforms import DEFAULT as DEFAULT_PLATFORM
from .programs import ObjectFile, XdpProgram, described
from .recycling import set_recycling
from .results import ReplayResult, in_use, report
from .sampling import Sampler
from .tracing.tracer import Tracer

ACTIONS = {
    "forward": ACTION_FORWARD,
    "local": ACTION_LOCAL,
    "drop": ACTION_DROP,
    "generic-xdp-drop": ACTION_GENERIC_XDP_DROP,
}

LISTED = 20
"""Leaks that a report lists."""

Progress = Callable[[int, int, "int | None"], "bool | None"]


def _emulate(emulation: Emulation, feed: Feed, source: Source, progress: Progress | None) -> bool:
    """Bring everything to its end; False when ``progress`` asked to stop before it."""
    told = time.perf_counter()
    finished = True
    while (state := emulation.advance()) is not State.DONE:
        if state is State.WAITING:  # the feed has come to where the device goes down
            emulation.finish_polls()
            break
        now = time.perf_counter()
        if progress is not None and now - told > 0.2 and finished:
            told = now
            if progress(feed.packets, source.offset, source.size):
                finished = False
                emulation.cut_off()
    if progress is not None and finished:
        progress(feed.packets, source.offset, source.size)
    return finished


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
    xdp: XdpProgram | ObjectFile | str | None = None,
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
    trace_pages: Collection[int] = (),
    trace_packets: Collection[int] = (),
    tracepoints: bool = False,
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
    as for :class:`netemu.Machine`.  What is found is in ``leaks``, the first of it; ``leaks_found`` counts all.
    ``out``: capture file: a pcap of what was transmitted, or a pcapng that tells what happened to every packet.
    ``timeline``: read gauges and note polls over virtual time, for pictures.
    ``trace_pages``, ``trace_packets``: tell the life of these pages (by number) and packets (from 0 on, as they come),
    in ``lives``; ``tracepoints``: every tracepoint that the kernel comes to, in ``tracepoints``.  Such a run is
    interpreted, a thousand packets or so a second.
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
    if packets is not None and repeat != 1:
        raise UsageError(f"repeat {repeat} and packets {packets} both say when the run ends: give one of them")
    if nodes > cpus:
        raise UsageError(f"{nodes} memory nodes need as many CPUs, not {cpus}: raise cpus or lower nodes")
    if not 1 <= netdev_budget <= 1 << 20:
        raise UsageError(f"netdev_budget is 1 to {1 << 20} packets, not {netdev_budget}")
    arrivals = Rate.parse(str(rate))
    plans = [Plan.parse(text) for text in inject]
    if out is not None and isinstance(trace, (str, os.PathLike)) and same_file(trace, out):
        raise UsageError(f"{out} is the trace itself: write the output to another file")
    traced = bool(trace_pages or trace_packets or tracepoints)
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
            watched=traced,
        )
        tracer = Tracer(machine, pages=trace_pages, packets=trace_packets, tracepoints=tracepoints) if traced else None
        policy = set_recycling(machine, recycle)
        plugin = load_driver(driver)
        if tracer is not None:
            tracer.follow(plugin)
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
        if tracer is not None:
            tracer.start()
        start_books(machine)
        initial = take_stock(k, nic.pages_held())
        armed = [plan.arm(k, seed) for plan in plans if plan.site != DOWN]
        sampler = Sampler(machine, nic) if timeline else None
        down_after = next((plan.nth for plan in plans if plan.site == DOWN), None)
        feed = Feed(k, nic.number, source, arrivals, repeat=repeat, packets=packets, stop_after=down_after)
        with ExitStack() as open_files:
            outlets = []
            journal = out if out is not None and is_journal(out) else None
            if out is not None and journal is None:
                outlets = [Outlet(nic.number, [open_files.enter_context(closing(Capture.create(out)))])]
            emulation = Emulation(machine, [feed], outlets, sampler=sampler, journal=journal)
            open_files.callback(emulation.close)
            try:
                finished = _emulate(emulation, feed, source, progress)
            finally:
                emulation.deliver()
    if feed.error is not None and feed.packets == 0:
        raise feed.error
    data = report(machine, nic, initial_in_use=in_use(initial.places))
    if tracer is not None:
        if finished:
            tracer.came(feed.packets)
        tracer.end()
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
    if down_after is not None:
        machine.wind_up()
    final = take_stock(k)
    wrong = _found_wrong(machine, final)
    data["leaks"], data["leaks_found"] = _listed(wrong), len(wrong)
    if tracer is not None:
        data |= tracer.report()
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
            **described(xdp),
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
            "pcp_batch": pcp_batch,
            "pcp_high": pcp_high,
            **(settings or DeviceSettings()).to_dict(),
            "inject": list(inject),
            "check": check,
            "driver": nic.nic.options,
        },
        "wall_s": {
            "compile": jit.compile_seconds - compiled_before,
            "read": feed.seconds,
            "emulate": emulation.seconds,
        },
    }
    return ReplayResult(data, not finished, str(feed.error) if feed.error else None, machine)


def _found_wrong(machine: Machine, final: Books) -> list[str]:
    """What is wrong when everything has been given back: a line each, or a report of a checked machine."""
    if machine.check_level == "off":
        return [*final.leaks, *final.errors]
    with suppress(KernelBug):  # its reports are kept, and say the same
        machine.assert_clean()
    told = [str(report) for report in machine.reports]
    if machine.check_level == "quiesce":  # its reports are made of the same books
        return told
    leaks = [] if any(report.id in LEAK_RULES for report in machine.reports) else final.leaks
    return [*leaks, *final.errors, *told]


def _listed(lines: list[str]) -> list[str]:
    """The first lines, and how many more there are."""
    left = len(lines) - LISTED
    return [*lines[:LISTED], f"and {left} more"] if left > 0 else lines


def _set_consumers(machine: Machine, hold_us: float, consumer_cpu: str, window: int, streams: int) -> None:
    """Where and when local packets are read, and how many a stream may have on their way.  Raises UsageError."""
    if not 0 <= hold_us <= 1e9:
        raise UsageError(f"hold_us is 0 to 1e9 microseconds, not {hold_us}")
    if not 0 <= window <= HELD_ROWS:
        raise UsageError(f"window is 0 (none) to {HELD_ROWS} packets, not {window}")
    if window and machine.k.run[0].action == ACTION_FORWARD:
        raise UsageError("a window is opened again by who reads the packets: use it with action local, not forward")
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


__all__ = ["ReplayResult", "replay"]
