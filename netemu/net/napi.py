"""Softirq and NAPI: who is polled when, one descriptor at a time so that many CPUs can interleave.

Source: net/core/dev.c (net_rx_action, napi_poll, napi_schedule, napi_complete_done), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import cost_point, indirect, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import enter
from .device_layout import (
    MAX_QUEUES,
    NAPI_POLL_WEIGHT,
    NETDEV_BUDGET,
    NEVER,
    NR_OPS,
    OP_RX_POLL_ONE,
    OP_RX_REFILL,
    OP_TX_POLL_ONE,
    PHASE_NONE,
    PHASE_REFILL,
    PHASE_RX,
    PHASE_TX,
)
from .skbuff import __kfree_skb_flush
from .stack import consume_held, held_due
from .timeline import SOFTIRQ, record_span

NETDEV_BUDGET_PS = 2_000_000_000
"""netdev_budget_usecs: 2 ms."""

NET_RX_ACTION = cost_point("net_rx_action")


@kernel_function(inline=True)
def __napi_schedule(k: Kernel, cpu: int, napi: int) -> None:
    """Put a NAPI on its CPU's poll list."""
    s = k.softirq[cpu]
    k.poll_list[cpu * MAX_QUEUES + (s.list_head + s.list_count) % MAX_QUEUES] = napi
    s.list_count += 1
    k.napi[napi].scheduled = 1


@kernel_function(name="handle_irq_event")
def irq_schedules_napi(k: Kernel, cpu: int, napi: int) -> None:
    """An interrupt of the NIC: schedule its NAPI."""
    k.napi[napi].events += 1
    __napi_schedule(k, cpu, napi)


@kernel_function(traced=False, inline=True)
def napi_interrupt(k: Kernel, napi: int, when: int) -> None:
    """The NIC wants to be polled at ``when`` (ps).  Masked while it is scheduled; an idle CPU wakes up."""
    n = k.napi[napi]
    if n.scheduled:
        return
    cpu = n.cpu
    c = k.cpu[cpu]
    if c.clock < when:
        s = k.softirq[cpu]
        if not s.running:
            c.idle += when - c.clock
            c.clock = when
    caller = c.node
    c.node = 0
    irq_schedules_napi(k, cpu, napi)
    c.node = caller


@kernel_function(traced=False)
def softirq_begin(k: Kernel, cpu: int) -> None:
    """Enter net_rx_action."""
    s = k.softirq[cpu]
    c = k.cpu[cpu]
    c.node = 0
    enter(k, cpu, NET_RX_ACTION)
    s.node = c.node
    s.running = 1
    s.runs += 1
    s.budget = NETDEV_BUDGET
    s.started = c.clock
    s.deadline = c.clock + NETDEV_BUDGET_PS
    c.serving_softirq = 1


@kernel_function(traced=False)
def softirq_end(k: Kernel, cpu: int) -> None:
    """Leave net_rx_action; when work is left, the process context gets a turn before the next round."""
    s = k.softirq[cpu]
    c = k.cpu[cpu]
    c.node = s.node
    if k.era[0].skb_napi_cache == 0:
        __kfree_skb_flush(k, cpu)
    record_span(k, cpu, SOFTIRQ, s.started, 0, 0)
    c.node = 0
    c.serving_softirq = 0
    s.running = 0
    if s.list_count > 0:
        s.yield_to_process = 1


@inlined
def begin_phase(k: Kernel, cpu: int, napi: int, phase: int, function: int) -> None:
    """Enter the next part of the driver's poll function."""
    n = k.napi[napi]
    n.phase = phase
    k.cpu[cpu].node = n.poll_node
    enter(k, cpu, function)
    n.phase_node = k.cpu[cpu].node


@kernel_function(traced=False)
def poll_begin(k: Kernel, cpu: int) -> None:
    """Take the next NAPI off the list and call its poll function."""
    s = k.softirq[cpu]
    napi = k.poll_list[cpu * MAX_QUEUES + s.list_head]
    s.list_head = (s.list_head + 1) % MAX_QUEUES
    s.list_count -= 1
    s.napi = napi + 1
    n = k.napi[napi]
    d = k.netdev[n.dev]
    n.work = 0
    n.tx_work = 0
    n.refill_short = 0
    n.polls += 1
    n.started = k.cpu[cpu].clock
    k.cpu[cpu].node = s.node
    enter(k, cpu, d.fn_poll)
    n.poll_node = k.cpu[cpu].node
    begin_phase(k, cpu, napi, PHASE_TX, d.fn_tx)


@kernel_function
def napi_complete_done(k: Kernel, cpu: int, napi: int) -> None:
    """The poll found less than its weight: back to interrupts."""
    k.napi[napi].scheduled = 0
    k.napi[napi].arms += 1


@kernel_function(traced=False)
def poll_end(k: Kernel, cpu: int, napi: int) -> None:
    """The poll function returns: busy ones stay on the list, others re-arm their interrupt."""
    s = k.softirq[cpu]
    n = k.napi[napi]
    d = k.netdev[n.dev]
    n.phase = PHASE_NONE
    s.napi = 0
    busy = n.work >= NAPI_POLL_WEIGHT or n.tx_work >= d.tx_cq_budget or n.refill_short
    if busy:
        s.budget -= NAPI_POLL_WEIGHT
        k.poll_list[cpu * MAX_QUEUES + (s.list_head + s.list_count) % MAX_QUEUES] = napi
        s.list_count += 1
    else:
        s.budget -= n.work
        k.cpu[cpu].node = n.poll_node
        napi_complete_done(k, cpu, napi)
        q = k.rxq[n.rxq]
        if q.cq_head != q.cq_tail:
            napi_interrupt(k, napi, k.cpu[cpu].clock)
    record_span(k, cpu, napi, n.started, n.work, n.tx_work)
    k.cpu[cpu].node = s.node


@inlined
def tx_ready(k: Kernel, cpu: int, txq: int) -> bool:
    """Has the wire finished the oldest transmission of this queue?"""
    q = k.txq[txq]
    if q.head == q.tail:
        return False
    return k.txd[q.base + (q.head & q.mask)].done <= k.cpu[cpu].clock


@kernel_function(traced=False, inline=True)
def softirq_step(k: Kernel, cpu: int) -> None:
    """One descriptor's worth of net_rx_action on this CPU."""
    s = k.softirq[cpu]
    if s.napi == 0:
        late = k.cpu[cpu].clock >= s.deadline
        if s.list_count == 0:
            softirq_end(k, cpu)
        elif s.budget <= 0 or late:
            s.time_squeeze += 1
            softirq_end(k, cpu)
        else:
            poll_begin(k, cpu)
        return
    napi = s.napi - 1
    n = k.napi[napi]
    d = k.netdev[n.dev]
    ops = n.dev * NR_OPS
    if n.phase == PHASE_TX:
        if n.tx_work < d.tx_cq_budget and tx_ready(k, cpu, n.txq):
            k.cpu[cpu].node = n.phase_node
            n.tx_work += 1
            indirect(k, k.ops[ops + OP_TX_POLL_ONE], cpu, n.txq, NAPI_POLL_WEIGHT)
            return
        begin_phase(k, cpu, napi, PHASE_RX, d.fn_rx)
    if n.phase == PHASE_RX:
        q = k.rxq[n.rxq]
        if n.work < NAPI_POLL_WEIGHT and q.cq_head != q.cq_tail:
            k.cpu[cpu].node = n.phase_node
            n.work += 1
            if indirect(k, k.ops[ops + OP_RX_POLL_ONE], cpu, n.rxq, NAPI_POLL_WEIGHT) != 0:
                return
        begin_phase(k, cpu, napi, PHASE_REFILL, d.fn_refill)
    k.cpu[cpu].node = n.phase_node
    left = indirect(k, k.ops[ops + OP_RX_REFILL], cpu, n.rxq, 0)
    if left <= 0:
        n.refill_short = -left
        poll_end(k, cpu, napi)


@inlined
def has_work(k: Kernel, cpu: int) -> bool:
    """Is there anything to do on this CPU now?"""
    s = k.softirq[cpu]
    return s.running != 0 or s.list_count != 0 or held_due(k, cpu) <= k.cpu[cpu].clock


@kernel_function(traced=False, inline=True)
def cpu_step(k: Kernel, cpu: int) -> None:
    """Advance a CPU that has work by one step: softirq first, process context when softirq yields or is done."""
    s = k.softirq[cpu]
    if s.running:
        softirq_step(k, cpu)
        return
    if s.list_count > 0 and not s.yield_to_process:
        softirq_begin(k, cpu)
        return
    if held_due(k, cpu) <= k.cpu[cpu].clock:
        consume_held(k, cpu)
        return
    s.yield_to_process = 0


@kernel_function(traced=False)
def next_tx_event(k: Kernel, cpu: int) -> int:
    """The NAPI of this CPU whose transmit completion comes first, or -1."""
    best = -1
    first = NEVER
    napi = k.softirq[cpu].first_napi - 1
    while napi >= 0:
        q = k.txq[k.napi[napi].txq]
        if q.head != q.tail:
            done = k.txd[q.base + (q.head & q.mask)].done
            if done < first:
                first = done
                best = napi
        napi = k.napi[napi].next_on_cpu - 1
    return best
