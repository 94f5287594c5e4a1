"""Running a program on a received packet, and the helpers that move the packet's bounds.

A program is an address in ``k.netdev[dev].xdp_prog``, called as ``program(k, cpu, rxq, row)`` with the packet in
``k.xdp_buff[row]``; its result is the verdict.  Compiled Python, machine code and Python callbacks look alike.
Source: net/core/filter.c (bpf_xdp_adjust_*), include/net/xdp.h, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.log import message, printk
from ..mm.layout import PAGE_SIZE
from .contents import memory_move, zero_memory
from .journey import journeys_are_kept, judge
from .local import packet_left
from .skb_layout import SHARED_INFO_SIZE
from .xdp_frame import __xdp_return
from .xdp_layout import (
    ETH_HLEN,
    FRAME_STRUCT,
    MAX_METADATA,
    SMALL_FRAME_STRUCT,
    XDP_ABORTED,
    XDP_DROP,
    XDP_PASS,
    XDP_REDIRECT,
    XDP_TX,
)

EACCES = -13
EINVAL = -22
EOPNOTSUPP = -95
ENOTSUPP = -524

ILLEGAL_VERDICT = message("illegal_verdict", "Illegal XDP return value {a}, expect packet loss!")


# -- the buffer ------------------------------------------------------------------------------------------------------


@inlined
def xdp_frame_size(k: Kernel) -> int:
    """sizeof(struct xdp_frame)."""
    return SMALL_FRAME_STRUCT if k.era[0].xdp_frame_struct == 0 else FRAME_STRUCT


@inlined
def xdp_prepare_buff(k: Kernel, cpu: int, rxq: int, hard_start: int, headroom: int, length: int, frame_sz: int) -> int:
    """A packet of one buffer, without room for metadata, for a program on this CPU; its row."""
    x = k.xdp_buff[cpu]
    x.hard_start = hard_start
    x.data = hard_start + headroom
    x.data_end = x.data + length
    x.data_meta = x.data + 1
    x.frame_sz = frame_sz
    x.rxq = rxq
    x.dev = k.rxq[rxq].dev
    x.nr_frags = 0
    x.frags_size = 0
    x.pfmemalloc = 0
    return cpu


@inlined
def xdp_get_metalen(k: Kernel, xdp: int) -> int:
    """Bytes of metadata in front of the packet."""
    x = k.xdp_buff[xdp]
    return max(x.data - x.data_meta, 0)


@inlined
def xdp_get_buff_len(k: Kernel, xdp: int) -> int:
    """Length of the packet, all its buffers together."""
    x = k.xdp_buff[xdp]
    return x.data_end - x.data + x.frags_size


@inlined
def xdp_data_hard_end(k: Kernel, xdp: int) -> int:
    """Where the shared info begins: the packet ends before it."""
    x = k.xdp_buff[xdp]
    return x.hard_start + x.frame_sz - SHARED_INFO_SIZE


@inlined
def xdp_buff_add_frag(k: Kernel, xdp: int, pfn: int, offset: int, size: int) -> None:
    """One more buffer at the end of the packet."""
    x = k.xdp_buff[xdp]
    x.frag_page[x.nr_frags] = pfn
    x.frag_offset[x.nr_frags] = offset
    x.frag_size[x.nr_frags] = size
    x.frags_size += size
    x.nr_frags += 1


# -- running a program -----------------------------------------------------------------------------------------------


@kernel_function(inline=True)
def bpf_prog_run_xdp(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """What the device's program says about the packet."""
    return indirect(k, k.netdev[k.rxq[rxq].dev].xdp_prog, cpu, rxq, xdp)


@kernel_function(traced=False)
def bpf_warn_invalid_xdp_action(k: Kernel, cpu: int, verdict: int) -> None:
    """Complain about a verdict that there is not, once."""
    if k.xdp[0].warned == 0:
        k.xdp[0].warned = 1
        printk(k, cpu, ILLEGAL_VERDICT, verdict, 0)


@inlined
def xdp_verdict(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Run the program and count its verdict; one that there is not stands for XDP_ABORTED."""
    verdict = bpf_prog_run_xdp(k, cpu, rxq, xdp)
    if verdict < XDP_ABORTED or verdict > XDP_REDIRECT:
        bpf_warn_invalid_xdp_action(k, cpu, verdict)
        verdict = XDP_ABORTED
    if verdict == XDP_ABORTED:
        trace_xdp_exception(k)
    k.xdp_rxq[rxq].verdict[verdict] += 1
    if journeys_are_kept(k):
        judge(k, k.xdp_buff[xdp].packet, verdict)
    if verdict != XDP_PASS and verdict != XDP_REDIRECT:
        packet_left(k, cpu, k.xdp_buff[xdp].dev, k.xdp_buff[xdp].packet)
    return verdict


@inlined
def trace_xdp_exception(k: Kernel) -> None:
    """A packet is dropped although the program did not say so, or because it gave up."""
    k.xdp[0].exceptions += 1


# -- helpers of programs ---------------------------------------------------------------------------------------------


@kernel_function(entry=True, rare=True)
def bpf_xdp_adjust_head(k: Kernel, cpu: int, xdp: int, offset: int) -> int:
    """Move the start of the packet by ``offset`` bytes, metadata with it; 0 or -EINVAL."""
    x = k.xdp_buff[xdp]
    metalen = xdp_get_metalen(k, xdp)
    data = x.data + offset
    if data < x.hard_start + xdp_frame_size(k) + metalen or data > x.data_end - ETH_HLEN:
        return EINVAL
    if metalen > 0 and k.run[0].keep_contents:
        memory_move(k, x.data_meta + offset, x.data_meta, metalen)
    x.data_meta += offset
    x.data = data
    return 0


@kernel_function(entry=True, rare=True)
def bpf_xdp_adjust_meta(k: Kernel, cpu: int, xdp: int, offset: int) -> int:
    """Move the start of the metadata: a multiple of 4 bytes, at most 32; 0 or a negative error number."""
    x = k.xdp_buff[xdp]
    if x.data_meta > x.data:
        return ENOTSUPP
    meta = x.data_meta + offset
    if meta < x.hard_start + xdp_frame_size(k) or meta > x.data:
        return EINVAL
    metalen = x.data - meta
    if metalen & 3 or metalen > MAX_METADATA:
        return EACCES
    x.data_meta = meta
    return 0


@kernel_function(entry=True, rare=True)
def bpf_xdp_adjust_tail(k: Kernel, cpu: int, xdp: int, offset: int) -> int:
    """Move the end of the packet; new bytes are zero.  Shrinks only, where the buffer's end is not known."""
    x = k.xdp_buff[xdp]
    if x.nr_frags > 0:
        if offset < 0:
            return bpf_xdp_frags_shrink_tail(k, cpu, xdp, -offset)
        return bpf_xdp_frags_increase_tail(k, xdp, offset)
    end = x.data_end + offset
    if k.era[0].xdp_frame_sz == 0:
        if offset >= 0:
            return EINVAL
    elif end > xdp_data_hard_end(k, xdp):
        return EINVAL
    if end < x.data + ETH_HLEN:
        return EINVAL
    if offset > 0 and k.run[0].keep_contents:
        zero_memory(k, x.data_end, offset)
    x.data_end = end
    return 0


@kernel_function(traced=False)
def bpf_xdp_frags_shrink_tail(k: Kernel, cpu: int, xdp: int, offset: int) -> int:
    """Cut the last buffers; those that become empty go back to where they are from."""
    x = k.xdp_buff[xdp]
    info = k.xdp_rxq[x.rxq]
    if offset > xdp_get_buff_len(k, xdp) - ETH_HLEN:
        return EINVAL
    while x.nr_frags > 0 and offset > 0:
        last = x.nr_frags - 1
        shrink = min(offset, x.frag_size[last])
        offset -= shrink
        x.frags_size -= shrink
        if shrink < x.frag_size[last]:
            x.frag_size[last] -= shrink
            break
        __xdp_return(k, cpu, info.mem_type, info.mem_id, x.frag_page[last], 0)
        x.nr_frags = last
    if x.nr_frags == 0:
        x.data_end -= offset
    return 0


@kernel_function(traced=False)
def bpf_xdp_frags_increase_tail(k: Kernel, xdp: int, offset: int) -> int:
    """Let the last buffer grow into what the driver leaves behind it."""
    x = k.xdp_buff[xdp]
    room = k.xdp_rxq[x.rxq].frag_size
    if room == 0 or room > x.frame_sz:
        return EOPNOTSUPP
    last = x.nr_frags - 1
    used = x.frag_offset[last] % PAGE_SIZE + x.frag_size[last]
    if offset > room - used:
        return EINVAL
    if k.run[0].keep_contents:
        zero_memory(k, x.frag_page[last] * PAGE_SIZE + x.frag_offset[last] + x.frag_size[last], offset)
    x.frag_size[last] += offset
    x.frags_size += offset
    return 0


# -- programs that come with netemu: they look at nothing ------------------------------------------------------------


@kernel_function(traced=False, entry=True)
def xdp_aborted(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Give up on every packet."""
    return XDP_ABORTED


@kernel_function(traced=False, entry=True)
def xdp_drop(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Drop every packet."""
    return XDP_DROP


@kernel_function(traced=False, entry=True)
def xdp_pass(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Let every packet through to the stack."""
    return XDP_PASS


@kernel_function(traced=False, entry=True)
def xdp_tx(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Send every packet back out of the device that it came in by."""
    return XDP_TX
