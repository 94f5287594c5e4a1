"""A scripted page source: blocks with reproducible numbers, in place of zones, for conformance runs.

While ``k.machine[0].scripted`` is set, the allocation and free functions of :mod:`netemu.mm.page_alloc` take
blocks from here.  Blocks are numbered (``page.serial``) in the order they are made, one counter for all nodes and
orders; each (node, order) has a last-in first-out free list.  Limits make the source run dry on purpose.
"""

from __future__ import annotations

import numpy as np

from ..engine.faults import fault, fault_code
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel, table
from .layout import NONE, NR_ORDERS, PG_PFMEMALLOC

SOURCE_NODES = 4
JOURNAL_ROWS = 1 << 18
"""Blocks that can be handed out, or come back, before the journal is read."""

table(
    "page_source",
    [
        ("blocks", "i4"),  # made so far
        ("next_pfn", "i4"),  # first page that no block covers yet
        ("memory_limit", "i8"),  # blocks that can still be had, + 1; 0: no limit
        ("node_limit", "i8", SOURCE_NODES),  # the same of one node
        ("bulk_cap", "i8"),  # blocks in one bulk answer, + 1; 0: no cap
        ("got_count", "i4"),
        ("freed_count", "i4"),
    ],
)
table("source_list", "i4")  # [node * NR_ORDERS + order] -> newest free block + 1
table("source_block", "i4")  # [serial] -> first page of the block
table("source_got", "i4")  # serials of the blocks handed out since the journal was read
table("source_freed", "i4")  # serials of the blocks that came back since then

SOURCE_EXHAUSTED_CODE = "page-source"
SOURCE_EXHAUSTED = fault_code(SOURCE_EXHAUSTED_CODE, "no memory left for block {a} of order {b}: give the machine more")


def script_pages(k: Kernel) -> None:
    """Let all pages of the machine ``k`` come from a fresh source without limits."""
    pages = k.machine[0].pages
    k.replace("source_list", np.zeros(SOURCE_NODES * NR_ORDERS, np.int32))
    for name, rows in (("source_block", pages), ("source_got", JOURNAL_ROWS), ("source_freed", JOURNAL_ROWS)):
        k.replace(name, np.zeros(rows, np.int32))
    k.machine[0].scripted = 1


def set_emergency(k: Kernel, on: bool) -> None:
    """Mark blocks handed out from now on as taken from the emergency reserve, or no longer."""
    k.machine[0].new_page_flags = PG_PFMEMALLOC if on else 0


def handed_out(k: Kernel) -> list[int]:
    """Serials of the blocks handed out since the last call, in order."""
    source = k.page_source[0]
    count = source.got_count
    if count == 0:
        return []
    source.got_count = 0
    serials: list[int] = k.arrays["source_got"][:count].tolist()
    return serials


def given_back(k: Kernel) -> list[int]:
    """Serials of the blocks that came back since the last call, in order."""
    source = k.page_source[0]
    count = source.freed_count
    if count == 0:
        return []
    source.freed_count = 0
    serials: list[int] = k.arrays["source_freed"][:count].tolist()
    return serials


@kernel_function(traced=False)
def new_block(k: Kernel, cpu: int, nid: int, order: int) -> int:
    """Make the next block; NONE when the machine's memory is covered with blocks."""
    s = k.page_source[0]
    pfn = s.next_pfn
    if pfn + (1 << order) > k.machine[0].pages:
        fault(k, cpu, SOURCE_EXHAUSTED, s.blocks, order)
        return NONE
    s.next_pfn = pfn + (1 << order)
    for base in range(pfn, pfn + (1 << order)):
        k.pages[base].nid = nid
        k.pages[base].serial = s.blocks
    k.source_block[s.blocks] = pfn
    s.blocks += 1
    return pfn


@kernel_function(traced=False)
def take_block(k: Kernel, cpu: int, nid: int, order: int) -> int:
    """The newest free block of the node, or a new one, charged to both limits."""
    s = k.page_source[0]
    row = nid * NR_ORDERS + order
    pfn = k.source_list[row] - 1
    if pfn == NONE:
        pfn = new_block(k, cpu, nid, order)
        if pfn == NONE:
            return NONE
    else:
        k.source_list[row] = k.pages[pfn].next
    if s.memory_limit > 1:
        s.memory_limit -= 1
    if s.node_limit[nid] > 1:
        s.node_limit[nid] -= 1
    if s.got_count < JOURNAL_ROWS:
        k.source_got[s.got_count] = k.pages[pfn].serial
        s.got_count += 1
    return pfn


@inlined
def node_is_dry(k: Kernel, nid: int) -> bool:
    """Is the node's limit, or the one of all memory, used up?"""
    s = k.page_source[0]
    return s.memory_limit == 1 or s.node_limit[nid] == 1


@kernel_function(traced=False)
def source_alloc(k: Kernel, cpu: int, nid: int, order: int) -> int:
    """A block from the first node, ``nid`` on, that is not dry.  NONE: all are."""
    for step in range(SOURCE_NODES):
        node = (nid + step) % SOURCE_NODES
        if not node_is_dry(k, node):
            return take_block(k, cpu, node, order)
    return NONE


@kernel_function(traced=False)
def source_alloc_bulk(k: Kernel, cpu: int, nid: int, count: int) -> int:
    """Up to ``count`` single pages of node ``nid`` alone into ``k.page_array``; how many."""
    cap = k.page_source[0].bulk_cap
    got = 0
    while got < count and got != cap - 1 and not node_is_dry(k, nid):
        pfn = take_block(k, cpu, nid, 0)
        if pfn == NONE:
            break
        k.page_array[got] = pfn
        got += 1
    return got


@kernel_function(traced=False)
def source_free(k: Kernel, pfn: int) -> None:
    """The last reference is gone: unsigned and unmarked, the block is the next one to be handed out."""
    s = k.page_source[0]
    p = k.pages[pfn]
    row = p.nid * NR_ORDERS + p.order
    p.flags &= ~PG_PFMEMALLOC
    p.pp = 0
    p.next = k.source_list[row]
    k.source_list[row] = pfn + 1
    if s.freed_count < JOURNAL_ROWS:
        k.source_freed[s.freed_count] = p.serial
        s.freed_count += 1
