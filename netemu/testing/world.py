"""The world that vector scripts run in: one machine with a scripted page source, driven by operations in words.

What an operation does is done by the functions that a replay runs; here are only the words, and the names that
scripts give to pools (slots) and pages (block numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from netemu.engine.faults import raise_fault
from netemu.engine.log import messages_since
from netemu.errors import KernelBug, UsageError
from netemu.handles import PagePool, PoolStatistics
from netemu.machine import Machine
from netemu.mm.layout import MAX_ORDER, NONE, PAGE_ARRAY_ROWS, PG_PFMEMALLOC
from netemu.mm.page_alloc import drop_page, get_page
from netemu.mm.page_source import (
    SOURCE_EXHAUSTED_CODE,
    SOURCE_NODES,
    given_back,
    handed_out,
    script_pages,
    set_emergency,
)
from netemu.net.page_pool import (
    EVERYTHING,
    page_pool_alloc_pages,
    page_pool_defrag_page,
    page_pool_fragment_page,
    page_pool_nid_changed,
    page_pool_put_defragged_page,
    page_pool_put_page,
    page_pool_put_page_bulk,
    page_pool_recycle_direct,
    page_pool_release_page,
    page_pool_return_skb_page,
    page_pool_update_nid,
)
from netemu.net.page_pool_frag import page_pool_alloc_frag
from netemu.net.page_pool_shutdown import page_pool_destroy, page_pool_use_xdp_mem
from netemu.net.pool_setup import page_pool_create
from netemu.net.pool_work import advance, run_next_work

CPU = 0
START_MS = (1 << 32) - 300_000
"""The clock of a fresh world: five minutes before its low 32 bits wrap."""
NODE_MB = 256

_MASK = 0xFFFFFFFF
_CREATE_KEYS = {
    "order": "order",
    "flags": "flags",
    "size": "size",
    "nid": "nid",
    "dir": "dma_dir",
    "max_len": "max_len",
    "offset": "offset",
    "init_cb": "init_callback",
}
_WARNINGS: dict[str, Callable[[int, int], str]] = {
    "create_failed": lambda a, b: f"create_failed:{a}",
    "alloc_frag_args": lambda a, b: "alloc_frag_args",
    "frag_count_negative": lambda a, b: "frag_count_negative",
    "negative_inflight": lambda a, b: f"negative_inflight:{a}",
    "ring_refcnt_violation": lambda a, b: f"ring_refcnt_violation:{a}",
    "stalled_shutdown": lambda a, b: f"stalled_shutdown:{a}:{b}",
}


class WordsError(ValueError):
    """An operation that a script cannot mean."""


@dataclass(slots=True)
class Done:
    """What an operation answered and what it was about.  ``answers``: it has a result (``ret``; None: no page)."""

    pool: int = NONE
    page: int = NONE
    answers: bool = False
    ret: int | None = None
    offset: int | None = None


NOTHING = Done()


class World:
    """A fresh world.  ``perform`` runs one operation; the other methods read what it did.

    ``check``: as for :class:`netemu.Machine`; what is found is collected in ``machine.reports``.
    """

    cpus = 1
    skbs = 1

    def __init__(self, check: str = "off") -> None:
        self.machine = Machine(
            era="v6.1",
            cpus=self.cpus,
            nodes=SOURCE_NODES,
            memory_mb=NODE_MB,
            skbs=self.skbs,
            check=check,
            collect=True,
        )
        self.k = self.machine.k
        if self.machine.checker is not None:
            self.machine.checker.contexts = False  # one thread, and no softirq that could interrupt it
        script_pages(self.k)
        self.k.cpu[CPU].serving_softirq = 1
        self.k.work[0].now = START_MS
        self.numbers: dict[int, int] = {}
        """Slot -> number of the pool in the machine."""
        self.slots: dict[int, int] = {}
        self._rows: dict[int, Any] = {}
        self._pools: dict[int, PagePool] = {}
        self._pools_freed = 0
        self._logged = 0
        self._operations: dict[str, Callable[[list[str]], Done]] = {
            name.removeprefix("op_"): getattr(self, name) for name in dir(self) if name.startswith("op_")
        }

    def perform(self, operation: str) -> Done:
        """Run one operation.  Raises WordsError when it makes no sense in this world."""
        words = operation.split(" ")
        try:
            return self._operations[words[0]](words)
        except KeyError:
            if words[0] not in self._operations:
                raise WordsError(f"there is no operation {words[0]!r}") from None
            raise
        except IndexError:
            raise WordsError(f"{operation!r} lacks an argument") from None
        except UsageError as error:
            raise WordsError(str(error)) from None

    # -- names -----------------------------------------------------------------------------------------------------

    def _pool(self, word: str) -> int:
        """Number of the pool in the slot that a script names."""
        try:
            return self.numbers[int(word)]
        except (KeyError, ValueError):
            raise WordsError(f"there is no pool {word}") from None

    def page_named(self, word: str) -> int:
        """First page of the block that a script names by its number."""
        block = number_in(word)
        if not 0 <= block < self.k.page_source[0].blocks:
            raise WordsError(f"there is no page {word}")
        pfn: int = self.k.source_block[block]
        return pfn

    def _base_page(self, word: str) -> int:
        block, _, step = word.partition("+")
        pfn = self.page_named(block)
        inside = number_in(step or "0")
        if not 0 <= inside < 1 << self.k.pages[pfn].order:
            raise WordsError(f"block {block} has no base page {inside}")
        return pfn + inside

    # -- operations on pools ---------------------------------------------------------------------------------------

    def op_create(self, words: list[str]) -> Done:
        slot = number_in(words[1])
        if slot in self.numbers:
            raise WordsError(f"pool {slot} exists already")
        given = {"nid": -1, "dma_dir": 0}
        for word in words[2:]:
            key, _, value = word.partition("=")
            if key not in _CREATE_KEYS:
                raise WordsError(f"a pool has no parameter {key!r}")
            given[_CREATE_KEYS[key]] = _preference(value) if key == "nid" else number_in(value) & _MASK
        if given.get("order", 0) > MAX_ORDER:
            raise WordsError(f"there are no pages of order {given['order']}; the largest is {MAX_ORDER}")
        number = page_pool_create(self.k, CPU, **given)
        if number < 0:
            return Done(answers=True, ret=number)
        self.numbers[slot] = number
        self.slots[number] = slot
        self._rows[slot] = self.k.pool[number]
        self._pools[slot] = PagePool(self.machine, number, CPU)
        return Done(pool=slot, answers=True, ret=0)

    def op_alloc_pages(self, words: list[str]) -> Done:
        pfn = page_pool_alloc_pages(self.k, CPU, self._pool(words[1]))
        return Done(int(words[1]), pfn, True, self.block(pfn))

    def op_alloc_frag(self, words: list[str]) -> Done:
        pfn = page_pool_alloc_frag(self.k, CPU, self._pool(words[1]), number_in(words[2]) & _MASK)
        offset = None if pfn == NONE else self.k.pools[0].frag_offset
        return Done(int(words[1]), pfn, True, self.block(pfn), offset)

    def op_put_full_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[2])
        page_pool_put_page(self.k, CPU, self._pool(words[1]), pfn, EVERYTHING, number_in(words[3]))
        return Done(int(words[1]), pfn)

    def op_put_pool_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[2])
        page_pool_put_page(self.k, CPU, self._pool(words[1]), pfn, number_in(words[3]) & _MASK, number_in(words[4]))
        return Done(int(words[1]), pfn)

    def op_put_defragged(self, words: list[str]) -> Done:
        pfn = self.page_named(words[2])
        pool, length, direct = self._pool(words[1]), number_in(words[3]) & _MASK, number_in(words[4])
        page_pool_put_defragged_page(self.k, CPU, pool, pfn, length, direct)
        return Done(int(words[1]), pfn)

    def op_recycle_direct(self, words: list[str]) -> Done:
        pfn = self.page_named(words[2])
        page_pool_recycle_direct(self.k, CPU, self._pool(words[1]), pfn)
        return Done(int(words[1]), pfn)

    def op_put_bulk(self, words: list[str]) -> Done:
        pool = self._pool(words[1])
        pages = [self._base_page(word) for word in words[2:]]
        if len(pages) > PAGE_ARRAY_ROWS:
            raise WordsError(f"a bulk return takes at most {PAGE_ARRAY_ROWS} pages")
        for index, pfn in enumerate(pages):
            self.k.page_array[index] = pfn
        page_pool_put_page_bulk(self.k, CPU, pool, len(pages))
        return Done(int(words[1]))

    def op_release_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[2])
        page_pool_release_page(self.k, CPU, self._pool(words[1]), pfn)
        return Done(int(words[1]), pfn)

    def op_return_skb_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        owner = self.slots.get(self.k.pages[pfn].pp - 1, NONE)
        return Done(owner, pfn, True, page_pool_return_skb_page(self.k, CPU, pfn, 0))

    def op_update_nid(self, words: list[str]) -> Done:
        page_pool_update_nid(self.k, CPU, self._pool(words[1]), _preference(words[2]))
        return Done(int(words[1]))

    def op_nid_changed(self, words: list[str]) -> Done:
        page_pool_nid_changed(self.k, CPU, self._pool(words[1]), _preference(words[2]))
        return Done(int(words[1]))

    def op_use_xdp_mem(self, words: list[str]) -> Done:
        page_pool_use_xdp_mem(self.k, CPU, self._pool(words[1]))
        return Done(int(words[1]))

    def op_preset_counters(self, words: list[str]) -> Done:
        row = self.k.pool[self._pool(words[1])]
        row.hold_cnt = row.release_cnt = number_in(words[2]) & _MASK
        return Done(int(words[1]))

    def op_destroy(self, words: list[str]) -> Done:
        page_pool_destroy(self.k, CPU, self._pool(words[1]))
        return Done(int(words[1]))

    def op_state(self, words: list[str]) -> Done:
        self._pool(words[1])
        return Done(int(words[1]))

    op_dump = op_state

    # -- operations on pages ---------------------------------------------------------------------------------------

    def op_get_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        get_page(self.k, CPU, pfn, number_in(words[2]) if len(words) > 2 else 1)
        return Done(page=pfn)

    def op_put_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        drop_page(self.k, CPU, pfn)
        return Done(page=pfn)

    def op_set_pfmemalloc(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        page = self.k.pages[pfn]
        page.flags = page.flags | PG_PFMEMALLOC if number_in(words[2]) else page.flags & ~PG_PFMEMALLOC
        return Done(page=pfn)

    def op_fragment_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        page_pool_fragment_page(self.k, CPU, pfn, number_in(words[2]))
        return Done(page=pfn)

    def op_defrag_page(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        return Done(page=pfn, answers=True, ret=page_pool_defrag_page(self.k, CPU, pfn, number_in(words[2])))

    def op_page_state(self, words: list[str]) -> Done:
        return Done(page=self.page_named(words[1]))

    # -- time and context ------------------------------------------------------------------------------------------

    def op_run_delayed_work(self, words: list[str]) -> Done:
        ran = run_next_work(self.k, CPU)
        return Done(pool=self._printed(words, 1), answers=True, ret=int(ran))

    def op_advance(self, words: list[str]) -> Done:
        ms = number_in(words[1])
        if ms < 0:
            raise WordsError("time does not go backwards")
        return Done(pool=self._printed(words, 2), answers=True, ret=advance(self.k, CPU, ms))

    def _printed(self, words: list[str], at: int) -> int:
        if len(words) <= at:
            return NONE
        self._pool(words[at])
        return int(words[at])

    def op_set_softirq(self, words: list[str]) -> Done:
        self.k.cpu[CPU].serving_softirq = number_in(words[1])
        return NOTHING

    def op_set_numa_mem_id(self, words: list[str]) -> Done:
        self.k.cpu[CPU].numa_node = _node(words[1])
        return NOTHING

    # -- the page source and the DMA layer -------------------------------------------------------------------------

    def op_set_memory_limit(self, words: list[str]) -> Done:
        self.k.page_source[0].memory_limit = max(number_in(words[1]), NONE) + 1
        return NOTHING

    def op_set_node_limit(self, words: list[str]) -> Done:
        self.k.page_source[0].node_limit[_node(words[1])] = max(number_in(words[2]), NONE) + 1
        return NOTHING

    def op_set_bulk_cap(self, words: list[str]) -> Done:
        self.k.page_source[0].bulk_cap = max(number_in(words[1]), NONE) + 1
        return NOTHING

    def op_set_alloc_pfmemalloc(self, words: list[str]) -> Done:
        set_emergency(self.k, number_in(words[1]) != 0)
        return NOTHING

    def op_set_dma_fail(self, words: list[str]) -> Done:
        self.k.dma[0].fail_after = max(number_in(words[1]), NONE) + 1
        return NOTHING

    def op_set_dma_align(self, words: list[str]) -> Done:
        self.k.dma[0].align = number_in(words[1])
        return NOTHING

    # -- what there is to see --------------------------------------------------------------------------------------

    def block(self, pfn: int) -> int | None:
        """The number of the block that starts at ``pfn``; None for no page."""
        return None if pfn == NONE else self.k.pages[pfn].serial

    def pool_state(self, slot: int) -> tuple[Any, ...]:
        """The pool in a slot, in the order of :data:`POOL_FIELDS`."""
        p = self._rows[slot]
        ring = self.k.arrays["pool_ring"][p.ring_base : p.ring_base + p.ring_size]
        slots = int(np.count_nonzero(ring))
        return (
            1 - p.alive,
            p.cache_count,
            slots - (p.consumer_head - p.consumer_tail),
            slots,
            p.hold_cnt,
            p.release_cnt,
            self._pools[slot].inflight,
            [getattr(p, name) for name in PoolStatistics.__dataclass_fields__],
            self.block(p.frag_page - 1),
            p.frag_offset,
            p.frag_users,
            p.nid,
            p.users,
            p.destroy_cnt,
            p.work_pending,
        )

    def pool_contents(self, slot: int) -> dict[str, Any]:
        """The pages of the pool in a slot, and where its ring stands."""
        p = self._rows[slot]
        cache = self.k.arrays["pool_cache"].reshape(len(self.k.pool), -1)[self.numbers[slot]][: p.cache_count]
        ring = (self.k.pool_ring[p.ring_base + (p.consumer_head + i) % p.ring_size] - 1 for i in range(p.ring_size))
        queued = islice(ring, self.pool_state(slot)[POOL_FIELDS.index("ring")])
        return {
            "cache_pages": [self.block(int(pfn)) for pfn in cache],
            "ring_pages": [self.block(pfn) for pfn in queued],
            "ring_idx": [p.ring_size, p.ring_batch, p.producer, p.consumer_head, p.consumer_tail],
        }

    def page_state(self, pfn: int) -> list[int]:
        """``[G, refs, frags, sig, owner, pfm, node, dma]`` of the block that starts at ``pfn``."""
        p = self.k.pages[pfn]
        signed = 1 if p.pp else 0
        in_use = p.refcount > 0
        return [
            p.serial,
            p.refcount,
            p.frag_count,
            signed,
            self.slots.get(p.pp - 1, NONE),
            int(in_use and p.flags & PG_PFMEMALLOC != 0),
            p.nid,
            int(in_use and p.dma_addr != 0),
        ]

    def dma_counters(self) -> list[int]:
        """Mappings, unmappings, synchronisations and bytes synchronised, for the device."""
        d = self.k.dma[0]
        return [d.mappings, d.unmappings, d.syncs, d.synced]

    def callback_counters(self) -> list[int]:
        """Init callbacks run, device references taken and dropped."""
        pools = self.k.pools[0]
        return [pools.init_callbacks, pools.device_gets, pools.device_puts]

    def handed_out(self) -> list[int]:
        """Blocks that left the page source since the last call."""
        return handed_out(self.k)

    def given_back(self) -> list[int]:
        """Blocks that went back since the last call."""
        return given_back(self.k)

    def warnings(self) -> list[str]:
        """Complaints since the last call."""
        if self.k.log_count[0] == self._logged:
            return []
        new = messages_since(self.k, self._logged)
        self._logged = self.k.log_count[0]
        return [_WARNINGS[name](a, b) for name, a, b, _text in new]

    def pool_events(self) -> list[str]:
        """Ends of pools since the last call, each after the call of its disconnect callback."""
        before, now = self._pools_freed, self.k.pools[0].freed
        if before == now:
            return []
        self._pools_freed = now
        events = []
        for _order, slot in sorted((row.freed, slot) for slot, row in self._rows.items() if row.freed > before):
            if self._rows[slot].disconnected:
                events.append(f"disconnect:{slot}")
            events.append(f"pool_free:{slot}")
        return events

    def check(self) -> None:
        """Raise WordsError if the page source has run out of memory, EmulatorError if netemu itself is wrong.

        Misuse that the engine notes and the kernel does not is part of what scripts do on purpose.
        """
        if self.machine.checker is not None:
            self.machine.check()
        if not self.k.error[0].code:
            return
        try:
            raise_fault(self.k)
        except KernelBug as bug:
            if bug.code == SOURCE_EXHAUSTED_CODE:
                raise WordsError(str(bug)) from None


POOL_FIELDS = (
    "gone",
    "cache",
    "ring",
    "slots",
    "hold",
    "rel",
    "infl",
    "st",
    "fp",
    "fo",
    "fu",
    "nid",
    "users",
    "dcnt",
    "work",
)


def number_in(word: str) -> int:
    try:
        value = int(word)
    except ValueError:
        raise WordsError(f"{word!r} is not a number") from None
    if not -(1 << 63) <= value < 1 << 63:
        raise WordsError(f"{word} does not fit 64 bits")
    return value


def _preference(word: str) -> int:
    return NONE if number_in(word) < 0 else _node(word)


def _node(word: str) -> int:
    node = number_in(word)
    if not 0 <= node < SOURCE_NODES:
        raise WordsError(f"there is no node {word}; nodes are 0 to {SOURCE_NODES - 1}")
    return node
