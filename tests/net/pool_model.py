"""A page_pool as slowly and plainly as it can be written: two lists and a dictionary of counters.

:class:`SlowPool` is v6.1 (whole pages of order 0, one memory node each way); :class:`SlowOldPool` is v4.19.
Written from the rules, not from the code under test.  The allocator below is whoever hands in fresh pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class SlowRing:
    """A bounded FIFO whose consumer clears used slots in groups, so that it can be full before it is."""

    def __init__(self, size: int) -> None:
        self.slots: list[int | None] = [None] * size
        self.size = size
        self.group = 16 if size >= 32 else 1
        self.put_at = 0
        self.take_from = 0
        self.cleared_to = 0

    def empty(self) -> bool:
        return self.slots[self.take_from] is None

    def produce(self, item: int) -> bool:
        if self.slots[self.put_at] is not None:
            return False
        self.slots[self.put_at] = item
        self.put_at = (self.put_at + 1) % self.size
        return True

    def consume(self) -> int | None:
        item = self.slots[self.take_from]
        if item is None:
            return None
        self.take_from += 1
        if self.take_from - self.cleared_to >= self.group or self.take_from == self.size:
            for used in range(self.cleared_to, self.take_from):
                self.slots[used] = None
            self.cleared_to = self.take_from
        if self.take_from == self.size:
            self.take_from = self.cleared_to = 0
        return item

    def items(self) -> list[int]:
        """What is in it, the oldest first."""
        copy = SlowRing(self.size)
        copy.__dict__.update(self.__dict__, slots=list(self.slots))
        found = []
        while (item := copy.consume()) is not None:
            found.append(item)
        return found


class SlowPool:
    """v6.1."""

    counts_pages = True

    def __init__(self, ring_size: int, node: int, fresh: Callable[[int, int], list[int]]) -> None:
        self.cache: list[int] = []
        self.ring = SlowRing(ring_size)
        self.node = node
        self.nodes: dict[int, int] = {}
        self.references: dict[int, int] = {}  # of every page that is not free
        self.fresh = fresh
        self.hold = 0
        self.release = 0
        self.stats: Counter[str] = Counter()
        self.destroyed = False

    # what the emulator offers

    def alloc(self) -> int | None:
        if self.cache:
            self.stats["alloc_fast"] += 1
            return self.cache.pop()
        if self.ring.empty():
            self.stats["alloc_empty"] += 1
        else:
            while len(self.cache) < 64 and (page := self.ring.consume()) is not None:
                if self.nodes[page] != self.node:
                    self.let_go(page)
                    self.stats["alloc_waive"] += 1
                    break
                self.cache.append(page)
            if self.cache:
                self.stats["alloc_refill"] += 1
                return self.cache.pop()
        return self.slow()

    def put(self, page: int, *, direct: bool) -> None:
        if not self.may_stay(page):
            return
        if direct and len(self.cache) < 128:
            self.stats["recycle_cached"] += 1
            self.cache.append(page)
            return
        if direct:
            self.stats["recycle_cache_full"] += 1
        if self.ring.produce(page):
            self.stats["recycle_ring"] += 1
        else:
            self.stats["recycle_ring_full"] += 1
            self.let_go(page)

    def put_bulk(self, pages: list[int]) -> None:
        staying = [page for page in pages if self.may_stay(page)]
        while staying and self.ring.produce(staying[0]):
            self.stats["recycle_ring"] += 1
            staying.pop(0)
        if staying:
            self.stats["recycle_ring_full"] += 1
        for page in staying:
            self.let_go(page)

    def get_page(self, page: int) -> None:
        self.references[page] += 1

    def put_page(self, page: int) -> None:
        self.references[page] -= 1

    def update_node(self, node: int) -> None:
        self.node = node
        while self.cache:
            self.let_go(self.cache.pop())

    def destroy(self) -> None:
        while self.cache:
            self.let_go(self.cache.pop())
        self.scrub()

    def scrub(self) -> None:
        while (page := self.ring.consume()) is not None:
            self.let_go(page)
        self.destroyed = self.hold == self.release

    # within

    def may_stay(self, page: int) -> bool:
        if self.references[page] == 1:
            return True
        self.stats["recycle_released_refcnt"] += 1
        self.let_go(page)
        return False

    def let_go(self, page: int) -> None:
        self.release += self.counts_pages
        self.references[page] -= 1

    def slow(self) -> int | None:
        pages = self.fresh(64, self.node)
        self.adopt(pages)
        self.cache += pages
        if not pages:
            return None
        self.stats["alloc_slow"] += 1
        return self.cache.pop()

    def adopt(self, pages: list[int]) -> None:
        self.hold += len(pages) * self.counts_pages
        for page in pages:
            self.references[page] = 1


class SlowOldPool(SlowPool):
    """v4.19: an empty ring hides the cache, a short ring is moved there in vain, pages come one by one, uncounted."""

    counts_pages = False

    def alloc(self) -> int | None:
        if self.ring.empty():
            self.stats["alloc_empty"] += 1
            return self.slow()
        if self.cache:
            self.stats["alloc_fast"] += 1
            return self.cache.pop()
        while (page := self.ring.consume()) is not None:
            if len(self.cache) == 64:
                self.stats["alloc_refill"] += 1
                return page
            self.cache.append(page)
        return self.slow()

    def slow(self) -> int | None:
        pages = self.fresh(1, self.node)
        self.adopt(pages)
        self.stats["alloc_slow"] += len(pages)
        return pages[0] if pages else None

    def destroy(self) -> None:
        super().destroy()
        self.destroyed = True
