"""The RX page cache of mlx5, looking past a held page: the first free one of the oldest `scan` pages is taken."""

from netemu.policies import CACHE, KEEP, NONE, is_local, is_reserve, kept, kept_page, others, policy_state

STATE = policy_state(size=255, scan=16, full=0, waive=0, skipped=0, busy=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if kept(k, rxq) >= s.size:
        s.full += 1
        return CACHE
    if is_reserve(k, pfn) or not is_local(k, cpu, pfn):
        s.waive += 1
        return CACHE
    return KEEP


def get(k, cpu, rxq, count):
    s = STATE(k, rxq)
    for place in range(min(count, s.scan)):
        if others(k, cpu, kept_page(k, rxq, place)) == 0:
            s.skipped += place
            return place
    s.busy += 1
    return NONE
