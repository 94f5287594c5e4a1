"""Taking an mlx5 receive queue down: every page goes back, the cache included.

Source: en_main.c (mlx5e_free_rx_descs, mlx5e_free_rq), v4.19 to v6.12.
"""

from __future__ import annotations

from netemu.engine.kernel import kernel_function
from netemu.engine.layout import Kernel
from netemu.mm.layout import NONE
from netemu.net.page_pool import page_pool_return_page
from netemu.net.policy import unshelve_any
from netemu.net.recycle import stop_recycling, unpark_any

from .layout import CACHE, CACHE_SIZE, FRAG, MPWQE_PAGE, PAGES_PER_MPWQE, RQ
from .pages import page_done, page_drop


@kernel_function(traced=False, entry=True)
def close_rq(k: Kernel, cpu: int, rxq: int, _unused: int) -> int:
    """Release posted buffers, then parked, kept and cached pages."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    k.cpu[cpu].bh_disabled += 1
    stop_recycling(k)
    if r.striding:
        drop_striding(k, cpu, rxq)
    else:
        drop_legacy(k, cpu, rxq)
    pfn = unpark_any(k, rxq)
    while pfn != NONE:
        page_drop(k, cpu, rxq, pfn)
        pfn = unpark_any(k, rxq)
    pfn = unshelve_any(k, cpu, rxq)
    while pfn != NONE:
        if k.era[0].mlx5_rx_cache != 0:
            page_pool_return_page(k, cpu, q.pool, pfn)
        else:
            page_drop(k, cpu, rxq, pfn)
        pfn = unshelve_any(k, cpu, rxq)
    while r.cache_head != r.cache_tail:
        pfn = CACHE(k, q.dev, q.index * CACHE_SIZE + r.cache_head).page
        r.cache_head = (r.cache_head + 1) & (CACHE_SIZE - 1)
        page_drop(k, cpu, rxq, pfn)
    k.cpu[cpu].bh_disabled -= 1
    return 0


@kernel_function(traced=False)
def drop_legacy(k: Kernel, cpu: int, rxq: int) -> None:
    """Every page that a fragment still names."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    rows = r.wqes * r.frags
    for i in range(rows):
        f = FRAG(k, q.dev, q.index * rows + i)
        if f.page != 0:
            page_done_or_drop(k, cpu, rxq, f.page - 1, f.used)
            f.page = 0
    r.ci = r.pi
    r.filling = 0


@kernel_function(traced=False)
def drop_striding(k: Kernel, cpu: int, rxq: int) -> None:
    """Every page of the posted WQEs and of the one being filled."""
    q = k.rxq[rxq]
    r = RQ(k, q.dev, q.index)
    while r.ci <= r.pi:
        pages = r.filling if r.ci == r.pi else PAGES_PER_MPWQE
        for i in range(pages):
            wqe = q.index * r.wqes + (r.ci & (r.wqes - 1))
            m = MPWQE_PAGE(k, q.dev, wqe * PAGES_PER_MPWQE + i)
            if m.page != NONE:
                page_done_or_drop(k, cpu, rxq, m.page, m.used)
        r.ci += 1
    r.ci = r.pi
    r.filling = 0


@kernel_function(traced=False)
def page_done_or_drop(k: Kernel, cpu: int, rxq: int, pfn: int, used: int) -> None:
    """Without the RX cache the pool takes the page back; with it, the page is dropped."""
    if k.era[0].mlx5_rx_cache != 0:
        page_done(k, cpu, rxq, pfn, used)
    else:
        page_drop(k, cpu, rxq, pfn)
