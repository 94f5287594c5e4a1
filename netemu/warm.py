"""Compiling the engine ahead of time, so that the first run does not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from . import kernel, pcap  # noqa: F401  imported so that everything is declared
from .engine import jit
from .engine.kernel import REGISTERED, declarations


def _compiled(*, everything: bool) -> list[Callable[[], object]]:
    """What compiles, or loads, each function that a replay can enter, the capture reader's too.

    ``everything``: also those that only scripts and tests call.
    """
    entries = [f.compiled_entry for f in REGISTERED if f.entry and (everything or not f.rare) and not f.plugin]
    return [*(f.made for f in jit.NATIVE), *entries]


def directory() -> Path | None:
    """Where the compiled engine is kept; None when nothing can be written."""
    return jit.cache_directory(jit.content_key(declarations()))


def _stamp(*, everything: bool) -> Path | None:
    kept = directory()
    return kept / ("everything" if everything else "complete") if kept else None


def is_cold() -> bool:
    """Is nothing at all of the compiled engine in the disk cache?"""
    kept = directory()
    return jit.JIT and (kept is None or next(kept.iterdir(), None) is None)


def is_warm(*, everything: bool = False) -> bool:
    """Is the compiled engine in the disk cache (or none needed)?"""
    if not jit.JIT:
        return True
    stamp = _stamp(everything=everything)
    return stamp is not None and stamp.exists()


def warm_up(progress: Callable[[int, int], None] | None = None, *, everything: bool = False) -> float:
    """Compile, or load, all that a run can enter; returns the seconds it took.  ``progress(done, total)`` is told.

    ``everything``: also what only scripts and tests call.
    """
    start = time.perf_counter()
    if jit.JIT:
        steps = _compiled(everything=everything)
        for done, step in enumerate(steps):
            step()
            if progress:
                progress(done + 1, len(steps))
        for stamp in (_stamp(everything=False), _stamp(everything=everything)):
            if stamp is not None:
                stamp.touch()
    return time.perf_counter() - start
