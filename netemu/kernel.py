"""Every kernel module of netemu, imported in one fixed order, so that numbers in compiled code mean the same always."""

from __future__ import annotations

from .engine import era, events, faults, log, path, spinlock
from .engine.kernel import seal
from .mm import buddy, page_alloc, page_frag, pcp
from .net import (
    contents,
    device_layout,
    dma,
    driver,
    napi,
    page_pool,
    page_pool_frag,
    page_pool_shutdown,
    policy,
    ptr_ring,
    recycle,
    rss,
    run,
    skbuff,
    stack,
    timeline,
)

from .drivers import mlx5, netsec  # isort: skip

era.declare_era_table()
seal()

__all__ = [
    "buddy",
    "contents",
    "device_layout",
    "dma",
    "driver",
    "era",
    "events",
    "faults",
    "log",
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
    "recycle",
    "rss",
    "run",
    "skbuff",
    "spinlock",
    "stack",
    "timeline",
]
