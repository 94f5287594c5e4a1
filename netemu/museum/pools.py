"""page_pool itself: its end, its nodes, its emergency pages, its users."""

from __future__ import annotations

from ..errors import UsageError
from ..handles import PagePool
from ..machine import Machine
from .catalogue import Bench, exhibit

STALLED = "stalled pool shutdown"


@exhibit(
    "I.8",
    "page_pool: do not release pool until inflight == 0",
    commit="c3f812cea0d7",
    era="v5.4",
    rule="PP-12",
    switch="pool_shutdown",
    broken="forced",
    fixed="patient",
    tolerated=STALLED,
)
def forced_release(bench: Bench) -> None:
    """A pool in shutdown is freed after 120 retries whatever is in flight; a page that was stuck in a queue comes
    back to freed memory.  After the fix it waits, and says so every 60 seconds.
    """
    m = bench.machine()
    pool = m.page_pool()
    stuck = pool.alloc_pages()
    pool.destroy()
    m.advance(ms=122_000)
    pool.put_page(stuck)
    m.advance(ms=1_000)


@exhibit(
    "I.10",
    "xdp: force mem allocator removal and periodic warning",
    commit="d956a048cd3f",
    era="v5.4",
    rule="PP-12",
    switch="pool_shutdown",
    broken="forced",
    fixed="patient",
    tolerated=STALLED,
)
def forced_removal(bench: Bench) -> None:
    """The memory model of a receive queue is removed by force while frames are out: they lose their allocator."""
    m = bench.machine()
    pool = m.page_pool()
    pool.use_xdp_mem()
    frame = pool.alloc_pages()
    with m.process():
        pool.destroy()
        pool.destroy()
    m.advance(ms=122_000)
    pool.put_page(frame)
    m.advance(ms=1_000)


@exhibit(
    "I.11",
    "page_pool: refcnt on pool users, page_pool_destroy",
    commit="1da4bbeffe41",
    era="v5.4",
    rule="PP-12",
    switch="pool_users",
    broken="uncounted",
    fixed="counted",
)
def two_users(bench: Bench) -> None:
    """Driver and memory model both end the pool.  Uncounted, the first destroys it under the second."""
    m = bench.machine()
    pool = m.page_pool()
    pool.use_xdp_mem()
    with m.process():
        pool.destroy()
        pool.destroy()


@exhibit(
    "I.13",
    "page_pool: don't recycle non-reusable pages",
    commit="d5394610b1ba",
    era="v5.4",
    rule="PP-04",
    switch="pool_pfmemalloc",
    broken="recycled",
    fixed="refused",
)
def emergency_pages(bench: Bench) -> None:
    """A page of the emergency reserve is recycled, and serves ordinary packets, which are dropped for it."""
    m = bench.machine()
    pool = m.page_pool()
    with m.memory_pressure():
        page = pool.alloc_pages()
    pool.recycle_direct(page)


@exhibit(
    "I.14",
    "page_pool: handle page recycle for NUMA_NO_NODE, don't refill from a foreign node",
    commit="44768decb7c0",
    era="v5.4",
    rule="PP-17",
    switch="pool_alloc",
    broken="cache_in_softirq",
    fixed="cache_first",
)
def foreign_node(bench: Bench) -> None:
    """Pages in the ring are handed out whatever node they are from, also after the pool has moved to another node."""
    m = bench.machine(nodes=2)
    pool = m.page_pool(nid=0)
    pages = [pool.alloc_pages() for _ in range(4)]
    for page in pages:
        pool.put_page(page)
    pool.update_nid(1)
    page = pool.alloc_pages()
    pool.put_page(page)


@exhibit(
    "I.16",
    "page_pool: track DMA-mapped pages and unmap them when destroying the pool",
    commit="ee62ce7a1d90",
    era="v6.6",
    rule="DM-02",
    mistake="the device goes while pages are mapped for it",
)
def device_goes(bench: Bench) -> None:
    """A page is outside when the device is removed.  When it comes back, the pool unmaps it from a device that is gone.
    (The fix unmaps what is out when the pool is destroyed; here the driver waits for its pages instead.)
    """
    m = bench.machine()
    pool = m.page_pool(flags=1)
    page = pool.alloc_pages()
    pool.destroy()
    if not bench.broken:
        pool.put_page(page)
        m.advance(ms=1_000)
    pool.device_removed()
    if bench.broken:
        pool.put_page(page)
        m.advance(ms=1_000)


@exhibit(
    "I.17",
    "page_pool: avoid infinite loop to schedule delayed worker",
    commit="43130d02baa1",
    era="v6.6",
    rule="PP-01",
    mistake="a page is put into the pool of another queue",
)
def negative_inflight(bench: Bench) -> None:
    """A page that a pool has not handed out is released by it: its books fall below zero, and its shutdown is retried
    for ever.
    """
    m = bench.machine()
    own, other = m.page_pool(), m.page_pool()
    page = own.alloc_pages()
    target = other if bench.broken else own
    target.release_page(page)
    page.put()
    other.destroy()
    m.advance(ms=3_000)


@exhibit(
    "I.19",
    "page_pool: unlink from napi during destroy",
    commit="dd64b232deb8",
    era="v6.6",
    rule="PP-08",
    switch="pool_unlink",
    broken="never",
    fixed="at_destroy",
)
def late_napi(bench: Bench) -> None:
    """A pool outlives its NAPI, and still compares with it: a late packet goes straight to a cache that nobody
    empties.
    """
    m = bench.machine()
    pool = m.page_pool()
    skb = m.napi_build_skb(pool.alloc_pages()).mark_for_recycle()
    pool.destroy()
    pool.napi_deleted()
    m.napi_consume_skb(skb)
    m.advance(ms=1_000)


@exhibit(
    "I.20",
    "page_pool: disable direct recycling based on pool->cpuid on destroy",
    commit="56ef27e3abe6",
    era="v6.12",
    rule="PP-08",
    switch="pool_unlink",
    broken="never",
    fixed="at_destroy",
)
def late_cpu(bench: Bench) -> None:
    """The same by the CPU that the pool belongs to: any return in softirq there is taken as the consumer's."""
    m = bench.machine(cpus=3)
    pool = m.page_pool(cpu=2)
    page = pool.alloc_pages()
    pool.destroy()
    pool.put_page(page, cpu=2)
    m.advance(ms=1_000)


@exhibit(
    "I.22",
    "page_pool: cap the ring size",
    commit="a1b501a8c6a8",
    era="v6.1",
    rule="MSG-01",
    switch="pool_ring_limit",
    broken="refused",
    fixed="clamped",
)
def huge_ring(bench: Bench) -> None:
    """A driver asks for a huge ring, and its queue does not open; now it gets the largest ring there is."""
    m = bench.machine()
    try:
        m.page_pool(ring_size=65536).destroy()
    except UsageError:
        m.check()  # the pool was refused, the kernel has said why


@exhibit(
    "I.23",
    "page_pool: always use the node that the pool prefers",
    commit="d810d367ec40",
    era="v5.15",
    rule="PP-17",
    switch="pool_slow",
    broken="bulk_local",
    fixed="bulk_nid",
)
def bulk_from_here(bench: Bench) -> None:
    """The bulk allocation of an empty pool takes pages of the node that the CPU is on, not of the pool's."""
    m = bench.machine(nodes=2)
    pool = m.page_pool(nid=1)
    pool.put_page(pool.alloc_pages())


@exhibit(
    "I.25",
    "xdp: fix invalid wait context of page_pool_destroy()",
    commit="59a931c5b732",
    era="v5.15",
    rule="CTX-01",
    mistake="the memory model is removed where nothing may sleep",
)
def sleeping_in_atomic(bench: Bench) -> None:
    """The last user goes under a lock that does not allow sleeping, and removing the memory model takes a mutex."""
    m = bench.machine()
    pool = m.page_pool()
    pool.use_xdp_mem()
    pool.destroy()
    with m.bh_disabled() if bench.broken else m.process():
        pool.destroy()


@exhibit(
    "I.26",
    "xdp: fix race on removal of a memory model id",
    commit="86c76c098983",
    era="v5.4",
    rule="PP-12",
    mistake="the id is looked up without the lock",
)
def double_removal(bench: Bench) -> None:
    """Two paths remove the memory model of a pool.  Schedule: the second, on another CPU, looks when the first has
    found the id and is about to drop its user.  With the lock it finds nothing.
    """
    m = bench.machine()
    pool = m.page_pool()
    pool.use_xdp_mem()
    registered = {pool.number}
    with m.process(0):
        pool.destroy()  # the driver's own user
    with m.interrupted("page_pool_destroy", lambda: _remove(m, pool, registered, bench.broken, 1)):
        _remove(m, pool, registered, bench.broken, 0)


def _remove(m: Machine, pool: PagePool, registered: set[int], late: bool, cpu: int) -> None:
    """Unregister the memory model; ``late``: its id goes after the user, not before."""
    if pool.number not in registered:
        return
    if not late:
        registered.discard(pool.number)
    with m.process(cpu):
        pool.destroy(cpu=cpu)
    registered.discard(pool.number)
