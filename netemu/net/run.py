"""The run: packets arrive on the wire, CPUs advance one descriptor at a time, the smallest clock first.

:func:`run_machine` is the only loop.  It returns to Python when it needs packets or has come to ``run.limit``, when
the output buffer is full, when an error is noted, after a number of steps, or when everything has come to rest.
"""

from __future__ import annotations

from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel
from .device_layout import (
    NEVER,
    NO_DESCRIPTOR,
    NR_OPS,
    OP_HW_RECEIVE,
    OVERSIZE,
    WIRE_OVERHEAD,
)
from .napi import cpu_step, has_work, napi_interrupt, next_tx_event
from .rss import rss_queue
from .stack import held_due

DONE = 0
NEED_INPUT = 1
OUTPUT_FULL = 2
FAULTED = 3
PAUSED = 4

RATE_RECORDED = 0
RATE_FIXED = 1
RATE_MAX = 2

# What first_arrival answers in place of a device.
NOTHING = -1
INPUT = -2

OUTPUT_ROWS = 8192
OUTPUT_BYTES = 4 << 20
LARGEST_FRAME = 65536


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
    w.arrival = start + (f.wirelen + WIRE_OVERHEAD) * d.ps_per_byte


@inlined
def wire_consume(k: Kernel, dev: int) -> None:
    """The next packet for a device has come in, one way or another."""
    w = k.wire[dev]
    k.run[0].arrived += 1
    w.packets += 1
    w.bytes += k.feed[w.next].wirelen
    w.free = w.arrival
    w.next += 1
    w.rxq = 0
    w.blocked = 0


@inlined
def wire_step(k: Kernel, dev: int) -> None:
    """The NIC takes the next packet from its wire, or has no place for it."""
    w = k.wire[dev]
    rxq = w.rxq - 1
    q = k.rxq[rxq]
    k.run[0].arriving = w.next
    result = indirect(k, k.ops[dev * NR_OPS + OP_HW_RECEIVE], 0, rxq, 0)
    if result == NO_DESCRIPTOR:
        if w.lossless:
            w.blocked = rxq + 1
            return
        q.out_of_buffer += 1
    elif result == OVERSIZE:
        q.oversize += 1
    else:
        napi_interrupt(k, q.napi, w.arrival)
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
        elif w.blocked == 0:
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
            wire_consume(k, dev)
            return True
    return False


@kernel_function(traced=False)
def next_event(k: Kernel, cpu: int) -> int:
    """When an idle CPU has something to do again: a transmit completion or a held packet that is due."""
    when = min(held_due(k, cpu), NEVER)
    napi = next_tx_event(k, cpu)
    if napi >= 0:
        q = k.txq[k.napi[napi].txq]
        when = min(when, k.txd[q.base + (q.head & q.mask)].done)
    return when


@kernel_function(traced=False)
def wake_cpu(k: Kernel, cpu: int, when: int) -> None:
    """Let an idle CPU sleep until ``when`` and take the interrupt, if that is what wakes it."""
    c = k.cpu[cpu]
    if c.clock < when:
        c.idle += when - c.clock
        c.clock = when
    napi = next_tx_event(k, cpu)
    if napi >= 0:
        q = k.txq[k.napi[napi].txq]
        if k.txd[q.base + (q.head & q.mask)].done <= when:
            napi_interrupt(k, napi, when)


@inlined
def goes_on(k: Kernel, cpu: int) -> bool:
    """A machine's only CPU need not be compared with others: it goes on while it has work and nothing arrives."""
    for dev in range(k.machine[0].devices):
        w = k.wire[dev]
        if w.blocked == 0:
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
        run.out_count >= OUTPUT_ROWS - 1 or run.out_bytes > OUTPUT_BYTES - 2 * LARGEST_FRAME
    )


@inlined
def update_agenda(k: Kernel, cpu: int) -> None:
    """Note when a CPU can act next, after something about it has changed."""
    when = k.cpu[cpu].clock
    if not has_work(k, cpu):
        when = max(next_event(k, cpu), when)
    k.agenda[cpu] = when


@kernel_function(traced=False, entry=True)
def start_agenda(k: Kernel, cpu: int) -> None:
    """Before a run: see what each CPU has to do."""
    for c in range(k.machine[0].cpus):
        update_agenda(k, c)


@inlined
def first_to_act(k: Kernel) -> int:
    """The CPU that can act first; of several at the same time, the one with the lowest number."""
    best = 0
    for c in range(1, k.machine[0].cpus):
        if k.agenda[c] < k.agenda[best]:
            best = c
    return best


@kernel_function(traced=False, entry=True)
def run_machine(k: Kernel, cpu: int, steps: int) -> int:
    """Advance the machine; see the module for when it returns."""
    while steps > 0:
        steps -= 1
        if k.error[0].code != 0:
            return FAULTED
        if output_is_full(k):
            return OUTPUT_FULL
        best = first_to_act(k)
        first = k.agenda[best]
        k.horizon[0] = first
        dev = first_arrival(k, first)
        if dev == INPUT:
            return NEED_INPUT
        if dev != NOTHING:
            target = k.napi[k.rxq[k.wire[dev].rxq - 1].napi].cpu
            wire_step(k, dev)
            update_agenda(k, target)
            continue
        if first == NEVER:
            if give_up_waiting(k):
                continue
            return DONE
        if has_work(k, best):
            cpu_step(k, best)
            while goes_on(k, best) and not output_is_full(k):
                cpu_step(k, best)
        else:
            wake_cpu(k, best, first)
        update_agenda(k, best)
    return PAUSED
