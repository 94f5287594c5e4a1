"""Receive pages of drivers that ask a recycle policy: from it or the pool, on with an skb, and at the end.

Called by drivers only; the policy decides first, the pool has the rest.
"""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE
from .page_pool import EVERYTHING, page_pool_alloc_pages, page_pool_follow, page_pool_return_page
from .policy import hold_for_skb, policy_get, policy_put, unshelve_any
from .recycle import stop_recycling


@kernel_function(traced=False, inline=True)
def rx_page(k: Kernel, cpu: int, rxq: int) -> int:
    """A page for a receive buffer: one that the policy has kept, else from the queue's pool.  NONE: no memory."""
    if k.policy[0].active:
        pfn = policy_get(k, cpu, rxq)
        if pfn != NONE:
            return pfn
    return page_pool_alloc_pages(k, cpu, k.rxq[rxq].pool)


@kernel_function(traced=False)
def part_by_policy(k: Kernel, cpu: int, rxq: int, pfn: int) -> None:
    """A page goes with an skb that does not bring it back: the skb gets a reference, the policy decides on the page."""
    hold_for_skb(k, cpu, pfn)
    page_pool_follow(k, cpu, k.rxq[rxq].pool, pfn, EVERYTHING, policy_put(k, cpu, rxq, pfn))


@kernel_function(traced=False)
def put_kept_pages(k: Kernel, cpu: int, rxq: int) -> None:
    """Teardown of a queue: recycling ends, and every page that a policy has kept leaves the pool and is dropped."""
    stop_recycling(k)
    pfn = unshelve_any(k, cpu, rxq)
    while pfn != NONE:
        page_pool_return_page(k, cpu, k.rxq[rxq].pool, pfn)
        pfn = unshelve_any(k, cpu, rxq)
