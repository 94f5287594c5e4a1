"""Forced recycling: the effectiveness of recycling as a number, instead of what rings and caches make of it.

A driver that is done with a received page asks :func:`recycle_draw` once.  A page that is kept is parked with
the driver's reference on it and handed out again when every other holder is gone; a refused one is treated as a
page that somebody else still holds, and takes the long way.
"""

from __future__ import annotations

from ..engine.kernel import inlined
from ..engine.layout import Kernel
from ..mm.layout import NONE
from .journey import PARKED_BY_RATE, page_goes


@inlined
def uniform_draw(k: Kernel) -> int:
    """A seeded random number from 1 to 2**32 - 1: never at most 0, always at most 2**32."""
    r = k.recycle[0]
    x = r.state
    x ^= (x << 13) & 0xFFFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0xFFFFFFFF
    r.state = x
    return x


@inlined
def recycle_draw(k: Kernel) -> bool:
    """One seeded draw: does this recycle attempt succeed?"""
    r = k.recycle[0]
    if uniform_draw(k) <= r.threshold:
        r.kept += 1
        return True
    r.refused += 1
    return False


PARKED = 1
"""page.where of a page that forced recycling keeps for its driver."""
REFUSED = 2
"""page.where of a page that forced recycling treats as held by somebody."""


@inlined
def refuse_page(k: Kernel, pfn: int) -> None:
    """Let the pool see somebody else's reference on this page."""
    k.pages[pfn].where = REFUSED


@inlined
def park_page(k: Kernel, rxq: int, pfn: int) -> None:
    """Keep the driver's reference of a page for later."""
    q = k.rxq[rxq]
    page_goes(k, pfn, PARKED_BY_RATE)
    k.pages[pfn].next = NONE
    k.pages[pfn].where = PARKED
    if q.parked_first == 0:
        q.parked_first = pfn + 1
    else:
        k.pages[q.parked_last - 1].next = pfn
    q.parked_last = pfn + 1
    q.parked += 1


@inlined
def unpark_page(k: Kernel, rxq: int) -> int:
    """The oldest parked page if nobody else holds it any more, else NONE."""
    q = k.rxq[rxq]
    pfn = q.parked_first - 1
    if pfn == NONE or k.pages[pfn].refcount != 1:
        return NONE
    p = k.pages[pfn]
    p.where = 0
    q.parked_first = p.next + 1
    if p.next == NONE:
        q.parked_last = 0
    q.parked -= 1
    k.recycle[0].reused += 1
    return pfn


@inlined
def stop_recycling(k: Kernel) -> None:
    """Teardown: neither forced recycling nor a policy has a say in what becomes of pages now."""
    k.recycle[0].forced = 0
    k.policy[0].active = 0


@inlined
def unpark_any(k: Kernel, rxq: int) -> int:
    """Teardown: the oldest parked page, whoever else holds it; NONE when there is none."""
    q = k.rxq[rxq]
    pfn = q.parked_first - 1
    if pfn != NONE:
        p = k.pages[pfn]
        p.where = 0
        q.parked_first = p.next + 1
        q.parked -= 1
    return pfn
