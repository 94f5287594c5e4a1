"""Sockets at the end of an XSKMAP: packets are copied into a ring that Python empties."""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel
from ..mm.layout import PAGE_SIZE
from .journey import arrived_at_consumer
from .xdp_layout import XSK_CHUNK

NEARLY_FULL = 64
"""Free slots below which the run pauses so that Python can empty the ring."""


@kernel_function(traced=False)
def copy_to_slot(k: Kernel, slot: int, at: int, origin: int, count: int) -> None:
    """Bytes of emulated memory into a slot, from ``at`` on."""
    to = slot * XSK_CHUNK + at
    for i in range(count):
        k.xsk_data[to + i] = k.memory[origin + i]


@kernel_function
def xsk_rcv(k: Kernel, cpu: int, socket: int, xdp: int) -> bool:
    """Copy a packet, at most one slot long, to a socket; False: its ring is full."""
    s = k.xsk[socket]
    if s.tail - s.head > s.mask:
        s.drops += 1
        return False
    x = k.xdp_buff[xdp]
    row = s.base + (s.tail & s.mask)
    slot = k.xsk_slot[row]
    slot.length = x.data_end - x.data + x.frags_size
    slot.rxq = x.rxq
    slot.packet = x.packet
    if k.run[0].keep_contents:
        at = x.data_end - x.data
        copy_to_slot(k, row, 0, x.data, at)
        for i in range(x.nr_frags):
            copy_to_slot(k, row, at, x.frag_page[i] * PAGE_SIZE + x.frag_offset[i], x.frag_size[i])
            at += x.frag_size[i]
    s.tail += 1
    arrived_at_consumer(k, x.packet)
    k.xdp[0].xsk_delivered += 1
    if s.mask + 1 - (s.tail - s.head) < NEARLY_FULL:
        k.xdp[0].drain = 1
    return True
