"""Softirq and NAPI: who is polled when, one descriptor at a time so that many CPUs can interleave.

Source: net/core/dev.c (net_rx_action, napi_poll, napi_complete_done), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import cost_point, indirect, inlined, kernel_function, prefetch
from ..engine.layout import Kernel
from ..engine.path import charge, enter
from .cpumap import cpu_map_kthread_step, kthread_due
from .device_layout import (
    MAX_QUEUES,
    NAPI_POLL_WEIGHT,
    NET_RX_ACTION,
    NET_TX_ACTION,
    NR_OPS,
    OP_RX_POLL_ONE,
    OP_RX_REFILL,
    OP_TX_POLL_ONE,
    PHASE_NONE,
    PHASE_REFILL,
    PHASE_RX,
    PHASE_TX,
)
from .interrupts import append_to_poll_list, arm_interrupt, take_interrupts
from .local import consume_held, held_due
from .qdisc import net_tx_action_step, tx_completed
from .redirect import xdp_rx_poll_complete
from .skbuff import __kfree_skb_flush, napi_consume_skb, skb_defer_free_flush, take_deferred
from .timeline import record_span
from .xdp_frame import xdp_flush_frame_bulk

NETDEV_BUDGET_PS = 2_000_000_000
"""netdev_budget_usecs: 2 ms."""
MAX_SOFTIRQ_PS = 2_000_000_000
"""MAX_SOFTIRQ_TIME: 2 ms."""
MAX_SOFTIRQ_RESTART = 10

RX_ACTION = cost_point("net_rx_action")
TX_ACTION = cost_point("net_tx_action")
DEFER_FREE_FLUSH: int = skb_defer_free_flush.number  # type: ignore[attr-defined]


@inlined
def softirq_pending(k: Kernel, cpu: int) -> bool:
    """Is a softirq raised on this CPU?"""
    s = k.softirq[cpu]
    return s.list_count != 0 or s.output_queue != 0 or k.softnet[cpu].defer_ipi_scheduled != 0


@inlined
def process_has_work(k: Kernel, cpu: int) -> bool:
    """Does a thread wait for this CPU: a consumer with packets to read, or a kernel thread?"""
    clock = k.cpu[cpu].clock
    return held_due(k, cpu) <= clock or kthread_due(k, cpu) <= clock


@inlined
def softirq_enter(k: Kernel, cpu: int, action: int, function: int) -> None:
    """Enter a softirq's action: the first of a row of rounds, or another one."""
    s = k.softirq[cpu]
    c = k.cpu[cpu]
    if s.rounds == 0:
        s.rounds = MAX_SOFTIRQ_RESTART
        s.rounds_end = c.clock + MAX_SOFTIRQ_PS
        s.was_idle = not process_has_work(k, cpu)
    c.node = 0
    enter(k, cpu, function)
    s.node = c.node
    s.running = action
    s.started = c.clock
    c.serving_softirq = 1


@kernel_function(traced=False)
def begin_deferred(k: Kernel, cpu: int) -> None:
    """skb_defer_free_flush, before each poll: free the packets that other CPUs have left to this one (v5.19)."""
    s = k.softirq[cpu]
    k.cpu[cpu].node = s.node
    enter(k, cpu, DEFER_FREE_FLUSH)
    s.deferred_node = k.cpu[cpu].node
    s.deferred = take_deferred(k, cpu) + 1


@kernel_function(traced=False)
def net_rx_action_begin(k: Kernel, cpu: int) -> None:
    """Enter net_rx_action: what is on the poll list now is polled once, if the budget lasts."""
    softirq_enter(k, cpu, NET_RX_ACTION, RX_ACTION)
    s = k.softirq[cpu]
    s.runs += 1
    s.budget = k.run[0].netdev_budget
    s.deadline = k.cpu[cpu].clock + NETDEV_BUDGET_PS
    s.unpolled = s.list_count
    if k.softnet[cpu].defer_list != 0:
        begin_deferred(k, cpu)


@kernel_function(traced=False)
def free_one_deferred(k: Kernel, cpu: int) -> None:
    """One packet of skb_defer_free_flush."""
    s = k.softirq[cpu]
    skb = s.deferred - 1
    s.deferred = k.skb[skb].next
    k.cpu[cpu].node = s.deferred_node
    napi_consume_skb(k, cpu, skb, 1)


@kernel_function(traced=False)
def softirq_leave(k: Kernel, cpu: int) -> None:
    """Leave the action; busy NAPIs go behind all others.

    When softirqs are raised again, another round follows; after ten, or 2 ms, or when somebody has been woken on an
    idle CPU, the process context gets a turn first.
    """
    s = k.softirq[cpu]
    c = k.cpu[cpu]
    for i in range(s.repolled):
        append_to_poll_list(k, cpu, k.repoll_list[cpu * MAX_QUEUES + i])
    s.repolled = 0
    c.node = s.node
    if k.era[0].skb_napi_cache == 0:
        __kfree_skb_flush(k, cpu)
    record_span(k, cpu, -s.running, s.started, 0, 0)
    c.node = 0
    c.serving_softirq = 0
    s.running = 0
    s.rounds -= 1
    woken = s.was_idle != 0 and process_has_work(k, cpu)
    if not softirq_pending(k, cpu):
        s.rounds = 0
    elif s.rounds == 0 or c.clock >= s.rounds_end or woken:
        s.rounds = 0
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
    s.unpolled -= 1
    s.napi = napi + 1
    n = k.napi[napi]
    d = k.netdev[n.dev]
    n.work = 0
    n.tx_work = 0
    n.tx_cleaned = 0
    n.round = 0
    n.tx_busy = 0
    n.cleaning = n.txq
    n.refill_short = 0
    n.polls += 1
    n.started = k.cpu[cpu].clock
    k.cpu[cpu].node = s.node
    enter(k, cpu, d.fn_poll)
    n.poll_node = k.cpu[cpu].node
    begin_phase(k, cpu, napi, PHASE_TX, d.fn_tx)


@inlined
def budget_used(k: Kernel, napi: int) -> int:
    """What this poll has done of its weight: packets received, and transmissions cleaned where they share it."""
    n = k.napi[napi]
    return n.work + n.tx_cleaned * k.netdev[n.dev].tx_in_budget


@kernel_function
def napi_complete_done(k: Kernel, cpu: int, napi: int) -> None:
    """The poll found less than its weight: back to interrupts."""
    k.napi[napi].scheduled = 0
    k.napi[napi].arms += 1
    arm_interrupt(k, cpu, napi)


@kernel_function(traced=False)
def poll_end(k: Kernel, cpu: int, napi: int) -> None:
    """The poll function returns: busy ones are polled again in another round, others re-arm their interrupt."""
    s = k.softirq[cpu]
    n = k.napi[napi]
    n.phase = PHASE_NONE
    s.napi = 0
    busy = budget_used(k, napi) >= NAPI_POLL_WEIGHT or n.tx_busy or n.refill_short
    if busy:
        s.budget -= NAPI_POLL_WEIGHT
        k.repoll_list[cpu * MAX_QUEUES + s.repolled] = napi
        s.repolled += 1
    else:
        s.budget -= budget_used(k, napi)
        k.cpu[cpu].node = n.poll_node
        napi_complete_done(k, cpu, napi)
    record_span(k, cpu, napi, n.started, n.work, n.tx_cleaned)
    k.cpu[cpu].node = s.node
    if s.budget <= 0 or k.cpu[cpu].clock >= s.deadline:
        s.time_squeeze += 1
        softirq_leave(k, cpu)
    elif k.softnet[cpu].defer_list != 0:
        begin_deferred(k, cpu)


@inlined
def tx_ready(k: Kernel, cpu: int, txq: int) -> bool:
    """Has the wire finished the oldest transmission of this queue?"""
    q = k.txq[txq]
    if q.head == q.tail:
        return False
    return k.txd[q.base + (q.head & q.mask)].done <= k.cpu[cpu].clock


@inlined
def next_tx_queue(k: Kernel, cpu: int, napi: int) -> bool:
    """Done with a transmit queue: go on with the next one of this NAPI; False when there is none."""
    n = k.napi[napi]
    if k.xdp_cpu[cpu].returned != 0:
        xdp_flush_frame_bulk(k, cpu)
    if n.tx_work > 0 and n.cleaning == n.txq:
        tx_completed(k, cpu, n.txq)
    if n.tx_work >= k.netdev[n.dev].tx_cq_budget:
        n.tx_busy = 1
    following = k.txq[n.cleaning].next - 1
    if following < 0:
        return False
    n.cleaning = following
    n.tx_work = 0
    begin_phase(k, cpu, napi, PHASE_TX, k.txq[following].fn_poll)
    return True


@inlined
def next_round(k: Kernel, cpu: int, napi: int) -> bool:
    """Where both share the weight: look for transmissions again, unless there was nothing to do or it is used up."""
    n = k.napi[napi]
    used = budget_used(k, napi)
    if used == n.round or used >= NAPI_POLL_WEIGHT:
        return False
    n.round = used
    n.tx_work = 0
    n.cleaning = n.txq
    begin_phase(k, cpu, napi, PHASE_TX, k.netdev[n.dev].fn_tx)
    return True


@kernel_function(traced=False, inline=True)
def softirq_step(k: Kernel, cpu: int) -> None:
    """One descriptor's worth of softirq work on this CPU."""
    s = k.softirq[cpu]
    if s.napi == 0:
        if s.running == NET_TX_ACTION:
            if s.output_queue == 0:
                softirq_leave(k, cpu)
            else:
                k.cpu[cpu].node = s.node
                net_tx_action_step(k, cpu)
        elif s.deferred != 0:
            free_one_deferred(k, cpu)
        elif s.unpolled == 0:
            softirq_leave(k, cpu)
        else:
            poll_begin(k, cpu)
        return
    napi = s.napi - 1
    n = k.napi[napi]
    d = k.netdev[n.dev]
    ops = n.dev * NR_OPS
    if n.phase == PHASE_TX:
        room = n.tx_work < d.tx_cq_budget and budget_used(k, napi) < NAPI_POLL_WEIGHT
        if room and tx_ready(k, cpu, n.cleaning):
            k.cpu[cpu].node = n.phase_node
            n.tx_work += 1
            n.tx_cleaned += 1
            indirect(k, k.ops[ops + OP_TX_POLL_ONE], cpu, n.cleaning, NAPI_POLL_WEIGHT)
            return
        if next_tx_queue(k, cpu, napi):
            return
        begin_phase(k, cpu, napi, PHASE_RX, d.fn_rx)
    if n.phase == PHASE_RX:
        q = k.rxq[n.rxq]
        if budget_used(k, napi) < NAPI_POLL_WEIGHT and q.cq_head != q.cq_tail:
            k.cpu[cpu].node = n.phase_node
            n.work += 1
            charge(k, cpu, d.fn_rx)
            prefetch(k.cqe, q.cq_base + ((q.cq_head + 1) & q.cq_mask))
            if indirect(k, k.ops[ops + OP_RX_POLL_ONE], cpu, n.rxq, NAPI_POLL_WEIGHT) != 0:
                return
        xdp_rx_poll_complete(k, cpu)
        if d.tx_in_budget != 0 and next_round(k, cpu, napi):
            return
        begin_phase(k, cpu, napi, PHASE_REFILL, d.fn_refill)
    k.cpu[cpu].node = n.phase_node
    charge(k, cpu, d.fn_refill)
    left = indirect(k, k.ops[ops + OP_RX_REFILL], cpu, n.rxq, 0)
    if left <= 0:
        n.refill_short = -left
        poll_end(k, cpu, napi)


@inlined
def has_work(k: Kernel, cpu: int) -> bool:
    """Is there anything to do on this CPU now?"""
    s = k.softirq[cpu]
    clock = k.cpu[cpu].clock
    return s.running != 0 or softirq_pending(k, cpu) or s.irq_due <= clock or process_has_work(k, cpu)


@inlined
def next_event(k: Kernel, cpu: int) -> int:
    """When an idle CPU has something to do again: an interrupt, a held packet or a redirected frame."""
    return min(held_due(k, cpu), kthread_due(k, cpu), k.softirq[cpu].irq_due)


@kernel_function(traced=False, inline=True)
def cpu_step(k: Kernel, cpu: int) -> None:
    """Advance a CPU that has work by one step: interrupts, softirqs, then process context, which may get a turn."""
    s = k.softirq[cpu]
    if s.irq_due <= k.cpu[cpu].clock and s.napi == 0:
        take_interrupts(k, cpu)
    if s.running:
        softirq_step(k, cpu)
        return
    if softirq_pending(k, cpu) and not s.yield_to_process:
        if s.output_queue != 0:
            softirq_enter(k, cpu, NET_TX_ACTION, TX_ACTION)
        else:
            net_rx_action_begin(k, cpu)
        return
    if held_due(k, cpu) <= k.cpu[cpu].clock:
        consume_held(k, cpu)
        return
    if kthread_due(k, cpu) <= k.cpu[cpu].clock:
        cpu_map_kthread_step(k, cpu)
        return
    s.yield_to_process = 0
