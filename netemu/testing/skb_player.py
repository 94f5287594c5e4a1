"""Plays scripts of the skb family: prints every line anew, in the same difference form, and compares the two.

What happened (``ev``) is compared when the engine has its tracepoints, see :mod:`netemu.engine.events`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netemu.engine.jit import EVENTS
from netemu.net.skb_layout import SKB_LIVE
from netemu.testing.skb_world import SkbDone, SkbWorld
from netemu.testing.world import POOL_FIELDS

_UNSEEN = object()


class ChangedRows:
    """Tells which rows of a state table have changed since the last look."""

    def __init__(self) -> None:
        self._before = np.zeros((0, 1), np.uint8)

    def look(self, rows: npt.NDArray[Any]) -> list[int]:
        """Numbers of the rows that are new or differ in any byte."""
        now = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
        known = len(self._before)
        if known:
            changed = np.flatnonzero((now[:known] != self._before).any(axis=1)).tolist()
        else:
            changed = []
        changed += range(known, len(now))
        self._before = now.copy()
        return changed


class SkbPlayer:
    """Plays a script of the skb family."""

    def __init__(self) -> None:
        self.world = SkbWorld()
        self._pools: dict[int, tuple[Any, ...]] = {}
        self._pages: dict[int, list[int]] = {}
        self._skbs: dict[int, list[Any]] = {}
        self._napi = -1
        self._counters: list[int] = []
        self._changed_pages = ChangedRows()
        self._changed_skbs = ChangedRows()
        self._changed_infos = ChangedRows()
        self._changed_frags = ChangedRows()

    def play(self, line: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """Perform the operation of a line and compare the line: (field, expected, got) for each that differs."""
        printed = self._line(line["op"])
        self.world.check()
        fields = [*printed, *(field for field in line if field not in printed)]
        if not EVENTS:
            fields = [field for field in fields if field != "ev"]
        return [(f, line.get(f), printed.get(f)) for f in fields if line.get(f) != printed.get(f)]

    def _line(self, operation: str) -> dict[str, Any]:
        world = self.world
        done = world.perform(operation)
        line: dict[str, Any] = {"op": operation}
        if done.answers:
            line["ret"] = done.name if isinstance(done, SkbDone) and done.ret is None else done.ret
        if done.offset is not None:
            line["off"] = done.offset
        if isinstance(done, SkbDone) and done.shown is not None:
            line |= done.shown
        got, freed = world.handed_out(), world.given_back()
        lists = {
            "skbs": self._skb_states(),
            "pools": self._pool_states(),
            "pages": self._page_states(got, freed),
            "got": got,
            "freed": freed,
            "warn": world.warnings(),
            "ev": world.events(),
        }
        line |= {field: value for field, value in lists.items() if value}
        napi, counters = world.napi_cached(), world.skb_counters()
        if napi != self._napi:
            line["napi"] = self._napi = napi
        if counters != self._counters:
            line["ctr"] = self._counters = counters
        return line

    def _skb_states(self) -> list[list[Any]]:
        """States of the live packets that changed, original before companion, both slabs interleaved by number."""
        k = self.world.k
        rows = k.arrays["skb"]
        used = self._used_rows()
        table = rows[used]
        infos = k.arrays["shinfo"][: k.slab[0].shinfo_made]
        touched = np.zeros(len(infos), bool)
        touched[self._changed_infos.look(infos)] = True
        touched[self._changed_frags.look(k.arrays["frags"][: len(infos)])] = True
        suspects = np.zeros(len(used), bool)
        suspects[self._changed_skbs.look(table)] = True
        live = table["state"] == SKB_LIVE
        if len(infos):
            info = np.where(live, table["shinfo"], 0)
            suspects |= touched[info] | (infos["frag_list"][info] != 0)
        for skb in used[~live].tolist():
            self._skbs.pop(skb, None)
        changed = []
        for skb in used[suspects & live].tolist():
            state = self.world.skb_state(skb)
            if self._skbs.get(skb) != state:
                self._skbs[skb] = state
                changed.append((self._rank(skb), state))
        return [state for _rank, state in sorted(changed)]

    def _used_rows(self) -> npt.NDArray[np.int64]:
        slab = self.world.k.slab[0]
        first = self.world.skbs
        return np.concatenate((np.arange(slab.skb_made), np.arange(first, first + 2 * slab.pair_made)))

    def _rank(self, skb: int) -> tuple[int, int]:
        first = self.world.skbs
        return (skb, 0) if skb < first else ((skb - first) // 2, 1 + (skb - first) % 2)

    def _pool_states(self) -> list[dict[str, Any]]:
        changed = []
        for slot in sorted(self.world.numbers):
            state = self.world.pool_state(slot)
            before = self._pools.get(slot, (0,) + (_UNSEEN,) * (len(state) - 1))
            self._pools[slot] = state
            differing = {field: now for field, was, now in zip(POOL_FIELDS, before, state, strict=True) if was != now}
            if differing:
                changed.append({"pool": slot, **differing})
        return changed

    def _page_states(self, got: list[int], freed: list[int]) -> list[list[int]]:
        """States of the blocks that changed, but not of those that just came or went as every block does."""
        k = self.world.k
        table = k.arrays["pages"][: k.page_source[0].next_pfn]
        blocks = {int(table["serial"][pfn]) for pfn in self._changed_pages.look(table)}
        changed = []
        for block in sorted(blocks):
            state = self.world.page_state(k.source_block[block])
            if self._pages.get(block) != state:
                self._pages[block] = state
                usual = (block in freed and state[1] == 0) or (block in got and state[1] == 1 and state[2] == 0)
                if not usual:
                    changed.append(state)
        return changed
