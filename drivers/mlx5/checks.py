"""What must hold of mlx5's receive page cache and multi-packet WQEs, for checked machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt

from netemu.engine.layout import Kernel
from netemu.engine.watch import Body, Watch
from netemu.mm.layout import NONE
from netemu.net.plugin import Nic

from .layout import CACHE, CACHE_SIZE, MPWQE, RQ
from .pages import mlx5e_rx_cache_get

COUNTERS = ("cache_reuse", "cache_empty", "cache_busy")


def cached_pages(rq: Any, slots: npt.NDArray[Any]) -> list[int]:
    """What is in the page cache of a queue, the oldest first."""
    head, tail = int(rq["cache_head"]), int(rq["cache_tail"])
    return [int(slots[at % CACHE_SIZE]) for at in range(head, head + (tail - head) % CACHE_SIZE)]


def cache_breaches(nic: Nic) -> Iterator[tuple[str, str]]:
    """DR-02, DR-03: what is in the caches is held, mapped, a page of the pool, and there once."""
    k = nic.k
    slots = nic.private(CACHE)["page"].reshape(nic.queues, CACHE_SIZE)
    for index, rq in enumerate(nic.private(RQ)):
        head, tail = int(rq["cache_head"]), int(rq["cache_tail"])
        if not (0 <= head < CACHE_SIZE and 0 <= tail < CACHE_SIZE):
            yield "DR-03", f"page cache of queue {index}: head {head} and tail {tail} of {CACHE_SIZE} slots"
            continue
        pages = cached_pages(rq, slots[index])
        for pfn in pages:
            page = k.pages[pfn]
            wrong = []
            if page.refcount < 1:
                wrong.append("is free")
            if page.dma_addr == 0:
                wrong.append("is not mapped")
            if k.era[0].pool_accounting and page.pp != k.rxq[nic.rxq(index)].pool + 1:
                wrong.append("is not counted by the pool")
            if pages.count(pfn) > 1:
                wrong.append("is there twice")
            if wrong:
                yield "DR-02", f"page {pfn} in the page cache of queue {index} {' and '.join(wrong)}"


def stride_breaches(nic: Nic) -> Iterator[tuple[str, str]]:
    """DR-05: no WQE has more strides used than it has."""
    consumed = nic.private(MPWQE)["consumed"].reshape(nic.queues, -1)
    for index, rq in enumerate(nic.private(RQ)):
        for at in range(int(rq["ci"]), int(rq["pi"])) if rq["striding"] else ():
            used = int(consumed[index, at % int(rq["wqes"])])
            if not 0 <= used <= rq["strides"]:
                yield "DR-05", f"WQE {at} of queue {index}: {used} of {rq['strides']} strides are used"


def follow_cache(watch: Watch, report: Callable[[str, str], None]) -> None:
    """DR-04: the oldest page is reused exactly when nobody else has it; every look at the cache is counted once."""

    def cache_get(body: Body, k: Kernel, cpu: int, rxq: int) -> int:
        q = k.rxq[rxq]
        r: Any = RQ(k, q.dev, q.index)
        head, tail = r.cache_head, r.cache_tail
        before = [getattr(r, name) for name in COUNTERS]
        oldest = NONE if head == tail else CACHE(k, q.dev, q.index * CACHE_SIZE + head).page
        free = oldest != NONE and k.pages[oldest].refcount == 1
        got: int = body(k, cpu, rxq)
        counted = [getattr(r, name) - was for name, was in zip(COUNTERS, before, strict=True)]
        expected = [int(free), int(oldest == NONE), int(oldest != NONE and not free)]
        moved = (r.cache_head - head) % CACHE_SIZE
        if got != (oldest if free else NONE) or counted != expected or moved != free or r.cache_tail != tail:
            report(
                "DR-04",
                f"page cache of queue {q.index}: its oldest page {oldest} has "
                f"{k.pages[oldest].refcount if oldest != NONE else 0} references; "
                f"page {got} was taken, and counted as {dict(zip(COUNTERS, counted, strict=True))}",
            )
        return got

    function: Any = mlx5e_rx_cache_get
    watch.wrap(function, cache_get)
