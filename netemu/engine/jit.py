"""The one place that decides how code is compiled, where the result is kept, and when it is stale.

Four environment variables steer it, read once at import:

``NETEMU_JIT=0``
    run every function as plain Python (to step through it, to measure coverage).
``NETEMU_CHECKED=1``
    compile with an index check on every access to machine state.
``NETEMU_EVENTS=1``
    compile tracepoints in (see :mod:`netemu.engine.events`); without it they cost nothing, not even a test.
``NETEMU_CACHE_DIR``
    where compiled code is kept; default is the user's cache directory.

Numba keys its own disk cache by the file that holds a function, and so misses a change in a helper that
lives elsewhere.  Here the cache directory itself is named by the content of every source file that can end
up in compiled code, plus the versions and the processor that shaped it.  An unwritable directory turns
caching off; it never fails an import.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

JIT = os.environ.get("NETEMU_JIT", "1") != "0"
CHECKED = os.environ.get("NETEMU_CHECKED", "0") == "1"
EVENTS = not JIT or os.environ.get("NETEMU_EVENTS", "0") == "1"

F = TypeVar("F", bound=Callable[..., Any])

# Rooms whose sources can be inlined into compiled code.
_COMPILED_ROOMS = ("engine", "mm", "net", "pcap")
_KEPT_GENERATIONS = 12


def _package_root() -> Path:
    return Path(__file__).resolve().parent.parent


def _compiled_sources() -> list[Path]:
    """Every source file whose text can change what is compiled."""
    root = _package_root()
    found = find_spec("netemu.drivers")
    plugins = found.submodule_search_locations if found else None
    folders = [root / room for room in _COMPILED_ROOMS] + [Path(p) for p in plugins or ()]
    return sorted(f for folder in folders for f in folder.rglob("*.py"))


@cache
def content_key(declarations: str = "", *plugins: Path) -> str:
    """Name of a cache generation: sources, declarations, interpreter, compiler and processor; plug-in files too."""
    h = hashlib.sha256(declarations.encode())
    for path in (*_compiled_sources(), *plugins):
        h.update(path.name.encode())
        h.update(path.read_bytes())
    for word in (
        sys.version,
        metadata.version("numba"),
        metadata.version("llvmlite"),
        metadata.version("numpy"),
        platform.machine(),
        str(CHECKED),
        str(EVENTS),
    ):
        h.update(word.encode())
    return h.hexdigest()[:20]


def base_directory() -> Path:
    chosen = os.environ.get("NETEMU_CACHE_DIR")
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("netemu")


@cache
def cache_directory(generation: str) -> Path | None:
    """Directory for the compiled code of one generation, or None when none can be written."""
    try:
        directory = base_directory() / f"native-{generation}"
        if not directory.exists():
            directory.mkdir(parents=True)
            _drop_old_generations(directory)
        probe = directory / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    return directory


def _drop_old_generations(current: Path) -> None:
    others = [d for d in current.parent.glob("native-*") if d != current]
    others.sort(key=lambda d: d.stat().st_mtime, reverse=True)
    for stale in others[_KEPT_GENERATIONS:]:
        shutil.rmtree(stale, ignore_errors=True)


compile_seconds = 0.0
"""Wall seconds that this process has spent compiling or loading native code."""


class Timed:
    """Adds the time spent inside the outermost block to :data:`compile_seconds`."""

    depth = 0

    def __enter__(self) -> None:
        Timed.depth += 1
        self._start = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        global compile_seconds
        Timed.depth -= 1
        if Timed.depth == 0:
            compile_seconds += time.perf_counter() - self._start


def dispatcher(function: Callable[..., Any], *, cached: bool, generation: str, **options: Any) -> Any:
    """A numba dispatcher for ``function`` with, if ``cached``, a disk cache of its generation."""
    import numba
    from numba.core import config

    made = numba.njit(nogil=True, error_model="numpy", **options)(function)
    if cached:
        directory = cache_directory(generation)
        if directory is not None:
            before = config.CACHE_DIR
            config.CACHE_DIR = str(directory)
            try:
                made.enable_caching()
            except (RuntimeError, OSError):
                pass  # no usable directory: compile in memory
            finally:
                config.CACHE_DIR = before
    return made


def load_cached(made: Any, signature: tuple[Any, ...]) -> bool:
    """Take ``signature`` of a dispatcher from the disk cache if it is there."""
    try:
        found = made._cache.load_overload(signature, made.targetctx)
    except Exception:  # a damaged cache entry means: compile again
        found = None
    if found is None:
        return False
    made.targetctx.insert_user_function(found.entry_point, found.fndesc, [found.library])
    made.add_overload(found)
    return True


def native(signature: str) -> Callable[[F], F]:
    """Compile a free-standing function over arrays and integers (no machine state) on its first call.

    ``signature`` is numba's text form, such as ``"int64(uint8[::1], int64)"``.  The function may call other
    ``native`` functions.  With ``NETEMU_JIT=0`` it stays plain Python.
    """

    def decorate(function: F) -> F:
        if not JIT:
            return function
        return _NativeFunction(function, signature)  # type: ignore[return-value]

    return decorate


NATIVE: list[_NativeFunction] = []
"""Every declared native function."""


class _NativeFunction:
    """A function that is compiled, or loaded from the cache, when it is first needed."""

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self.function = function
        self.signature = signature
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._made: Any = None
        NATIVE.append(self)

    def made(self) -> Any:
        """The dispatcher, compiled for its one signature."""
        if self._made is None:
            with Timed():
                self._made = self._build()
        return self._made

    def _build(self) -> Any:
        from types import FunctionType

        from numba.core import sigutils

        scope = dict(self.function.__globals__)
        python = FunctionType(self.function.__code__, scope, self.function.__name__)
        python.__module__ = self.function.__module__
        python.__qualname__ = self.function.__qualname__
        made = dispatcher(python, cached=True, generation=content_key())
        arguments, result = sigutils.normalize_signature(self.signature)
        if not load_cached(made, arguments):
            for name in self.function.__code__.co_names:
                if isinstance(scope.get(name), _NativeFunction):
                    scope[name] = scope[name].made()
            made.compile(arguments if result is None else result(*arguments))
        made.disable_compile()
        return made

    def __call__(self, *arguments: Any) -> Any:
        return self.made()(*arguments)
