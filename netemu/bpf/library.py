"""Routines compiled once for all programs: helpers that do some work, and the runs themselves.

A program reaches them through a table of addresses in the machine's record, so that its own code holds none and can be
kept on disk.  Helpers of a few instructions are compiled into each program instead.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from .compiler import compiled, function
from .helper_routines import (
    get_prandom_u32,
    get_smp_processor_id,
    helper_routines,
    jiffies64,
    ktime_get_ns,
    redirect,
    spin_lock,
    xdp_get_buff_len,
)
from .map_routines import reachable
from .routine import DECLARATIONS, Layout, Routine, with_callees
from .run_routines import RUNS
from .state import OFFSETS

SMALL = {
    r.name
    for r in (get_prandom_u32, get_smp_processor_id, jiffies64, ktime_get_ns, redirect, spin_lock, xdp_get_buff_len)
}
"""Helpers that each program has a copy of."""


@cache
def shared_routines() -> dict[str, int]:
    """Routines that programs call through the table, and their places in it."""
    found = {r.name: r for r in (*helper_routines().values(), reachable) if r.name not in SMALL}
    return {name: place for place, name in enumerate(sorted(found))}


class Library:
    """The compiled routines for one layout."""

    def __init__(self, layout: Layout) -> None:
        ingredients = f"library {layout.address_bits} {layout.strict}".encode()
        self.code = compiled(ingredients, lambda: _module(layout))
        self.table = (ctypes.c_uint64 * len(shared_routines()))()
        for name, place in shared_routines().items():
            self.table[place] = self.code.address(name)
        self._runs: dict[str, Any] = {}

    @property
    def address(self) -> int:
        """Real address of the table."""
        return ctypes.addressof(self.table)

    def run(self, name: str) -> Any:
        """One of :data:`~netemu.bpf.run_routines.RUNS` as a Python function; it runs without the GIL."""
        if name not in self._runs:
            self._runs[name] = function(self.code, name, RUNS[name][1])
        return self._runs[name]


@cache
def library(address_bits: int, strict: bool) -> Library:
    """The library for a layout, compiled or read from disk once per process."""
    return Library(Layout(OFFSETS, address_bits=address_bits, strict=strict))


def _module(layout: Layout) -> str:
    routines: dict[str, Routine] = {r.name: r for r in (*helper_routines().values(), reachable)}
    roots = {name: routines[name] for name in shared_routines()} | {
        name: routine for name, (routine, _) in RUNS.items()
    }
    found = with_callees(list(roots.values()))
    return "\n".join([DECLARATIONS, *(r.llvm_text(layout, external=r.name in roots) for r in found)])
