"""Nothing but the page_pool: its lockless cache on the pool's own CPU, its ring from elsewhere.

A page that somebody still holds cannot stay in a pool: the pool lets it go.
"""

from netemu.policies import CACHE, RING, cache_room


def put(k, cpu, rxq, pfn):
    if cache_room(k, rxq) > 0:
        return CACHE
    return RING
