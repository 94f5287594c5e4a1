"""More members of the families of misuse: each breaks its rule at once, or is found when the machine is wound up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from netemu import KernelBug, Machine, Page, PagePool, SkBuff

Script = Callable[[Machine], object]


def page_of(m: Machine, order: int = 0) -> Page:
    page = m.alloc_pages(order)
    assert page is not None
    return page


def received(m: Machine, pool: PagePool, frags: int = 1) -> SkBuff:
    """A packet on pool pages, marked for recycling."""
    skb = m.napi_build_skb(pool.alloc_pages()).reserve(64).put(100)
    for _ in range(frags):
        skb.add_rx_frag(pool.alloc_pages(), size=500, truesize=4096)
    return skb.mark_for_recycle()


# -- pages and their fragments ----------------------------------------------------------------------------------------


def reference_left(m: Machine) -> None:
    pool = m.page_pool()
    pool.put_page(pool.alloc_pages().get())


def ring_page_taken(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    page.get()


def two_fragments_one_freed_twice(m: Machine) -> None:
    first, second = m.page_frag_alloc(200), m.page_frag_alloc(200)
    first.frag_free()
    first.frag_free()
    assert second.refcount > 0


def fragment_of_a_packet_freed(m: Machine) -> None:
    fragment = m.page_frag_alloc(1024)
    m.build_skb(fragment, frag_size=1024, offset=fragment.offset)
    fragment.frag_free()


def fragment_read_after_free(m: Machine) -> None:
    fragment, _other = m.page_frag_alloc(200), m.page_frag_alloc(200)
    fragment.frag_free()
    fragment.touch()


def fragment_in_process_context(m: Machine) -> None:
    with m.process(0):
        m.page_frag_alloc(200).frag_free()


def fragment_in_an_interrupt(m: Machine) -> None:
    with m.hardirq(0):
        m.page_frag_alloc(200).frag_free()


# -- pools ------------------------------------------------------------------------------------------------------------


def split_and_one_part_kept(m: Machine) -> None:
    pool = m.page_pool(flags=4)
    page = pool.alloc_pages().fragment(3)
    pool.put_page(page)
    pool.put_page(page)
    pool.destroy()


def more_parts_counted_off_than_there_are(m: Machine) -> None:
    m.page_pool(flags=4).alloc_pages().fragment(2).defrag(3)


def fragment_put_twice(m: Machine) -> None:
    pool = m.page_pool(flags=4)
    first, second = pool.alloc_frag(1000), pool.alloc_frag(1000)
    for fragment in (first, first, second):
        pool.put_page(fragment)
    pool.destroy()


def fragment_put_plainly(m: Machine) -> None:
    m.page_pool(flags=4).alloc_frag(1000).put()


def same_page_twice_in_a_bulk(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.put_page_bulk([page, page])


def foreign_page_in_a_bulk(m: Machine) -> None:
    one, other = m.page_pool(), m.page_pool()
    one.put_page_bulk([one.alloc_pages(), other.alloc_pages()])


def bulk_in_an_interrupt(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    with m.hardirq(0):
        pool.put_page_bulk([page])


def released_by_another_pool(m: Machine) -> None:
    m.page_pool().release_page(m.page_pool().alloc_pages())


def direct_from_process_context(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    with m.process(0):
        pool.recycle_direct(page)


def direct_from_a_process_elsewhere(m: Machine) -> None:
    pool = m.page_pool(cpu=0)
    page = pool.alloc_pages()
    with m.process(1):
        pool.recycle_direct(page)


def said_to_be_napi_safe_and_is_not(m: Machine) -> None:
    page = m.page_pool().alloc_pages()
    with m.process(0):
        page.return_skb_page(napi_safe=True)


def direct_in_netpoll(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    with m.napi(0, budget=0):
        pool.recycle_direct(page)


def direct_after_destroy(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.destroy()
    pool.recycle_direct(page)


def fragment_after_destroy(m: Machine) -> None:
    pool = m.page_pool(flags=4)
    pool.destroy()
    pool.alloc_frag(100)


def moved_after_destroy(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.destroy()
    pool.update_nid(0)
    pool.put_page(page)


def memory_model_never_removed(m: Machine) -> None:
    pool = m.page_pool()
    pool.use_xdp_mem()
    pool.destroy()


def more_touched_than_is_synced(m: Machine) -> None:
    pool = m.page_pool(flags=3, max_len=1500, offset=64)
    pool.put_page(pool.alloc_pages(), sync=3000)


def synced_past_the_page(m: Machine) -> None:
    pool = m.page_pool(flags=3, max_len=4096, offset=256)
    pool.put_page(pool.alloc_pages())


def two_consumers(m: Machine) -> None:
    pool = m.page_pool(cpu=0)
    m.interleave(
        (0, lambda: pool.put_page(pool.alloc_pages())),
        (1, lambda: pool.put_page(pool.alloc_pages(cpu=1), cpu=1)),
        schedule=[0, 1, 1, 0, 1],
    )


def interrupt_allocates(m: Machine) -> None:
    pool = m.page_pool(cpu=0)

    def handler() -> None:
        with m.hardirq(0):
            pool.alloc_pages()

    with m.interrupted("page_pool_refill_alloc_cache", handler), m.napi(0):
        pool.alloc_pages()


# -- DMA --------------------------------------------------------------------------------------------------------------


def unmapped_twice(m: Machine) -> None:
    page = page_of(m)
    page.dma_map()
    page.dma_unmap()
    page.dma_unmap()


def mapped_twice(m: Machine) -> None:
    page = page_of(m)
    page.dma_map()
    page.dma_map()


def device_writes_a_recycled_page(m: Machine) -> None:
    pool = m.page_pool(flags=1)
    page = pool.alloc_pages()
    pool.put_page(page)
    page.touch(device=True)


def recycled_without_its_mapping(m: Machine) -> None:
    pool = m.page_pool(flags=1)
    page = pool.alloc_pages()
    page.dma_unmap()
    pool.put_page(page)


def unmapped_while_posted(m: Machine) -> None:
    page = page_of(m)
    page.dma_map()
    m.rx_ring(4).post(0, page)
    page.dma_unmap()


def read_while_posted(m: Machine) -> None:
    page = m.page_pool(flags=1).alloc_pages()
    m.rx_ring(4).post(0, page)
    page.touch()


def unmapped_from_a_device_that_is_gone(m: Machine) -> None:
    pool = m.page_pool(flags=1)
    skb = received(m, pool)
    pool.device_removed()
    pool.destroy()
    m.kfree_skb(skb)


# -- packets ----------------------------------------------------------------------------------------------------------


def clone_freed_twice(m: Machine) -> None:
    skb = received(m, m.page_pool())
    clone = skb.clone()
    m.kfree_skb(clone)
    m.kfree_skb(clone)


def clone_forgotten(m: Machine) -> None:
    skb = received(m, m.page_pool())
    skb.clone()
    m.kfree_skb(skb)


def fragment_recycled_under_its_packet(m: Machine) -> None:
    pool = m.page_pool()
    pool.recycle_direct(received(m, pool).frags[0].page)


def fragment_dropped_once_more(m: Machine) -> None:
    skb = received(m, m.page_pool()).frag_unref(0)
    m.kfree_skb(skb)


def fragment_reference_left(m: Machine) -> None:
    m.kfree_skb(received(m, m.page_pool()).frag_ref(0))


def fragment_added_to_a_clone(m: Machine) -> None:
    pool = m.page_pool()
    skb = received(m, pool)
    skb.clone()
    skb.add_rx_frag(pool.alloc_pages(), size=100, truesize=4096)


def bytes_added_to_a_clone(m: Machine) -> None:
    skb = received(m, m.page_pool())
    skb.clone()
    skb.put(10)


def trimmed_for_others(m: Machine) -> None:
    received(m, m.page_pool(), frags=2).get().trim(10)


def coalesced_and_freed_whole(m: Machine) -> None:
    pool = m.page_pool()
    to, source = received(m, pool), received(m, pool)
    assert to.try_coalesce(source)
    m.kfree_skb(source)


def head_abandoned(m: Machine) -> None:
    m.kfree_skb_partial(received(m, m.page_pool()), True)


def coalesced_and_forgotten(m: Machine) -> None:
    pool = m.page_pool()
    to, source = received(m, pool), received(m, pool)
    assert to.try_coalesce(source)
    m.kfree_skb(to)


def freed_after_a_merge(m: Machine) -> None:
    pool = m.page_pool()
    first, second = received(m, pool).gro_start(), received(m, pool)
    assert first.gro_receive(second)
    m.kfree_skb(second)


def two_cpus_drop_one_user(m: Machine) -> None:
    skb = received(m, m.page_pool())
    m.interleave((0, lambda: m.consume_skb(skb, cpu=0)), (1, lambda: m.consume_skb(skb, cpu=1)), schedule=[0, 0, 1])


def used_after_the_interrupt_freed_it(m: Machine) -> None:
    skb = m.alloc_skb(100)
    with m.hardirq(0):
        m.dev_kfree_skb_irq(skb)
    skb.clone()


def left_to_another_cpu_twice(m: Machine) -> None:
    skb = m.alloc_skb(100)
    m.attempt_defer_free(skb, cpu=1)
    m.attempt_defer_free(skb, cpu=1)


def freed_though_left_to_another_cpu(m: Machine) -> None:
    skb = m.alloc_skb(100)
    m.attempt_defer_free(skb, cpu=1)
    m.kfree_skb(skb)


def two_packets_in_one_page(m: Machine) -> None:
    page = m.page_pool().alloc_pages()
    m.build_skb(page)
    m.build_skb(page)


def head_without_a_size(m: Machine) -> None:
    m.build_skb(page_of(m), frag_size=0)


def head_past_its_page(m: Machine) -> None:
    m.build_skb(page_of(m), frag_size=4096, offset=2048)


def fragment_past_its_page(m: Machine) -> None:
    m.alloc_skb(100).add_rx_frag(page_of(m), offset=4000, size=500, truesize=4096)


def on_two_lists(m: Machine) -> None:
    first, second, third = (m.alloc_skb(100) for _ in range(3))
    first.frag_list_add(third)
    second.frag_list_add(third)
    m.kfree_skb(first)
    m.kfree_skb(second)


def written_after_free(m: Machine) -> None:
    skb = m.alloc_skb(100)
    m.kfree_skb(skb)
    skb.put(10)


# -- rings, polls, byte limits ----------------------------------------------------------------------------------------


def changed_while_it_is_sent(m: Machine) -> None:
    skb = m.alloc_skb(200)
    m.tx_ring(4).post(skb)
    skb.put(50)


def emptied_while_it_is_sent(m: Machine) -> None:
    pool = m.page_pool()
    to, source = received(m, pool), received(m, pool)
    m.tx_ring(4).post(source)
    to.try_coalesce(source)


def posted_after_free(m: Machine) -> None:
    skb = m.alloc_skb(64)
    m.kfree_skb(skb)
    m.tx_ring(4).post(skb)


def on_two_rings(m: Machine) -> None:
    skb = m.alloc_skb(64)
    m.tx_ring(4).post(skb)
    m.tx_ring(4).post(skb)


def completed_and_freed_twice(m: Machine) -> None:
    ring = m.tx_ring(4)
    ring.post(m.alloc_skb(64))
    skb = ring.complete()
    assert isinstance(skb, SkBuff)
    m.consume_skb(skb)
    m.consume_skb(skb)


def frame_recycled_before_completion(m: Machine) -> None:
    pool, ring = m.page_pool(), m.tx_ring(4)
    page = pool.alloc_pages()
    ring.post(page)
    pool.put_page(page)


def frame_never_returned(m: Machine) -> None:
    pool, ring = m.page_pool(), m.tx_ring(4)
    ring.post(pool.alloc_pages())
    ring.complete()


def posted_again_after_the_packet_took_it(m: Machine) -> None:
    ring = m.rx_ring(4)
    ring.post(0, m.page_pool().alloc_pages())
    page = ring.take(0)
    m.build_skb(page)
    ring.post(0, page)


def recycled_while_posted(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    m.rx_ring(4).post(0, page)
    pool.put_page(page)


def more_bytes_completed_than_queued(m: Machine) -> None:
    ring = m.tx_ring(4)
    ring.sent_queue(100)
    ring.completed_queue(60)
    ring.completed_queue(60)


def bytes_never_completed(m: Machine) -> None:
    ring = m.tx_ring(4)
    ring.post(m.alloc_skb(64))
    ring.sent_queue(64)
    skb = ring.complete()
    assert isinstance(skb, SkBuff)
    m.consume_skb(skb)


def poll_completed_with_its_budget_used_up(m: Machine) -> None:
    napi = m.napi_struct(0)
    napi.schedule()
    with napi.poll(budget=4):
        napi.work(4)
        napi.complete_done()


def poll_completed_twice(m: Machine) -> None:
    napi = m.napi_struct(0)
    napi.schedule()
    with napi.poll():
        napi.complete_done()
        napi.complete_done()


def poll_completed_by_netpoll(m: Machine) -> None:
    napi = m.napi_struct(0)
    napi.schedule()
    with napi.poll(budget=0):
        napi.complete_done()


def poll_that_nobody_repeats(m: Machine) -> None:
    napi = m.napi_struct(0)
    napi.schedule()
    with napi.poll():
        napi.work(3)


def polled_on_two_cpus(m: Machine) -> None:
    napi = m.napi_struct(0)
    napi.schedule()
    with napi.poll(), napi.poll():
        napi.work(64)


WRONG: dict[Script, str] = {
    reference_left: "MM-09",
    ring_page_taken: "PP-04",
    two_fragments_one_freed_twice: "PF-05",
    fragment_of_a_packet_freed: "PF-05",
    fragment_read_after_free: "PF-05",
    fragment_in_process_context: "SK-09",
    fragment_in_an_interrupt: "SK-09",
    split_and_one_part_kept: "PP-13",
    more_parts_counted_off_than_there_are: "PP-16",
    fragment_put_twice: "PP-16",
    fragment_put_plainly: "SK-06",
    same_page_twice_in_a_bulk: "PP-03",
    foreign_page_in_a_bulk: "PP-07",
    bulk_in_an_interrupt: "PP-10",
    released_by_another_pool: "PP-07",
    direct_from_process_context: "PP-08",
    direct_from_a_process_elsewhere: "PP-08",
    said_to_be_napi_safe_and_is_not: "PP-08",
    direct_in_netpoll: "PP-10",
    direct_after_destroy: "PP-08",
    fragment_after_destroy: "PP-12",
    moved_after_destroy: "PP-12",
    memory_model_never_removed: "PP-12",
    more_touched_than_is_synced: "PP-11",
    synced_past_the_page: "PP-11",
    two_consumers: "PP-09",
    interrupt_allocates: "PP-10",
    unmapped_twice: "DM-01",
    mapped_twice: "DM-01",
    device_writes_a_recycled_page: "PP-07",
    recycled_without_its_mapping: "DM-01",
    unmapped_while_posted: "DM-01",
    read_while_posted: "DM-03",
    unmapped_from_a_device_that_is_gone: "DM-02",
    clone_freed_twice: "SK-01",
    clone_forgotten: "SK-BOOKS",
    fragment_recycled_under_its_packet: "PP-07",
    fragment_dropped_once_more: "PP-03",
    fragment_reference_left: "MM-09",
    fragment_added_to_a_clone: "SK-02",
    bytes_added_to_a_clone: "SK-02",
    trimmed_for_others: "SK-02",
    coalesced_and_freed_whole: "PP-07",
    head_abandoned: "SK-08",
    coalesced_and_forgotten: "SK-BOOKS",
    freed_after_a_merge: "PP-07",
    two_cpus_drop_one_user: "SK-01",
    used_after_the_interrupt_freed_it: "SK-01",
    left_to_another_cpu_twice: "SK-01",
    freed_though_left_to_another_cpu: "SK-01",
    two_packets_in_one_page: "SK-06",
    head_without_a_size: "SK-07",
    head_past_its_page: "SK-04",
    fragment_past_its_page: "SK-04",
    on_two_lists: "SK-01",
    written_after_free: "SK-01",
    changed_while_it_is_sent: "SK-12",
    emptied_while_it_is_sent: "SK-12",
    posted_after_free: "SK-01",
    on_two_rings: "SK-12",
    completed_and_freed_twice: "SK-01",
    frame_recycled_before_completion: "XD-02",
    frame_never_returned: "XD-05",
    posted_again_after_the_packet_took_it: "DR-01",
    recycled_while_posted: "DR-01",
    more_bytes_completed_than_queued: "BQL-01",
    bytes_never_completed: "BQL-01",
    poll_completed_with_its_budget_used_up: "NAPI-01",
    poll_completed_twice: "NAPI-01",
    poll_completed_by_netpoll: "NAPI-01",
    poll_that_nobody_repeats: "NAPI-01",
    polled_on_two_cpus: "NAPI-01",
}


def machine() -> Machine:
    return Machine(era="v6.1", cpus=2, memory_mb=16, skbs=1 << 10, check="every", collect=True)


def rules_broken(m: Machine) -> list[str]:
    """What was found, after a last look."""
    with suppress(KernelBug):
        m.wind_up()
        m.assert_clean()
    return [report.id for report in m.reports]


@pytest.mark.parametrize("script", WRONG, ids=lambda script: script.__name__)
def test_a_member_of_the_family_breaks_its_rule(script: Script) -> None:
    m = machine()
    with suppress(MemoryError):  # what a refused operation ends with
        script(m)
    assert WRONG[script] in rules_broken(m), [report.what for report in m.reports]


# -- the same operations, done right ----------------------------------------------------------------------------------


def fragments_in_their_contexts(m: Machine) -> None:
    fragments = [m.page_frag_alloc(1000) for _ in range(40)]
    with m.process(1):
        m.kfree_skb(m.netdev_alloc_skb(500))
    with m.hardirq(1):
        m.dev_kfree_skb_irq(m.netdev_alloc_skb(500))
    m.kfree_skb(m.build_skb(fragments[3], frag_size=1000, offset=fragments[3].offset))
    for n, fragment in enumerate(fragments):
        if n != 3:
            fragment.touch().frag_free()


def pools_with_two_users(m: Machine) -> None:
    pool = m.page_pool(flags=3, max_len=3520, offset=256)
    pool.use_xdp_mem()
    pages = [pool.alloc_pages() for _ in range(5)]
    pool.put_page(pages[0], sync=1500)
    pool.put_page_bulk(pages[1:3])
    with m.napi(0):
        pool.recycle_direct(pages[3])
    with m.process(1):
        pool.put_page(pages[4])
    with m.process():
        pool.destroy()
        pool.destroy()


def packets_that_are_unshared_first(m: Machine) -> None:
    pool = m.page_pool()
    skb = received(m, pool)
    clone = skb.clone()
    assert skb.unclone()
    skb.put(1)
    skb.trim(50)
    m.kfree_skb(clone)
    m.attempt_defer_free(skb, cpu=1)
    m.defer_free_flush(cpu=0)
    to, source = received(m, pool), received(m, pool)
    merged = to.try_coalesce(source)
    m.kfree_skb_partial(source, merged.stolen)
    m.consume_skb(to)


def a_ring_and_its_poll(m: Machine) -> None:
    pool, ring, napi = m.page_pool(), m.tx_ring(4), m.napi_struct(0)
    ring.post(m.alloc_skb(64))
    ring.post(pool.alloc_pages())
    ring.sent_queue(128)
    assert napi.schedule()
    assert not napi.schedule()
    with napi.poll():
        skb, page = ring.complete(), ring.complete()
        assert isinstance(skb, SkBuff)
        assert isinstance(page, Page)
        m.napi_consume_skb(skb)
        pool.recycle_direct(page)
        ring.completed_queue(128)
        assert not napi.complete_done()  # it was missed
    with napi.poll():
        assert napi.complete_done()
    ring.sent_queue(64)
    ring.reset_queue()


@pytest.mark.parametrize(
    "script",
    [fragments_in_their_contexts, pools_with_two_users, packets_that_are_unshared_first, a_ring_and_its_poll],
    ids=lambda script: script.__name__,
)
def test_the_same_operations_done_right_break_none(script: Script) -> None:
    m = machine()
    script(m)
    assert rules_broken(m) == [], [report.what for report in m.reports]
