"""Scripts that misuse packets, rings and polls, with the rule that each breaks; and others that do the same right."""

from __future__ import annotations

from netemu import Machine, Page, SkBuff
from tests.checks.scripts import Script, page_of, received

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


def coalesced(m: Machine) -> tuple[SkBuff, SkBuff]:
    """A packet that has taken in another one, and what is left of that."""
    pool = m.page_pool()
    to, source = received(m, pool), received(m, pool)
    assert to.try_coalesce(source)
    return to, source


def coalesced_and_freed_whole(m: Machine) -> None:
    _, source = coalesced(m)
    m.kfree_skb(source)


def head_abandoned(m: Machine) -> None:
    m.kfree_skb_partial(received(m, m.page_pool()), True)


def coalesced_and_forgotten(m: Machine) -> None:
    to, _ = coalesced(m)
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


# -- the same operations, done right ----------------------------------------------------------------------------------


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


RIGHT: list[Script] = [packets_that_are_unshared_first, a_ring_and_its_poll]
