"""What the network stack does with a received packet: forward it, deliver it to a local consumer, or drop it.

Only the memory path is modelled; the protocol work is cost.
Source: net/core/dev.c, net/ipv4/ip_input.c, ip_forward.c, ip_output.c.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function, prefetch
from ..engine.layout import Kernel
from .contents import record_output
from .device_layout import ACTION_DROP, ACTION_FORWARD, ACTION_GENERIC_XDP_DROP, WIRE_OVERHEAD
from .interrupts import tx_posted
from .journey import BY_CONSUMER, journeys_are_kept, lost, note_transmission
from .local import ip_local_deliver, stream_left
from .qdisc import dev_queue_xmit
from .skbuff import kfree_skb


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
    prefetch(k.txd, q.base + ((q.tail + 1) & q.mask))
    q.packets += 1
    q.bytes += length
    tx_posted(k, txq)
    if k.run[0].record_output and skb >= 0:
        record_output(k, q.dev, skb, done)
        if journeys_are_kept(k):
            note_transmission(k, k.skb_packet[skb], q.index)


@kernel_function(inline=True)
def ip_forward(k: Kernel, cpu: int, skb: int) -> None:
    """Route the packet to the egress device."""
    dev_queue_xmit(k, cpu, k.netdev[k.skb[skb].dev].egress, skb)


@kernel_function(inline=True)
def ip_rcv(k: Kernel, cpu: int, skb: int) -> None:
    """The IP layer: decide what becomes of the packet."""
    action = k.run[0].action
    if action == ACTION_FORWARD:
        ip_forward(k, cpu, skb)
    elif action == ACTION_DROP:
        k.run[0].dropped_by_consumer += 1
        lost(k, k.skb_packet[skb], BY_CONSUMER)
        stream_left(k, cpu, skb)
        kfree_skb(k, cpu, skb)
    else:
        ip_local_deliver(k, cpu, skb)


@kernel_function(inline=True)
def bpf_prog_run_generic_xdp(k: Kernel, cpu: int, skb: int) -> None:
    """A program that says XDP_DROP without looking."""


@kernel_function(name="do_xdp_generic")
def drop_by_generic_xdp(k: Kernel, cpu: int, skb: int) -> None:
    """Generic XDP, which runs on packets that have cost their sk_buff already: drop them all."""
    bpf_prog_run_generic_xdp(k, cpu, skb)
    k.run[0].dropped_by_consumer += 1
    lost(k, k.skb_packet[skb], BY_CONSUMER)
    stream_left(k, cpu, skb)
    kfree_skb(k, cpu, skb)


@kernel_function(inline=True)
def netif_receive_skb_internal(k: Kernel, cpu: int, skb: int) -> None:
    """The packet leaves the driver for the protocols, if no generic XDP program says otherwise."""
    if k.run[0].action == ACTION_GENERIC_XDP_DROP:
        drop_by_generic_xdp(k, cpu, skb)
    else:
        ip_rcv(k, cpu, skb)


@kernel_function(inline=True)
def dev_gro_receive(k: Kernel, cpu: int, skb: int) -> None:
    """Look for a flow to merge with: none is found, merging is not modelled."""


@kernel_function(entry=True, rare=True, inline=True)
def napi_gro_receive(k: Kernel, cpu: int, skb: int) -> None:
    """What a driver calls with each received packet."""
    dev_gro_receive(k, cpu, skb)
    netif_receive_skb_internal(k, cpu, skb)
