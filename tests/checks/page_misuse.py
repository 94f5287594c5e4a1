"""Scripts that misuse pages, pools and mappings, with the rule that each breaks; and others that do the same right."""

from __future__ import annotations

from netemu import Machine
from tests.checks.scripts import Script, page_of, received

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
}


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


RIGHT: list[Script] = [fragments_in_their_contexts, pools_with_two_users]
