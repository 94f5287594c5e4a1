"""sk_buff: what a buffer weighs, who shares it, and where struct, head and fragments go when it is freed."""

from __future__ import annotations

import pytest

from netemu import KernelBug, Machine, Page, SkBuff
from netemu.engine.faults import call_path
from netemu.mm.layout import NAPI_FRAGS, NETDEV_FRAGS, PG_PFMEMALLOC
from netemu.mm.page_frag import page_frag_cache_drain
from netemu.net.skb_layout import NAPI_SKB_CACHE_SIZE, SKB_IN_NAPI_CACHE, SKB_IN_SLAB, SKB_LIVE
from netemu.net.skbuff import __kfree_skb_flush, napi_consume_skb, skb_add_rx_frag, skb_frag_ref
from tests.mm.memory import assert_books_balance, holds
from tests.net.pools import counters, pool_machine, ringed


def a_page(machine: Machine, cpu: int = 0) -> Page:
    page = machine.alloc_pages(cpu=cpu)
    assert page is not None
    return page


def built(machine: Machine, cpu: int = 0) -> SkBuff:
    return machine.build_skb(a_page(machine, cpu), cpu=cpu)


def struct_cache(machine: Machine, cpu: int = 0) -> list[int]:
    """Structs in the CPU's napi cache; the next to be handed out is last."""
    count = machine.k.softnet[cpu].skb_count
    base = cpu * NAPI_SKB_CACHE_SIZE
    return [int(skb) for skb in machine.k.arrays["napi_skb_cache"][base : base + count]]


# -- weight ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frag_size", "truesize"), [(4096, 4352), (1920, 2176), (448, 704)])
def test_a_built_skb_weighs_its_buffer_and_its_struct(frag_size: int, truesize: int) -> None:
    machine = pool_machine()
    skb = machine.build_skb(a_page(machine), frag_size=frag_size)
    assert skb.truesize == truesize
    assert machine.k.skb[skb.number].end == frag_size - 320


@pytest.mark.parametrize(("size", "object_size"), [(1000, 2048), (1, 512), (128, 512), (192, 512), (7872, 8192)])
def test_an_allocated_skb_weighs_the_object_that_its_head_is(size: int, object_size: int) -> None:
    skb = pool_machine().alloc_skb(size)
    assert skb.truesize == object_size + 256


@pytest.mark.parametrize(
    ("era", "length", "where", "truesize"),
    [
        ("v5.10", 100, "fragment", 192 + 320 + 256),
        ("v5.15", 100, "object", 512 + 256),
        ("v6.1", 100, "slice", 1024 + 256),
        ("v6.1", 640, "slice", 1024 + 256),
        ("v6.1", 641, "fragment", 768 + 320 + 256),
        ("v6.1", 1536, "fragment", 1600 + 320 + 256),
        ("v6.1", 3712, "fragment", 3776 + 320 + 256),
        ("v6.1", 3713, "object", 8192 + 256),
    ],
)
def test_where_the_head_of_a_napi_buffer_comes_from(era: str, length: int, where: str, truesize: int) -> None:
    machine = pool_machine(era)
    skb = machine.napi_alloc_skb(length)
    row = machine.k.skb[skb.number]
    assert bool(row.head_frag) == (where != "object")
    assert machine.k.page_frag_cache[2].page == (where == "slice")
    assert skb.truesize == truesize
    assert (row.data, row.tail) == (64, 64)


@pytest.mark.parametrize(("era", "length", "head_frag"), [("v5.10", 100, 1), ("v5.15", 100, 0), ("v6.1", 1500, 1)])
def test_where_the_head_of_a_netdev_buffer_comes_from(era: str, length: int, head_frag: int) -> None:
    machine = pool_machine(era)
    skb = machine.netdev_alloc_skb(length)
    assert machine.k.skb[skb.number].head_frag == head_frag
    assert machine.k.skb[skb.number].data == 64


def test_a_fragment_adds_its_bytes_to_the_length_and_its_share_of_memory_to_the_weight() -> None:
    machine = pool_machine()
    skb = built(machine).reserve(64).put(100).add_rx_frag(a_page(machine), offset=256, size=1400, truesize=2048)
    row = machine.k.skb[skb.number]
    assert (skb.len, row.data_len, skb.truesize) == (1500, 1400, 4352 + 2048)
    info = machine.k.shinfo[row.shinfo]
    assert (info.nr_frags, info.frag_offset[0], info.frag_size[0]) == (1, 256, 1400)


@pytest.mark.parametrize("part", ["head", "fragment"])
def test_emergency_memory_marks_the_packet(part: str) -> None:
    machine = pool_machine()
    ordinary, emergency = a_page(machine), a_page(machine)
    machine.k.pages[emergency.pfn].flags |= PG_PFMEMALLOC
    head, fragment = (emergency, ordinary) if part == "head" else (ordinary, emergency)
    skb = machine.build_skb(head)
    assert machine.k.skb[skb.number].pfmemalloc == (part == "head")
    skb.add_rx_frag(fragment, size=10, truesize=4096)
    assert machine.k.skb[skb.number].pfmemalloc == 1


# -- sharing ---------------------------------------------------------------------------------------------------------


def test_clones_share_the_data_until_the_last_is_gone() -> None:
    machine = pool_machine()
    page = a_page(machine)
    skb = machine.build_skb(page).put(60)
    first, second = skb.clone(), skb.clone()
    assert skb.dataref == first.dataref == 3
    assert [machine.k.skb[s.number].cloned for s in (skb, first, second)] == [1, 1, 1]
    assert (first.len, first.truesize, first.users) == (60, 4352, 1)
    machine.consume_skb(skb)
    machine.kfree_skb(second)
    assert (page.refcount, first.dataref) == (1, 1)
    machine.consume_skb(first)
    assert page.refcount == 0
    assert_books_balance(machine)


def test_a_clone_that_references_only_the_payload_gives_up_both_halves() -> None:
    machine = pool_machine()
    page = a_page(machine)
    skb = machine.build_skb(page)
    machine.k.skb[skb.number].nohdr = 1
    machine.k.shinfo[machine.k.skb[skb.number].shinfo].dataref = 1 + (1 << 16)
    clone = skb.clone()
    assert machine.k.skb[clone.number].nohdr == 0
    assert clone.dataref == 2 + (1 << 16)
    machine.consume_skb(skb)
    assert clone.dataref == 1
    machine.consume_skb(clone)
    assert page.refcount == 0


def test_every_user_has_to_let_go() -> None:
    machine = pool_machine()
    skb = built(machine).get()
    machine.consume_skb(skb)
    assert skb.users == 1
    assert machine.k.skb[skb.number].state == SKB_LIVE
    machine.consume_skb(skb)
    assert machine.k.skb[skb.number].state == SKB_IN_SLAB
    assert machine.k.slab[0].consumed == 1


def test_dropped_and_delivered_packets_are_counted_apart() -> None:
    machine = pool_machine()
    machine.kfree_skb(built(machine))
    machine.consume_skb(built(machine))
    machine.napi_consume_skb(built(machine))
    slab = machine.k.slab[0]
    assert (slab.dropped, slab.consumed, slab.live) == (1, 2, 0)


# -- release of the memory -------------------------------------------------------------------------------------------


def test_fragments_and_head_are_freed_each_the_way_it_was_taken() -> None:
    machine = pool_machine()
    pool = machine.page_pool(ring_size=64)
    head, mine, other = pool.alloc_pages(), pool.alloc_pages(), a_page(machine)
    skb = machine.build_skb(head).mark_for_recycle()
    skb.add_rx_frag(mine, size=100, truesize=4096).add_rx_frag(other, size=100, truesize=4096)
    machine.napi_consume_skb(skb)
    assert ringed(pool) == [mine.pfn, head.pfn]
    assert counters(pool)["recycle_ring"] == 2
    assert other.refcount == 0


@pytest.mark.parametrize(("era", "to_pool"), [("v5.10", False), ("v5.15", True), ("v6.12", True)])
def test_skbs_return_pages_to_their_pool_from_v514_if_they_are_marked(era: str, to_pool: bool) -> None:
    machine = pool_machine(era)
    pool = machine.page_pool(ring_size=64)
    page = pool.alloc_pages()
    if not to_pool:
        pool.release_page(page)
    machine.consume_skb(machine.build_skb(page).mark_for_recycle())
    assert page.refcount == to_pool
    assert counters(pool).get("recycle_ring", 0) + counters(pool).get("recycle_cached", 0) == to_pool


@pytest.mark.parametrize(("era", "cpu", "cached"), [("v6.1", 0, False), ("v6.6", 0, True), ("v6.6", 1, False)])
def test_in_the_pools_own_napi_pages_of_an_skb_go_to_the_cache_from_v64(era: str, cpu: int, cached: bool) -> None:
    machine = pool_machine(era, cpus=2)
    pool = machine.page_pool(cpu=0)
    skb = machine.build_skb(pool.alloc_pages()).mark_for_recycle()
    machine.napi_consume_skb(skb, cpu=cpu)
    assert counters(pool).get("recycle_cached", 0) == cached


def test_a_pool_page_that_a_clone_still_reads_is_recycled_by_the_last() -> None:
    machine = pool_machine()
    pool = machine.page_pool()
    skb = machine.build_skb(pool.alloc_pages()).mark_for_recycle()
    clone = skb.clone()
    machine.consume_skb(skb)
    assert ringed(pool) == []
    machine.consume_skb(clone)
    assert counters(pool)["recycle_ring"] == 1


def test_a_fragment_that_somebody_else_references_leaves_the_pool() -> None:
    machine = pool_machine()
    pool = machine.page_pool()
    head, fragment = pool.alloc_pages(), pool.alloc_pages()
    skb = machine.build_skb(head).mark_for_recycle().add_rx_frag(fragment, size=100, truesize=4096)
    skb_frag_ref(machine.k, 0, skb.number, 0)
    machine.consume_skb(skb)
    assert fragment.refcount == 1
    assert counters(pool)["recycle_released_refcnt"] == 1
    fragment.put()
    pool.destroy()
    assert_books_balance(machine)


def test_heads_cut_from_one_page_free_it_together() -> None:
    machine = pool_machine()
    skbs = [machine.napi_alloc_skb(1000) for _ in range(20)]
    for skb in skbs:
        machine.napi_consume_skb(skb)
    page_frag_cache_drain(machine.k, 0, NAPI_FRAGS)
    assert machine.k.zone[0].allocated == machine.k.zone[0].freed == 8
    assert_books_balance(machine)


@pytest.mark.parametrize(
    ("era", "switches", "free_holds"), [("v4.19", {}, 630), ("v4.19", {"page_frag_free": "pcp"}, 5), ("v5.0", {}, 5)]
)
def test_completions_on_another_cpu_cost_a_hold_each_or_one_per_batch(
    era: str, switches: dict[str, str], free_holds: int
) -> None:
    machine = pool_machine(era, cpus=2, **switches)
    skbs = [built(machine, cpu=0) for _ in range(630)]
    for skb in skbs:
        machine.napi_consume_skb(skb, cpu=1)
    assert holds(machine) == (10, free_holds)
    assert_books_balance(machine)


@pytest.mark.parametrize(("how", "last"), [("buddy", "free_one_page"), ("pcp", "free_unref_page")])
def test_the_call_tree_shows_the_way_a_head_went(how: str, last: str) -> None:
    machine = pool_machine("v4.19", page_frag_free=how)
    machine.napi_consume_skb(built(machine))
    paths = {call_path(machine.k, node) for node in range(1, machine.k.tree[0].nodes + 1)}
    way = ("napi_consume_skb", "skb_release_data", "skb_free_head", "skb_free_frag", "page_frag_free")
    ends = {"free_one_page": (*way, "__free_pages_ok", "free_one_page"), "free_unref_page": (*way, "free_unref_page")}
    assert {name for name, path in ends.items() if path in paths} == {last}


# -- structs ---------------------------------------------------------------------------------------------------------


def test_to_v511_sixty_four_freed_structs_go_back_at_once() -> None:
    machine = pool_machine("v4.19")
    skbs = [built(machine) for _ in range(64)]
    for skb in skbs[:63]:
        machine.napi_consume_skb(skb)
    assert struct_cache(machine) == [skb.number for skb in skbs[:63]]
    assert machine.k.slab[0].head_bulk_frees == 0
    machine.napi_consume_skb(skbs[63])
    assert struct_cache(machine) == []
    assert machine.k.slab[0].head_bulk_frees == 64


def test_to_v511_the_rest_is_flushed_at_the_end_of_the_softirq() -> None:
    machine = pool_machine("v4.19")
    skbs = [built(machine) for _ in range(5)]
    for skb in skbs:
        machine.napi_consume_skb(skb)
    __kfree_skb_flush.interpreted()(machine.k, 0)
    __kfree_skb_flush.interpreted()(machine.k, 0)
    assert struct_cache(machine) == []
    assert machine.k.slab[0].head_bulk_frees == 5
    assert {machine.k.skb[skb.number].state for skb in skbs} == {SKB_IN_SLAB}


def test_before_v512_building_takes_no_struct_from_the_cache() -> None:
    machine = pool_machine("v5.10")
    freed = built(machine)
    machine.napi_consume_skb(freed)
    skb = machine.napi_build_skb(a_page(machine))
    assert skb.number != freed.number
    assert struct_cache(machine) == [freed.number]


def test_from_v512_an_empty_cache_takes_sixteen_structs_and_hands_out_the_last() -> None:
    machine = pool_machine("v6.1")
    first = machine.napi_build_skb(a_page(machine))
    assert first.number == 15
    assert struct_cache(machine) == list(range(15))
    assert machine.k.slab[0].head_bulk_allocs == 16
    assert {machine.k.skb[skb].state for skb in struct_cache(machine)} == {SKB_IN_NAPI_CACHE}
    machine.napi_consume_skb(first)
    assert machine.napi_build_skb(a_page(machine)).number == first.number


def test_from_v512_a_full_cache_keeps_the_lower_half() -> None:
    machine = pool_machine("v6.1")
    skbs = [built(machine) for _ in range(64)]
    for skb in skbs:
        machine.napi_consume_skb(skb)
    assert struct_cache(machine) == [skb.number for skb in skbs[:32]]
    assert machine.k.slab[0].head_bulk_frees == 32
    assert built(machine).number == skbs[32].number


def test_struct_caches_belong_to_their_cpu() -> None:
    machine = pool_machine("v6.1", cpus=2)
    machine.napi_consume_skb(built(machine), cpu=1)
    assert (struct_cache(machine, 0), struct_cache(machine, 1)) == ([], [0])


def test_with_budget_zero_the_struct_goes_to_the_slab_in_any_context() -> None:
    machine = pool_machine("v6.1")
    skb = built(machine)
    napi_consume_skb(machine.k, 0, skb.number, 0)
    machine.check()
    assert struct_cache(machine) == []
    assert machine.k.slab[0].head_frees == 1


def test_without_structs_the_caller_keeps_the_page() -> None:
    machine = pool_machine("v6.1")
    machine.k.slab[0].skb_limit = 1
    page = a_page(machine)
    for build in (machine.build_skb, machine.napi_build_skb):
        with pytest.raises(MemoryError):
            build(page)
    assert page.refcount == 1


def test_without_structs_an_allocated_buffer_is_given_back() -> None:
    machine = pool_machine("v6.1")
    machine.k.slab[0].skb_limit = 1
    for allocate in (machine.napi_alloc_skb, machine.netdev_alloc_skb):
        with pytest.raises(MemoryError):
            allocate(1500)
    page_frag_cache_drain(machine.k, 0, NAPI_FRAGS)
    page_frag_cache_drain(machine.k, 0, NETDEV_FRAGS)
    assert_books_balance(machine)


def test_without_an_object_for_the_head_the_struct_is_given_back() -> None:
    machine = pool_machine("v6.1")
    machine.k.slab[0].object_limit = 1
    with pytest.raises(MemoryError):
        machine.alloc_skb(1000)
    assert (machine.k.slab[0].live, machine.k.slab[0].head_frees) == (0, 1)


# -- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["consume_skb", "kfree_skb", "napi_consume_skb", "clone", "get"])
def test_a_dead_skb_is_reported_and_nothing_is_freed_twice(again: str) -> None:
    machine = pool_machine()
    skb = built(machine)
    machine.consume_skb(skb)
    freed = machine.k.zone[0].freed
    use = {
        "consume_skb": lambda: machine.consume_skb(skb),
        "kfree_skb": lambda: machine.kfree_skb(skb),
        "napi_consume_skb": lambda: machine.napi_consume_skb(skb),
        "clone": skb.clone,
        "get": skb.get,
    }[again]
    with pytest.raises(KernelBug, match=f"sk_buff {skb.number} is used after") as caught:
        use()
    assert caught.value.code == "SK-01"
    assert machine.k.zone[0].freed == freed
    assert machine.k.slab[0].live == 0
    machine.check()


def test_napi_consume_outside_softirq_is_reported_and_frees_nothing() -> None:
    machine = pool_machine()
    skb = built(machine)
    napi_consume_skb(machine.k, 0, skb.number, 64)
    with pytest.raises(KernelBug, match="budget 64 outside softirq") as caught:
        machine.check()
    assert caught.value.code == "SK-09"
    assert caught.value.where == ("napi_consume_skb",)
    assert skb.users == 1


def test_an_eighteenth_fragment_is_refused() -> None:
    machine = pool_machine()
    skb = built(machine)
    for _ in range(17):
        skb.add_rx_frag(a_page(machine), size=100, truesize=4096)
    extra = a_page(machine)
    skb_add_rx_frag(machine.k, 0, skb.number, extra.pfn, 0, 100, 4096)
    with pytest.raises(KernelBug, match="no room for fragment 17") as caught:
        machine.check()
    assert caught.value.code == "SK-04"
    assert skb.len == 1700
    machine.consume_skb(skb)
    assert_books_balance(machine, [extra.pfn])


def test_a_head_that_was_freed_behind_the_skbs_back_is_reported() -> None:
    machine = pool_machine()
    page = a_page(machine)
    skb = machine.build_skb(page)
    page.put()
    with pytest.raises(KernelBug) as caught:
        machine.consume_skb(skb)
    assert caught.value.code == "MM-01"
    assert caught.value.where[-1] == "page_frag_free"


def test_a_machine_without_rows_for_more_skbs_says_so() -> None:
    machine = Machine(memory_mb=8, skbs=4)
    for _ in range(4):
        built(machine)
    with pytest.raises(KernelBug, match="give the machine more"):
        built(machine)
