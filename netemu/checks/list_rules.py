"""Per-CPU page lists under watch: how long they get, and what one hold of zone->lock moves from and to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm import page_alloc, pcp
from ..mm.layout import PAGEBLOCK_ORDER
from ..mm.pcp import PCP_BATCH_SCALE_MAX

if TYPE_CHECKING:
    from .checker import Checker

LONG_HOLD = 1500
"""Pages that a hold may always move, however small the batch."""


class ListRules:
    """Follows frees to per-CPU lists, their refills and their bulk frees (PC-02, PC-04, PC-05, PC-06)."""

    def __init__(self, checker: Checker, watch: Watch) -> None:
        self.checker = checker
        self.bulk_frees = 0
        hooks: list[tuple[Any, Any]] = [
            (page_alloc.free_unref_page, self.free_unref_page),
            (pcp.free_pcppages_bulk, self.free_pcppages_bulk),
            (pcp.rmqueue_bulk, self.rmqueue_bulk),
        ]
        for function, hook in hooks:
            watch.wrap(function, hook)

    def free_unref_page(self, body: Body, k: Kernel, cpu: int, pfn: int, order: int) -> None:
        before = self.bulk_frees
        body(k, cpu, pfn, order)
        if k.machine[0].scripted:
            return
        zone = k.pages[pfn].zone
        row = k.pcp[zone * k.machine[0].cpus + cpu]
        drained = self.bulk_frees != before
        if row.count > max(row.high - 1, 0) and not (drained and k.era[0].pcp_free != 0):
            self.checker.report(
                "PC-02", f"CPU {cpu}, zone {zone}: {row.count} pages on the list after a free, high is {row.high}"
            )

    def free_pcppages_bulk(self, body: Body, k: Kernel, cpu: int, zone: int, count: int, index: int) -> None:
        self.bulk_frees += 1
        row = k.pcp[zone * k.machine[0].cpus + cpu]
        held, holds = row.count, k.zone[zone].acquisitions
        body(k, cpu, zone, count, index)
        moved, wanted = held - row.count, min(count, held)
        largest = 1 << PAGEBLOCK_ORDER if k.era[0].pcp_orders else 1
        if not wanted <= moved < wanted + largest:
            self.checker.report("PC-04", f"{moved} pages left the list of CPU {cpu}, zone {zone}, instead of {wanted}")
        holds = max(k.zone[zone].acquisitions - holds, 1)
        asked_by_kernel = k.watch is not None and k.watch.depth > 1
        if count > max(row.batch << PCP_BATCH_SCALE_MAX, LONG_HOLD) * holds and asked_by_kernel:
            self.checker.report("PC-06", f"{count} pages freed in {holds} hold of zone->lock (batch: {row.batch})")

    def rmqueue_bulk(self, body: Body, k: Kernel, cpu: int, zone: int, order: int, count: int) -> int:
        row = k.pcp[zone * k.machine[0].cpus + cpu]
        held, holds = row.count, k.zone[zone].acquisitions
        got: int = body(k, cpu, zone, order, count)
        most = row.batch << PCP_BATCH_SCALE_MAX if k.era[0].pcp_refill else row.batch
        most = most if order == 0 else max(most >> order, 2)
        entered, holds = (row.count - held) >> order, k.zone[zone].acquisitions - holds
        if entered > most or entered != got or holds != 1:
            self.checker.report(
                "PC-05",
                f"{entered} blocks of order {order} entered the list of CPU {cpu}, zone {zone}, under {holds} holds of "
                f"zone->lock; {most} under one are the most",
            )
        return got
