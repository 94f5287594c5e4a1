"""A stack: the free page that was put back last, whose lines are the warmest, is used first."""

from netemu.policies import CACHE, KEEP, NONE, is_local, is_reserve, kept, kept_page, others, policy_state

STATE = policy_state(size=512, scan=16, full=0, busy=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if kept(k, rxq) >= s.size or is_reserve(k, pfn) or not is_local(k, cpu, pfn):
        s.full += 1
        return CACHE
    return KEEP


def get(k, cpu, rxq, count):
    s = STATE(k, rxq)
    for depth in range(1, min(count, s.scan) + 1):
        if others(k, cpu, kept_page(k, rxq, count - depth)) == 0:
            return count - depth
    s.busy += 1
    return NONE
