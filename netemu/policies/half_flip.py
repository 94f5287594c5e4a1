"""Half-page flip, as in ixgbe and i40e: a page holds two buffers, and while an skb reads one the NIC fills the other.

A page whose other half is still held when its driver is done with this one is given up.
Source: ixgbe_main.c (ixgbe_can_reuse_rx_page, ixgbe_reuse_rx_page), v4.19.
"""

from netemu.policies import KEEP, NONE, PAGE_ALLOCATOR, is_local, is_reserve, others, policy_state

PARTS = 2
STATE = policy_state(flipped=0, given_up=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if is_reserve(k, pfn) or not is_local(k, cpu, pfn) or others(k, cpu, pfn) > 1:
        s.given_up += 1
        return PAGE_ALLOCATOR
    s.flipped += 1
    return KEEP


def get(k, cpu, rxq, count):
    return 0 if count > 0 else NONE
