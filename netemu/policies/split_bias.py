"""A page split in two with its references taken in advance (pagecnt_bias), waiting until it may be used again.

The skb's reference comes out of 65535 that were added in one go; unlike half_flip, a page with both halves in use
is not given up but kept until it is whole, up to `size` of them.
Source: ixgbe_main.c and i40e_txrx.c (pagecnt_bias), v4.19; the waiting is this policy's own.
"""

from netemu.policies import KEEP, NONE, PAGE_ALLOCATOR, is_local, is_reserve, kept, kept_page, others, policy_state

PARTS = 2
BIAS = True
STATE = policy_state(size=512, scan=8, given_up=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if is_reserve(k, pfn) or not is_local(k, cpu, pfn) or kept(k, rxq) >= s.size:
        s.given_up += 1
        return PAGE_ALLOCATOR
    return KEEP


def get(k, cpu, rxq, count):
    for place in range(min(count, STATE(k, rxq).scan)):
        if others(k, cpu, kept_page(k, rxq, place)) == 0:
            return place
    return NONE
