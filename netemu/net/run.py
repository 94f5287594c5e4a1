"""The run: packets arrive on the wire, CPUs advance one descriptor at a time, the smallest clock first.

:func:`run_machine` is the only loop.  It returns to Python when it needs packets or has come to ``run.limit``, when the
output buffer is full, when gauges are to be read, when an error is noted, after a number of steps, or when everything
has come to rest.
"""

from __future__ import annotations

from ..engine.agenda import first_time, first_to_act, may_be_next, set_agenda
from ..engine.kernel import indirect, inlined, kernel_function, prefetch
from ..engine.layout import MAX_DEVICES, Kernel
from .cable import RATE_CABLE, cable_row_after
from .device_layout import (
    NEVER,
    NO_DESCRIPTOR,
    NR_OPS,
    OP_HW_RECEIVE,
    OVERSIZE,
    WIRE_OVERHEAD,
)
from .interrupts import rx_completion
from .journey import OUT_OF_BUFFER, TOO_LONG, arrival, begin_journey, journeys_are_kept
from .local import stream_entered, stream_is_closed
from .napi import cpu_step, has_work, next_event
from .qdisc import DEV_TX_WEIGHT
from .rss import rss_queue
from .timeline import sample_is_due
from .xdp_layout import DEV_MAP_BULK_SIZE

DONE = 0
NEED_INPUT = 1
OUTPUT_FULL = 2
FAULTED = 3
PAUSED = 4
DRAIN = 5  # a socket's ring is nearly full: somebody has to read it
SAMPLE_DUE = 6

RATE_RECORDED = 0
RATE_FIXED = 1
RATE_MAX = 2

# What first_arrival answers in place of a device.
NOTHING = -1
INPUT = -2

OUTPUT_ROWS = 8192
LARGEST_FRAME = 65536
STEP_ROWS = MAX_DEVICES * DEV_MAP_BULK_SIZE + DEV_TX_WEIGHT
"""Frames that one step may add to the output: a flush of redirected frames, and a run of a qdisc."""
OUTPUT_BYTES = (4 << 20) + STEP_ROWS * LARGEST_FRAME


@inlined
def wire_prepare(k: Kernel, dev: int) -> None:
    """Look at the next packet for a device: which queue it is for, and when it will have arrived."""
    w = k.wire[dev]
    d = k.netdev[dev]
    f = k.feed[w.next]
    w.rxq = d.rxq0 + rss_queue(k, dev, f.offset, f.caplen) + 1
    start = w.free
    if w.mode == RATE_RECORDED:
        start = max(start, (f.ts_ns - k.run[0].start_ns) * w.speed_den // w.speed_num * 1000)
    elif w.mode == RATE_FIXED:
        start = max(start, w.packets * w.gap)
    elif w.mode == RATE_CABLE:
        w.arrival = k.cable_arrival[w.next]
        return
    w.arrival = start + (f.wirelen + WIRE_OVERHEAD) * d.ps_per_byte
    prefetch(k.feed_data, k.feed[min(w.next + 1, w.end - 1)].offset)
    prefetch(k.napi, k.rxq[w.rxq - 1].napi)


@inlined
def wire_consume(k: Kernel, dev: int) -> None:
    """The next packet for a device has come in, one way or another."""
    w = k.wire[dev]
    k.run[0].arrived += 1
    w.packets += 1
    w.bytes += k.feed[w.next].wirelen
    w.free = w.arrival
    w.next = cable_row_after(k, dev, w.next) if w.mode == RATE_CABLE else w.next + 1
    w.rxq = 0
    w.blocked = 0


@inlined
def wire_step(k: Kernel, dev: int) -> None:
    """The NIC takes the next packet from its wire, or has no place for it."""
    w = k.wire[dev]
    rxq = w.rxq - 1
    q = k.rxq[rxq]
    if stream_is_closed(k, dev, k.run[0].arrived):
        return
    k.run[0].arriving = w.next
    if journeys_are_kept(k):
        begin_journey(k, k.run[0].arrived, rxq)
    result = indirect(k, k.ops[dev * NR_OPS + OP_HW_RECEIVE], 0, rxq, 0)
    if result == NO_DESCRIPTOR:
        if w.lossless:
            w.blocked = rxq + 1
            return
        q.out_of_buffer += 1
        arrival(k, dev, rxq, OUT_OF_BUFFER)
    elif result == OVERSIZE:
        q.oversize += 1
        arrival(k, dev, rxq, TOO_LONG)
    else:
        arrival(k, dev, rxq, 0)
        stream_entered(k, k.run[0].arrived)
        rx_completion(k, q.napi, w.arrival)
    wire_consume(k, dev)


@inlined
def first_arrival(k: Kernel, first: int) -> int:
    """The device whose wire brings the next frame, by ``first`` (ps) at the latest; NOTHING, or INPUT to be asked for.

    What is not at hand yet may arrive any time from its wire's ``quiet_until`` on.
    """
    found = NOTHING
    when = first
    unknown_from = k.run[0].limit
    for dev in range(k.machine[0].devices):
        w = k.wire[dev]
        if w.next == w.end:
            if w.eof == 0:
                unknown_from = min(unknown_from, w.quiet_until)
        elif w.blocked == 0 and w.closed == 0:
            if w.rxq == 0:
                wire_prepare(k, dev)
            if w.arrival < when or (w.arrival == when and found == NOTHING):
                when = w.arrival
                found = dev
    if unknown_from <= when and unknown_from < NEVER:
        k.run[0].next_at = when
        return INPUT
    return found


@inlined
def give_up_waiting(k: Kernel) -> bool:
    """Nobody will ever post the descriptor that a lossless source waits for: its packet is lost."""
    for dev in range(k.machine[0].devices):
        blocked = k.wire[dev].blocked
        if blocked != 0:
            k.rxq[blocked - 1].out_of_buffer += 1
            arrival(k, dev, blocked - 1, OUT_OF_BUFFER)
            wire_consume(k, dev)
            return True
    return False


@inlined
def sleep_until(k: Kernel, cpu: int, when: int) -> None:
    """An idle CPU has nothing to do before ``when``."""
    c = k.cpu[cpu]
    if c.clock < when:
        c.idle += when - c.clock
        c.clock = when


@inlined
def goes_on(k: Kernel, cpu: int) -> bool:
    """A machine's only CPU need not be compared with others: it goes on while it has work and nothing arrives."""
    if sample_is_due(k, k.cpu[cpu].clock):
        return False
    for dev in range(k.machine[0].devices):
        w = k.wire[dev]
        if w.blocked == 0 and w.closed == 0:
            if w.next == w.end:
                if w.eof == 0:
                    return False
            elif w.rxq == 0 or w.arrival <= k.cpu[cpu].clock:
                return False
    return k.machine[0].cpus == 1 and k.softirq[cpu].running != 0 and k.error[0].code == 0


@inlined
def output_is_full(k: Kernel) -> bool:
    """Is there perhaps no room for another transmitted frame?"""
    run = k.run[0]
    return run.record_output != 0 and (
        run.out_count > OUTPUT_ROWS - STEP_ROWS or run.out_bytes > OUTPUT_BYTES - STEP_ROWS * LARGEST_FRAME
    )


@inlined
def update_agenda(k: Kernel, cpu: int) -> None:
    """Note when a CPU can act next, after something about it has changed."""
    when = k.cpu[cpu].clock
    if not has_work(k, cpu):
        when = max(next_event(k, cpu), when)
    set_agenda(k, cpu, when)


@inlined
def foresee_step(k: Kernel, cpu: int) -> None:
    """Have in the cache what the next step of a CPU begins with."""
    prefetch(k.cpu, cpu)
    napi = k.softirq[cpu].napi - 1
    if napi >= 0:
        prefetch(k.napi, napi)
        prefetch(k.rxq, k.napi[napi].rxq)
        prefetch(k.txq, k.napi[napi].txq)


@kernel_function(traced=False, entry=True)
def start_agenda(k: Kernel, cpu: int) -> None:
    """Before a run: see what each CPU has to do."""
    for c in range(k.machine[0].cpus):
        update_agenda(k, c)


@kernel_function(traced=False, entry=True)
def run_machine(k: Kernel, cpu: int, steps: int) -> int:
    """Advance the machine; see the module for when it returns."""
    while steps > 0:
        steps -= 1
        if k.error[0].code != 0:
            return FAULTED
        if output_is_full(k):
            return OUTPUT_FULL
        if k.xdp[0].drain != 0:
            return DRAIN
        best = first_to_act(k)
        first = first_time(k)
        k.horizon[0] = first
        if sample_is_due(k, first):
            return SAMPLE_DUE
        dev = first_arrival(k, first)
        if dev == INPUT:
            return NEED_INPUT
        if dev != NOTHING:
            wire_step(k, dev)
            continue
        if first == NEVER:
            if give_up_waiting(k):
                continue
            return DONE
        if k.machine[0].cpus > 1:
            foresee_step(k, may_be_next(k))
        sleep_until(k, best, first)
        cpu_step(k, best)
        while goes_on(k, best) and not output_is_full(k) and k.xdp[0].drain == 0:
            cpu_step(k, best)
        update_agenda(k, best)
    return PAUSED
