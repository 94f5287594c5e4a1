"""Random lives of packet buffers agree with plain reference counts, and give every page back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import Page, SkBuff
from netemu.net.page_pool import page_pool_update_nid
from tests.mm.memory import assert_books_balance
from tests.net.pools import hold_and_release, pool_machine, ringed

choices = st.integers(0, 1000)
KINDS = [
    "build",
    "napi build",
    "build on pool",
    "clone",
    "clone",
    "get",
    "frag",
    "shared frag",
    "pool frag",
    "consume",
    "kfree",
    "napi consume",
]
steps = st.lists(st.tuples(st.sampled_from(KINDS), choices, st.integers(0, 1)), max_size=60)


@dataclass
class Data:
    """What a buffer and its clones share."""

    head: int
    sharers: int = 1
    frags: list[int] = field(default_factory=list)


@dataclass
class Buffer:
    """One struct."""

    skb: SkBuff
    data: Data
    marked: bool
    users: int = 1
    length: int = 0
    truesize: int = 4352


class Both:
    """A machine with a pool, and the reference counts that its pages and buffers should have."""

    def __init__(self, era: str) -> None:
        self.machine = pool_machine(era, cpus=2)
        self.pool = self.machine.page_pool(ring_size=1024)
        self.buffers: list[Buffer] = []
        self.references: Counter[int] = Counter()
        self.recycled: set[int] = set()

    def plain_page(self) -> Page:
        page = self.machine.alloc_pages()
        assert page is not None
        self.references[page.pfn] = 1
        return page

    def pool_page(self) -> Page:
        page = self.pool.alloc_pages()
        self.recycled.discard(page.pfn)
        self.references[page.pfn] = 1
        return page

    def step(self, kind: str, choice: int, cpu: int) -> None:
        if "build" in kind:
            page = self.pool_page() if "pool" in kind else self.plain_page()
            build = self.machine.napi_build_skb if "napi" in kind else self.machine.build_skb
            skb = build(page, cpu=cpu)
            if "pool" in kind:
                skb.mark_for_recycle()
            self.buffers.append(Buffer(skb, Data(page.pfn), marked="pool" in kind))
        elif self.buffers:
            self.use(self.buffers[choice % len(self.buffers)], kind, cpu)

    def use(self, buffer: Buffer, kind: str, cpu: int) -> None:
        if kind == "get":
            buffer.skb.get()
            buffer.users += 1
        elif kind == "clone":
            clone = buffer.skb.clone(cpu=cpu)
            buffer.data.sharers += 1
            self.buffers.append(Buffer(clone, buffer.data, buffer.marked, 1, buffer.length, buffer.truesize))
        elif "frag" in kind:
            self.append(buffer, kind)
        else:
            free = {
                "consume": self.machine.consume_skb,
                "kfree": self.machine.kfree_skb,
                "napi consume": self.machine.napi_consume_skb,
            }[kind]
            free(buffer.skb, cpu=cpu)
            self.let_go(buffer)

    def append(self, buffer: Buffer, kind: str) -> None:
        data = buffer.data
        if data.sharers > 1 or len(data.frags) == 17:
            return
        if kind == "shared frag" and data.frags and data.frags[-1] not in self.pool_pages():
            page = Page(self.machine, data.frags[-1]).get()
            self.references[page.pfn] += 1
        elif kind == "pool frag" and buffer.marked:
            page = self.pool_page()
        else:
            page = self.plain_page()
        buffer.skb.add_rx_frag(page, size=1000, truesize=4096)
        data.frags.append(page.pfn)
        buffer.length += 1000
        buffer.truesize += 4096

    def pool_pages(self) -> set[int]:
        return {int(pfn) for pfn in self.machine.k.arrays["pages"]["pp"].nonzero()[0]}

    def let_go(self, buffer: Buffer) -> None:
        buffer.users -= 1
        if buffer.users:
            return
        self.buffers = [other for other in self.buffers if other is not buffer]
        buffer.data.sharers -= 1
        if buffer.data.sharers == 0:
            for page in (*buffer.data.frags, buffer.data.head):
                if page in self.pool_pages():
                    self.recycled.add(page)
                else:
                    self.references[page] -= 1
                    if self.references[page] == 0:
                        del self.references[page]

    def compare(self) -> None:
        k = self.machine.k
        for buffer in self.buffers:
            assert (buffer.skb.users, buffer.skb.len, buffer.skb.truesize) == (
                buffer.users,
                buffer.length,
                buffer.truesize,
            )
            assert buffer.skb.dataref == buffer.data.sharers
            row = k.skb[buffer.skb.number].shinfo
            assert list(k.frags[row].page[: k.shinfo[row].nr_frags]) == buffer.data.frags
        assert k.slab[0].live == len(self.buffers)
        assert len({buffer.skb.number for buffer in self.buffers}) == len(self.buffers)
        assert {pfn: k.pages[pfn].refcount for pfn in self.references} == self.references
        assert_books_balance(self.machine)


@pytest.mark.parametrize("era", ["v4.19", "v5.15", "v6.1", "v6.12"])
@given(script=steps)
@settings(max_examples=40)
def test_any_life_agrees_with_plain_reference_counts(era: str, script: list[tuple[str, int, int]]) -> None:
    both = Both(era)
    for kind, choice, cpu in script:
        if era == "v4.19" and "pool" in kind:
            continue  # skbs and pools do not know each other yet
        both.step(kind, choice, cpu)
    both.compare()
    while both.buffers:
        both.step("napi consume", len(both.buffers) - 1, 0)
    both.compare()
    page_pool_update_nid(both.machine.k, 0, both.pool.number, 0)
    assert set(ringed(both.pool)) <= both.recycled
    both.pool.destroy()
    assert not both.pool.alive
    hold, release = hold_and_release(both.pool)
    assert era == "v4.19" or hold == release
    zone = both.machine.k.zone[0]
    assert zone.allocated == zone.freed
    assert_books_balance(both.machine)
