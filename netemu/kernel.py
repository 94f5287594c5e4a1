"""Every kernel module of netemu, imported in one fixed order, so that numbers in compiled code mean the same always."""

from __future__ import annotations

from .engine import agenda, cacheline, era, events, faults, inject, log, path, spinlock
from .engine.kernel import seal
from .mm import buddy, page_alloc, page_frag, pcp
from .net import (
    bql,
    contents,
    cpumap,
    device_layout,
    dma,
    driver,
    interrupts,
    journey,
    local,
    loops,
    napi,
    page_pool,
    page_pool_frag,
    page_pool_shutdown,
    policy,
    ptr_ring,
    qdisc,
    recycle,
    redirect,
    rss,
    run,
    skbuff,
    slab_partial,
    stack,
    timeline,
    xdp,
    xdp_frame,
    xsk,
)

from .drivers import mlx5, netsec  # isort: skip

era.declare_era_table()
seal()

__all__ = [
    "agenda",
    "bql",
    "buddy",
    "cacheline",
    "contents",
    "cpumap",
    "device_layout",
    "dma",
    "driver",
    "era",
    "events",
    "faults",
    "inject",
    "interrupts",
    "journey",
    "local",
    "log",
    "loops",
    "mlx5",
    "napi",
    "netsec",
    "page_alloc",
    "page_frag",
    "page_pool",
    "page_pool_frag",
    "page_pool_shutdown",
    "path",
    "pcp",
    "policy",
    "ptr_ring",
    "qdisc",
    "recycle",
    "redirect",
    "rss",
    "run",
    "skbuff",
    "slab_partial",
    "spinlock",
    "stack",
    "timeline",
    "xdp",
    "xdp_frame",
    "xsk",
]
