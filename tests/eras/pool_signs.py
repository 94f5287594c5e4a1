"""How the switches of page_pool show: where pages come from and go to, what is counted, how a pool ends."""

from __future__ import annotations

from netemu import Machine, Page, PagePool, UsageError
from netemu.mm.layout import PG_PFMEMALLOC
from netemu.net.page_pool import (
    RING_LOCK,
    page_pool_alloc_pages,
    page_pool_fragment_page,
    page_pool_put_page,
    page_pool_recycle_direct,
)
from netemu.net.page_pool_shutdown import page_pool_use_xdp_mem
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_PAGE_FRAG
from netemu.net.pool_work import advance
from tests.eras.signs import Setting, shows
from tests.net.pools import cached, ringed, take

ONE_BY_ONE = {"pool_slow": "single"}
EVERYTHING = 2**32 - 1
MINUTES = 60_000


def refusal(machine: Machine, **parameters: int) -> str:
    """The error name that ``page_pool_create`` gives up with, or nothing."""
    try:
        machine.page_pool(**parameters)
    except UsageError as error:
        return str(error).rpartition("(")[2].rstrip(")")
    return ""


def is_fresh(pool: PagePool, known: list[Page]) -> bool:
    """Does an allocation from wherever CPU 0 is now come from the page allocator?"""
    pfn = page_pool_alloc_pages(pool.machine.k, 0, pool.number)
    return pfn not in [page.pfn for page in known]


@shows(
    "pool_alloc",
    ONE_BY_ONE | {"pool_direct": "serving_softirq"},
    ring_first=(True, True),
    cache_in_softirq=(False, True),
    cache_first=(False, False),
)
def _whether_a_full_cache_is_passed_over(setting: Setting) -> tuple[bool, bool]:
    """With an empty ring: in softirq, and outside."""
    pool = setting.machine().page_pool(ring_size=16)
    known = take(pool, 10)
    for page in known:
        pool.recycle_direct(page)
    assert (len(cached(pool)), ringed(pool)) == (10, [])
    with pool.machine.softirq():
        inside = is_fresh(pool, known)
    return inside, is_fresh(pool, known)


@shows("pool_refill_lock", ONE_BY_ONE, consumer_lock=1, none=0)
def _locks_taken_to_refill_the_cache(setting: Setting) -> int:
    pool = setting.machine().page_pool()
    for page in take(pool, 70):
        ring(pool, page)
    pool.machine.k.arrays["cost"][:] = 0
    pool.machine.k.cost[RING_LOCK] = 1
    before = pool.machine.k.cpu[0].clock
    pool.alloc_pages()
    return int(pool.machine.k.cpu[0].clock - before)


def ring(pool: PagePool, page: Page) -> None:
    """Return a page from process context, which leaves it in the ring in every era."""
    page_pool_put_page(pool.machine.k, 0, pool.number, page.pfn, EVERYTHING, 0)
    assert page.pfn in ringed(pool)


@shows("pool_slow", single=[0, 1], bulk_local=[64, 0], bulk_nid=[0, 64])
def _pages_taken_from_each_node_by_a_pool_that_prefers_the_other(setting: Setting) -> list[int]:
    machine = setting.machine(cpus=2, nodes=2)
    machine.page_pool(nid=1).alloc_pages()
    return [int(taken) for taken in machine.k.arrays["zone"]["allocated"]]


@shows("pool_accounting", ONE_BY_ONE | {"pool_shutdown": "patient"}, no=(0, False), yes=(3, True))
def _pages_in_flight_and_whether_a_pool_waits_for_them(setting: Setting) -> tuple[int, bool]:
    pool = setting.machine().page_pool()
    take(pool, 3)
    inflight = pool.inflight
    pool.destroy()
    return inflight, pool.alive


@shows("pool_pfmemalloc", recycled=(1, 0), refused=(0, 1))
def _pages_kept_and_let_go_when_an_emergency_page_comes_back(setting: Setting) -> tuple[int, int]:
    pool = setting.machine().page_pool()
    page = pool.alloc_pages()
    pool.machine.k.pages[page.pfn].flags |= PG_PFMEMALLOC
    page_pool_put_page(pool.machine.k, 0, pool.number, page.pfn, EVERYTHING, 0)
    return len(ringed(pool)), pool.statistics().recycle_released_refcnt


@shows(
    "pool_direct",
    serving_softirq=["direct in softirq"],
    in_softirq=["direct, bottom halves off", "direct in softirq"],
    trusted=["direct in process", "direct, bottom halves off", "direct in softirq", "by itself in softirq"],
)
def _returns_that_reach_the_cache(setting: Setting) -> list[str]:
    pool = setting.machine().page_pool(cpu=0)
    k = pool.machine.k
    reached = []
    for name, serving_softirq, bh_disabled, direct in (
        ("direct in process", 0, 0, True),
        ("direct, bottom halves off", 0, 1, True),
        ("direct in softirq", 1, 0, True),
        ("by itself in softirq", 1, 0, False),
    ):
        page = pool.alloc_pages()
        before = len(cached(pool))
        k.cpu[0].serving_softirq, k.cpu[0].bh_disabled = serving_softirq, bh_disabled
        if direct:
            page_pool_recycle_direct(k, 0, pool.number, page.pfn)
        else:
            page_pool_put_page(k, 0, pool.number, page.pfn, EVERYTHING, 0)
        k.cpu[0].serving_softirq = k.cpu[0].bh_disabled = 0
        if len(cached(pool)) > before:
            reached.append(name)
    return reached


def puts_until_recycled(pool: PagePool) -> int:
    """How often a page split in two has to be returned before the pool has it back."""
    page = pool.alloc_pages()
    page_pool_fragment_page(pool.machine.k, 0, page.pfn, 2)
    for puts in (1, 2):
        page_pool_put_page(pool.machine.k, 0, pool.number, page.pfn, EVERYTHING, 0)
        if page.pfn in ringed(pool):
            return puts
    return 3


@shows("pool_frag", none=("EINVAL", 1), frag_count=("", 1, 2), ref_count=("", 2, 2))
def _returns_that_bring_a_page_split_in_two_back(setting: Setting) -> tuple[str | int, ...]:
    """Whether a pool may ask for fragments; then the returns that it takes without asking, and with."""
    machine = setting.machine()
    error = refusal(machine, flags=PP_FLAG_PAGE_FRAG)
    plain = puts_until_recycled(machine.page_pool())
    if error:
        return error, plain
    return error, plain, puts_until_recycled(machine.page_pool(flags=PP_FLAG_PAGE_FRAG))


@shows("pool_skb_recycle", {"page_signature": "unchecked"}, no=("freed", 0), yes=("ringed", 1))
def _where_the_page_of_a_marked_packet_ends(setting: Setting) -> tuple[str, int]:
    machine = setting.machine()
    pool = machine.page_pool()
    page = pool.alloc_pages()
    machine.consume_skb(machine.build_skb(page).mark_for_recycle())
    return "ringed" if page.pfn in ringed(pool) else "freed", page.refcount


@shows("pool_skb_direct", {"pool_skb_recycle": "yes", "pool_direct": "in_softirq"}, never="ringed", napi="cached")
def _where_a_packet_freed_by_the_pools_own_napi_leaves_its_page(setting: Setting) -> str:
    machine = setting.machine()
    pool = machine.page_pool(cpu=0)
    page = pool.alloc_pages()
    machine.napi_consume_skb(machine.build_skb(page).mark_for_recycle())
    assert page.refcount == 1
    return "cached" if page.pfn in cached(pool) else "ringed" if page.pfn in ringed(pool) else "lost"


@shows("pool_unlink", {"pool_skb_recycle": "yes", "pool_skb_direct": "napi"}, never=True, at_destroy=False)
def _a_page_that_comes_back_to_a_destroyed_pool_stays_in_its_cache(setting: Setting) -> bool:
    machine = setting.machine()
    pool = machine.page_pool(cpu=0)
    skb = machine.build_skb(pool.alloc_pages()).mark_for_recycle()
    with machine.process():
        pool.destroy()
    machine.napi_consume_skb(skb)
    return bool(cached(pool))


@shows(
    "pool_shutdown",
    {"pool_accounting": "yes"},
    at_once=("dead", "dead", "dead"),
    forced=("alive", "dead", "asks again"),
    patient=("alive", "alive", "asks again"),
    patient_sane=("alive", "alive", "gave up"),
)
def _life_of_a_pool_after_its_destruction(setting: Setting) -> tuple[str, str, str]:
    """With a page out: at first, and after three minutes; with a negative count: after a second."""
    machine = setting.machine()
    owed = machine.page_pool(ring_size=16)
    owed.alloc_pages()
    owed.destroy()
    at_first = "alive" if owed.alive else "dead"
    advance(machine.k, 0, 3 * MINUTES)
    later = "alive" if owed.alive else "dead"
    muddled = machine.page_pool(ring_size=16)
    page = muddled.alloc_pages()
    muddled.release_page(page)
    muddled.release_page(page)
    muddled.destroy()
    advance(machine.k, 0, 1000)
    if not muddled.alive:
        return at_first, later, "dead"
    return at_first, later, "asks again" if machine.k.pool[muddled.number].work_pending else "gave up"


@shows("pool_users", uncounted=[False], counted=[True, False])
def _whether_a_pool_with_a_memory_model_outlives_its_driver(setting: Setting) -> list[bool]:
    pool = setting.machine().page_pool()
    page_pool_use_xdp_mem(pool.machine.k, 0, pool.number)
    alive = []
    while pool.alive:
        pool.destroy()
        alive.append(pool.alive)
    return alive


@shows(
    "pool_scrub",
    {"pool_accounting": "yes", "pool_shutdown": "patient", "pool_users": "counted"},
    every_round=(False, 0),
    first_round=(True, 1),
)
def _whether_a_late_direct_return_stalls_a_dying_pool(setting: Setting) -> tuple[bool, int]:
    pool = setting.machine().page_pool()
    page = pool.alloc_pages()
    pool.destroy()
    pool.recycle_direct(page)
    assert cached(pool) == [page.pfn]
    advance(pool.machine.k, 0, 2 * MINUTES)
    return pool.alive, pool.inflight


@shows("pool_ring_limit", refused=("E2BIG", 32768), clamped=("", 16384))
def _answer_to_a_large_ring(setting: Setting) -> tuple[str, int]:
    machine = setting.machine()
    error = refusal(machine, ring_size=32769)
    return error, machine.k.pool[machine.page_pool(ring_size=32768).number].ring_size


@shows("pool_dma_map", ONE_BY_ONE, syncs=(1, 8192), skips_sync=(0, 0))
def _syncs_of_a_newly_mapped_block(setting: Setting) -> tuple[int, int]:
    machine = setting.machine()
    machine.page_pool(order=1, flags=PP_FLAG_DMA_MAP).alloc_pages()
    dma = machine.k.dma[0]
    assert dma.mappings == 1
    return dma.syncs, dma.synced


@shows("pool_dma_sync", {"pool_dma_map": "skips_sync"} | ONE_BY_ONE, no=("EINVAL", 0), yes=("", 1600))
def _bytes_that_a_pool_syncs(setting: Setting) -> tuple[str, int]:
    machine = setting.machine()
    parameters = {"flags": PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, "max_len": 1500}
    error = refusal(machine, **parameters)
    if not error:
        pool = machine.page_pool(**parameters)
        pool.put_page(pool.alloc_pages(), sync=100)
    return error, machine.k.dma[0].synced


@shows("pool_dma_dir_check", always="EINVAL", when_mapping="")
def _answer_to_a_transmit_direction_without_mapping(setting: Setting) -> str:
    return refusal(setting.machine(), dma_dir=1)
