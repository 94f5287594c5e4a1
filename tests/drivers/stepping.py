"""One emulated device, driven operation by operation as the engine would drive it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netemu import Machine, Page, SkBuff
from netemu.checks.conservation import take_stock
from netemu.engine.layout import TABLES
from netemu.mm.layout import NR_FRAG_CACHES
from netemu.mm.page_frag import page_frag_cache_drain
from netemu.net.contents import address_of_page, skb_head_address
from netemu.net.device_layout import ACTION_LOCAL, NEVER
from netemu.net.run import run_machine, start_agenda

MEMORY_MB = 16
LONGEST = 10_000


class Stepper:
    """A machine with one device of ``driver``; what it receives is held by a local consumer until :meth:`consume`."""

    def __init__(
        self,
        driver: str,
        era: str = "v6.1",
        *,
        mtu: int = 1500,
        options: Mapping[str, str] | None = None,
        memory_mb: int = MEMORY_MB,
        contents: bool = False,
        switches: Mapping[str, str] | None = None,
        xdp: Any = None,
    ) -> None:
        self.machine = Machine(era=era, switches=switches, memory_mb=memory_mb, skbs=4096)
        self.k = self.machine.k
        self.device = self.machine.netdev(driver, mtu=mtu, options=options, xdp=xdp)
        self.driver = self.device.driver
        self.rxq = self.device.nic.rxq(0)
        self.txq = self.device.nic.txq(0)
        self.k.run[0].action = ACTION_LOCAL
        self.k.replace("feed_data", np.zeros(LONGEST, np.uint8))
        if contents:
            self.machine.keep_contents()

    @property
    def pool(self) -> Any:
        """The record of the receive queue's page_pool."""
        return self.k.pool[self.k.rxq[self.rxq].pool]

    def arrive(self, frame: int | bytes) -> int:
        """A frame (or one of so many bytes) arrives; what the NIC makes of it."""
        length = frame if isinstance(frame, int) else len(frame)
        if not isinstance(frame, int):
            self.k.arrays["feed_data"][:length] = np.frombuffer(frame, np.uint8)
        row = self.k.feed[0]
        row.caplen = row.wirelen = length
        result: int = self.driver.hw_receive(self.k, 0, self.rxq, 0)
        self.k.run[0].arrived += 1
        self.machine.check()
        return result

    def poll(self) -> int:
        """Process one completion."""
        with self.machine.softirq():
            result: int = self.driver.rx_poll_one(self.k, 0, self.rxq, 64)
        self.machine.check()
        return result

    def polls(self, steps: int = 10**6) -> list[tuple[int, int]]:
        """An interrupt comes when all that was sent is on the wire, and the machine runs until it has nothing to do.

        What each poll has cleaned, and its work; the consumer keeps what it gets.
        """
        k = self.k
        k.run[0].hold = k.run[0].limit = NEVER
        k.cpu[0].clock += 10**10
        k.napi[self.rxq].irq_due = k.softirq[0].irq_due = k.cpu[0].clock
        k.timeline[0].recording = 1
        k.timeline[0].spans = 0
        k.replace("span", np.zeros(64, TABLES["span"].dtype))
        start_agenda(k, 0)
        run_machine(k, 0, steps)
        self.machine.check()
        spans = k.arrays["span"][: k.timeline[0].spans]
        return [(int(span["tx_work"]), int(span["work"])) for span in spans if span["napi"] == self.rxq]

    def receive(self, frame: int | bytes) -> SkBuff:
        """A frame arrives and is processed; its skb."""
        assert self.arrive(frame) == 0
        while self.k.rxq[self.rxq].cq_head != self.k.rxq[self.rxq].cq_tail:
            assert self.poll() == 1
        return self.held()[-1]

    def refill(self) -> int:
        """Post buffers until the driver has no more to post (0) or no memory (-1)."""
        with self.machine.softirq():
            while (left := self.driver.rx_refill(self.k, 0, self.rxq, 0)) > 0:
                pass
        self.machine.check()
        return left

    def transmit(self, skb: SkBuff) -> int:
        """``ndo_start_xmit``."""
        result: int = self.driver.xmit(self.k, 0, self.txq, skb.number)
        self.machine.check()
        return result

    def held(self) -> list[SkBuff]:
        """What the consumer has, oldest first."""
        s = self.k.softirq[0]
        mask = self.k.run[0].held_mask
        return [SkBuff(self.machine, self.k.held[i & mask]) for i in range(s.held_head, s.held_tail)]

    def consume(self) -> None:
        """The consumer frees all it has."""
        for skb in self.held():
            self.machine.consume_skb(skb)
        self.k.softirq[0].held_head = self.k.softirq[0].held_tail

    def head_page(self, skb: SkBuff) -> int:
        """Page of the skb's head; NONE: a small object."""
        page: int = self.k.skb[skb.number].head_page
        return page

    def frags(self, skb: SkBuff) -> list[tuple[int, int, int]]:
        """Page, offset and size of each fragment."""
        row = self.k.skb[skb.number].shinfo
        f = self.k.frags[row]
        return [(f.page[i], f.offset[i], f.size[i]) for i in range(self.k.shinfo[row].nr_frags)]

    def frame_of(self, skb: SkBuff) -> bytes:
        """The bytes of the packet, from wherever they lie."""
        row = self.k.skb[skb.number]
        pieces = [(skb_head_address.interpreted()(self.k, skb.number) + row.data, row.len - row.data_len)]
        pieces += [(address_of_page.interpreted()(page) + offset, size) for page, offset, size in self.frags(skb)]
        memory = self.k.arrays["memory"]
        return b"".join(memory[at : at + size].tobytes() for at, size in pieces)

    def exhaust_memory(self) -> list[int]:
        """Take every page that the allocator still has; their numbers."""
        taken = []
        while (page := self.machine.alloc_pages()) is not None:
            taken.append(page.pfn)
        return taken

    def free(self, pages: list[int]) -> None:
        """Drop one reference of each page."""
        for page in pages:
            Page(self.machine, page).put()

    def leaks(self) -> list[str]:
        """Take the device down and look for pages that nobody holds."""
        self.consume()
        self.device.stop()
        for which in range(NR_FRAG_CACHES):
            page_frag_cache_drain(self.k, 0, which)
        self.machine.check()
        books = take_stock(self.k)
        return [*books.leaks, *books.errors]


def refcounts(stepper: Stepper, pages: list[int]) -> list[int]:
    """References of each page."""
    return [stepper.k.pages[page].refcount for page in pages]
