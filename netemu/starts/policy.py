"""NAME: say in one line what this recycle policy does; `netemu policies` and reports show it.

    netemu replay TRACE --recycle FILE.py
    netemu compare TRACE --base '--recycle mechanism' --test '--recycle FILE.py'

A policy is compiled, so it is plain: whole numbers, if, while, for over range(...), functions of this file, and what
is imported here.  What it does wrong ends the replay with the number of the packet.
"""

from netemu.policies import (
    CACHE,
    KEEP,
    NONE,
    PAGE_ALLOCATOR,
    is_local,
    is_reserve,
    kept,
    kept_page,
    others,
    policy_state,
)

# What each receive queue remembers.  Names that start with 0 are counters: reports show them.  The others are
# parameters: --recycle FILE.py:size=64 sets one.
STATE = policy_state(size=256, scan=8, unfit=0, full=0)


def put(k, cpu, rxq, pfn):
    """The driver is done with page `pfn`, or it has come back to its pool.  What becomes of it?

    KEEP: this queue keeps it, and `get` hands it out again.  CACHE or RING: to the page_pool, which lets go of a page
    that somebody still holds.  PAGE_ALLOCATOR: away with it.
    """
    s = STATE(k, rxq)
    if is_reserve(k, pfn) or not is_local(k, cpu, pfn):
        s.unfit += 1
        return PAGE_ALLOCATOR
    if kept(k, rxq) >= s.size:
        s.full += 1
        return CACHE
    return KEEP


def get(k, cpu, rxq, count):
    """The driver needs a page, and `count` are kept.  Which one: 0, the oldest, to count - 1?  NONE: ask the pool.

    Only a page that nobody else holds can be used again: others(...) == 0.
    """
    for place in range(min(count, STATE(k, rxq).scan)):
        if others(k, cpu, kept_page(k, rxq, place)) == 0:
            return place
    return NONE
