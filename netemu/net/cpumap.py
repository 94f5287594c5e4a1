"""Redirect to another CPU: frames go through a ring to a kthread there, which makes packets of them.

Source: kernel/bpf/cpumap.c (cpu_map_enqueue, cpu_map_kthread_run, cpu_map_build_skb), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.agenda import act_no_later
from ..engine.cacheline import fetch_line
from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.path import charge, enter
from ..engine.spinlock import lock_class, spin_lock_inlined, spin_unlock
from ..mm.layout import NONE, PAGE_SIZE
from .journey import BY_CPUMAP, lost
from .page_pool import RING_LOCK, RING_SLOT, RING_UNLOCK, page_pool_release_page
from .skb_alloc import __build_skb, build_skb_around, skb_data_align, skb_mark_for_recycle, skb_put, skb_reserve
from .skb_data import skb_add_rx_frag
from .skb_layout import SHARED_INFO_SIZE
from .skb_slab import alloc_struct_list
from .stack import netif_receive_skb_internal
from .xdp_frame import frame_forget, frame_page, xdp_return_frame, xdp_return_frame_rx_napi
from .xdp_layout import (
    CPU_MAP_BULK_SIZE,
    CPUMAP_BATCH,
    MAX_CPUMAP_ENTRIES,
    MEM_TYPE_PAGE_POOL,
)

KTHREAD = cost_point("cpu_map_kthread_run")
RINGS = lock_class("cpumap ptr_ring", MAX_CPUMAP_ENTRIES)

KEPT = 0
RELEASED = 1
SINGLE = 0
FAR = 2**62


# -- the receiving CPU -----------------------------------------------------------------------------------------------


@inlined
def wake_up_kthread(k: Kernel, cpu: int, entry: int) -> None:
    """The kthread has something to do from now on."""
    e = k.cpumap_entry[entry]
    now = k.cpu[cpu].clock
    if e.head == e.tail:
        e.due = now
    act_no_later(k, e.cpu, max(now, k.cpu[e.cpu].clock))


@kernel_function
def bq_flush_to_queue(k: Kernel, cpu: int, entry: int) -> None:
    """Move the collected frames to the kthread's ring, under its lock; those that do not fit are dropped."""
    e = k.cpumap_entry[entry]
    b = k.cpumap_bulk[cpu * MAX_CPUMAP_ENTRIES + entry]
    wake_up_kthread(k, cpu, entry)
    spin_lock_inlined(k, cpu, RINGS + entry, RING_LOCK)
    refused = 0
    for i in range(b.count):
        if e.tail - e.head >= e.size:
            b.frame[refused] = b.frame[i]
            refused += 1
            continue
        charge(k, cpu, RING_SLOT)
        k.cpumap_ring[e.base + (e.tail & e.mask)] = b.frame[i]
        e.tail += 1
        e.enqueued += 1
    charge(k, cpu, RING_UNLOCK)
    spin_unlock(k, cpu, RINGS + entry)
    for i in range(refused):
        lost(k, k.xdp_frame[b.frame[i]].packet, BY_CPUMAP)
        xdp_return_frame_rx_napi(k, cpu, b.frame[i])
    e.drops += refused
    k.xdp[0].cpumap_drops += refused
    b.count = 0


@inlined
def cpu_map_bq_enqueue(k: Kernel, cpu: int, entry: int, frame: int) -> None:
    """Collect a frame; the 9th moves those before it."""
    b = k.cpumap_bulk[cpu * MAX_CPUMAP_ENTRIES + entry]
    if b.count == CPU_MAP_BULK_SIZE:
        bq_flush_to_queue(k, cpu, entry)
    elif b.count == 0:
        c = k.xdp_cpu[cpu]
        c.cpumap[c.cpumaps] = entry
        c.cpumaps += 1
    b.frame[b.count] = frame
    b.count += 1


# -- the other CPU ---------------------------------------------------------------------------------------------------


@kernel_function
def cpu_map_build_skb(k: Kernel, cpu: int, frame: int, skb: int) -> int:
    """A packet around the frame's memory, which leaves its pool or is marked to come back.  NONE: no struct.

    ``skb``: the struct, if it comes from a bulk allocation.
    """
    f = k.xdp_frame[frame]
    pages = k.era[0].cpumap_pages
    page = frame_page(k, frame)
    offset = f.hard_start % PAGE_SIZE
    headroom = f.data - f.hard_start
    if pages == KEPT:  # the struct stays in front, and the headroom is what it left
        offset += headroom - f.headroom
        headroom = f.headroom
    room = f.frame_sz
    if k.era[0].xdp_frame_sz == 0:
        room = skb_data_align(f.len + headroom) + SHARED_INFO_SIZE
    if k.era[0].cpumap_skbs == SINGLE:
        skb = __build_skb(k, cpu, page, offset, room)
    else:
        skb = build_skb_around(k, cpu, skb, page, offset, room)
    if skb == NONE:
        return NONE
    skb_reserve(k, skb, headroom)
    skb_put(k, skb, f.len)
    for i in range(f.nr_frags):
        skb_add_rx_frag(k, cpu, skb, f.frag_page[i], f.frag_offset[i], f.frag_size[i], PAGE_SIZE)
    r = k.skb[skb]
    r.dev = f.dev_rx
    r.queue = f.queue_rx
    k.skb_packet[skb] = f.packet
    if f.mem_type == MEM_TYPE_PAGE_POOL and k.pages[page].pp != 0:
        if pages == RELEASED:
            page_pool_release_page(k, cpu, k.pages[page].pp - 1, page)
            for i in range(f.nr_frags):
                page_pool_release_page(k, cpu, k.pages[f.frag_page[i]].pp - 1, f.frag_page[i])
        elif pages != KEPT:
            skb_mark_for_recycle(k, cpu, skb)
    return skb


@inlined
def struct_for_frame(k: Kernel, entry: int) -> int:
    """The next of the structs that the kthread has allocated in bulk.  NONE: there was no memory, or it does not."""
    e = k.cpumap_entry[entry]
    skb = e.skbs - 1
    if skb != NONE:
        e.skbs = k.skb[skb].next
        k.skb[skb].next = 0
    return skb


@inlined
def cpumap_frame(k: Kernel, cpu: int, entry: int) -> None:
    """Take the oldest frame of the ring through the stack."""
    e = k.cpumap_entry[entry]
    frame = k.cpumap_ring[e.base + (e.head & e.mask)]
    e.head += 1
    e.batch -= 1
    e.processed += 1
    fetch_line(k, cpu, k.xdp_frame[frame].line)
    skb = cpu_map_build_skb(k, cpu, frame, struct_for_frame(k, entry))
    if skb == NONE:
        k.xdp[0].cpumap_drops += 1
        lost(k, k.xdp_frame[frame].packet, BY_CPUMAP)
        xdp_return_frame(k, cpu, frame)
        return
    frame_forget(k, cpu, frame)
    netif_receive_skb_internal(k, cpu, skb)


@kernel_function(traced=False)
def cpu_map_kthread_step(k: Kernel, cpu: int) -> None:
    """One frame in the kthread that is due first, 8 of one ring in a row; bottom halves are off."""
    entry = k.cpumap_first[cpu] - 1
    best = entry
    while entry >= 0:
        e = k.cpumap_entry[entry]
        if e.head != e.tail and (k.cpumap_entry[best].head == k.cpumap_entry[best].tail or e.batch > 0):
            best = entry
        entry = e.next - 1
    e = k.cpumap_entry[best]
    c = k.cpu[cpu]
    c.node = 0
    if e.batch == 0:
        e.batch = min(e.tail - e.head, CPUMAP_BATCH)
        enter(k, cpu, KTHREAD)
        e.node = c.node
        if k.era[0].cpumap_skbs != SINGLE:
            e.skbs = alloc_struct_list(k, cpu, e.batch) + 1
    c.node = e.node
    c.bh_disabled += 1
    cpumap_frame(k, cpu, best)
    c.bh_disabled -= 1
    c.node = 0


@inlined
def kthread_due(k: Kernel, cpu: int) -> int:
    """When a kthread of this CPU has something to do (ps); a time past every other when none has."""
    due = FAR
    if k.xdp[0].cpumap_entries != 0:
        entry = k.cpumap_first[cpu] - 1
        while entry >= 0:
            e = k.cpumap_entry[entry]
            if e.head != e.tail:
                due = min(due, e.due)
            entry = e.next - 1
    return due
