"""The RX page cache of mlx5 to v6.3: a FIFO of 255 pages, blocked by its oldest while somebody holds that one.

Source: en_rx.c (mlx5e_rx_cache_put, mlx5e_rx_cache_get), v4.19.
"""

from netemu.policies import CACHE, KEEP, NONE, is_local, is_reserve, kept, kept_page, others, policy_state

STATE = policy_state(size=255, full=0, waive=0, empty=0, busy=0)


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
    if count == 0:
        s.empty += 1
        return NONE
    if others(k, cpu, kept_page(k, rxq, 0)) != 0:
        s.busy += 1
        return NONE
    return 0
