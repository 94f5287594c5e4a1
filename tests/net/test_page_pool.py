"""page_pool: where pages come from, where they go back to, what is counted, and how a pool ends."""

from __future__ import annotations

import pytest

from netemu import KernelBug, Page, PagePool, UsageError
from netemu.mm.layout import PG_PFMEMALLOC
from netemu.net.page_pool import (
    page_pool_put_page_bulk,
    page_pool_recycle_direct,
    page_pool_update_nid,
)
from netemu.net.page_pool_frag import page_pool_alloc_frag
from netemu.net.page_pool_shutdown import page_pool_use_xdp_mem
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_PAGE_FRAG
from netemu.net.pool_work import advance
from tests.mm.memory import arrange, assert_books_balance, holds
from tests.net.pools import cached, counters, hold_and_release, pool_machine, ringed, take


def pass_time(pool: PagePool, ms: int) -> None:
    """Let the delayed work of a dying pool run when it is due."""
    advance(pool.machine.k, pool.cpu, ms)


def outside(pool: PagePool) -> int:
    """Pages on the books that are neither cached nor ringed."""
    return pool.inflight - len(cached(pool)) - len(ringed(pool))


def test_the_life_of_a_pool_in_v61() -> None:
    machine = pool_machine()
    pool = machine.page_pool()
    pages = take(pool, 1)
    assert counters(pool) == {"alloc_slow": 1, "alloc_empty": 1}
    assert hold_and_release(pool) == (64, 0)
    assert len(cached(pool)) == 63

    pages += take(pool, 63)
    assert counters(pool) == {"alloc_fast": 63, "alloc_slow": 1, "alloc_empty": 1}
    assert cached(pool) == []

    pages += take(pool, 1)
    assert counters(pool) == {"alloc_fast": 63, "alloc_slow": 2, "alloc_empty": 2}
    assert hold_and_release(pool) == (128, 0)

    for page in pages:
        pool.recycle_direct(page)
    assert counters(pool)["recycle_cached"] == 65
    assert len(cached(pool)) == 128
    assert outside(pool) == 0

    pages = take(pool, 129)
    assert counters(pool) == {"alloc_fast": 191, "alloc_slow": 3, "alloc_empty": 3, "recycle_cached": 65}
    assert hold_and_release(pool) == (192, 0)
    assert (len(cached(pool)), outside(pool)) == (63, 129)

    for page in pages[:66]:
        pool.recycle_direct(page)
    recycled = {name: value for name, value in counters(pool).items() if name.startswith("recycle")}
    assert recycled == {"recycle_cached": 130, "recycle_cache_full": 1, "recycle_ring": 1}
    assert (len(cached(pool)), outside(pool)) == (128, 63)

    pool.put_page(pages[66])
    assert counters(pool)["recycle_ring"] == 2
    assert outside(pool) == 62

    pages[67].get()
    pool.put_page(pages[67])
    assert counters(pool)["recycle_released_refcnt"] == 1
    assert hold_and_release(pool) == (192, 1)
    assert pages[67].refcount == 1
    assert outside(pool) == 61

    pool.destroy()
    assert hold_and_release(pool) == (192, 131)
    assert pool.inflight == 61
    assert pool.alive

    for page in pages[68:]:
        pool.put_page(page)
    assert len(ringed(pool)) == 61
    pass_time(pool, 999)
    assert pool.alive
    pass_time(pool, 1)
    assert not pool.alive
    assert pool.inflight == 0
    pages[67].put()
    assert_books_balance(machine)


# -- quirks of v5.0 and before ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["v4.19", "v5.0"])
def test_with_an_empty_ring_old_pools_do_not_look_into_their_cache(era: str) -> None:
    pool = pool_machine(era).page_pool()
    pages = take(pool, 128)
    assert counters(pool)["alloc_slow"] == 128
    for page in pages:
        pool.recycle_direct(page)
    stranded = cached(pool)
    assert len(stranded) == 128
    assert pool.alloc_pages().pfn not in stranded
    assert len(cached(pool)) == 128
    outsiders = take(pool, 10)
    for page in outsiders:
        pool.put_page(page)
    assert pool.alloc_pages().pfn == stranded[-1]
    assert len(ringed(pool)) == 10


@pytest.mark.parametrize("era", ["v4.19", "v5.0"])
def test_a_short_ring_of_an_old_pool_moves_to_the_cache_and_a_new_page_is_taken(era: str) -> None:
    pool = pool_machine(era).page_pool()
    pages = take(pool, 10)
    for page in pages:
        pool.put_page(page)
    fresh = pool.alloc_pages()
    assert fresh not in pages
    assert cached(pool) == [page.pfn for page in pages]
    assert counters(pool)["alloc_slow"] == 11


def test_a_long_ring_of_an_old_pool_fills_the_cache_and_hands_out_the_65th() -> None:
    pool = pool_machine("v5.0").page_pool()
    pages = take(pool, 70)
    for page in pages:
        pool.put_page(page)
    assert pool.alloc_pages().pfn == pages[64].pfn
    assert cached(pool) == [page.pfn for page in pages[:64]]
    assert ringed(pool) == [page.pfn for page in pages[65:]]
    assert counters(pool)["alloc_slow"] == 70


def test_v54_looks_into_the_cache_first_and_takes_one_more_from_the_ring() -> None:
    pool = pool_machine("v5.4").page_pool()
    pages = take(pool, 70)
    for page in pages:
        pool.put_page(page)
    assert pool.alloc_pages().pfn == pages[0].pfn
    assert cached(pool) == [page.pfn for page in pages[1:65]]
    assert pool.alloc_pages().pfn == pages[64].pfn


def test_an_old_pool_is_gone_at_once_whatever_it_handed_out() -> None:
    machine = pool_machine("v5.0")
    pool = machine.page_pool()
    page = pool.alloc_pages()
    pool.destroy()
    assert not pool.alive
    assert page.refcount == 1


# -- getting pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("era", "taken"), [("v5.4", 1), ("v5.10", 1), ("v5.15", 64), ("v6.12", 64)])
def test_how_many_pages_an_empty_pool_takes_at_once(era: str, taken: int) -> None:
    pool = pool_machine(era).page_pool()
    take(pool, 1)
    assert hold_and_release(pool) == (taken, 0)


def test_sixty_four_pages_from_an_empty_cpu_list_cost_two_holds() -> None:
    machine = pool_machine("v6.1")
    take(machine.page_pool(), 1)
    assert holds(machine) == (2, 0)
    assert machine.k.pcp[0].count == 62


def test_a_refill_takes_the_oldest_sixty_four_and_hands_out_the_newest_of_them() -> None:
    pool = pool_machine("v6.1").page_pool()
    pages = take(pool, 128)
    for page in pages[:100]:
        pool.put_page(page)
    assert pool.alloc_pages().pfn == pages[63].pfn
    assert cached(pool) == [page.pfn for page in pages[:63]]
    assert len(ringed(pool)) == 36
    assert counters(pool)["alloc_refill"] == 1


def test_a_block_of_a_higher_order_is_taken_alone_and_counted_apart() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool(order=2)
    page = pool.alloc_pages()
    assert counters(pool) == {"alloc_slow_high_order": 1, "alloc_empty": 1}
    assert machine.k.pages[page.pfn + 3].head == page.pfn
    pool.recycle_direct(page)
    assert pool.alloc_pages().pfn == page.pfn


def test_no_memory_is_no_page_and_leaves_the_books_alone() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    arrange(machine, {})
    with pytest.raises(MemoryError):
        pool.alloc_pages()
    assert hold_and_release(pool) == (0, 0)
    assert counters(pool) == {"alloc_empty": 1}


def test_a_page_of_another_node_goes_back_to_the_allocator_and_ends_the_refill() -> None:
    machine = pool_machine("v6.1", cpus=2, nodes=2)
    pool = machine.page_pool(nid=1)
    far = take(pool, 3)
    page_pool_update_nid(machine.k, 0, pool.number, 0)
    near = take(pool, 4)
    assert {machine.k.pages[page.pfn].nid for page in near} == {0}
    page_pool_update_nid(machine.k, 0, pool.number, 0)
    for page in [*near[:2], far[0], *near[2:], *far[1:]]:
        pool.put_page(page)
    before = hold_and_release(pool)[1]
    assert pool.alloc_pages().pfn == near[1].pfn
    assert cached(pool) == [near[0].pfn]
    assert counters(pool)["alloc_waive"] == 1
    assert hold_and_release(pool)[1] == before + 1
    assert far[0].refcount == 0
    assert ringed(pool) == [page.pfn for page in (*near[2:], *far[1:])]


def test_a_new_preferred_node_empties_the_cache() -> None:
    machine = pool_machine("v6.1", cpus=2, nodes=2)
    pool = machine.page_pool(nid=0)
    take(pool, 4)
    page_pool_update_nid(machine.k, 0, pool.number, 1)
    assert cached(pool) == []
    assert hold_and_release(pool) == (64, 60)


@pytest.mark.parametrize(("era", "node"), [("v5.10", 1), ("v5.15", 0), ("v6.1", 1)])
def test_only_v515_ignores_the_node_that_the_pool_prefers(era: str, node: int) -> None:
    machine = pool_machine(era, cpus=2, nodes=2)
    page = machine.page_pool(nid=1).alloc_pages()
    assert machine.k.pages[page.pfn].nid == node


# -- giving pages back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("era", "context", "direct"),
    [
        ("v5.15", "process", False),
        ("v5.15", "bottom halves off", False),
        ("v5.15", "softirq", True),
        ("v6.1", "process", False),
        ("v6.1", "bottom halves off", True),
        ("v6.1", "softirq", True),
        ("v6.12", "process", True),
    ],
)
def test_when_a_direct_return_reaches_the_cache(era: str, context: str, direct: bool) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool()
    page = pool.alloc_pages()
    before = len(cached(pool))
    machine.k.cpu[0].serving_softirq = context == "softirq"
    machine.k.cpu[0].bh_disabled = context == "bottom halves off"
    page_pool_recycle_direct(machine.k, 0, pool.number, page.pfn)
    assert (len(cached(pool)) - before, len(ringed(pool))) == ((1, 0) if direct else (0, 1))


@pytest.mark.parametrize(("era", "kept"), [("v6.6", "ring"), ("v6.12", "cache")])
def test_v612_finds_out_by_itself_that_it_runs_on_the_consumers_cpu(era: str, kept: str) -> None:
    machine = pool_machine(era, cpus=2)
    pool = machine.page_pool(cpu=0)
    mine, foreign = take(pool, 2)
    pool.put_page(foreign, cpu=1)
    pool.put_page(mine, cpu=0)
    assert ringed(pool) == [foreign.pfn] + ([mine.pfn] if kept == "ring" else [])
    assert (mine.pfn in cached(pool)) == (kept == "cache")


@pytest.mark.parametrize(("era", "kept"), [("v5.4", True), ("v5.10", False), ("v6.1", False)])
def test_an_emergency_page_is_not_recycled_from_v510(era: str, kept: bool) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool()
    page = pool.alloc_pages()
    machine.k.pages[page.pfn].flags |= PG_PFMEMALLOC
    pool.put_page(page)
    assert ringed(pool) == ([page.pfn] if kept else [])
    assert counters(pool).get("recycle_released_refcnt", 0) == (not kept)
    assert page.refcount == kept


def test_a_full_ring_sends_pages_back_to_the_allocator() -> None:
    pool = pool_machine("v6.1").page_pool(ring_size=16)
    pages = take(pool, 20)
    for page in pages:
        pool.put_page(page)
    assert ringed(pool) == [page.pfn for page in pages[:16]]
    assert counters(pool)["recycle_ring"] == 16
    assert counters(pool)["recycle_ring_full"] == 4
    assert hold_and_release(pool)[1] == 4
    assert [page.refcount for page in pages[16:]] == [0] * 4


def test_a_released_page_is_the_callers_alone() -> None:
    machine = pool_machine("v5.10")
    pool = machine.page_pool(flags=PP_FLAG_DMA_MAP)
    page = pool.alloc_pages()
    assert machine.k.pages[page.pfn].dma_addr != 0
    pool.release_page(page)
    assert (pool.inflight, page.refcount) == (0, 1)
    assert (machine.k.pages[page.pfn].dma_addr, machine.k.pages[page.pfn].pp) == (0, 0)
    page.put()
    pool.destroy()
    assert not pool.alive
    assert_books_balance(machine)


def test_returning_many_pages_takes_the_producer_lock_once_and_counts_a_full_ring_once() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool(ring_size=16)
    pages = take(pool, 30)
    pages[3].get()
    machine.k.arrays["page_array"][:30] = [page.pfn for page in pages]
    page_pool_put_page_bulk(machine.k, 0, pool.number, 30)
    kept = [page.pfn for page in pages if page is not pages[3]]
    assert ringed(pool) == kept[:16]
    stats = counters(pool)
    assert (stats["recycle_ring"], stats["recycle_ring_full"], stats["recycle_released_refcnt"]) == (16, 1, 1)
    assert hold_and_release(pool)[1] == 1 + 13


# -- DMA -------------------------------------------------------------------------------------------------------------


def test_a_page_is_mapped_once_for_as_long_as_the_pool_has_it() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool(flags=PP_FLAG_DMA_MAP, ring_size=16)
    for _ in range(5):
        for page in take(pool, 64):
            pool.recycle_direct(page)
    dma = machine.k.dma[0]
    assert (dma.mappings, dma.unmappings) == (64, 0)
    pool.destroy()
    assert (dma.mappings, dma.unmappings) == (64, 64)


def test_the_touched_part_is_synced_at_every_return_before_it_is_known_who_takes_the_page() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool(flags=PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, max_len=1500, ring_size=2)
    pages = take(pool, 4)
    dma = machine.k.dma[0]
    assert (dma.syncs, dma.synced) == (64, 64 * 1500)
    for page, size in zip(pages, (100, 1500, 4000, 64), strict=True):
        pool.put_page(page, sync=size)
    assert (dma.syncs, dma.synced - 64 * 1500) == (68, 100 + 1500 + 1500 + 64)
    pages[0].get()


@pytest.mark.parametrize(("succeed", "kept"), [(0, 0), (1, 1), (40, 40)])
def test_pages_that_cannot_be_mapped_go_back_to_the_allocator(succeed: int, kept: int) -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool(flags=PP_FLAG_DMA_MAP)
    machine.k.dma[0].fail_after = succeed + 1
    if kept:
        pool.alloc_pages()
    else:
        with pytest.raises(MemoryError):
            pool.alloc_pages()
    assert pool.inflight == kept
    assert counters(pool).get("alloc_slow", 0) == (kept > 0)
    assert machine.k.zone[0].allocated - machine.k.zone[0].freed == kept


# -- fragments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("puts", "reused"), [(4, True), (3, False)])
def test_a_fragmented_page_is_used_again_if_every_piece_is_back(puts: int, reused: bool) -> None:
    machine = pool_machine("v5.15")
    pool = machine.page_pool(flags=PP_FLAG_PAGE_FRAG)
    k = machine.k
    pieces = []
    for _ in range(4):
        pfn = page_pool_alloc_frag(k, 0, pool.number, 1024)
        pieces.append((pfn, k.pools[0].frag_offset))
    page = Page(machine, pieces[0][0])
    assert pieces == [(page.pfn, offset) for offset in (0, 1024, 2048, 3072)]
    for _ in range(puts):
        pool.put_page(page)
    again = page_pool_alloc_frag(k, 0, pool.number, 1024)
    assert (again == page.pfn) == reused
    if not reused:
        assert k.pages[page.pfn].frag_count == 1
        pool.put_page(page)
        assert ringed(pool) == [page.pfn]


def test_a_piece_that_does_not_fit_or_a_pool_without_fragments_is_refused_with_a_message() -> None:
    machine = pool_machine("v5.15")
    whole, split = machine.page_pool(), machine.page_pool(flags=PP_FLAG_PAGE_FRAG)
    assert page_pool_alloc_frag(machine.k, 0, whole.number, 1024) == -1
    assert page_pool_alloc_frag(machine.k, 0, split.number, 4097) == -1
    assert len(machine.messages()) == 2
    assert pool_is_untouched(whole)
    assert pool_is_untouched(split)


def pool_is_untouched(pool: PagePool) -> bool:
    return hold_and_release(pool) == (0, 0) and counters(pool) == {}


def test_a_fragment_that_is_returned_too_often_is_told_to_the_log() -> None:
    machine = pool_machine("v6.12")
    pool = machine.page_pool()
    page = pool.alloc_pages()
    machine.k.pages[page.pfn].frag_count = 0
    pool.put_page(page)
    assert machine.messages() == [f"pp_frag_count of page {page.pfn} fell to -1"]


# -- creation and the end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("era", "options", "error"),
    [
        ("v6.1", {"flags": 8}, "EINVAL"),
        ("v6.1", {"flags": PP_FLAG_DMA_MAP, "dma_dir": 1}, "EINVAL"),
        ("v5.4", {"dma_dir": 1}, "EINVAL"),
        ("v6.1", {"flags": PP_FLAG_DMA_SYNC_DEV, "max_len": 100}, "EINVAL"),
        ("v6.1", {"flags": PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV}, "EINVAL"),
        ("v5.15", {"ring_size": 32769}, "E2BIG"),
    ],
)
def test_parameters_that_the_kernel_refuses(era: str, options: dict[str, int], error: str) -> None:
    machine = pool_machine(era)
    with pytest.raises(UsageError, match=error):
        machine.page_pool(**options)
    assert machine.k.pools[0].count == 0


@pytest.mark.parametrize(
    ("era", "options", "ring"),
    [
        ("v6.1", {}, 1024),
        ("v6.1", {"dma_dir": 1}, 1024),
        ("v5.15", {"ring_size": 32768}, 32768),
        ("v6.12", {"ring_size": 32769}, 16384),
    ],
)
def test_the_ring_a_pool_gets(era: str, options: dict[str, int], ring: int) -> None:
    machine = pool_machine(era)
    assert machine.k.pool[machine.page_pool(**options).number].ring_size == ring


def test_a_pool_with_pages_out_waits_for_them_as_long_as_it_takes_and_says_so_every_minute() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    page = pool.alloc_pages()
    pool.destroy()
    pass_time(pool, 150_000)
    assert machine.messages() == [
        f"page_pool_release_retry() stalled pool shutdown: id 1, 1 inflight {seconds} sec" for seconds in (60, 120)
    ]
    assert pool.alive
    pool.put_page(page)
    pass_time(pool, 1000)
    assert not pool.alive


@pytest.mark.parametrize("era", ["v5.15", "v6.1", "v6.6", "v6.12"])
def test_a_page_that_comes_back_in_softirq_ends_a_pool_that_waits_for_it(era: str) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool(ring_size=256)
    page = pool.alloc_pages()
    assert page is not None
    skb = machine.napi_build_skb(page).mark_for_recycle()
    with machine.process():
        pool.destroy()
    with machine.napi():
        machine.napi_consume_skb(skb)
    assert counters(pool).get("recycle_cached", 0) == 0
    pass_time(pool, 2000)
    assert not pool.alive


@pytest.mark.parametrize(("era", "counter"), [("v6.1", "recycle_ring"), ("v6.6", "recycle_cached")])
@pytest.mark.parametrize("free", ["kfree_skb", "consume_skb"])
def test_from_v64_a_packet_freed_in_softirq_gives_its_page_to_the_cache_whatever_frees_it(
    era: str, counter: str, free: str
) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool()
    page = pool.alloc_pages()
    assert page is not None
    skb = machine.napi_build_skb(page).mark_for_recycle()
    with machine.napi():
        getattr(machine, free)(skb)
    assert counters(pool)[counter] == 1


def test_from_v68_a_page_whose_last_fragments_go_at_once_is_whole_again() -> None:
    pool = pool_machine("v6.12").page_pool()
    page = pool.alloc_pages()
    assert page is not None
    page.fragment(64)
    assert page.defrag(64) == 0
    assert page.fragments == 1


def test_v53_gives_up_after_120_retries() -> None:
    machine = pool_machine("v5.4", pool_shutdown="forced")
    pool = machine.page_pool()
    pool.alloc_pages()
    pool.destroy()
    pass_time(pool, 119_000)
    assert pool.alive
    pass_time(pool, 5_000)
    assert not pool.alive


@pytest.mark.parametrize(("era", "asks_again"), [("v5.15", True), ("v6.12", False)])
def test_a_count_below_zero_is_reported_and_later_eras_stop_asking(era: str, asks_again: bool) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool()
    page = pool.alloc_pages()
    pool.release_page(page)
    pool.release_page(page)
    pool.destroy()
    assert pool.inflight == -1
    pass_time(pool, 1_000)
    assert machine.messages()[0] == "Negative(-1) inflight packet-pages"
    assert bool(machine.k.pool[pool.number].work_pending) == asks_again


def test_the_books_survive_the_wrap_of_their_counters() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    row = machine.k.pool[pool.number]
    row.hold_cnt = row.release_cnt = 2**32 - 10
    pages = take(pool, 3)
    assert row.hold_cnt == 54
    assert pool.inflight == 64
    for page in pages:
        pool.put_page(page)
    pool.destroy()
    assert not pool.alive


def test_a_page_in_the_ring_that_somebody_holds_is_a_violation_at_the_end() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    page.get()
    pool.destroy()
    assert machine.messages() == ["page_pool_empty_ring() page_pool refcnt 2 violation"]
    assert page.refcount == 1


def test_a_pool_with_two_users_ends_with_the_second() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    page_pool_use_xdp_mem(machine.k, 0, pool.number)
    pool.destroy()
    assert pool.alive
    pool.destroy()
    assert not pool.alive


def test_a_page_that_is_returned_twice_is_in_two_places() -> None:
    machine = pool_machine("v6.1")
    pool = machine.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    pool.put_page(page)
    assert ringed(pool) == [page.pfn, page.pfn]
    with pytest.raises(KernelBug, match=r"MM-0[13]|MM-1[01]"):
        pool.destroy()
