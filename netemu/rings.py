"""Rings of a scripted driver: receive descriptors that hold pages, transmit descriptors that hold packets or frames.

An emulated driver keeps its own rings.  These are for scripts and tests that play a driver step by step: they say who
holds a page that no packet has, and a checked machine watches what becomes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .handles import Page
from .net.bql import netdev_tx_completed_queue, netdev_tx_reset_queue, netdev_tx_sent_queue
from .net.device_layout import XOFF_STACK
from .packets import SkBuff

if TYPE_CHECKING:
    from .checks.ledger import Ref
    from .machine import Machine


class RxRing:
    """Receive descriptors; ``None`` where none is posted."""

    def __init__(self, machine: Machine, size: int, name: str) -> None:
        self.machine = machine
        self.name = name
        self.slots: list[Page | None] = [None] * size
        self._refs: list[Ref | None] = [None] * size

    def post(self, slot: int, page: Page) -> None:
        """Hand a page, and the reference or share that the driver has of it, to the hardware."""
        self._look(slot)
        checker = self.machine.checker
        if checker is not None:
            page.checked_life()
            if self.slots[slot] is not None:
                checker.report("DR-01", f"descriptor {slot} of {self.name} is posted over page {self._pfn(slot)}")
            self._refs[slot] = checker.rings.posted(page.pfn, f"{self.name}, descriptor {slot}")
        self.slots[slot] = page
        self.machine.check()

    def take(self, slot: int) -> Page:
        """The hardware is done with a descriptor: its page, and the reference, are the driver's again."""
        self._look(slot)
        page = self.slots[slot]
        if page is None:
            raise UsageError(f"descriptor {slot} of {self.name} has no page")
        self.slots[slot] = None
        self._back(slot)
        return page

    def receive(self, slot: int) -> Page:
        """The hardware writes a frame to the page of a descriptor, which the driver then looks at; it stays posted."""
        self._look(slot)
        page = self.slots[slot]
        if page is None:
            raise UsageError(f"descriptor {slot} of {self.name} has no page")
        ref = self._refs[slot]
        if ref is not None:  # synced for the CPU meanwhile
            ref.holder = ""
        page.touch()
        if ref is not None:
            ref.holder = f"{self.name}, descriptor {slot}"
        return page

    def _back(self, slot: int) -> None:
        ref, self._refs[slot] = self._refs[slot], None
        if ref is not None:
            ref.holder = ""

    def _pfn(self, slot: int) -> int:
        page = self.slots[slot]
        return -1 if page is None else page.pfn

    def _look(self, slot: int) -> None:
        if not 0 <= slot < len(self.slots):
            raise UsageError(f"{self.name} has descriptors 0 to {len(self.slots) - 1}, not {slot}")


class TxRing:
    """Transmit descriptors from ``head`` (oldest posted) to ``tail`` (next to post): packets, or pages as frames.

    Its byte queue limits are row ``queue`` of the machine's.
    """

    def __init__(self, machine: Machine, size: int, name: str, queue: int) -> None:
        self.machine = machine
        self.name = name
        self._queue = queue
        self.slots: list[SkBuff | Page | None] = [None] * size
        self.head = 0
        self.tail = 0
        self._refs: dict[int, Ref | None] = {}
        self.owed: list[tuple[Page, Ref]] = []
        """Frames that are completed: the driver has to return them."""
        if machine.checker is not None:
            machine.checker.rings.transmit.append(self)

    def next_slot(self) -> int:
        """The descriptor that comes next, without taking it: what a driver reads before it writes."""
        return self.tail % len(self.slots)

    def post(self, item: SkBuff | Page) -> int:
        """Post a packet, or a page as a frame (its reference goes along); the descriptor."""
        slot = self.next_slot()
        self.write(slot, item)
        self.tail += 1
        return slot

    def write(self, slot: int, item: SkBuff | Page) -> None:
        """Write a descriptor, whoever has it."""
        checker = self.machine.checker
        old = self.slots[slot]
        if checker is not None:
            where = f"{self.name}, descriptor {slot}"
            if old is not None:
                full = self.tail - self.head >= len(self.slots)
                rule = "XD-04" if full else "DR-07"
                checker.report(rule, f"descriptor {slot} of {self.name} is written over {old!r}, which is not sent yet")
            if isinstance(item, SkBuff):
                checker.rings.posted_skb(item.number, where)
            else:
                item.checked_life()
                self._refs[slot] = checker.rings.posted(item.pfn, where)
        self.slots[slot] = item
        self.machine.check()

    def complete(self) -> SkBuff | Page | None:
        """The hardware reports the oldest descriptor as sent: what it held is the driver's, to free or to return."""
        slot = self.head % len(self.slots)
        item = self.slots[slot]
        checker = self.machine.checker
        if item is None:
            if checker is not None:
                checker.report("XD-05", f"descriptor {slot} of {self.name} is completed, but was never posted")
                self.machine.check()
            return None
        self.head += 1
        self.slots[slot] = None
        if checker is not None:
            if isinstance(item, SkBuff):
                checker.skbs.of(item.number).on_ring = ""
            else:
                ref = self._refs.pop(slot, None)
                if ref is not None:
                    ref.holder = ""
                    self.owed.append((item, ref))
        return item

    # -- byte queue limits -----------------------------------------------------------------------------------------

    def sent_queue(self, count: int) -> bool:
        """``netdev_tx_sent_queue``: ``count`` bytes were posted; False: that was the limit, the queue is stopped."""
        self._call(netdev_tx_sent_queue, self._queue, count)
        return not self.machine.k.txq[self._queue].xoff & XOFF_STACK

    def completed_queue(self, count: int) -> bool:
        """``netdev_tx_completed_queue``: ``count`` bytes have been sent; False: the queue is still stopped."""
        self._call(netdev_tx_completed_queue, self.machine.where(None), self._queue, count)
        return not self.machine.k.txq[self._queue].xoff & XOFF_STACK

    def reset_queue(self) -> None:
        """``netdev_tx_reset_queue``: the ring is empty because it was torn down."""
        self._call(netdev_tx_reset_queue, self.machine.where(None), self._queue)

    @property
    def bytes_queued(self) -> int:
        """Bytes that were posted and have not been completed."""
        dql = self.machine.k.dql[self._queue]
        queued: int = dql.num_queued - dql.num_completed
        return queued

    def _call(self, function: Any, *arguments: int) -> None:
        k = self.machine.k
        (function if k.watch is not None else function.interpreted())(k, *arguments)
        self.machine.check()

    def close(self) -> list[SkBuff | Page]:
        """Tear the ring down: what is still on it, for the driver to free."""
        left = []
        while self.head < self.tail:
            item = self.complete()
            if item is None:
                break
            left.append(item)
        return left
