"""The RX page cache of mlx5: a FIFO of 255 pages that is blocked by its oldest."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import Page
from netemu.drivers.mlx5.layout import CACHE_SIZE, RQ
from netemu.drivers.mlx5.pages import mlx5e_page_alloc_mapped, mlx5e_rx_cache_get, mlx5e_rx_cache_put
from netemu.mm.layout import NONE, PG_PFMEMALLOC
from tests.drivers.stepping import Stepper

USABLE = 255
COUNTERS = ("cache_reuse", "cache_full", "cache_empty", "cache_busy", "cache_waive")


class Cache:
    """The cache of a fresh queue, and pages of the machine to put into it."""

    def __init__(self) -> None:
        self.nic = Stepper("mlx5", "v5.0", options={"rq": "legacy"})
        self.before = self.counters()

    def page(self) -> Page:
        page = self.nic.machine.alloc_pages()
        assert page is not None
        return page

    def put(self, page: Page) -> bool:
        return bool(mlx5e_rx_cache_put.interpreted()(self.nic.k, 0, self.nic.rxq, page.pfn))

    def get(self) -> int:
        page: int = mlx5e_rx_cache_get.interpreted()(self.nic.k, 0, self.nic.rxq)
        return page

    def counters(self) -> dict[str, int]:
        row = RQ(self.nic.k, 0, 0)
        return {name: getattr(row, name) for name in COUNTERS}

    def counted(self) -> dict[str, int]:
        """What was counted since the queue was opened, zeros left out."""
        return {name: n - self.before[name] for name, n in self.counters().items() if n != self.before[name]}

    def __len__(self) -> int:
        row = RQ(self.nic.k, 0, 0)
        return (row.cache_tail - row.cache_head) % CACHE_SIZE


def test_pages_come_back_oldest_first() -> None:
    cache = Cache()
    pages = [cache.page() for _ in range(3)]
    assert all(cache.put(page) for page in pages)
    assert [cache.get() for _ in pages] == [page.pfn for page in pages]
    assert cache.get() == NONE
    assert cache.counted() == {"cache_reuse": 3, "cache_empty": 1}


def test_the_oldest_page_blocks_all_others_while_somebody_holds_it() -> None:
    cache = Cache()
    oldest, free = cache.page().get(), cache.page()
    cache.put(oldest)
    cache.put(free)
    assert cache.get() == NONE
    assert cache.get() == NONE
    assert len(cache) == 2
    assert free.refcount == 1
    oldest.put()
    assert [cache.get(), cache.get()] == [oldest.pfn, free.pfn]
    assert cache.counted() == {"cache_busy": 2, "cache_reuse": 2}


def test_255_pages_fit_and_the_next_is_refused() -> None:
    cache = Cache()
    assert all(cache.put(cache.page()) for _ in range(USABLE))
    assert not cache.put(cache.page())
    assert len(cache) == USABLE
    assert cache.counted() == {"cache_full": 1}
    cache.get()
    assert cache.put(cache.page())


@pytest.mark.parametrize("unfit", ["emergency reserve", "another node"])
def test_an_unfit_page_is_waived(unfit: str) -> None:
    cache = Cache()
    page = cache.page()
    spoil(cache, page, unfit)
    assert not cache.put(page)
    assert cache.counted() == {"cache_waive": 1}
    assert len(cache) == 0


@pytest.mark.parametrize("unfit", ["emergency reserve", "another node"])
def test_a_full_cache_is_full_before_it_looks_at_the_page(unfit: str) -> None:
    cache = Cache()
    for _ in range(USABLE):
        cache.put(cache.page())
    page = cache.page()
    spoil(cache, page, unfit)
    assert not cache.put(page)
    assert cache.counted() == {"cache_full": 1}


def spoil(cache: Cache, page: Page, how: str) -> None:
    row = cache.nic.k.pages[page.pfn]
    if how == "another node":
        row.nid = 1
    else:
        row.flags |= PG_PFMEMALLOC


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put held", "get", "get", "release"]), st.integers(1, 90)), max_size=25
)


@settings(max_examples=40)
@given(OPERATIONS)
def test_the_cache_agrees_with_a_queue_that_counts(operations: list[tuple[str, int]]) -> None:
    cache = Cache()
    model: deque[Page] = deque()
    held: list[Page] = []
    counted = dict.fromkeys(COUNTERS, 0)
    for name, times in operations:
        for _ in range(times):
            if name == "release":
                if held:
                    held.pop(0).put()
            elif name == "get":
                if not model:
                    counted["cache_empty"] += 1
                    assert cache.get() == NONE
                elif model[0] in held:
                    counted["cache_busy"] += 1
                    assert cache.get() == NONE
                else:
                    counted["cache_reuse"] += 1
                    assert cache.get() == model.popleft().pfn
            else:
                page = cache.page()
                fits = len(model) < USABLE
                assert cache.put(page) == fits
                if not fits:
                    counted["cache_full"] += 1
                    page.put()
                    continue
                model.append(page)
                if name == "put held":
                    held.append(page.get())
    assert cache.counted() == {name: n for name, n in counted.items() if n}
    assert len(cache) == len(model)


def test_every_look_into_the_cache_is_counted_once() -> None:
    """reuse + empty + busy: one for each page that the refill asked for."""
    nic = Stepper("mlx5", "v6.1", options={"rq": "legacy"})
    for round_ in range(6):
        for _ in range(64):
            nic.receive(60)
        if round_ % 2:
            nic.consume()
        nic.refill()
    count = nic.device.ethtool()
    asked = count["rx_cache_reuse"] + count["rx_cache_empty"] + count["rx_cache_busy"]
    assert asked == 512 + 6 * 32
    assert count["rx_cache_busy"] > 0
    assert count["rx_cache_reuse"] > 0


def test_an_era_without_the_cache_has_no_counters_for_it() -> None:
    with_cache = Stepper("mlx5", "v6.1").device.ethtool()
    without = Stepper("mlx5", "v6.6").device.ethtool()
    assert {f"rx_{name}" for name in COUNTERS} <= with_cache.keys()
    assert not [name for name in without if "cache_" in name]


@pytest.mark.parametrize(("era", "recycled"), [("v4.19", 0), ("v5.0", 0), ("v5.4", 1), ("v6.1", 1)])
def test_a_page_that_cannot_be_mapped_is_freed_and_from_v5_3_on_recycled(era: str, recycled: int) -> None:
    nic = Stepper("mlx5", era, options={"rq": "legacy"})
    free = nic.k.zone[0].free + nic.k.pcp[0].count
    nic.machine.inject("dma", nth=1)
    with nic.machine.napi(0):
        assert mlx5e_page_alloc_mapped.interpreted()(nic.k, 0, nic.rxq) == NONE
    assert nic.pool.recycle_cached == recycled
    assert (nic.k.zone[0].free + nic.k.pcp[0].count == free) is (recycled == 0)
    assert nic.leaks() == []
