"""The page allocator as slowly and plainly as it can be written: lists, sets and dictionaries.

:class:`SlowAllocator` is v4.19 to v5.10 (per-CPU lists of single pages, one batch at a time); the later eras
override what changed.  Written from the rules, not from the code under test.
"""

from __future__ import annotations

ORDERS = 11
LIST_ORDERS = (0, 1, 2, 3, 9)


class SlowBuddy:
    """One zone's free blocks: a list per order, its head first."""

    def __init__(self, pages: int) -> None:
        assert pages % 1024 == 0
        self.pages = pages
        self.free: list[list[int]] = [[] for _ in range(ORDERS)]
        self.free[10] = list(range(0, pages, 1024))

    def take(self, order: int) -> int | None:
        """The head of the smallest sufficient order; upper halves go back to the heads of their lists."""
        for larger in range(order, ORDERS):
            if self.free[larger]:
                block = self.free[larger].pop(0)
                for half in reversed(range(order, larger)):
                    self.free[half].insert(0, block + (1 << half))
                return block
        return None

    def give(self, block: int, order: int) -> None:
        """Merge as far as it goes; to the tail if the block would merge once more when its buddy comes."""
        while order < 10 and block ^ (1 << order) in self.free[order]:
            buddy = block ^ (1 << order)
            self.free[order].remove(buddy)
            block = min(block, buddy)
            order += 1
        pair = min(block, block ^ (1 << order))
        if order < 9 and pair ^ (2 << order) in self.free[order + 1]:
            self.free[order].append(block)
        else:
            self.free[order].insert(0, block)


class SlowPcp:
    """One CPU's lists, the hot end first, and what it remembers."""

    def __init__(self, batch: int, high: int, high_max: int) -> None:
        self.lists: dict[int, list[int]] = {order: [] for order in LIST_ORDERS}
        self.batch = batch
        self.high = self.high_min = high
        self.high_max = high_max
        self.free_factor = 0
        self.free_count = 0
        self.alloc_factor = 0
        self.freed_high_order_before = False

    @property
    def count(self) -> int:
        return sum(len(blocks) << order for order, blocks in self.lists.items())


class SlowAllocator:
    """v4.19 to v5.10."""

    kept_orders: tuple[int, ...] = (0,)
    fragments_past_the_lists = False
    buddy_when_lists_are_empty = False

    def __init__(self, pages: int, cpus: int, batch: int, high: int, high_max: int) -> None:
        self.buddy = SlowBuddy(pages)
        self.pcps = [SlowPcp(batch, high, high_max) for _ in range(cpus)]
        self.orders: dict[int, int] = {}
        self.references: dict[int, int] = {}
        self.alloc_holds: list[int] = []
        self.free_holds: list[int] = []

    # what the emulator offers

    def alloc(self, cpu: int, order: int) -> int | None:
        listed = order in self.kept_orders
        block = self.from_lists(cpu, order) if listed else None
        if block is None and (not listed or self.buddy_when_lists_are_empty):
            block = self.from_buddy(order)
        if block is not None:
            self.orders[block] = order
            self.references[block] = 1
        return block

    def get(self, block: int) -> None:
        self.references[block] += 1

    def put(self, cpu: int, block: int, *, fragment: bool = False) -> None:
        self.references[block] -= 1
        if self.references[block]:
            return
        del self.references[block]
        order = self.orders.pop(block)
        if order in self.kept_orders and not (fragment and self.fragments_past_the_lists):
            self.to_lists(cpu, block, order)
        else:
            self.buddy.give(block, order)
            self.free_holds.append(1 << order)

    def drain(self, cpu: int) -> None:
        if self.pcps[cpu].count:
            self.give_back(self.pcps[cpu], self.pcps[cpu].count, 0)

    # taking

    def from_buddy(self, order: int) -> int | None:
        block = self.buddy.take(order)
        self.alloc_holds.append(0 if block is None else 1 << order)
        return block

    def from_lists(self, cpu: int, order: int) -> int | None:
        pcp = self.pcps[cpu]
        self.before_alloc(pcp)
        blocks = pcp.lists[order]
        if not blocks:
            got = 0
            wanted = self.refill(pcp, order)
            while got < wanted and (block := self.buddy.take(order)) is not None:
                blocks.append(block)
                got += 1
            self.alloc_holds.append(got << order)
        return blocks.pop(0) if blocks else None

    def before_alloc(self, pcp: SlowPcp) -> None:
        """Nothing is remembered from free to free."""

    def refill(self, pcp: SlowPcp, order: int) -> int:
        return pcp.batch if order == 0 or pcp.batch == 1 else max(pcp.batch >> order, 2)

    # freeing

    def to_lists(self, cpu: int, block: int, order: int) -> None:
        pcp = self.pcps[cpu]
        pcp.lists[order].insert(0, block)
        if pcp.count >= pcp.high:
            self.give_back(pcp, pcp.batch, order)

    def give_back(self, pcp: SlowPcp, pages: int, freed_order: int) -> None:
        """The oldest pages, in one hold."""
        oldest = [(pcp.lists[0].pop(), 0) for _ in range(min(pages, pcp.count))]
        self.return_all(oldest)

    def return_all(self, blocks: list[tuple[int, int]]) -> None:
        for block, order in blocks:
            self.buddy.give(block, order)
        self.free_holds.append(sum(1 << order for _, order in blocks))


class SlowV419(SlowAllocator):
    """A page freed as a fragment goes straight to the buddy lists."""

    fragments_past_the_lists = True


class SlowV515(SlowAllocator):
    """Larger orders on the lists; a batch that doubles with every round without a request."""

    kept_orders = LIST_ORDERS

    def before_alloc(self, pcp: SlowPcp) -> None:
        pcp.free_factor >>= 1

    def to_lists(self, cpu: int, block: int, order: int) -> None:
        pcp = self.pcps[cpu]
        pcp.lists[order].insert(0, block)
        if pcp.count >= pcp.high:
            self.give_back(pcp, self.excess(pcp), order)

    def excess(self, pcp: SlowPcp) -> int:
        if pcp.high < pcp.batch:
            return 1
        wanted = pcp.batch << pcp.free_factor
        if wanted < pcp.high - pcp.batch and self.may_double(pcp):
            pcp.free_factor += 1
        return min(max(wanted, pcp.batch), pcp.high - pcp.batch)

    def may_double(self, pcp: SlowPcp) -> bool:
        return True

    def give_back(self, pcp: SlowPcp, pages: int, freed_order: int) -> None:
        """Round robin over 15 lists (5 orders x 3 migrate types, one of them filled), longer turns after empty ones."""
        pages = min(pages, pcp.count)
        taken: list[tuple[int, int]] = []
        position, turn = 0, 0
        while pages > 0:
            while True:
                turn += 1
                position = (position + 1) % 15
                order = LIST_ORDERS[position // 3]
                if position % 3 == 0 and pcp.lists[order]:
                    break
            if turn == 15:
                turn = pages
            while True:
                taken.append((pcp.lists[order].pop(), order))
                pages -= 1 << order
                if pages <= 0:
                    break
                turn -= 1
                if turn == 0 or not pcp.lists[order]:
                    break
        self.return_all(taken)


class SlowV61(SlowV515):
    """At most five doublings; the list freed to goes first; larger blocks after a round of frees empty all.

    A list that finds nothing to refill itself with leaves the buddy lists to be tried once more.
    """

    buddy_when_lists_are_empty = True

    def may_double(self, pcp: SlowPcp) -> bool:
        return pcp.free_factor < 5

    def to_lists(self, cpu: int, block: int, order: int) -> None:
        pcp = self.pcps[cpu]
        pcp.lists[order].insert(0, block)
        if pcp.free_factor and 1 <= order <= 3:
            self.give_back(pcp, pcp.count, order)
        elif pcp.count >= pcp.high:
            self.give_back(pcp, self.excess(pcp), order)

    def give_back(self, pcp: SlowPcp, pages: int, freed_order: int) -> None:
        pages = min(pages, pcp.count)
        start = LIST_ORDERS.index(freed_order)
        taken: list[tuple[int, int]] = []
        for order in LIST_ORDERS[start:] + LIST_ORDERS[:start]:
            while pages > 0 and pcp.lists[order]:
                taken.append((pcp.lists[order].pop(), order))
                pages -= 1 << order
        self.return_all(taken)


class SlowV612(SlowV61):
    """As many as were freed in a row; refills that double; a high mark that follows the load."""

    def before_alloc(self, pcp: SlowPcp) -> None:
        pcp.free_count >>= 1

    def refill(self, pcp: SlowPcp, order: int) -> int:
        if pcp.high < pcp.batch:
            return 1
        batch = pcp.batch if order else pcp.batch << pcp.alloc_factor
        if pcp.high_min != pcp.high_max:
            pcp.high = min(pcp.high + batch, pcp.high_max)
        if order == 0:
            room = max(pcp.high - pcp.count - pcp.batch, pcp.batch)
            if batch <= room and pcp.alloc_factor < 5:
                pcp.alloc_factor += 1
            batch = min(batch, room)
        return max(batch >> order, 2) if batch > 1 else batch

    def to_lists(self, cpu: int, block: int, order: int) -> None:
        pcp = self.pcps[cpu]
        pcp.alloc_factor >>= 1
        pcp.lists[order].insert(0, block)
        empty_it = False
        if 1 <= order <= 3:
            empty_it = pcp.free_count >= pcp.batch and pcp.freed_high_order_before
            pcp.freed_high_order_before = True
        else:
            pcp.freed_high_order_before = False
        if pcp.free_count < pcp.batch << 5:
            pcp.free_count += 1 << order
        if empty_it:
            if pcp.high:
                pcp.high = max(pcp.high - (pcp.batch << 5), pcp.high_min)
            self.give_back(pcp, min(pcp.count, pcp.batch << 5), order)
            return
        high = pcp.high
        if high and pcp.high_min != pcp.high_max and pcp.count >= high and high < pcp.free_count + pcp.batch:
            pcp.high = min(max(pcp.free_count + pcp.batch, pcp.high_min), pcp.high_max)
        if pcp.count >= high:
            self.give_back(pcp, self.excess_of(pcp, high), order)

    def excess_of(self, pcp: SlowPcp, high: int) -> int:
        if high < pcp.batch:
            return 1
        return min(max(pcp.free_count, pcp.batch), high - pcp.batch)


SLOW: dict[str, type[SlowAllocator]] = {
    "v4.19": SlowV419,
    "v5.0": SlowAllocator,
    "v5.10": SlowAllocator,
    "v5.15": SlowV515,
    "v6.1": SlowV61,
    "v6.6": SlowV61,
    "v6.12": SlowV612,
}
