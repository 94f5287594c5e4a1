"""Forced probability: `percent` of all pages are kept until they are free, the others are given up."""

from netemu.policies import KEEP, NONE, PAGE_ALLOCATOR, draw, kept_page, others, policy_state

STATE = policy_state(percent=50, refused=0)


def put(k, cpu, rxq, pfn):
    s = STATE(k, rxq)
    if draw(k, s.percent):
        return KEEP
    s.refused += 1
    return PAGE_ALLOCATOR


def get(k, cpu, rxq, count):
    if count == 0 or others(k, cpu, kept_page(k, rxq, 0)) != 0:
        return NONE
    return 0
