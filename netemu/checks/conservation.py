"""Where every page is.

Each page in use is put down to the first place that holds it; a page that no place holds is a leak.  The sums
are those of invariant MM-09: managed = buddy + per-CPU lists + in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..engine.layout import Kernel
from ..mm.layout import NAPI_SLICES, NONE, NR_FRAG_CACHES, PAGE_SIZE, PG_TAIL
from ..net.pool_layout import PP_ALLOC_CACHE_SIZE
from ..net.skb_layout import SKB_LIVE


@dataclass
class Books:
    """``places``: base pages by place; ``leaks``: one line each; ``errors``: sums that do not agree."""

    places: dict[str, int] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def _pool_pages(k: Kernel) -> tuple[set[int], set[int]]:
    cached: set[int] = set()
    ringed: set[int] = set()
    for number in range(k.pools[0].count):
        p = k.pool[number]
        if not p.alive:
            continue
        base = number * PP_ALLOC_CACHE_SIZE
        cached.update(int(x) for x in k.arrays["pool_cache"][base : base + p.cache_count])
        slots = np.roll(k.arrays["pool_ring"][p.ring_base : p.ring_base + p.ring_size], -p.consumer_head)
        # slots between the consumer's head and the producer are occupied; consumed ones may still look so
        count = (p.producer - p.consumer_head) % p.ring_size
        if count == 0 and slots[0] != 0:
            count = p.ring_size
        ringed.update(int(x) - 1 for x in slots[:count])
        if p.frag_page:
            cached.add(p.frag_page - 1)
    return cached, ringed


def _skb_pages(k: Kernel) -> set[int]:
    pages: set[int] = set()
    made = k.slab[0].skb_made
    rows = k.arrays["skb"][:made]
    for number in np.flatnonzero(rows["state"] == SKB_LIVE):
        row = rows[number]
        if row["head_page"] != NONE:
            pages.add(int(row["head_page"]))
        count = k.shinfo[row["shinfo"]].nr_frags
        pages.update(k.frags[row["shinfo"]].page[:count])
    return pages


def _frame_pages(k: Kernel) -> set[int]:
    """Pages of XDP frames: on send queues, in rings to other CPUs."""
    pages: set[int] = set()
    rows = k.arrays["xdp_frame"][: k.xdp[0].frame_made]
    for number in np.flatnonzero(rows["live"]):
        row = rows[number]
        pages.add(int(row["hard_start"]) // PAGE_SIZE)
        pages.update(int(p) for p in row["frag_page"][: row["nr_frags"]])
    return pages


def _fragment_pages(k: Kernel) -> set[int]:
    caches = k.arrays["page_frag_cache"][: k.machine[0].cpus * NR_FRAG_CACHES]
    # slices own all references of their page: a cache that has handed out the last one only remembers its address
    spent = (np.arange(caches.size) % NR_FRAG_CACHES == NAPI_SLICES) & (caches["offset"] == 0)
    return {int(p) - 1 for p in caches["page"][~spent] if p}


def _heads(k: Kernel, pages: Iterable[int]) -> set[int]:
    table = k.arrays["pages"]
    return {int(table["head"][p]) if table["flags"][p] & PG_TAIL else p for p in pages}


def take_stock(k: Kernel, driver_pages: Iterable[int] = ()) -> Books:
    """Place every page of the machine.  ``driver_pages``: those in receive buffers and private caches."""
    books = Books()
    table = k.arrays["pages"]
    zones = k.arrays["zone"]
    cached, ringed = _pool_pages(k)
    parked = {int(p) for p in np.flatnonzero(table["where"] == 1)}
    claims = {
        "pool_cache": cached,
        "pool_ring": ringed,
        "driver": _heads(k, driver_pages) | parked,
        "skb": _heads(k, _skb_pages(k)),
        "xdp_frame": _heads(k, _frame_pages(k)),
        "page_frag_cache": _fragment_pages(k),
    }
    in_use = {int(p) for p in np.flatnonzero(table["refcount"] > 0)}
    sizes = {p: 1 << int(table["order"][p]) for p in in_use}
    unclaimed = set(in_use)
    books.places = {"buddy": int(zones["free"].sum()), "pcp": int(k.arrays["pcp"]["count"].sum())}
    for place, pages in claims.items():
        books.places[place] = sum(sizes[p] for p in pages & unclaimed)
        for page in sorted(pages - in_use)[:5]:
            books.errors.append(f"MM-02 {place} names page {page}, which is free")
        unclaimed -= pages
    for page in sorted(unclaimed):
        books.leaks.append(
            f"page {page} (order {int(table['order'][page])}, {int(table['refcount'][page])} references, "
            f"{'pool ' + str(int(table['pp'][page]) - 1) if table['pp'][page] else 'no pool'}): nobody holds it"
        )
    books.places["leaked"] = sum(sizes[p] for p in unclaimed)
    total = sum(books.places.values())
    managed = int(zones["managed"].sum())
    if total != managed:
        books.errors.append(f"MM-09 {managed} pages are managed, but {total} are accounted for")
    return books
