"""What the network stack does with a received packet: forward it, deliver it to a local consumer, or drop it.

Only the memory path is modelled; the protocol work is cost.
Source: net/core/dev.c, net/ipv4/ip_input.c, ip_forward.c, ip_output.c.
"""

from __future__ import annotations

from ..engine.inject import injected, site
from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel
from .contents import record_output
from .device_layout import ACTION_DROP, ACTION_FORWARD, NR_OPS, OP_XMIT, WIRE_OVERHEAD
from .skbuff import consume_skb, kfree_skb

TX_SITE = site("tx")  # the driver's ring has no room


@inlined
def tx_post(k: Kernel, cpu: int, txq: int, skb: int, kind: int, page: int, length: int) -> None:
    """Put a transmission on the ring; it is done when the wire has sent everything before it and then itself."""
    q = k.txq[txq]
    d = k.netdev[q.dev]
    start = max(d.tx_wire_free, k.cpu[cpu].clock)
    done = start + (length + WIRE_OVERHEAD) * d.ps_per_byte
    d.tx_wire_free = done
    t = k.txd[q.base + (q.tail & q.mask)]
    t.done = done
    t.skb = skb
    t.bytes = length
    t.kind = kind
    t.page = page
    q.tail += 1
    q.packets += 1
    q.bytes += length
    cleaner = k.napi[q.napi].cpu
    if cleaner != cpu:  # it may be asleep, with nothing to wake up for until now
        k.agenda[cleaner] = min(k.agenda[cleaner], max(done, k.cpu[cleaner].clock))
    if k.run[0].record_output and skb >= 0:
        record_output(k, skb, done)


@kernel_function(inline=True)
def dev_queue_xmit(k: Kernel, cpu: int, dev: int, skb: int) -> None:
    """Hand the packet to the driver of ``dev``, on this CPU's queue (XPS); a full ring drops it."""
    d = k.netdev[dev]
    queue = d.txq0
    if d.queues > 1:
        queue += cpu % d.queues
    if injected(k, TX_SITE) or indirect(k, k.ops[dev * NR_OPS + OP_XMIT], cpu, queue, skb) != 0:
        k.run[0].dropped_by_qdisc += 1
        kfree_skb(k, cpu, skb)
    else:
        k.run[0].forwarded += 1


@kernel_function(inline=True)
def ip_forward(k: Kernel, cpu: int, skb: int) -> None:
    """Route the packet to the egress device."""
    dev_queue_xmit(k, cpu, k.netdev[k.skb[skb].dev].egress, skb)


@kernel_function
def ip_local_deliver(k: Kernel, cpu: int, skb: int) -> None:
    """Queue the packet for a local consumer, which takes it after the hold time."""
    s = k.softirq[cpu]
    run = k.run[0]
    if s.held_tail - s.held_head > run.held_mask:
        run.dropped_by_consumer += 1
        kfree_skb(k, cpu, skb)
        return
    k.skb[skb].until = k.cpu[cpu].clock + run.hold
    k.held[cpu * (run.held_mask + 1) + (s.held_tail & run.held_mask)] = skb
    s.held_tail += 1


@kernel_function(inline=True)
def ip_rcv(k: Kernel, cpu: int, skb: int) -> None:
    """The IP layer: decide what becomes of the packet."""
    action = k.run[0].action
    if action == ACTION_FORWARD:
        ip_forward(k, cpu, skb)
    elif action == ACTION_DROP:
        k.run[0].dropped_by_consumer += 1
        kfree_skb(k, cpu, skb)
    else:
        ip_local_deliver(k, cpu, skb)


@kernel_function(inline=True)
def netif_receive_skb_internal(k: Kernel, cpu: int, skb: int) -> None:
    """The packet leaves the driver for the protocols."""
    ip_rcv(k, cpu, skb)


@kernel_function(inline=True)
def dev_gro_receive(k: Kernel, cpu: int, skb: int) -> None:
    """Look for a flow to merge with: none is found, merging is not modelled."""


@kernel_function(entry=True, inline=True)
def napi_gro_receive(k: Kernel, cpu: int, skb: int) -> None:
    """What a driver calls with each received packet."""
    dev_gro_receive(k, cpu, skb)
    netif_receive_skb_internal(k, cpu, skb)


@kernel_function(name="recvmsg")
def consume_held(k: Kernel, cpu: int) -> None:
    """Process context: the local consumer reads the oldest held packet and frees it."""
    s = k.softirq[cpu]
    mask = k.run[0].held_mask
    skb = k.held[cpu * (mask + 1) + (s.held_head & mask)]
    s.held_head += 1
    s.delivered += 1
    k.run[0].delivered += 1
    consume_skb(k, cpu, skb)


@inlined
def held_due(k: Kernel, cpu: int) -> int:
    """When the oldest held packet may be consumed (ps); a time past every other when there is none."""
    s = k.softirq[cpu]
    if s.held_head == s.held_tail:
        return FAR
    mask = k.run[0].held_mask
    return k.skb[k.held[cpu * (mask + 1) + (s.held_head & mask)]].until


FAR = 2**62
