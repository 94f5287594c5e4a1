"""Interrupt moderation: a NIC's interrupt fires after so many frames or so long after the first, whichever is earlier.

Receive and transmit completions of a NAPI share one vector here, each with its own limits (ethtool -C rx-usecs,
rx-frames, tx-usecs, tx-frames).  A NAPI that is scheduled has its interrupt masked; what completed in the meantime
is looked at when it is armed again.
"""

from __future__ import annotations

from ..engine.agenda import act_no_later
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from .device_layout import MAX_QUEUES, NEVER


@inlined
def append_to_poll_list(k: Kernel, cpu: int, napi: int) -> None:
    """A NAPI is polled after those that wait already."""
    s = k.softirq[cpu]
    k.poll_list[cpu * MAX_QUEUES + (s.list_head + s.list_count) % MAX_QUEUES] = napi
    s.list_count += 1


@kernel_function(inline=True)
def __napi_schedule(k: Kernel, cpu: int, napi: int) -> None:
    """Put a NAPI on its CPU's poll list."""
    append_to_poll_list(k, cpu, napi)
    k.napi[napi].scheduled = 1


@kernel_function(name="handle_irq_event")
def irq_schedules_napi(k: Kernel, cpu: int, napi: int) -> None:
    """An interrupt of the NIC: schedule its NAPI."""
    k.napi[napi].events += 1
    __napi_schedule(k, cpu, napi)


@inlined
def raise_interrupt_at(k: Kernel, napi: int, when: int) -> None:
    """The vector of an idle NAPI fires at ``when`` (ps), unless it does so earlier already."""
    n = k.napi[napi]
    if when < n.irq_due:
        n.irq_due = when
        s = k.softirq[n.cpu]
        if when < s.irq_due:
            s.irq_due = when
        act_no_later(k, n.cpu, max(when, k.cpu[n.cpu].clock))


@inlined
def rx_completion(k: Kernel, napi: int, when: int) -> None:
    """The NIC has written a receive completion at ``when`` (ps)."""
    n = k.napi[napi]
    if n.scheduled:
        return
    d = k.netdev[n.dev]
    n.rx_pending += 1
    if d.rx_usecs == 0 or n.rx_pending >= d.rx_frames:
        raise_interrupt_at(k, napi, when)
    elif n.rx_pending == 1:
        raise_interrupt_at(k, napi, when + d.rx_usecs)


@kernel_function(traced=False)
def tx_interrupt_time(k: Kernel, txq: int) -> int:
    """When the oldest completion of a transmit queue is reported, or its tx-frames-th; NEVER: nothing is posted."""
    q = k.txq[txq]
    posted = q.tail - q.head
    if posted == 0:
        return NEVER
    d = k.netdev[q.dev]
    when = k.txd[q.base + (q.head & q.mask)].done + d.tx_usecs
    if d.tx_frames > 0 and posted >= d.tx_frames:
        when = min(when, k.txd[q.base + ((q.head + d.tx_frames - 1) & q.mask)].done)
    return when


@inlined
def tx_posted(k: Kernel, txq: int) -> None:
    """One more transmission is posted: it may bring forward, or bring, the next transmit interrupt."""
    q = k.txq[txq]
    if k.napi[q.napi].scheduled:
        return
    posted = q.tail - q.head
    if posted == 1 or posted == k.netdev[q.dev].tx_frames:
        raise_interrupt_at(k, q.napi, tx_interrupt_time(k, txq))


@kernel_function(traced=False)
def arm_interrupt(k: Kernel, cpu: int, napi: int) -> None:
    """The poll is complete: completions that it has not seen are reported at once, or when they are due."""
    n = k.napi[napi]
    n.rx_pending = 0
    n.irq_due = NEVER
    q = k.rxq[n.rxq]
    when = NEVER
    txq = n.txq
    while txq >= 0:
        when = min(when, tx_interrupt_time(k, txq))
        txq = k.txq[txq].next - 1
    if q.cq_head != q.cq_tail:
        when = k.cpu[cpu].clock
    if when < NEVER:
        raise_interrupt_at(k, napi, when)


@kernel_function(traced=False)
def take_interrupts(k: Kernel, cpu: int) -> None:
    """Every interrupt of this CPU that is due: it cuts into whatever the CPU does."""
    s = k.softirq[cpu]
    c = k.cpu[cpu]
    s.irq_due = NEVER
    napi = s.first_napi - 1
    while napi >= 0:
        n = k.napi[napi]
        if n.irq_due <= c.clock:
            n.irq_due = NEVER
            n.rx_pending = 0
            if not n.scheduled:
                caller = c.node
                c.node = 0
                irq_schedules_napi(k, cpu, napi)
                c.node = caller
        elif n.irq_due < s.irq_due:
            s.irq_due = n.irq_due
        napi = n.next_on_cpu - 1
