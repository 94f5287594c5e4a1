"""Deferral of elevated reference counts: a held page waits in a ring of its own until its last holder is gone.

Free pages go to the pool's cache at once; of the waiting ones the oldest `scan` are looked at when a page is needed.
"""

from netemu.policies import CACHE, KEEP, NONE, PAGE_ALLOCATOR, kept, kept_page, others, policy_state

STATE = policy_state(size=1024, scan=4, waited=0, overflow=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if others(k, cpu, pfn) == 0:
        return CACHE
    if kept(k, rxq) >= s.size:
        s.overflow += 1
        return PAGE_ALLOCATOR
    s.waited += 1
    return KEEP


def get(k, cpu, rxq, count):
    for place in range(min(count, STATE(k, rxq).scan)):
        if others(k, cpu, kept_page(k, rxq, place)) == 0:
            return place
    return NONE
