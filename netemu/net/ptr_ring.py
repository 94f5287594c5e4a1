"""The ring between a pool's producers and its consumer: FIFO, bounded, consumed slots cleared in groups.

A slot holds a page number + 1; 0 is empty.  The consumer clears the slots it has used only every ``batch``
entries, so a producer can find the ring full while fewer than ``size`` pages are in it.
Source: include/linux/ptr_ring.h, v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.inject import injected, site
from ..engine.kernel import inlined
from ..engine.layout import Kernel
from ..mm.layout import NONE

RING_SITE = site("ring")

SLOTS_PER_TWO_CACHE_LINES = 16


def batch_of(size: int) -> int:
    """Consumed slots that are cleared together in a ring of ``size`` slots."""
    return SLOTS_PER_TWO_CACHE_LINES if size // 2 >= SLOTS_PER_TWO_CACHE_LINES else 1


@inlined
def ring_empty(k: Kernel, pool: int) -> bool:
    """Nothing to consume?"""
    p = k.pool[pool]
    return k.pool_ring[p.ring_base + p.consumer_head] == 0


@inlined
def ring_produce(k: Kernel, pool: int, pfn: int) -> bool:
    """Append a page; False when the producer's slot is still occupied."""
    p = k.pool[pool]
    slot = p.ring_base + p.producer
    if k.pool_ring[slot] != 0 or injected(k, RING_SITE):
        return False
    k.pool_ring[slot] = pfn + 1
    producer = p.producer + 1
    if producer >= p.ring_size:
        producer = 0
    p.producer = producer
    return True


@inlined
def ring_consume(k: Kernel, pool: int) -> int:
    """The oldest page, or NONE."""
    p = k.pool[pool]
    pfn = k.pool_ring[p.ring_base + p.consumer_head] - 1
    if pfn == NONE:
        return NONE
    head = p.consumer_head
    following = head + 1
    if following - p.consumer_tail >= p.ring_batch or following >= p.ring_size:
        while head >= p.consumer_tail:
            k.pool_ring[p.ring_base + head] = 0
            head -= 1
        p.consumer_tail = following
    if following >= p.ring_size:
        following = 0
        p.consumer_tail = 0
    p.consumer_head = following
    return pfn
