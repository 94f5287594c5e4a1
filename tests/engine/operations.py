"""A seeded script of operations on a machine, and a digest of every table it leaves.

Run as ``python -m tests.engine.operations ERA SEED``: prints the digests as JSON.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from contextlib import suppress

from netemu import Machine, Page, PagePool, SkBuff

ADDRESSES = {"private", "ops"}
"""Tables that hold addresses in memory, which differ from process to process."""


class Operations:
    """What a driver, a stack and an allocator user may do, in random order."""

    def __init__(self, era: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.machine = Machine(era=era, cpus=2, nodes=2, memory_mb=32, skbs=4096, seed=seed)
        self.pools: list[PagePool] = [self.machine.page_pool(ring_size=size, nid=0) for size in (16, 64)]
        self.pages: list[tuple[Page, PagePool | None]] = []
        self.skbs: list[SkBuff] = []

    def run(self, count: int) -> None:
        steps = [
            self.allocate,
            self.put,
            self.from_pool,
            self.from_pool,
            self.build,
            self.fragment,
            self.clone,
            self.free,
        ]
        for _ in range(count):
            with suppress(MemoryError):
                self.random.choice(steps)()

    def digests(self) -> dict[str, str]:
        """A digest of each table, by name."""
        return {
            name: hashlib.sha256(array.tobytes()).hexdigest()[:16]
            for name, array in self.machine.k.arrays.items()
            if name not in ADDRESSES
        }

    def cpu(self) -> int:
        return self.random.randrange(2)

    def allocate(self) -> None:
        page = self.machine.alloc_pages(self.random.choice([0, 0, 0, 1, 2, 3, 5, 9]), cpu=self.cpu())
        if page:
            self.pages.append((page, None))

    def from_pool(self) -> None:
        pool = self.random.choice(self.pools)
        self.pages.append((pool.alloc_pages(), pool))

    def put(self) -> None:
        if self.pages:
            page, pool = self.pages.pop(self.random.randrange(len(self.pages)))
            if pool:
                pool.put_page(page, direct=self.random.random() < 0.5, cpu=0)
            else:
                self.random.choice([page.put, page.frag_free])(cpu=self.cpu())

    def build(self) -> None:
        kind = self.random.randrange(4)
        if kind == 0:
            self.skbs.append(self.machine.napi_alloc_skb(self.random.choice([60, 1500, 5000]), cpu=self.cpu()))
        elif kind == 1:
            self.skbs.append(self.machine.netdev_alloc_skb(self.random.choice([60, 1500]), cpu=self.cpu()))
        elif self.pages:
            page, pool = self.pages.pop()
            if pool and self.machine.switches["pool_skb_recycle"] == "no":
                pool.release_page(page)
                pool = None
            skb = self.machine.napi_build_skb(page, cpu=self.cpu())
            self.skbs.append(skb.mark_for_recycle() if pool else skb)

    def fragment(self) -> None:
        if self.skbs:
            skb = self.random.choice(self.skbs)
            page = self.machine.alloc_pages()
            if page and skb.dataref == 1 and self.frags_of(skb) < 17:
                skb.add_rx_frag(page, size=100, truesize=4096)
            elif page:
                page.put()

    def frags_of(self, skb: SkBuff) -> int:
        k = self.machine.k
        count: int = k.shinfo[k.skb[skb.number].shinfo].nr_frags
        return count

    def clone(self) -> None:
        if self.skbs:
            self.skbs.append(self.random.choice(self.skbs).clone(cpu=self.cpu()))

    def free(self) -> None:
        for _ in range(min(len(self.skbs), self.random.randrange(4))):
            skb = self.skbs.pop(self.random.randrange(len(self.skbs)))
            if self.random.random() < 0.7:
                self.machine.napi_consume_skb(skb, cpu=self.cpu())
            else:
                self.machine.kfree_skb(skb, cpu=self.cpu())


def main(era: str, seed: str) -> None:
    operations = Operations(era, int(seed))
    operations.run(4000)
    json.dump(operations.digests(), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
