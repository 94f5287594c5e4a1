"""Local delivery: packets wait for a consumer in process context, on the CPU that received them or on another.

A consumer takes a packet after its hold time.  A stream may have a window: its sender stops when so many of its
packets are on their way or unread.
Source: net/ipv4/ip_input.c (ip_local_deliver), net/ipv4/tcp.c (tcp_eat_recv_skb), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.agenda import act_no_later
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from .device_layout import NEVER
from .journey import BY_CONSUMER, arrived_at_consumer, lost
from .skbuff import consume_skb, kfree_skb, skb_attempt_defer_free

MAX_STREAMS = 4096
"""Streams that can have a window."""


@kernel_function
def ip_local_deliver(k: Kernel, cpu: int, skb: int) -> None:
    """Queue the packet for its consumer, and wake that up when the hold time is over."""
    run = k.run[0]
    consumer = cpu
    if run.consumer_shift != 0:
        consumer = (cpu + run.consumer_shift) % k.machine[0].cpus
    s = k.softirq[consumer]
    if s.held_tail - s.held_head > run.held_mask:
        run.dropped_by_consumer += 1
        lost(k, k.skb_packet[skb], BY_CONSUMER)
        stream_left(k, cpu, skb)
        kfree_skb(k, cpu, skb)
        return
    until = k.cpu[cpu].clock + run.hold
    k.skb_until[skb] = until
    k.held[consumer * (run.held_mask + 1) + (s.held_tail & run.held_mask)] = skb
    s.held_tail += 1
    if consumer != cpu:
        act_no_later(k, consumer, max(until, k.cpu[consumer].clock))


@kernel_function(name="recvmsg")
def consume_held(k: Kernel, cpu: int) -> None:
    """Process context: the consumer reads its oldest packet and frees it, or leaves that to its allocator."""
    s = k.softirq[cpu]
    mask = k.run[0].held_mask
    skb = k.held[cpu * (mask + 1) + (s.held_head & mask)]
    s.held_head += 1
    s.delivered += 1
    k.run[0].delivered += 1
    arrived_at_consumer(k, k.skb_packet[skb])
    stream_left(k, cpu, skb)
    owner = k.skb[skb].alloc_cpu
    if k.era[0].skb_defer == 0 or owner == cpu:
        consume_skb(k, cpu, skb)
        return
    skb_attempt_defer_free(k, cpu, skb)
    if k.softnet[owner].defer_ipi_scheduled:
        act_no_later(k, owner, max(k.cpu[cpu].clock, k.cpu[owner].clock))


@inlined
def held_due(k: Kernel, cpu: int) -> int:
    """When the oldest held packet may be consumed (ps); NEVER when there is none."""
    s = k.softirq[cpu]
    if s.held_head == s.held_tail:
        return NEVER
    mask = k.run[0].held_mask
    return k.skb_until[k.held[cpu * (mask + 1) + (s.held_head & mask)]]


# -- windows: packet n belongs to stream n modulo the number of streams ------------------------------------------------


@inlined
def stream_is_closed(k: Kernel, dev: int, packet: int) -> bool:
    """Has the sender of this packet used up its window?  Then the wire waits for it."""
    run = k.run[0]
    if run.window == 0:
        return False
    stream = packet % run.streams
    if k.stream[stream].outstanding < run.window:
        return False
    k.wire[dev].closed = stream + 1
    return True


@inlined
def stream_entered(k: Kernel, packet: int) -> None:
    """The NIC has taken a packet."""
    run = k.run[0]
    if run.window != 0:
        k.stream[packet % run.streams].outstanding += 1


@inlined
def packet_left(k: Kernel, cpu: int, dev: int, packet: int) -> None:
    """A packet that came in by ``dev`` has been read, or dropped: a sender that waits for that goes on from now."""
    run = k.run[0]
    if run.window == 0:
        return
    stream = packet % run.streams
    k.stream[stream].outstanding -= 1
    w = k.wire[dev]
    if w.closed == stream + 1:
        w.closed = 0
        w.arrival = max(w.arrival, k.cpu[cpu].clock)


@inlined
def stream_left(k: Kernel, cpu: int, skb: int) -> None:
    """:func:`packet_left` of an skb."""
    packet_left(k, cpu, k.skb[skb].dev, k.skb_packet[skb])
