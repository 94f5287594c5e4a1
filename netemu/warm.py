"""Compiling the engine ahead of time, so that the first run does not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from .engine import jit
from .engine.kernel import REGISTERED, KernelFunction

_STAMP = "complete"


def _entries() -> list[KernelFunction]:
    from . import kernel  # noqa: F401  every kernel module, so that all are declared

    return [f for f in REGISTERED if f.entry and not f.plugin]


def is_warm() -> bool:
    """Is the compiled engine in the disk cache (or none needed)?"""
    if not jit.JIT:
        return True
    directory = jit.cache_directory()
    return directory is not None and (directory / _STAMP).exists()


def warm_up(progress: Callable[[int, int], None] | None = None) -> float:
    """Compile, or load, every entry point; returns the seconds it took.  ``progress(done, total)`` is told."""
    start = time.perf_counter()
    if jit.JIT:
        entries = _entries()
        for done, function in enumerate(entries):
            function.compiled_entry()
            if progress:
                progress(done + 1, len(entries))
        directory = jit.cache_directory()
        if directory is not None:
            (directory / _STAMP).touch()
    return time.perf_counter() - start
