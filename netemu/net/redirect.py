"""XDP_REDIRECT: to another device, to another CPU, or to a socket; collected in bulk and flushed when the poll ends.

A helper of the program notes the target, :func:`xdp_do_redirect` acts on it after the program.
Source: net/core/filter.c, kernel/bpf/devmap.c, kernel/bpf/cpumap.c, net/xdp/xsk.c, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import MAX_DEVICES, Kernel
from ..mm.layout import NONE
from .cpumap import bq_flush_to_queue, cpu_map_bq_enqueue
from .device_layout import NR_OPS, OP_XDP_XMIT, WITH_VLAN
from .journey import NOT_XMITTED, REDIRECT_ERR, lost
from .local import packet_left
from .xdp import xdp_get_buff_len
from .xdp_frame import frame_forget, xdp_convert_buff_to_frame, xdp_return_buff, xdp_return_frame_rx_napi
from .xdp_layout import (
    DEV_MAP_BULK_SIZE,
    TO_CPUMAP,
    TO_DEVICE,
    TO_NOTHING,
    TO_XSKMAP,
    XDP_ABORTED,
    XDP_REDIRECT,
    XDP_TX,
    XSK_CHUNK,
)
from .xsk import xsk_rcv

EINVAL = -22
ENOSPC = -28
EMSGSIZE = -90
EOPNOTSUPP = -95
ENETDOWN = -100
EOVERFLOW = -75

CPUMAP_ONLY = 1
"""Value of the switch xdp_multi_buffer by which packets of several buffers go to other CPUs only."""


# -- helpers of programs ---------------------------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def bpf_redirect(k: Kernel, cpu: int, ifindex: int, flags: int) -> int:
    """Ask for device ``ifindex`` (its number + 1); flags are not allowed."""
    if flags != 0:
        return XDP_ABORTED
    c = k.xdp_cpu[cpu]
    c.kind = TO_DEVICE
    c.target = ifindex
    return XDP_REDIRECT


@inlined
def map_entry(k: Kernel, number: int, key: int) -> int:
    """What a key of a redirect map leads to, + 1; 0: nothing."""
    m = k.redirect_map[number]
    if key < 0 or key >= m.size:
        return 0
    return k.redirect_slot[m.base + key]


@kernel_function(entry=True, rare=True)
def bpf_redirect_map(k: Kernel, cpu: int, number: int, key: int, flags: int) -> int:
    """Ask for an entry of map ``number``; ``flags``: the verdict if there is none (from v5.3, before: not allowed)."""
    c = k.xdp_cpu[cpu]
    c.kind = TO_NOTHING
    if k.era[0].xdp_redirect_flags == 0:
        if flags != 0:
            return XDP_ABORTED
    elif flags < 0 or flags > XDP_TX:
        return XDP_ABORTED
    target = map_entry(k, number, key)
    if target == 0 and k.era[0].xdp_redirect_flags != 0:
        return flags
    c.kind = k.redirect_map[number].kind
    c.target = target  # before v5.3 a missing entry is found out later
    return XDP_REDIRECT


@kernel_function(name="xdp_redirect", traced=False, entry=True)
def xdp_redirect(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """A program that comes with netemu: every packet to the egress device, unseen."""
    return bpf_redirect(k, cpu, k.netdev[k.rxq[rxq].dev].egress + 1, 0)


# -- after the program -----------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def xdp_do_redirect(k: Kernel, cpu: int, xdp: int) -> int:
    """Send the packet where the program asked: 0, and its buffers are the target's; or a negative error number."""
    c = k.xdp_cpu[cpu]
    kind = c.kind
    target = c.target - 1
    c.kind = TO_NOTHING
    if kind == TO_NOTHING or target < 0:
        error = EINVAL
    elif k.xdp_buff[xdp].nr_frags > 0 and k.era[0].xdp_multi_buffer <= CPUMAP_ONLY and kind != TO_CPUMAP:
        error = EOPNOTSUPP
    elif kind == TO_CPUMAP:
        error = cpu_map_enqueue(k, cpu, target, xdp)
    elif kind == TO_XSKMAP:
        error = xsk_map_redirect(k, cpu, target, xdp)
    elif kind == TO_DEVICE and k.era[0].xdp_redirect_dev == 0:
        error = __bpf_tx_xdp(k, cpu, target, xdp)
    else:
        error = dev_map_enqueue(k, cpu, target, xdp)
    if error < 0:
        k.xdp[0].redirect_err += 1
        k.xdp_rxq[k.xdp_buff[xdp].rxq].redirect_err += 1
        lost(k, k.xdp_buff[xdp].packet, REDIRECT_ERR)
    if error < 0 or kind != TO_CPUMAP:  # on another CPU it goes to the stack after all
        packet_left(k, cpu, k.xdp_buff[xdp].dev, k.xdp_buff[xdp].packet)
    return error


# -- devices ---------------------------------------------------------------------------------------------------------


@inlined
def xdp_ok_fwd_dev(k: Kernel, dev: int, xdp: int) -> int:
    """Can the device send this packet at all?  0, or a negative error number."""
    if dev >= k.machine[0].devices:
        return EINVAL
    d = k.netdev[dev]
    if k.ops[dev * NR_OPS + OP_XDP_XMIT] == 0:
        return EOPNOTSUPP
    if k.xdp_buff[xdp].nr_frags > 0 and d.xdp_gathers == 0:
        return EOPNOTSUPP
    if d.alive == 0:
        return ENETDOWN
    if xdp_get_buff_len(k, xdp) > d.mtu + WITH_VLAN:
        return EMSGSIZE
    return 0


@kernel_function
def __bpf_tx_xdp(k: Kernel, cpu: int, dev: int, xdp: int) -> int:
    """To v5.5: one frame to the device, with a doorbell of its own."""
    error = xdp_ok_fwd_dev(k, dev, xdp)
    if error < 0:
        return error
    frame = xdp_convert_buff_to_frame(k, cpu, xdp)
    if frame == NONE:
        return EOVERFLOW
    bulk = cpu * MAX_DEVICES + dev
    b = k.xdp_bulk[bulk]
    if b.count > 0:  # frames of a devmap wait for the same device: they go first
        bq_xmit_all(k, cpu, dev)
    b.frame[0] = frame
    b.count = 1
    sent = indirect(k, k.ops[dev * NR_OPS + OP_XDP_XMIT], cpu, dev, bulk)
    b.count = 0
    if sent < 0:
        frame_forget(k, cpu, frame)  # the packet is still the receiving driver's
        return sent
    if sent == 0:
        k.xdp[0].xmit_drops += 1
        lost(k, k.xdp_buff[xdp].packet, NOT_XMITTED)
        if k.era[0].xdp_xmit_failure != 0:
            xdp_return_frame_rx_napi(k, cpu, frame)
    return 0


@kernel_function
def dev_map_enqueue(k: Kernel, cpu: int, dev: int, xdp: int) -> int:
    """Collect the frame for the device; the 17th sends those before it."""
    error = xdp_ok_fwd_dev(k, dev, xdp)
    if error < 0:
        return error
    frame = xdp_convert_buff_to_frame(k, cpu, xdp)
    if frame == NONE:
        return EOVERFLOW
    b = k.xdp_bulk[cpu * MAX_DEVICES + dev]
    if b.count == DEV_MAP_BULK_SIZE:
        bq_xmit_all(k, cpu, dev)
    elif b.count == 0:
        c = k.xdp_cpu[cpu]
        c.device[c.devices] = dev
        c.devices += 1
    b.frame[b.count] = frame
    b.count += 1
    return 0


@kernel_function
def bq_xmit_all(k: Kernel, cpu: int, dev: int) -> None:
    """Give the collected frames to the device; what it does not send is dropped."""
    bulk = cpu * MAX_DEVICES + dev
    b = k.xdp_bulk[bulk]
    count = b.count
    sent = indirect(k, k.ops[dev * NR_OPS + OP_XDP_XMIT], cpu, dev, bulk)
    if sent < 0:
        sent = 0
        first = 0  # the driver refused them all, and freed none
    elif k.era[0].xdp_xmit_failure == 0:
        first = count
    else:
        first = sent
    for i in range(first, count):
        lost(k, k.xdp_frame[b.frame[i]].packet, NOT_XMITTED)
        xdp_return_frame_rx_napi(k, cpu, b.frame[i])
    k.xdp[0].xmit_drops += count - sent
    b.count = 0


# -- other CPUs and sockets ------------------------------------------------------------------------------------------


@kernel_function
def cpu_map_enqueue(k: Kernel, cpu: int, entry: int, xdp: int) -> int:
    """Collect the frame for another CPU's kthread."""
    frame = xdp_convert_buff_to_frame(k, cpu, xdp)
    if frame == NONE:
        return EOVERFLOW
    cpu_map_bq_enqueue(k, cpu, entry, frame)
    return 0


@kernel_function(name="__xsk_map_redirect")
def xsk_map_redirect(k: Kernel, cpu: int, socket: int, xdp: int) -> int:
    """Copy the packet to a socket's ring; its buffers go back at once."""
    if xdp_get_buff_len(k, xdp) > XSK_CHUNK:
        return ENOSPC
    if not xsk_rcv(k, cpu, socket, xdp):
        return ENOSPC
    xdp_return_buff(k, cpu, xdp)
    return 0


# -- the end of a poll -----------------------------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def xdp_do_flush(k: Kernel, cpu: int) -> None:
    """Send what was collected on this CPU, the device and the CPU used last first."""
    c = k.xdp_cpu[cpu]
    while c.devices > 0:
        c.devices -= 1
        bq_xmit_all(k, cpu, c.device[c.devices])
    while c.cpumaps > 0:
        c.cpumaps -= 1
        bq_flush_to_queue(k, cpu, c.cpumap[c.cpumaps])


@inlined
def xdp_rx_poll_complete(k: Kernel, cpu: int) -> None:
    """The driver has processed its received packets: flush, if there is anything to flush."""
    c = k.xdp_cpu[cpu]
    if c.devices != 0 or c.cpumaps != 0:
        xdp_do_flush(k, cpu)
