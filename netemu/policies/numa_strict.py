"""Only pages of the CPU's own memory node are recycled; strangers are freed to their node at once."""

from netemu.policies import KEEP, NONE, PAGE_ALLOCATOR, is_local, is_reserve, kept, kept_page, others, policy_state

STATE = policy_state(size=512, strangers=0, full=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if is_reserve(k, pfn) or not is_local(k, cpu, pfn):
        s.strangers += 1
        return PAGE_ALLOCATOR
    if kept(k, rxq) >= s.size:
        s.full += 1
        return PAGE_ALLOCATOR
    return KEEP


def get(k, cpu, rxq, count):
    page = kept_page(k, rxq, 0)
    if page == NONE or others(k, cpu, page) != 0 or not is_local(k, cpu, page):
        return NONE
    return 0
