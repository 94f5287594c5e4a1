"""Transmitting XDP frames: what drivers' send queues for them have in common."""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE
from .contents import address_of_page, append_output, end_output, start_output
from .journey import journeys_are_kept, note_transmission
from .stack import tx_post


@kernel_function(traced=False)
def record_frame(k: Kernel, dev: int, frame: int, when: int) -> None:
    """Append a frame to the output of a device, stamped ``when`` (ps)."""
    f = k.xdp_frame[frame]
    start_output(k, dev, f.len + f.frags_size, when)
    append_output(k, f.data, f.len)
    for i in range(f.nr_frags):
        append_output(k, address_of_page(f.frag_page[i]) + f.frag_offset[i], f.frag_size[i])
    end_output(k, dev, when)


@inlined
def xdp_post(k: Kernel, cpu: int, txq: int, frame: int, kind: int) -> None:
    """Put a frame on the ring, which has room; ``kind``: TX_XDP or TX_XDP_NDO."""
    f = k.xdp_frame[frame]
    tx_post(k, cpu, txq, NONE, kind, frame, f.len + f.frags_size)
    if k.run[0].record_output:
        q = k.txq[txq]
        record_frame(k, q.dev, frame, k.txd[q.base + ((q.tail - 1) & q.mask)].done)
        if journeys_are_kept(k):
            note_transmission(k, f.packet, q.index)


@inlined
def posted_kind(k: Kernel, txq: int) -> int:
    """What the oldest transmission is: TX_SKB, TX_XDP or TX_XDP_NDO."""
    q = k.txq[txq]
    return k.txd[q.base + (q.head & q.mask)].kind


@inlined
def posted_frame(k: Kernel, txq: int) -> int:
    """The frame of the oldest transmission."""
    q = k.txq[txq]
    return k.txd[q.base + (q.head & q.mask)].page
