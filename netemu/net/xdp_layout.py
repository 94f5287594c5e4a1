"""State of XDP: buffers that programs look at, frames on their way, memory models, redirect maps; and its switches."""

from __future__ import annotations

from ..engine.era import switch
from ..engine.layout import MAX_DEVICES, table
from .skb_layout import MAX_SKB_FRAGS

XDP_ABORTED = 0
XDP_DROP = 1
XDP_PASS = 2
XDP_TX = 3
XDP_REDIRECT = 4
VERDICTS = ("aborted", "drop", "pass", "tx", "redirect")
"""Names of the verdicts, by value."""

XDP_PACKET_HEADROOM = 256
ETH_HLEN = 14
MAX_METADATA = 32
SMALL_FRAME_STRUCT = 32
"""Headroom that struct xdp_frame takes, until v5.17."""
FRAME_STRUCT = 40

XDP_FRAMES = 1 << 16
"""Frames that a machine can have in flight."""
DEV_MAP_BULK_SIZE = 16
CPU_MAP_BULK_SIZE = 8
CPUMAP_BATCH = 8
"""Frames that the kthread takes from its ring at a time."""
XDP_BULK_QUEUE_SIZE = 16
"""Pages that xdp_return_frame_bulk collects."""
MAX_CPUMAP_ENTRIES = 64
"""Entries of all cpumaps of a machine."""
MAX_CPUMAP_QUEUE = 16384
XSK_CHUNK = 4096
"""Bytes of one receive slot of a socket."""

# memory models
MEM_TYPE_PAGE_SHARED = 0
MEM_TYPE_PAGE_ORDER0 = 1
MEM_TYPE_PAGE_POOL = 2
NR_MEM_TYPES = 3
MAX_MEM_ID = 0xFFFE

# xdp_rxq.state
REG_STATE_NEW = 0
REG_STATE_REGISTERED = 1
REG_STATE_UNREGISTERED = 2

# xdp_cpu.kind: what the last redirect helper asked for
TO_NOTHING = 0
TO_DEVICE = 1
TO_DEVMAP = 2
TO_CPUMAP = 3
TO_XSKMAP = 4

table(
    "xdp_buff",  # [cpu]: the packet that a program looks at; addresses are bytes of k.memory (page * 4096 + offset)
    [
        ("hard_start", "i8"),
        ("data_meta", "i8"),  # data + 1: the driver has no room for metadata
        ("data", "i8"),
        ("data_end", "i8"),
        ("frame_sz", "i4"),  # bytes from hard_start to the end of the buffer, the shared info included
        ("rxq", "i4"),
        ("dev", "i4"),  # that received the packet
        ("nr_frags", "i4"),  # multi-buffer: what follows data_end
        ("frags_size", "i4"),
        ("pfmemalloc", "i4"),
        ("packet", "i8"),  # number in the trace
        ("frag_page", "i4", MAX_SKB_FRAGS),
        ("frag_offset", "i4", MAX_SKB_FRAGS),
        ("frag_size", "i4", MAX_SKB_FRAGS),
    ],
)
table(
    "xdp_frame",  # packets that have left their driver; the struct lies at hard_start
    [
        ("live", "i4"),
        ("next", "i4"),  # + 1: on the free list
        ("hard_start", "i8"),
        ("data", "i8"),
        ("len", "i4"),  # of the first buffer
        ("headroom", "i4"),
        ("metasize", "i4"),
        ("frame_sz", "i4"),
        ("mem_type", "i4"),
        ("mem_id", "i4"),
        ("line", "i4"),  # CPU that wrote the struct, + 1
        ("dev_rx", "i4"),
        ("queue_rx", "i4"),
        ("nr_frags", "i4"),
        ("frags_size", "i4"),
        ("packet", "i8"),
        ("frag_page", "i4", MAX_SKB_FRAGS),
        ("frag_offset", "i4", MAX_SKB_FRAGS),
        ("frag_size", "i4", MAX_SKB_FRAGS),
    ],
)
table(
    "xdp",
    [
        ("frame_free", "i4"),  # newest free frame + 1
        ("frame_made", "i4"),
        ("live", "i4"),
        ("next_mem_id", "i4"),
        ("warned", "i4"),  # an unknown verdict has been reported
        ("exceptions", "i8"),  # trace_xdp_exception
        ("redirect_err", "i8"),  # xdp_do_redirect said no
        ("xmit_drops", "i8"),  # frames that a device did not take
        ("cpumap_drops", "i8"),  # frames that a cpumap's ring did not take, or no skb could be built for
        ("xsk_delivered", "i8"),
        ("drain", "i4"),  # 1: a socket's ring is nearly full, Python is to empty it
        ("cpumap_entries", "i4"),
    ],
)
table(
    "xdp_rxq",  # [rxq]: xdp_rxq_info, and what programs said there
    [
        ("state", "i4"),
        ("mem_type", "i4"),
        ("mem_id", "i4"),  # 0: no allocator
        ("frag_size", "i4"),  # buffer size of fragments, 0: adjust_tail cannot grow them
        ("verdict", "i8", 5),
        ("tx_full", "i8"),  # XDP_TX found no room, or no frame could be made
        ("redirect_err", "i8"),
    ],
)
table("xdp_mem", "i4")  # [mem id] -> pool + 1, 0: not registered
table(
    "xdp_cpu",  # per CPU: bpf_redirect_info, and what xdp_do_flush has to look at
    [
        ("kind", "i4"),
        ("map", "i4"),
        ("key", "i4"),
        ("target", "i4"),  # what the key led to: device, cpumap entry or socket, + 1; 0: missing
        ("devices", "i4"),  # with frames to send, in order of first use
        ("device", "i4", MAX_DEVICES),
        ("cpumaps", "i4"),
        ("cpumap", "i4", MAX_CPUMAP_ENTRIES),
        ("returned", "i4"),  # pages collected by xdp_return_frame_bulk
        ("returned_pool", "i4"),
        ("returned_page", "i4", XDP_BULK_QUEUE_SIZE),
    ],
)
table("xdp_bulk", [("count", "i4"), ("frame", "i4", DEV_MAP_BULK_SIZE)])  # [cpu * MAX_DEVICES + device]
table("cpumap_bulk", [("count", "i4"), ("frame", "i4", CPU_MAP_BULK_SIZE)])  # [cpu * MAX_CPUMAP_ENTRIES + entry]
table("redirect_map", [("kind", "i4"), ("base", "i4"), ("size", "i4")])
table("redirect_slot", "i4")  # [map.base + key] -> device, cpumap entry or socket, + 1; 0: empty
table(
    "cpumap_entry",
    [
        ("cpu", "i4"),
        ("live", "i4"),
        ("next", "i4"),  # + 1: another entry of the same CPU
        ("base", "i4"),  # ring of frames in k.cpumap_ring
        ("size", "i4"),  # frames it may hold
        ("mask", "i4"),
        ("head", "i8"),
        ("tail", "i8"),
        ("batch", "i4"),  # frames of this round that are still to be handled
        ("skbs", "i4"),  # + 1: structs allocated for them, a list by skb.next
        ("due", "i8"),  # when the kthread was woken, ps
        ("node", "i4"),  # call path of the kthread
        ("enqueued", "i8"),
        ("drops", "i8"),
        ("processed", "i8"),
    ],
)
table("cpumap_ring", "i4")
table("cpumap_first", "i4")  # [cpu] -> first entry + 1
table(
    "xsk",  # sockets that hand packets to Python
    [("base", "i4"), ("mask", "i4"), ("head", "i8"), ("tail", "i8"), ("drops", "i8")],
)
table("xsk_slot", [("length", "i4"), ("rxq", "i4"), ("packet", "i8")])
table("xsk_data", "u1")  # [slot * XSK_CHUNK + i]

switch(
    "xdp_frame_sz",
    "unknown known",
    "whether a program's buffer has a known end (v5.8): the packet can grow at its tail up to there, and one that "
    "leaves no room for the shared info behind it is not redirected",
)
switch(
    "xdp_frame_struct",
    "bytes32 bytes40",
    "headroom that the kernel keeps for itself in front of a packet: what a program cannot use (v5.18: 8 bytes more)",
)
switch(
    "xdp_multi_buffer",
    "no cpumap_only devices",
    "packets of several buffers under XDP: none, so that a program limits the MTU; received, but redirected to other "
    "CPUs only (v5.18); sent by devices that gather (v6.3)",
)
switch(
    "xdp_xmit_failure",
    "driver_frees core_frees",
    "who gives back redirected frames that a device has no room for: its driver, which tries each of them, or the "
    "core, after the driver stopped at the first (v5.13)",
)
switch(
    "xdp_return",
    "single bulk",
    "pages of redirected frames after transmission: one by one into their pool's ring, one lock each, or 16 under one "
    "lock (v5.11)",
)
switch(
    "xdp_mem_lookup",
    "id_or_put id page",
    "how a returned frame finds its pool: by number, a plain free when the pool is gone; by number, and it has to be "
    "there (v5.4); by the page's signature (v5.18)",
)
switch(
    "cpumap_pages",
    "kept released recycled",
    "a pool page that goes to another CPU as a packet: freed there behind the pool's back, let go by the pool (v5.3), "
    "or marked so that it comes back (v6.4)",
)
switch(
    "cpumap_skbs",
    "single bulk",
    "sk_buff structs for frames on another CPU: one by one, or up to 8 in one request to the slab, all or none (v5.2)",
)
switch(
    "xdp_redirect_dev",
    "at_once bulk",
    "redirect without a map: each frame to the driver with a doorbell of its own, or 16 at a time (v5.6)",
)
switch(
    "xdp_redirect_flags",
    "refused fallback",
    "flags of a redirect by map: none allowed, or the verdict to use when the map has no such entry (v5.3)",
)
