"""Every key that an experiment can set, by kind: the format that docs/experiments.md specifies."""

from __future__ import annotations

from netemu.experiments.values import (
    LARGEST_PACKET,
    SMALLEST_PACKET,
    Key,
    consumer,
    either,
    era,
    integer,
    listed,
    mix,
    number,
    one_of,
    recycling,
    switches,
    text,
    words,
    yes_or_no,
)
from netemu.machine import HELD_ROWS, MAX_CPUS, MAX_PCP_PAGES
from netemu.net.local import MAX_STREAMS

MACHINE = (
    Key("era", era, "v6.1", "kernel release"),
    Key("switches", switches, {}, "mechanisms of the era to change"),
    Key("platform", text, "xeon-e5-1650v4", "whose costs of operations: a name, or a .toml file"),
    Key("cpus", integer(1, 128), 1, "emulated CPUs"),
    Key("nodes", integer(1, 8), 1, "memory nodes, each with as many consecutive CPUs"),
    Key("memory_mb", integer(4, 1 << 18), 1024, "MiB of memory on each node"),
    Key("pcp_batch", integer(1, 1 << 16), None, "pages moved at once between buddy lists and a per-CPU list"),
    Key("pcp_high", integer(0, MAX_PCP_PAGES), None, "length at which a per-CPU list gives pages back"),
    Key("seed", integer(0, 2**31 - 1), 1, "seed of every random choice"),
)

LOOP = (
    Key("count", integer(1, 10**9), 20_000, "operations measured, on each CPU"),
    Key("warmup", integer(0, 10**9), 5_000, "operations done before measuring, on each CPU"),
    Key("think_ns", number(0, 1e6), 0, "private work after each operation, ns"),
    Key("think_spread", number(0, 1), 0.5, "share of think_ns by which it varies at random, up or down"),
    Key("fragmented", yes_or_no, False, "leave free blocks of the loop's order alone: nothing is split or merged"),
)

_BURST = Key("burst", integer(1, 1 << 20), 1, "items allocated before the first of them is freed")
_RING_SIZE = Key("ring_size", integer(0, 32768), 0, "slots of the pool's ring; 0: 1024")
_ORDER = Key("order", integer(0, 10), 0, "blocks of 2**order pages")
_DMA = Key("dma_map", yes_or_no, False, "the pool maps its pages for DMA")

LOOPS: dict[str, tuple[Key, ...]] = {
    "page_alloc": (
        _ORDER,
        Key(
            "free",
            one_of("__free_pages", "put_page", "page_frag_free", "__free_pages_ok"),
            "__free_pages",
            "function that frees; __free_pages_ok goes past the per-CPU lists",
        ),
        _BURST,
        Key("bulk", integer(0, 4096), 0, "pages of one __alloc_pages_bulk call (v5.13); 0: one by one"),
    ),
    "page_frag": (Key("size", integer(1, 32768), 2048, "bytes of a fragment"), _BURST),
    "page_pool": (
        Key(
            "path",
            one_of("direct", "ring", "release", "bulk"),
            "direct",
            "how a page returns: to the cache, by the ring, to the page allocator, or in bulk by the ring",
        ),
        _ORDER,
        _RING_SIZE,
        Key("ring_fill", integer(0, 32768), 64, "pages in the ring before the loop begins"),
        _DMA,
        _BURST,
        Key("bulk", integer(1, 4096), 16, "pages of one page_pool_put_page_bulk call"),
    ),
    "page_pool_cross_cpu": (
        Key("returning", integer(1, MAX_CPUS - 1), 1, "CPUs that return pages; one more allocates them"),
        Key("queue_size", integer(1, 65536), 64, "pages that wait for one returning CPU at most"),
        _ORDER,
        _RING_SIZE,
        _DMA,
    ),
    "spinlock": (
        Key("shared", yes_or_no, True, "all CPUs take the same lock"),
        Key("irqsave", yes_or_no, False, "with interrupts saved and disabled; no platform has a price for that yet"),
        Key("hold_ns", number(0, 1e6), 0, "work under the lock, ns; CPUs that share a lock have to hold it"),
    ),
    "atomic": (),
    "call": (Key("indirect", yes_or_no, False, "through a function pointer"),),
    "skb_struct": (
        Key("bulk", integer(0, 64), 0, "structs of one kmem_cache_alloc_bulk call; 0: one by one"),
        _BURST,
    ),
    "skb": (
        Key(
            "pages",
            one_of("page_alloc", "page_pool", "reused"),
            "page_alloc",
            "where the page comes from; reused: one page that somebody else keeps",
        ),
        Key(
            "build", one_of("build_skb", "napi_build_skb"), "build_skb", "function that builds (napi_build_skb: v5.12)"
        ),
        Key(
            "free",
            one_of("napi_consume_skb", "consume_skb", "kfree_skb"),
            "napi_consume_skb",
            "function that frees",
        ),
        Key("size", integer(384, 4096), 2048, "bytes of the head, shared info included"),
        _BURST,
    ),
    "dma": (Key("size", integer(1, 4096), 64, "bytes synced"),),
}

TRAFFIC = (
    Key("driver", text, "mlx5", "a driver by name, or a .py file"),
    Key("driver_options", words, {}, "options that the driver declares"),
    Key("rq", one_of("legacy", "striding"), None, "mlx5: kind of receive queue"),
    Key("queues", integer(1, 512), None, "receive and transmit queue pairs; one per CPU"),
    Key("mtu", integer(68, 65535), 1500, "MTU, bytes"),
    Key("trace", text, None, "a capture file, relative to the experiment file, in place of generated packets"),
    Key("repeat", integer(1, 10**6), 1, "passes over the trace"),
    Key("packets", integer(1, 10**10), 100_000, "generated packets"),
    Key(
        "packet_size",
        integer(SMALLEST_PACKET, LARGEST_PACKET),
        64,
        "bytes of a generated frame, frame check sequence included",
    ),
    Key("mix", mix, None, "sizes and weights of generated frames, in place of packet_size"),
    Key("flows", integer(1, 1 << 16), 256, "flows that generated packets belong to, at random"),
    Key(
        "streams",
        integer(1, MAX_STREAMS),
        None,
        "flows that take turns, spread evenly over the queues, in place of flows",
    ),
    Key("rate", either(one_of("recorded", "max"), number(1e-3, 1e12)), "max", "packets per second, max or recorded"),
    Key(
        "action", one_of("forward", "local", "drop", "generic-xdp-drop"), "forward", "what the stack does with a packet"
    ),
    Key(
        "xdp",
        one_of("aborted", "drop", "pass", "tx", "redirect"),
        None,
        "what an XDP program at the driver does with all",
    ),
    Key("hold_us", number(0, 1e9), 0, "time for which local delivery holds a packet"),
    Key(
        "window",
        integer(0, HELD_ROWS),
        0,
        "packets of a stream on their way or unread before its sender stops; 0: any number",
    ),
    Key("recycle", recycling, "mechanism", "mechanism, the success rate of each recycling, or a recycle policy"),
    Key("irq_affinity", listed(integer(0, 127)), None, "CPUs that take the queues' interrupts, in turn"),
    Key(
        "xps",
        text,
        "cpu",
        'transmit queue: that of the sending CPU ("cpu"), "rxq", or of the CPU N further ("shift:N")',
    ),
    Key("consumer_cpu", consumer, "same", 'CPU of the local consumer: the receiving one ("same") or "shift:N"'),
    Key("rx_usecs", number(0, 1e6), None, "receive interrupt: delay, microseconds"),
    Key("tx_usecs", number(0, 1e6), None, "transmit interrupt: delay, microseconds"),
    Key("rx_frames", integer(1, 1 << 16), None, "receive interrupt: frames"),
    Key("tx_frames", integer(1, 1 << 16), None, "transmit interrupt: frames"),
    Key("bql", yes_or_no, True, "byte queue limits"),
    Key("netdev_budget", integer(1, 1 << 20), 300, "packets of one net_rx_action"),
    Key("link_gbps", number(1e-3, 8000), None, "speed of the link, Gbit/s"),
)

KINDS: dict[str, tuple[Key, ...]] = {
    **{kind: (*MACHINE, *LOOP, *own) for kind, own in LOOPS.items()},
    "traffic": (*MACHINE, *TRAFFIC),
}
"""Keys of each kind of experiment."""


def keys_of(kind: str) -> dict[str, Key]:
    """The keys of a kind, by name."""
    return {key.name: key for key in KINDS[kind]}
