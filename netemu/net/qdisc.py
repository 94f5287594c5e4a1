"""Between the stack and a driver's xmit: choice of the queue, its lock, byte limits, the qdisc of a stopped one.

One pfifo per transmit queue, as pfifo_fast is for packets of one band.
Source: net/core/dev.c (netdev_pick_tx, __dev_queue_xmit, net_tx_action) and net/sched/sch_generic.c
(sch_direct_xmit, __qdisc_run, qdisc_reset), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.inject import injected, site
from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.spinlock import lock_class, spin_lock, spin_unlock
from .bql import netdev_tx_completed_queue, netdev_tx_sent_queue
from .device_layout import MAX_QUEUES, NR_OPS, OP_XMIT, XOFF_DRIVER, XPS_CPU, XPS_RXQ
from .journey import BY_QDISC, lost
from .skbuff import kfree_skb

TX_QUEUE_LEN = 1000
"""dev->tx_queue_len of an Ethernet device."""
DEV_TX_WEIGHT = 64
"""Packets that one run of a qdisc sends before others get a turn."""
TX_SITE = site("tx")  # the driver cannot map the packet, and drops it

TX_LOCKS = lock_class("netdev_queue->_xmit_lock", MAX_QUEUES)


@inlined
def netdev_pick_tx(k: Kernel, cpu: int, dev: int, skb: int) -> int:
    """The transmit queue: by XPS that of the CPU (or of another, shifted), or that of the packet's receive queue."""
    d = k.netdev[dev]
    if d.queues == 1:
        return d.txq0
    if d.xps == XPS_CPU:
        return d.txq0 + (cpu + d.xps_shift) % d.queues
    if d.xps == XPS_RXQ:
        return d.txq0 + k.skb[skb].queue % d.queues
    return d.txq0


@kernel_function(inline=True)
def sch_direct_xmit(k: Kernel, cpu: int, txq: int, skb: int) -> bool:
    """One packet to the driver, under the queue's lock.  False: the queue is stopped, and the packet still here."""
    q = k.txq[txq]
    if injected(k, TX_SITE):
        k.run[0].dropped_by_qdisc += 1
        lost(k, k.skb_packet[skb], BY_QDISC)
        kfree_skb(k, cpu, skb)
        return True
    spin_lock(k, cpu, TX_LOCKS + txq)
    taken = indirect(k, k.ops[q.dev * NR_OPS + OP_XMIT], cpu, txq, skb) == 0
    if taken:
        if k.netdev[q.dev].bql:
            netdev_tx_sent_queue(k, txq, k.skb[skb].len)
    else:
        q.xoff |= XOFF_DRIVER
    spin_unlock(k, cpu, TX_LOCKS + txq)
    if taken:
        k.run[0].forwarded += 1
    return taken


@inlined
def qdisc_enqueue(k: Kernel, cpu: int, txq: int, skb: int) -> None:
    """To the tail of the qdisc; a full one drops the packet."""
    q = k.txq[txq]
    if q.qlen >= TX_QUEUE_LEN:
        k.run[0].dropped_by_qdisc += 1
        lost(k, k.skb_packet[skb], BY_QDISC)
        kfree_skb(k, cpu, skb)
        return
    k.skb[skb].next = 0
    if q.qlen == 0:
        q.qdisc_head = skb + 1
    else:
        k.skb[q.qdisc_tail - 1].next = skb + 1
    q.qdisc_tail = skb + 1
    q.qlen += 1


@inlined
def qdisc_requeue(k: Kernel, txq: int, skb: int) -> None:
    """Back to the head: the driver did not take it."""
    q = k.txq[txq]
    k.skb[skb].next = q.qdisc_head
    if q.qlen == 0:
        q.qdisc_tail = skb + 1
    q.qdisc_head = skb + 1
    q.qlen += 1


@kernel_function
def __qdisc_run(k: Kernel, cpu: int, txq: int) -> bool:
    """Send one packet that waits; True when there may be more to send now."""
    q = k.txq[txq]
    if q.qlen == 0 or q.xoff != 0:
        return False
    skb = q.qdisc_head - 1
    q.qdisc_head = k.skb[skb].next
    q.qlen -= 1
    k.skb[skb].next = 0
    if not sch_direct_xmit(k, cpu, txq, skb):
        qdisc_requeue(k, txq, skb)
        return False
    return q.qlen > 0 and q.xoff == 0


@kernel_function(traced=False)
def xmit_behind_others(k: Kernel, cpu: int, txq: int, skb: int) -> None:
    """The part of __dev_xmit_skb for a queue that is stopped or has packets waiting: enqueue, then send what can go."""
    qdisc_enqueue(k, cpu, txq, skb)
    quota = DEV_TX_WEIGHT
    while quota > 0 and __qdisc_run(k, cpu, txq):
        quota -= 1


@kernel_function(inline=True)
def dev_queue_xmit(k: Kernel, cpu: int, dev: int, skb: int) -> None:
    """Hand a packet to a device: to the driver at once while the qdisc is empty, else behind those that wait."""
    txq = netdev_pick_tx(k, cpu, dev, skb)
    q = k.txq[txq]
    if q.qlen > 0 or q.xoff != 0:
        xmit_behind_others(k, cpu, txq, skb)
    elif not sch_direct_xmit(k, cpu, txq, skb):
        qdisc_requeue(k, txq, skb)


@kernel_function(entry=True, rare=True)
def qdisc_reset(k: Kernel, cpu: int, txq: int) -> None:
    """The device goes down: packets that wait for it are dropped."""
    q = k.txq[txq]
    while q.qlen > 0:
        skb = q.qdisc_head - 1
        q.qdisc_head = k.skb[skb].next
        q.qlen -= 1
        kfree_skb(k, cpu, skb)


# -- completions let a stopped queue go on ---------------------------------------------------------------------------


@kernel_function(traced=False)
def tx_completed(k: Kernel, cpu: int, txq: int) -> None:
    """The poll is through with a transmit queue: account the bytes, wake the queue, schedule its qdisc."""
    q = k.txq[txq]
    count = q.completed_bytes
    q.completed_bytes = 0
    if k.netdev[q.dev].bql:
        netdev_tx_completed_queue(k, cpu, txq, count)
    if q.xoff & XOFF_DRIVER and q.tail - q.head + q.more < q.limit:
        q.xoff &= ~XOFF_DRIVER
    if q.xoff == 0 and q.qlen > 0 and q.scheduled == 0:
        netif_schedule_queue(k, cpu, txq)


@inlined
def netif_schedule_queue(k: Kernel, cpu: int, txq: int) -> None:
    """Let net_tx_action of this CPU run the qdisc."""
    s = k.softirq[cpu]
    k.txq[txq].scheduled = 1
    k.txq[txq].output_next = s.output_queue
    s.output_queue = txq + 1


@kernel_function(traced=False)
def net_tx_action_step(k: Kernel, cpu: int) -> None:
    """One packet of the qdisc scheduled last; a qdisc that has used its weight goes behind the others."""
    s = k.softirq[cpu]
    txq = s.output_queue - 1
    q = k.txq[txq]
    more = __qdisc_run(k, cpu, txq)
    s.tx_quota += 1
    if more and s.tx_quota < DEV_TX_WEIGHT:
        return
    s.tx_quota = 0
    s.output_queue = q.output_next
    q.output_next = 0
    q.scheduled = 0
    if more:
        append_output(k, cpu, txq)


@kernel_function(traced=False)
def append_output(k: Kernel, cpu: int, txq: int) -> None:
    """Schedule a qdisc behind all others of this CPU."""
    s = k.softirq[cpu]
    k.txq[txq].scheduled = 1
    if s.output_queue == 0:
        s.output_queue = txq + 1
        return
    last = s.output_queue - 1
    while k.txq[last].output_next != 0:
        last = k.txq[last].output_next - 1
    k.txq[last].output_next = txq + 1
