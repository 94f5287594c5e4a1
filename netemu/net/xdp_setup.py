"""Setting up XDP: sizes of its tables, memory models of receive queues, the extra send queues, redirect maps."""

from __future__ import annotations

from ..engine.layout import MAX_DEVICES, Kernel
from ..errors import UsageError
from ..mm.layout import NONE
from .device_layout import MAX_QUEUES
from .pool_setup import grow
from .xdp_frame import xdp_rxq_info_reg, xdp_rxq_info_reg_mem_model, xdp_rxq_info_unreg
from .xdp_layout import (
    MAX_CPUMAP_ENTRIES,
    MAX_CPUMAP_QUEUE,
    MAX_MEM_ID,
    XDP_FRAMES,
    XSK_CHUNK,
)


def table_lengths(cpus: int) -> dict[str, int]:
    """Rows that the tables of XDP have on a machine of ``cpus`` CPUs."""
    return {
        "xdp_buff": cpus,
        "xdp_frame": XDP_FRAMES,
        "xdp_rxq": MAX_QUEUES,
        "xdp_mem": MAX_MEM_ID + 1,
        "xdp_cpu": cpus,
        "xdp_bulk": cpus * MAX_DEVICES,
        "cpumap_bulk": cpus * MAX_CPUMAP_ENTRIES,
        "cpumap_entry": MAX_CPUMAP_ENTRIES,
        "cpumap_first": cpus,
    }


def register_rxq(k: Kernel, cpu: int, rxq: int, mem_type: int, pool: int = NONE, frag_size: int = 0) -> None:
    """Tell XDP about a receive queue and where its pages are from.  Raises UsageError when it is refused."""
    xdp_rxq_info_reg(k, cpu, rxq, frag_size)
    error = xdp_rxq_info_reg_mem_model(k, cpu, rxq, mem_type, pool)
    if error < 0:
        raise UsageError(f"xdp_rxq_info_reg_mem_model() gave up with errno {error} on receive queue {rxq}")


def unregister_rxq(k: Kernel, cpu: int, rxq: int) -> None:
    """The opposite, before the queue's pool is destroyed."""
    xdp_rxq_info_unreg(k, cpu, rxq)


XDP_QUEUES = ("xdp_tx", "xdp_redirect")
"""Send queues that a channel can have for XDP, by their fields in its row of ``k.txq``."""


def add_xdp_queue(k: Kernel, txq: int, which: str, entries: int, limit: int, fn_poll: int) -> int:
    """A send queue beside transmit queue ``txq``, for ``which`` of :data:`XDP_QUEUES`; its row in ``k.txq``.

    The NAPI of ``txq`` cleans it, in the part of its poll function called ``fn_poll``.
    """
    row = (XDP_QUEUES.index(which) + 1) * MAX_QUEUES + txq
    own, q = k.txq[txq], k.txq[row]
    q.dev, q.index, q.napi = own.dev, own.index, own.napi
    q.limit = limit
    q.fn_poll = fn_poll
    if getattr(own, which) == 0:
        size = 1 << max(entries - 1, 1).bit_length()
        q.base = grow(k, "txd", size)
        q.mask = size - 1
        q.next = own.next
        own.next = row + 1
        setattr(own, which, row + 1)
    return row


def create_redirect_map(k: Kernel, kind: int, size: int) -> int:
    """A redirect map of ``size`` empty entries; its number."""
    number = grow(k, "redirect_map", 1)
    m = k.redirect_map[number]
    m.kind = kind
    m.size = size
    m.base = grow(k, "redirect_slot", size)
    return number


def create_cpumap_entry(k: Kernel, cpu: int, queue_size: int) -> int:
    """A kthread on ``cpu`` with a ring of ``queue_size`` frames; its row.  Raises UsageError for another size."""
    if not 1 <= queue_size <= MAX_CPUMAP_QUEUE:
        raise UsageError(f"a cpumap entry holds 1 to {MAX_CPUMAP_QUEUE} frames, not {queue_size}")
    row: int = k.xdp[0].cpumap_entries
    if row == MAX_CPUMAP_ENTRIES:
        raise UsageError(f"a machine has at most {MAX_CPUMAP_ENTRIES} cpumap entries")
    k.xdp[0].cpumap_entries = row + 1
    e = k.cpumap_entry[row]
    e.live = 1
    e.cpu = cpu
    e.size = queue_size
    rows = 1 << max(queue_size - 1, 1).bit_length()
    e.mask = rows - 1
    e.base = grow(k, "cpumap_ring", rows)
    e.next = k.cpumap_first[cpu]
    k.cpumap_first[cpu] = row + 1
    return row


def create_socket(k: Kernel, slots: int) -> int:
    """A socket with room for ``slots`` packets, a power of two; its row in ``k.xsk``."""
    row = grow(k, "xsk", 1)
    s = k.xsk[row]
    s.mask = slots - 1
    s.base = grow(k, "xsk_slot", slots)
    grow(k, "xsk_data", slots * XSK_CHUNK)
    return row
