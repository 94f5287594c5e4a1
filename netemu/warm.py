"""Compiling the engine ahead of time, so that the first run does not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from . import kernel, pcap  # noqa: F401  imported so that everything is declared
from .engine import jit
from .engine.kernel import REGISTERED, declarations


def _compiled() -> list[Callable[[], object]]:
    """What compiles, or loads, each function that a replay can enter, the capture reader's too."""
    entries = [f.compiled_entry for f in REGISTERED if f.entry and not f.rare and not f.plugin]
    return [*(f.made for f in jit.NATIVE), *entries]


def directory() -> Path | None:
    """Where the compiled engine is kept; None when nothing can be written."""
    return jit.cache_directory(jit.content_key(declarations()))


def _stamp() -> Path | None:
    kept = directory()
    return kept / "complete" if kept else None


def is_cold() -> bool:
    """Is nothing at all of the compiled engine in the disk cache?"""
    kept = directory()
    return jit.JIT and (kept is None or next(kept.iterdir(), None) is None)


def is_warm() -> bool:
    """Is the compiled engine in the disk cache (or none needed)?"""
    if not jit.JIT:
        return True
    stamp = _stamp()
    return stamp is not None and stamp.exists()


def warm_up(progress: Callable[[int, int], None] | None = None) -> float:
    """Compile, or load, all that a run can enter; returns the seconds it took.  ``progress(done, total)`` is told."""
    start = time.perf_counter()
    if jit.JIT:
        steps = _compiled()
        for done, step in enumerate(steps):
            step()
            if progress:
                progress(done + 1, len(steps))
        stamp = _stamp()
        if stamp is not None:
            stamp.touch()
    return time.perf_counter() - start
