"""Setting up what has a size of its own: page_pools with their rings, completion and transmit rings."""

from __future__ import annotations

import numpy as np

from ..engine.layout import TABLES, Kernel
from ..errors import UsageError
from .page_pool import page_pool_check_params
from .pool_layout import MAX_POOLS, PP_FLAG_DMA_MAP
from .ptr_ring import batch_of

ERRORS = {-22: "EINVAL", -7: "E2BIG", -12: "ENOMEM"}


def grow(k: Kernel, table: str, rows: int) -> int:
    """Append ``rows`` zeroed rows to a table of the machine; the first new row's number.

    Only between runs: compiled code holds table addresses while it runs.
    """
    old = k.arrays[table]
    used = k.sizes.get(table, 0)
    if used + rows > old.size:
        bigger = np.zeros(max(used + rows, 2 * old.size), TABLES[table].dtype)
        bigger[:used] = old[:used]
        k.replace(table, bigger)
    k.sizes[table] = used + rows
    return used


def page_pool_create(
    k: Kernel,
    cpu: int,
    *,
    order: int = 0,
    flags: int = 0,
    size: int = 0,
    nid: int = -1,
    dma_dir: int = 2,
    max_len: int = 0,
    offset: int = 0,
    init_callback: int = 0,
    napi_cpu: int = -1,
    napi: int = -1,
) -> int:
    """Make a pool: its number, or the negative error number that the kernel answers (and logs)."""
    ring = page_pool_check_params(k, cpu, flags, size, dma_dir, max_len)
    if ring < 0:
        return ring
    pools = k.pools[0]
    if pools.count >= MAX_POOLS:
        raise UsageError(f"a machine holds at most {MAX_POOLS} page_pools")
    pool: int = pools.count
    pools.count += 1
    p = k.pool[pool]
    p.alive = 1
    p.order = order
    p.flags = flags
    p.nid = nid
    p.dma_dir = dma_dir
    p.max_len = max_len
    p.offset = offset
    p.init_callback = init_callback
    p.napi_cpu = napi_cpu + 1
    p.napi = napi + 1
    p.users = 1
    p.ring_size = ring
    p.ring_batch = batch_of(p.ring_size)
    p.ring_base = grow(k, "pool_ring", p.ring_size)
    if flags & PP_FLAG_DMA_MAP:
        pools.device_gets += 1
    return pool


def create_page_pool(k: Kernel, cpu: int, **parameters: int) -> int:
    """:func:`page_pool_create` for callers that want a pool.  Raises UsageError with the kernel's error name."""
    pool = page_pool_create(k, cpu, **parameters)
    if pool < 0:
        raise UsageError(f"page_pool_create() gave up with errno {pool} ({ERRORS.get(pool, '?')})")
    return pool
