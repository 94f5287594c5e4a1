"""Packets: what the recorded answers leave open, and what changed from release to release."""

import pytest

import netemu
from netemu.handles import Page
from netemu.machine import Machine
from netemu.mm.layout import NAPI_FRAGS, NETDEV_FRAGS, NONE
from netemu.net import skbuff
from netemu.net.skb_layout import GRO_MAX_SIZE, MAX_SKB_FRAGS
from netemu.net.skb_slab import kmalloc_size
from netemu.packets import SkBuff
from netemu.profiles.eras import era_switches

CPU = 0


def machine(cpus: int = 1, **switches: str) -> Machine:
    made = Machine(cpus=cpus, memory_mb=16, skbs=512, switches=switches)
    skbuff.connect_skb_calls(made.k)
    return made


def page_of(m: Machine) -> Page:
    page = m.alloc_pages()
    assert page is not None
    return page


def linear(m: Machine, length: int) -> SkBuff:
    """A packet of ``length`` linear bytes on a page of its own."""
    return m.build_skb(page_of(m)).put(length)


def fragmented(m: Machine, *sizes: int) -> SkBuff:
    """A packet of fragments only."""
    skb = m.alloc_skb(0)
    for size in sizes:
        skb.add_rx_frag(page_of(m), size=size, truesize=4096)
    return skb


def with_list(m: Machine, *packets: SkBuff) -> SkBuff:
    """An empty packet with others on its fragment list."""
    skb = m.alloc_skb(0)
    for packet in packets:
        skbuff.skb_append_list(m.k, CPU, skb.number, packet.number)
    return skb


def frag_sizes(skb: SkBuff) -> list[int]:
    k = skb.machine.k
    row = k.skb[skb.number].shinfo
    return list(k.frags[row].size[: k.shinfo[row].nr_frags])


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (1, 8),
        (64, 64),
        (65, 96),
        (97, 128),
        (129, 192),
        (192, 192),
        (193, 256),
        (8192, 8192),
        (8193, 16384),
        (20000, 32768),
    ],
)
def test_small_objects_come_in_the_sizes_of_the_slabs(asked: int, got: int) -> None:
    assert kmalloc_size.interpreted()(asked) == got


@pytest.mark.parametrize(("left", "taken"), [(15, 0), (16, 16)])
def test_a_bulk_request_takes_all_or_nothing(left: int, taken: int) -> None:
    m = machine()
    m.k.slab[0].skb_limit = left + 1
    page = page_of(m)
    assert (skbuff.napi_build_skb(m.k, CPU, page.pfn, 0, 4096) != NONE) == (taken > 0)
    assert m.k.slab[0].skb_made == taken


def test_cpus_that_free_what_they_have_allocated_share_no_struct() -> None:
    m = machine(cpus=2)
    used: list[set[int]] = [set(), set()]
    for _ in range(5):
        for cpu in (0, 1):
            skb = m.alloc_skb(100, cpu=cpu)
            used[cpu].add(skb.number)
            m.kfree_skb(skb, cpu=cpu)
    assert [len(numbers) for numbers in used] == [1, 1]
    assert used[0] != used[1]


def test_a_struct_that_another_cpu_frees_goes_back_to_the_slab_that_it_came_from() -> None:
    m = machine(cpus=2)
    skb = m.alloc_skb(100, cpu=0)
    number = skb.number
    m.kfree_skb(skb, cpu=1)
    assert m.alloc_skb(100, cpu=1).number != number
    assert m.alloc_skb(100, cpu=0).number == number


def test_when_every_row_has_been_used_a_cpu_takes_a_free_struct_of_another() -> None:
    m = Machine(cpus=2, memory_mb=16, skbs=16)
    skbs = [m.alloc_skb(100, cpu=0) for _ in range(16)]
    for skb in skbs[:4]:
        m.kfree_skb(skb, cpu=0)
    assert {m.alloc_skb(100, cpu=1).number for _ in range(4)} == {skb.number for skb in skbs[:4]}


def test_stolen_heads_leave_nothing_behind() -> None:
    m = machine()
    for _ in range(40):
        target, source = linear(m, 3000), linear(m, 1000)
        assert skbuff.skb_try_coalesce(m.k, CPU, target.number, source.number) == 1
        assert m.k.coalesced[0].stolen == 1
        skbuff.kfree_skb_partial(m.k, CPU, source.number, 1)
        m.kfree_skb(target)
    assert m.k.slab[0].shinfo_made == 2
    assert m.k.slab[0].live == 0
    assert m.k.arrays["pages"]["refcount"].max() == 0


@pytest.mark.parametrize(("size", "left"), [(192, 0), (193, 193)])
def test_trimming_condenses_what_fits_behind_the_linear_data(size: int, left: int) -> None:
    m = machine()
    skb = fragmented(m, size, 100)
    assert skbuff.pskb_trim(m.k, CPU, skb.number, size) == 0
    assert m.k.skb[skb.number].data_len == left


def test_a_cut_at_the_end_of_a_fragment_keeps_no_empty_one() -> None:
    m = machine()
    skb = fragmented(m, 1000, 1000, 1000)
    assert skbuff.pskb_trim(m.k, CPU, skb.number, 2000) == 0
    assert frag_sizes(skb) == [1000, 1000]


def test_a_cut_inside_lists_of_lists_is_exact_to_the_byte() -> None:
    m = machine()
    inner = with_list(m, linear(m, 1500), linear(m, 1500))
    skb = with_list(m, linear(m, 1500), inner)
    assert skbuff.pskb_trim(m.k, CPU, skb.number, 4499) == 0
    assert (skb.len, inner.len) == (4499, 2999)
    m.kfree_skb(skb)
    assert m.k.slab[0].live == 0
    assert m.k.slab[0].dropped == 5
    m.check()


def test_bytes_are_pulled_out_of_lists_of_lists() -> None:
    m = machine()
    inner = with_list(m, fragmented(m, 700), linear(m, 1500))
    skb = with_list(m, inner)
    assert skbuff.pskb_pull_tail(m.k, CPU, skb.number, 1000) == 1
    assert (skb.len, inner.len, m.k.skb[skb.number].data_len) == (2200, 1200, 1200)
    m.kfree_skb(skb)
    assert m.k.slab[0].live == 0
    m.check()


def test_cutting_a_list_says_so_when_it_was_not_prepared() -> None:
    m = Machine(memory_mb=16, skbs=64)
    skb = with_list(m, with_list(m, linear(m, 1500)))
    assert skbuff.pskb_trim(m.k, CPU, skb.number, 1000) == -12
    with pytest.raises(netemu.KernelBug, match="connect_skb_calls"):
        m.check()


@pytest.mark.parametrize(("length", "answer"), [(GRO_MAX_SIZE - 1, 0), (GRO_MAX_SIZE, -7)])
def test_a_merged_packet_stays_below_the_largest(length: int, answer: int) -> None:
    m = machine()
    first = fragmented(m, length - 1000)
    second = fragmented(m, 1000)
    for skb in (first, second):
        skbuff.gro_start(m.k, CPU, skb.number)
    assert skbuff.skb_gro_receive(m.k, CPU, first.number, second.number, 0) == answer


def test_header_bytes_are_not_merged() -> None:
    m = machine()
    first, second = linear(m, 1000), linear(m, 1000)
    for skb in (first, second):
        skbuff.gro_start(m.k, CPU, skb.number)
    assert skbuff.skb_gro_receive(m.k, CPU, first.number, second.number, 54) == 0
    frags = m.k.frags[m.k.skb[first.number].shinfo]
    assert (first.len, frags.offset[0], frags.size[0]) == (1946, 54, 946)


def test_a_full_packet_takes_others_on_its_list() -> None:
    m = machine()
    first = fragmented(m, *[100] * MAX_SKB_FRAGS)
    second = linear(m, 1000)
    for skb in (first, second):
        skbuff.gro_start(m.k, CPU, skb.number)
    assert skbuff.skb_gro_receive(m.k, CPU, first.number, second.number, 0) == 0
    assert m.k.shinfo[m.k.skb[first.number].shinfo].frag_list == second.number + 1
    assert skbuff.napi_skb_finish(m.k, CPU, second.number) == 0


# -- eras ------------------------------------------------------------------------------------------------------------


def coalesces(rule: str, *, to_marked: bool, marked: bool, cloned: bool) -> int:
    """Does a packet of fragments, cloned or not, go into another?"""
    m = machine(skb_coalesce=rule)
    to = fragmented(m, 100)
    source = fragmented(m, 200)
    if to_marked:
        to.mark_for_recycle()
    if marked:
        source.mark_for_recycle()
    if cloned:
        source.clone()
    answer: int = skbuff.skb_try_coalesce(m.k, CPU, to.number, source.number)
    return answer


MIXTURES = [
    {"to_marked": True, "marked": False, "cloned": False},
    {"to_marked": False, "marked": True, "cloned": True},
    {"to_marked": True, "marked": True, "cloned": True},
]


@pytest.mark.parametrize(
    ("era", "answers"),
    [
        ("v5.10", [1, 1, 1]),
        ("v5.15", [0, 0, 1]),
        ("v6.1", [0, 0, 0]),
        ("v6.6", [0, 0, 0]),
        ("v6.12", [0, 0, 1]),
    ],
)
def test_the_rule_about_recycle_marks_is_that_of_the_era(era: str, answers: list[int]) -> None:
    rule = era_switches(era)["skb_coalesce"]
    assert [coalesces(rule, **mixture) for mixture in MIXTURES] == answers


def test_a_cloned_source_counted_as_unmarked_for_a_while() -> None:
    assert [coalesces("unless_cloned", **mixture) for mixture in MIXTURES] == [0, 1, 0]


@pytest.mark.parametrize(("rule", "references", "shares"), [("equal", 2, 1), ("pool_refs", 1, 2)])
def test_fragments_of_a_marked_clone_are_shared_as_pages_or_as_pieces_of_the_pool(
    rule: str, references: int, shares: int
) -> None:
    m = machine(skb_coalesce=rule, pool_frag="ref_count")
    page = m.page_pool().alloc_pages()
    to, source = fragmented(m, 100).mark_for_recycle(), m.alloc_skb(0).mark_for_recycle()
    source.add_rx_frag(page, size=200, truesize=4096)
    source.clone()
    assert skbuff.skb_try_coalesce(m.k, CPU, to.number, source.number) == 1
    assert (page.refcount, m.k.pages[page.pfn].frag_count) == (references, shares)


@pytest.mark.parametrize(("era", "answer"), [("v5.15", 0), ("v6.1", -109)])
def test_receive_offload_mixes_recycle_marks_to_v6_1(era: str, answer: int) -> None:
    m = machine(skb_gro_mark=era_switches(era)["skb_gro_mark"])
    first, second = linear(m, 100), linear(m, 100).mark_for_recycle()
    for skb in (first, second):
        skbuff.gro_start(m.k, CPU, skb.number)
    assert skbuff.skb_gro_receive(m.k, CPU, first.number, second.number, 0) == answer


@pytest.mark.parametrize(("era", "waiting"), [("v5.15", 0), ("v6.1", 1)])
def test_a_packet_of_another_cpu_waits_for_it_from_v5_19(era: str, waiting: int) -> None:
    m = machine(cpus=2, skb_defer=era_switches(era)["skb_defer"])
    skb = m.alloc_skb(100, cpu=1)
    skbuff.skb_attempt_defer_free(m.k, 0, skb.number)
    assert (m.k.softnet[1].defer_count, m.k.slab[0].live) == (waiting, waiting)
    with m.softirq(1):
        skbuff.skb_defer_free_flush(m.k, 1)
    assert (m.k.softnet[1].defer_count, m.k.slab[0].live) == (0, 0)


@pytest.mark.parametrize(("era", "cache"), [("v5.0", NETDEV_FRAGS), ("v5.4", NAPI_FRAGS)])
def test_fragments_outside_napi_come_from_its_cache_from_v5_3(era: str, cache: int) -> None:
    m = machine(netdev_frag_cache=era_switches(era)["netdev_frag_cache"])
    assert skbuff.netdev_alloc_frag(m.k, CPU, 100) != NONE
    assert [row for row in (NETDEV_FRAGS, NAPI_FRAGS) if m.k.page_frag_cache[row].page] == [cache]


def test_fragments_in_hard_interrupts_have_a_cache_of_their_own() -> None:
    m = machine()
    m.k.cpu[CPU].hardirq = 1
    assert skbuff.netdev_alloc_frag(m.k, CPU, 100) != NONE
    assert m.k.page_frag_cache[NETDEV_FRAGS].page
