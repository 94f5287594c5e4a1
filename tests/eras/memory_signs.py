"""How the switches of the page allocator show: zone->lock holds, pages on lists, references."""

from __future__ import annotations

from netemu import KernelBug, Machine, Page
from netemu.mm.layout import NAPI_FRAGS, NONE, PAGE_SIZE, PG_PFMEMALLOC
from netemu.mm.page_frag import page_frag_alloc
from netemu.mm.pcp import PCP_PAGE
from tests.eras.signs import Setting, shows
from tests.mm.memory import arrange, cpu_lists, holds, occupied, set_pcps

BATCHES = {"pcp_free": "batch", "pcp_refill": "batch"}
PAGES = 630
"""Ten batches: freed onto an empty list they reach its high mark five times."""
NEVER = 0


def taken(machine: Machine, count: int, order: int = 0) -> list[Page]:
    blocks = [machine.alloc_pages(order) for _ in range(count)]
    return [block for block in blocks if block is not None]


def given_back_at_once(machine: Machine, frees: int) -> list[int]:
    """Pages that leave the per-CPU list in each zone->lock hold while the first ``frees`` pages are freed."""
    sizes = []
    for pfn in range(frees):
        before = machine.k.zone[0].pages_free
        Page(machine, pfn).put()
        if machine.k.zone[0].pages_free > before:
            sizes.append(machine.k.zone[0].pages_free - before)
    return sizes


@shows("page_frag_free", BATCHES, buddy=(PAGES, PAGES), pcp=(5, 5 * 63))
def _holds_and_pages_of_last_fragments(setting: Setting) -> tuple[int, int]:
    machine = setting.machine()
    for page in taken(machine, PAGES):
        page.frag_free()
    return holds(machine)[1], machine.k.zone[0].pages_free


@shows("pcp_orders", order0=(0, 1), costly=(4, 0))
def _pages_kept_and_holds_of_an_order_2_block(setting: Setting) -> tuple[int, int]:
    machine = setting.machine()
    set_pcps(machine, batch=1, high=5000)
    (block,) = taken(machine, 1, order=2)
    block.put()
    return machine.k.pcp[0].count, holds(machine)[1]


@shows("pcp_high", {"pcp_refill": "scaled", "pcp_free": "batch"}, batch=90, watermark=640, auto=NEVER)
def _frees_until_a_list_gives_pages_back(setting: Setting) -> int:
    """256 MiB, batch 15: at six batches, at the low watermark, or not at all as all that refills brought fits."""
    machine = Machine(era=setting.era, switches=setting.switches, memory_mb=256, skbs=16)
    pages = taken(machine, 700)
    while machine.k.pcp[0].count > 0:
        pages += taken(machine, 1)
    for frees, page in enumerate(pages, start=1):
        page.put()
        if holds(machine)[1] > 0:
            return frees
    return NEVER


@shows("pcp_free", batch=[2] * 7, factor=[2, 4, 8, 16, 32, 64, 128], scale=[2, 4, 8, 16, 32, 64, 64], count=[64] * 3)
def _pages_given_back_at_once(setting: Setting) -> list[int]:
    machine = setting.machine()
    arrange(machine, {})
    set_pcps(machine, batch=2, high=400)
    return given_back_at_once(machine, 560)[:7]


@shows("pcp_refill", batch=[63, 63, 63, 63], scaled=[63, 126, 252, 315])
def _pages_taken_by_refills(setting: Setting) -> list[int]:
    machine = setting.machine()
    sizes: list[int] = []
    while len(sizes) < 4:
        before = machine.k.zone[0].pages_alloc
        taken(machine, 1)
        if machine.k.zone[0].pages_alloc > before:
            sizes.append(machine.k.zone[0].pages_alloc - before)
    return sizes


@shows(
    "pcp_drain",
    {"page_frag_free": "pcp", "pcp_orders": "costly", "pcp_free": "batch"},
    before_lock=(9, 5, 0),
    under_lock=(3, 8, 6),
)
def _blocks_left_by_a_drain_and_those_moved_under_the_lock(setting: Setting) -> tuple[int, int, int]:
    """Nine pages and eight blocks of order 1 are on the lists when six pages have to go: in turn, or from the first."""
    machine = setting.machine()
    arrange(machine, {})
    set_pcps(machine, batch=6, high=25)
    for pfn in range(100, 116, 2):
        occupied(machine, pfn, 1)
        Page(machine, pfn).put()
    for pfn in range(8):
        Page(machine, pfn).put()
    machine.k.arrays["cost"][:] = 0
    machine.k.cost[PCP_PAGE] = 1
    Page(machine, 8).put()
    singles, pairs, *_ = cpu_lists(machine)
    return len(singles), len(pairs), machine.k.lock[0].hold


@shows("pcp_empty", fails=1, buddy=2)
def _holds_of_a_request_that_finds_nothing(setting: Setting) -> int:
    machine = setting.machine()
    arrange(machine, {})
    assert machine.alloc_pages() is None
    return holds(machine)[0]


def fragment(machine: Machine, size: int) -> int:
    """Byte address of a fragment of the NAPI cache of CPU 0."""
    address: int = page_frag_alloc(machine.k, 0, NAPI_FRAGS, size)
    return address


@shows("page_frag_bias", size=(PAGE_SIZE, PAGE_SIZE - 1), max=(32769, 32768))
def _references_of_a_fragment_page(setting: Setting) -> tuple[int, int]:
    """All of them, and those that the cache still holds, when a single page had to do."""
    machine = setting.machine()
    arrange(machine, {0: [5]})
    assert fragment(machine, 1) // PAGE_SIZE == 5
    return machine.k.pages[5].refcount, machine.k.page_frag_cache[NAPI_FRAGS].bias


@shows("page_frag_pfmemalloc", reused=0, dropped=8)
def _pages_of_the_emergency_reserve_that_a_used_up_cache_gives_back(setting: Setting) -> int:
    machine = setting.machine()
    machine.k.machine[0].new_page_flags = PG_PFMEMALLOC
    pieces = [fragment(machine, PAGE_SIZE) for _ in range(8)]
    for piece in pieces:
        Page(machine, piece // PAGE_SIZE).frag_free()
    fragment(machine, PAGE_SIZE)
    return machine.k.zone[0].freed


@shows("page_frag_oversize", corrupts=2 * PAGE_SIZE, refused=NONE)
def _address_of_a_fragment_larger_than_its_page(setting: Setting) -> int:
    machine = setting.machine()
    arrange(machine, {0: [3]})
    return fragment(machine, 2 * PAGE_SIZE)


@shows("page_signature", none=(True, "freed"), unchecked=(False, "freed"), checked=(False, "MM-10"))
def _emergency_mark_of_a_released_page_and_the_end_of_a_lost_one(setting: Setting) -> tuple[bool, str]:
    machine = setting.machine()
    pool = machine.page_pool(ring_size=16)
    released, lost = pool.alloc_pages(), pool.alloc_pages()
    machine.k.pages[released.pfn].flags |= PG_PFMEMALLOC
    pool.release_page(released)
    try:
        lost.put()
    except KernelBug as bug:
        end = bug.code
    else:
        end = "freed"
        assert machine.k.zone[0].freed == 1
    return bool(machine.k.pages[released.pfn].flags & PG_PFMEMALLOC), end


@shows("free_pages_tails", leaked=3, freed=0)
def _pages_missing_after_a_block_was_freed_while_its_first_page_was_held(setting: Setting) -> int:
    machine = setting.machine()
    before = machine.k.zone[0].allocated - machine.k.zone[0].freed
    block = machine.alloc_pages(2, compound=False)
    assert block is not None
    block.get().free_pages(2)
    block.put()
    missing: int = machine.k.zone[0].allocated - machine.k.zone[0].freed - before
    return missing
