"""Misuse in many forms, scripted through the handles: each breaks its rule; correct work breaks none."""

from __future__ import annotations

import pytest

import netemu
from netemu import Machine, SkBuff
from tests.checks.scripts import Script, page_of


def put_twice(m: Machine) -> None:
    page = page_of(m)
    page.put()
    page.put()


def get_of_a_free_page(m: Machine) -> None:
    page = page_of(m)
    page.put()
    page.get()


def freed_under_an_skb(m: Machine) -> None:
    page = page_of(m)
    m.build_skb(page)
    page.put()


def wrong_order(m: Machine) -> None:
    page_of(m, 2).free_pages(1)


def fragment_freed_twice(m: Machine) -> None:
    fragments = [m.page_frag_alloc(1000) for _ in range(3)]
    for fragment in [*fragments, fragments[0]]:
        fragment.frag_free()


def put_into_another_pool(m: Machine) -> None:
    m.page_pool().put_page(m.page_pool().alloc_pages())


def pool_put_twice(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    pool.put_page(page)


def used_after_it_went_to_others(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.recycle_direct(page)
    assert pool.alloc_pages() == page
    page.touch()


def read_after_put(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    page.touch()


def dropped_in_the_ring(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.put_page(page)
    page.put()


def alloc_on_another_cpu(m: Machine) -> None:
    m.page_pool(cpu=0).alloc_pages(cpu=1)


def alloc_in_process_context(m: Machine) -> None:
    pool = m.page_pool()
    with m.process(0):
        pool.alloc_pages()


def update_nid_elsewhere(m: Machine) -> None:
    m.page_pool(cpu=0).update_nid(0, cpu=1)


def direct_from_another_cpu(m: Machine) -> None:
    pool = m.page_pool(cpu=0)
    pool.put_page(pool.alloc_pages(), direct=True, cpu=1)


def put_in_hardirq(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    with m.hardirq(0):
        pool.put_page(page)


def alloc_in_netpoll(m: Machine) -> None:
    pool = m.page_pool()
    with m.napi(0, budget=0):
        pool.alloc_pages()


def alloc_after_destroy(m: Machine) -> None:
    pool = m.page_pool()
    pool.destroy()
    pool.alloc_pages()


def destroyed_twice(m: Machine) -> None:
    pool = m.page_pool()
    pool.destroy()
    pool.destroy()


def stalled(m: Machine) -> None:
    pool = m.page_pool()
    pool.alloc_pages()
    pool.destroy()
    m.advance(ms=60_000)


def put_into_a_freed_pool(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages().get()
    pool.put_page(page)
    pool.destroy()
    pool.put_page(page)


def released_twice(m: Machine) -> None:
    pool = m.page_pool()
    page = pool.alloc_pages()
    pool.release_page(page)
    pool.release_page(page)


def one_fragment_too_many(m: Machine) -> None:
    pool = m.page_pool(flags=4)
    page = pool.alloc_pages().fragment(2)
    for _ in range(3):
        pool.put_page(page)


def unmapped_by_the_driver(m: Machine) -> None:
    pool = m.page_pool(flags=1)
    page = pool.alloc_pages()
    page.dma_unmap()
    pool.release_page(page)


def device_writes_an_unmapped_page(m: Machine) -> None:
    page_of(m).touch(device=True)


def freed_while_mapped(m: Machine) -> None:
    page = page_of(m)
    assert page.dma_map()
    page.put()


def skb_freed_twice(m: Machine) -> None:
    skb = m.alloc_skb(100)
    m.kfree_skb(skb)
    m.kfree_skb(skb)


def skb_used_after_its_struct_went_on(m: Machine) -> None:
    skb = m.alloc_skb(100)
    m.kfree_skb(skb)
    m.alloc_skb(200)
    skb.clone()


def consumed_for_others(m: Machine) -> None:
    skb = m.alloc_skb(100).get()
    for _ in range(3):
        m.consume_skb(skb)


def expanded_while_shared(m: Machine) -> None:
    m.alloc_skb(100).get().expand_head(64)


def napi_consume_in_process(m: Machine) -> None:
    skb = m.alloc_skb(100)
    with m.process(0):
        m.napi_consume_skb(skb, 64)


def napi_consume_in_netpoll(m: Machine) -> None:
    skb = m.alloc_skb(100)
    with m.napi(0, budget=0):
        m.napi_consume_skb(skb, 64)


def napi_alloc_in_process(m: Machine) -> None:
    with m.process(0):
        m.napi_alloc_skb(1000)


def freed_in_hardirq(m: Machine) -> None:
    skb = m.alloc_skb(100)
    with m.hardirq(0):
        m.kfree_skb(skb)


def marked_copy(m: Machine) -> None:
    pool = m.page_pool()
    skb = m.alloc_skb(100).add_rx_frag(pool.alloc_pages(), size=500, truesize=4096).mark_for_recycle()
    copy = skb.pskb_copy().mark_for_recycle()
    m.kfree_skb(copy)


def stale_skb_on_the_ring(m: Machine) -> None:
    ring = m.tx_ring(4)
    skb = m.alloc_skb(100)
    ring.post(skb)
    m.kfree_skb(skb)


def posted_twice(m: Machine) -> None:
    ring = m.rx_ring(4)
    page = page_of(m)
    ring.post(0, page)
    ring.post(1, page)


def sent_while_received_into(m: Machine) -> None:
    page = page_of(m)
    m.rx_ring(4).post(0, page)
    m.tx_ring(4).post(page)


def ring_overrun(m: Machine) -> None:
    ring = m.tx_ring(2)
    for _ in range(3):
        ring.post(m.alloc_skb(64))


def completed_too_often(m: Machine) -> None:
    m.tx_ring(2).complete()


WRONG: dict[Script, str] = {
    put_twice: "MM-01",
    get_of_a_free_page: "MM-01",
    freed_under_an_skb: "MM-01",
    wrong_order: "MM-12",
    fragment_freed_twice: "MM-01",
    put_into_another_pool: "PP-07",
    pool_put_twice: "PP-03",
    used_after_it_went_to_others: "PP-07",
    read_after_put: "PP-07",
    dropped_in_the_ring: "PP-04",
    alloc_on_another_cpu: "PP-09",
    alloc_in_process_context: "PP-09",
    update_nid_elsewhere: "PP-09",
    direct_from_another_cpu: "PP-08",
    put_in_hardirq: "PP-10",
    alloc_in_netpoll: "PP-10",
    alloc_after_destroy: "PP-12",
    destroyed_twice: "PP-12",
    stalled: "PP-12",
    put_into_a_freed_pool: "PP-12",
    released_twice: "PP-07",
    one_fragment_too_many: "PP-03",
    unmapped_by_the_driver: "DM-01",
    device_writes_an_unmapped_page: "DM-01",
    freed_while_mapped: "DM-01",
    skb_freed_twice: "SK-01",
    skb_used_after_its_struct_went_on: "SK-01",
    consumed_for_others: "SK-01",
    expanded_while_shared: "SK-02",
    napi_consume_in_process: "SK-09",
    napi_consume_in_netpoll: "SK-09",
    napi_alloc_in_process: "SK-09",
    freed_in_hardirq: "SK-10",
    marked_copy: "SK-11",
    stale_skb_on_the_ring: "SK-12",
    posted_twice: "DR-01",
    sent_while_received_into: "XD-04",
    ring_overrun: "XD-04",
    completed_too_often: "XD-05",
}


def machine(**options: object) -> Machine:
    return Machine(era="v6.1", cpus=2, memory_mb=16, skbs=1 << 10, check="every", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("script", WRONG, ids=lambda script: script.__name__)
def test_misuse_breaks_its_rule(script: Script) -> None:
    m = machine(collect=True)
    script(m)
    assert WRONG[script] in [report.id for report in m.reports], [report.what for report in m.reports]


def test_a_breach_is_raised_by_the_operation_that_commits_it() -> None:
    m = machine()
    skb = m.alloc_skb(100)
    m.kfree_skb(skb)
    with pytest.raises(netemu.KernelBug) as caught:
        m.kfree_skb(skb)
    assert caught.value.code == "SK-01"
    assert [report.id for report in caught.value.reports] == ["SK-01"]
    assert "test_rules.py:" in str(caught.value)


def test_a_stalled_shutdown_has_the_words_of_the_kernel() -> None:
    m = machine(collect=True)
    stalled(m)
    assert [report.what for report in m.reports] == [
        "page_pool_release_retry() stalled pool shutdown: id 1, 1 inflight 60 sec"
    ]


def test_a_pool_that_is_freed_during_a_return_is_found() -> None:
    """The last page reaches the ring on one CPU, another finds nothing in flight and frees the pool under it."""
    m = machine(collect=True)
    pool = m.page_pool()
    page = pool.alloc_pages()
    with m.interrupted("ring_produce", lambda: pool.destroy(cpu=1), returning=True) as destroyed:
        pool.put_page(page)
    assert destroyed.happened
    assert "PP-12" in [report.id for report in m.reports]


def test_interrupt_handlers_may_free_by_the_functions_for_that() -> None:
    m = machine()
    packets = [m.alloc_skb(100) for _ in range(3)]
    with m.hardirq(1):
        m.dev_kfree_skb_irq(packets[0])
        m.dev_kfree_skb_any(packets[1])
    with m.napi(0, budget=0):
        m.napi_consume_skb(packets[2], 0)
    m.wind_up()
    m.assert_clean()


def test_what_is_correct_is_silent_in_every_context() -> None:
    m = machine()
    pool = m.page_pool(cpu=0)
    with m.napi(0):
        pages = [pool.alloc_pages() for _ in range(8)]
        pool.recycle_direct(pages.pop())
    with m.process(1):
        pool.put_page(pages.pop())
    with m.bh_disabled(1):
        pool.put_page_bulk(pages)
        m.napi_consume_skb(m.napi_alloc_skb(500))
    m.wind_up()
    m.assert_clean()


def test_schedules_of_the_same_numbers_are_the_same_interleaving() -> None:
    seen = []
    for _ in range(2):
        m = machine()
        pool = m.page_pool()
        order: list[str] = []

        def work(name: str, skb: SkBuff, m: Machine = m, order: list[str] = order) -> None:
            for step in range(3):
                order.append(f"{name}{step}")
                skb.get()
                m.consume_skb(skb)
            m.consume_skb(skb)

        packets = [m.napi_build_skb(pool.alloc_pages()).mark_for_recycle() for _ in range(2)]
        m.interleave(
            (0, lambda p=packets[0], w=work: w("a", p)),  # type: ignore[misc]
            (1, lambda p=packets[1], w=work: w("b", p)),  # type: ignore[misc]
            schedule=[0, 1, 0, 0, 1] * 6,
        )
        m.wind_up()
        m.assert_clean()
        seen.append(order)
    assert seen[0] == seen[1]
    assert seen[0] != sorted(seen[0])
