"""page_frag caches: where fragments lie, who owns the page, and what freeing the last fragment costs."""

from __future__ import annotations

import pytest

from netemu import KernelBug, Machine
from netemu.handles import Page
from netemu.mm.layout import NAPI_FRAGS, NETDEV_FRAGS, PAGE_SIZE, PG_PFMEMALLOC
from netemu.mm.page_frag import page_frag_alloc, page_frag_alloc_1k, page_frag_cache_drain
from tests.mm.memory import arrange, assert_books_balance, cpu_lists, holds, small_machine

CACHE_OF_CPU_0 = NETDEV_FRAGS
FIRST_PAGE = 0


def fragments(machine: Machine, count: int, size: int) -> list[int]:
    """Byte addresses of ``count`` fragments."""
    return [page_frag_alloc(machine.k, 0, NETDEV_FRAGS, size) for _ in range(count)]


def free(machine: Machine, addresses: list[int], cpu: int = 0) -> None:
    for address in addresses:
        Page(machine, address // PAGE_SIZE).frag_free(cpu=cpu)


def live(machine: Machine) -> int:
    """Fragments of the current page that are out."""
    cache = machine.k.page_frag_cache[CACHE_OF_CPU_0]
    references: int = machine.k.pages[cache.page - 1].refcount
    return references - cache.bias


@pytest.mark.parametrize("era", ["v4.19", "v5.0", "v6.1"])
def test_fragments_are_cut_from_the_end_of_32_kib_down(era: str) -> None:
    machine = small_machine(era)
    addresses = fragments(machine, 17, 1920)
    assert addresses == list(range(30848, 0, -1920))
    assert addresses[-1] == 128
    assert live(machine) == 17
    assert fragments(machine, 1, 1920)[0] // (8 * PAGE_SIZE) == 1


@pytest.mark.parametrize(("size", "pieces"), [(1920, 17), (2048, 16), (4096, 8), (640, 51)])
def test_how_many_fragments_a_page_gives(size: int, pieces: int) -> None:
    addresses = fragments(small_machine("v6.1"), pieces + 1, size)
    assert {address // 32768 for address in addresses[:pieces]} == {0}
    assert addresses[pieces] // 32768 == 1


@pytest.mark.parametrize(("era", "references"), [("v4.19", 32768), ("v5.0", 32769), ("v6.12", 32769)])
def test_references_that_the_cache_takes_in_advance(era: str, references: int) -> None:
    machine = small_machine(era)
    fragments(machine, 17, 1920)
    assert machine.k.pages[FIRST_PAGE].refcount == references
    assert machine.k.page_frag_cache[CACHE_OF_CPU_0].bias == references - 17


@pytest.mark.parametrize("era", ["v4.19", "v5.0", "v6.1"])
def test_a_page_whose_fragments_are_all_back_is_used_again(era: str) -> None:
    machine = small_machine(era)
    first = fragments(machine, 17, 1920)
    free(machine, first)
    assert live(machine) == 0
    assert fragments(machine, 1, 1920) == first[:1]
    assert machine.k.zone[0].allocated == 8


@pytest.mark.parametrize("era", ["v4.19", "v5.0", "v6.1"])
def test_a_page_with_a_live_fragment_is_left_to_its_last_user(era: str) -> None:
    machine = small_machine(era)
    first = fragments(machine, 17, 1920)
    free(machine, first[:16])
    (after,) = fragments(machine, 1, 1920)
    assert after // 32768 == 1
    assert machine.k.pages[FIRST_PAGE].refcount == 1
    assert machine.k.zone[0].freed == 0
    free(machine, first[16:])
    assert machine.k.zone[0].freed == 8
    assert_books_balance(machine)


def test_one_byte_fragments_of_v419_free_the_page_while_the_cache_still_uses_it() -> None:
    machine = small_machine("v4.19")
    k = machine.k
    fragments(machine, 1, 1)
    k.page_frag_cache[CACHE_OF_CPU_0].bias = 1  # as after 32767 of them, all freed but the first
    k.pages[FIRST_PAGE].refcount = 2
    last = fragments(machine, 1, 1)
    assert k.page_frag_cache[CACHE_OF_CPU_0].bias == 0
    free(machine, last * 2)
    assert k.pages[FIRST_PAGE].refcount == 0
    assert k.zone[0].freed == 8
    assert k.page_frag_cache[CACHE_OF_CPU_0].page == FIRST_PAGE + 1


def test_one_byte_fragments_cannot_use_up_the_references_of_v50() -> None:
    machine = small_machine("v5.0")
    fragments(machine, 1, 1)
    machine.k.page_frag_cache[CACHE_OF_CPU_0].bias -= 32767
    machine.k.pages[FIRST_PAGE].refcount -= 32767
    machine.k.page_frag_cache[CACHE_OF_CPU_0].offset = 0
    free(machine, [0])
    assert fragments(machine, 1, 1) == [32767]
    assert machine.k.zone[0].freed == 0


def test_without_a_large_block_the_cache_makes_do_with_one_page() -> None:
    machine = small_machine("v6.1")
    arrange(machine, {0: [6, 4]})
    assert fragments(machine, 2, 2048) == [6 * PAGE_SIZE + 2048, 6 * PAGE_SIZE]
    assert fragments(machine, 1, 2048) == [4 * PAGE_SIZE + 2048]
    assert machine.k.page_frag_cache[CACHE_OF_CPU_0].size == PAGE_SIZE


@pytest.mark.parametrize(("era", "address"), [("v6.1", -1), ("v5.0", 4096 * 6 - 1000)])
def test_a_fragment_larger_than_that_page_is_refused_or_overruns_it(era: str, address: int) -> None:
    machine = small_machine(era)
    arrange(machine, {0: [6]})
    assert fragments(machine, 1, 5096) == [address]


def test_without_any_page_there_is_no_fragment() -> None:
    machine = small_machine("v6.1")
    arrange(machine, {})
    assert fragments(machine, 1, 64) == [-1]
    assert machine.k.zone[0].failures == 2


@pytest.mark.parametrize(("era", "freed", "taken"), [("v5.4", 0, 8), ("v5.10", 8, 16)])
def test_an_emergency_page_stays_in_the_cache_until_v510(era: str, freed: int, taken: int) -> None:
    machine = small_machine(era)
    first = fragments(machine, 8, 4096)
    machine.k.pages[FIRST_PAGE].flags |= PG_PFMEMALLOC
    machine.k.page_frag_cache[CACHE_OF_CPU_0].pfmemalloc = 1
    free(machine, first)
    fragments(machine, 1, 4096)
    assert (machine.k.zone[0].freed, machine.k.zone[0].allocated) == (freed, taken)


def test_slices_of_one_kib_are_four_to_a_page_and_own_it_together() -> None:
    machine = small_machine("v6.1")
    slices = [page_frag_alloc_1k(machine.k, 0) for _ in range(5)]
    assert slices == [3072, 2048, 1024, 0, PAGE_SIZE + 3072]
    assert machine.k.pages[0].refcount == 4
    free(machine, slices[:4])
    assert machine.k.zone[0].freed == 1


def test_caches_of_cpus_and_contexts_are_apart() -> None:
    machine = small_machine("v6.1", cpus=2)
    blocks = {
        page_frag_alloc(machine.k, cpu, which, 1024) // 32768 for cpu in (0, 1) for which in (NETDEV_FRAGS, NAPI_FRAGS)
    }
    assert len(blocks) == 4


@pytest.mark.parametrize("era", ["v4.19", "v6.1"])
def test_a_drained_cache_leaves_the_page_to_live_fragments(era: str) -> None:
    machine = small_machine(era)
    out = fragments(machine, 3, 2048)
    page_frag_cache_drain(machine.k, 0, NETDEV_FRAGS)
    assert machine.k.pages[FIRST_PAGE].refcount == 3
    free(machine, out)
    assert machine.k.zone[0].freed == 8
    slices = [page_frag_alloc_1k(machine.k, 0) for _ in range(2)]
    page_frag_cache_drain(machine.k, 0, 2)
    free(machine, slices)
    assert machine.k.zone[0].freed == 9
    assert_books_balance(machine)


def test_a_fragment_that_is_freed_twice_is_reported() -> None:
    machine = small_machine("v5.0")
    out = fragments(machine, 1, 4096)
    page_frag_cache_drain(machine.k, 0, NETDEV_FRAGS)
    free(machine, out)
    with pytest.raises(KernelBug) as caught:
        free(machine, out)
    assert caught.value.code == "MM-01"
    assert caught.value.where == ("page_frag_free",)


# -- the change of v5.0: order-0 pages by way of the per-CPU lists ---------------------------------------------------


@pytest.mark.parametrize(
    ("era", "switches", "free_holds", "left"),
    [
        ("v4.19", {}, 630, 0),
        ("v4.19", {"page_frag_free": "pcp"}, 5, 315),
        ("v5.0", {}, 5, 315),
        ("v5.0", {"page_frag_free": "buddy"}, 630, 0),
    ],
)
def test_630_last_fragments_cost_630_holds_or_5(era: str, switches: dict[str, str], free_holds: int, left: int) -> None:
    machine = small_machine(era, cpus=4, switches=switches)
    pages = [machine.alloc_pages(cpu=0) for _ in range(630)]
    assert holds(machine) == (10, 0)
    for page in pages:
        assert page is not None
        page.frag_free(cpu=1)
    assert holds(machine) == (10, free_holds)
    assert len(cpu_lists(machine, 1)[0]) == left
    assert machine.k.zone[0].freed == 630
    assert_books_balance(machine)


@pytest.mark.parametrize("era", ["v4.19", "v5.0", "v5.10"])
@pytest.mark.parametrize("how", ["buddy", "pcp"])
def test_larger_blocks_are_not_affected_by_the_change(era: str, how: str) -> None:
    machine = small_machine(era, switches={"page_frag_free": how})
    out = fragments(machine, 8 * 20, 4096)
    page_frag_cache_drain(machine.k, 0, NETDEV_FRAGS)
    assert holds(machine) == (20, 0)
    free(machine, out)
    assert holds(machine) == (20, 20)
    assert machine.k.zone[0].pages_free == 160


@pytest.mark.parametrize("how", ["buddy", "pcp"])
def test_put_page_used_the_lists_before_the_change_already(how: str) -> None:
    machine = small_machine("v4.19", switches={"page_frag_free": how})
    for page in [machine.alloc_pages() for _ in range(630)]:
        assert page is not None
        page.put()
    assert holds(machine) == (10, 5)
