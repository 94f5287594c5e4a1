"""The delayed work of pools that wait for their last pages, on a clock of its own (``k.work``, milliseconds)."""

from __future__ import annotations

import numpy as np

from ..engine.layout import Kernel
from ..mm.layout import NONE
from .page_pool_shutdown import page_pool_release_retry


def next_work(k: Kernel) -> int:
    """The pool whose pending work is due first (of several: the one scheduled first), or NONE."""
    made = k.arrays["pool"][: k.pools[0].count]
    pending = np.flatnonzero(made["work_pending"])
    if pending.size == 0:
        return NONE
    first = np.lexsort((made["work_order"][pending], made["work_due"][pending]))[0]
    return int(pending[first])


def run_next_work(k: Kernel, cpu: int) -> bool:
    """Run the pending work that is due first, moving the clock to its due time if that lies ahead.  False: none."""
    pool = next_work(k)
    if pool == NONE:
        return False
    k.work[0].now = max(k.work[0].now, k.pool[pool].work_due)
    page_pool_release_retry(k, cpu, pool)
    return True


def advance(k: Kernel, cpu: int, ms: int) -> int:
    """Let ``ms`` milliseconds pass, running all work that becomes due, each at its time; how many there were."""
    end = k.work[0].now + ms
    ran = 0
    pool = next_work(k)
    while pool != NONE and k.pool[pool].work_due <= end:
        run_next_work(k, cpu)
        ran += 1
        pool = next_work(k)
    k.work[0].now = end
    return ran
