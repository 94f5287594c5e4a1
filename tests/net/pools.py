"""Looking at a page_pool's cache and ring, for tests."""

from __future__ import annotations

from netemu import Machine, Page, PagePool
from netemu.net.pool_layout import PP_ALLOC_CACHE_SIZE
from tests.mm.memory import set_pcps


def pool_machine(era: str = "v6.1", *, cpus: int = 1, nodes: int = 1, memory_mb: int = 8, **switches: str) -> Machine:
    """A machine with few pages and per-CPU lists as on a large zone."""
    machine = Machine(era=era, cpus=cpus, nodes=nodes, memory_mb=memory_mb, skbs=1024, switches=switches)
    set_pcps(machine, batch=63, high=378)
    return machine


def cached(pool: PagePool) -> list[int]:
    """Pages in the alloc cache; the last went in last."""
    base = pool.number * PP_ALLOC_CACHE_SIZE
    count = pool.machine.k.pool[pool.number].cache_count
    return [int(pfn) for pfn in pool.machine.k.arrays["pool_cache"][base : base + count]]


def ringed(pool: PagePool) -> list[int]:
    """Pages in the ring, the oldest first: from the consumer's head to the first empty slot or the producer."""
    p = pool.machine.k.pool[pool.number]
    slots = pool.machine.k.arrays["pool_ring"][p.ring_base : p.ring_base + p.ring_size]
    found = []
    at = p.consumer_head
    for _ in range(p.ring_size):
        if slots[at] == 0 or (at == p.producer and found):
            break
        found.append(int(slots[at]) - 1)
        at = (at + 1) % p.ring_size
    return found


def take(pool: PagePool, count: int) -> list[Page]:
    """``count`` pages for the consumer."""
    return [pool.alloc_pages() for _ in range(count)]


def counters(pool: PagePool) -> dict[str, int]:
    """The statistics that are not zero."""
    return {name: value for name, value in vars(pool.statistics()).items() if value}


def hold_and_release(pool: PagePool) -> tuple[int, int]:
    """The books: pages ever taken, pages ever let go."""
    p = pool.machine.k.pool[pool.number]
    return p.hold_cnt, p.release_cnt
