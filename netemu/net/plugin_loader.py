"""Finding drivers: by entry point, or in a file.  What is found is checked before anything runs."""

from __future__ import annotations

import dis
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import CodeType, ModuleType

from ..engine.kernel import REGISTERED, KernelFunction, adopt_plugin
from ..errors import NetemuError, UsageError
from .device_layout import OP_HW_RECEIVE, OP_RX_POLL_ONE, OP_RX_REFILL, OP_TX_POLL_ONE, OP_XDP_XMIT, OP_XMIT
from .plugin import Driver
from .user_file import line_in, reason_of, run_user_file

GROUP = "netemu.drivers"
SHIPPED = ("mlx5", "netsec")
"""Drivers that come with netemu: found without a look at what else is installed."""

OPERATIONS = {
    OP_HW_RECEIVE: "hw_receive",
    OP_RX_POLL_ONE: "rx_poll_one",
    OP_RX_REFILL: "rx_refill",
    OP_XMIT: "xmit",
    OP_TX_POLL_ONE: "tx_poll_one",
}
"""Kernel functions that a driver supplies, each ``(k, cpu, queue, argument) -> int``."""
OPTIONAL = {OP_XDP_XMIT: "xdp_xmit"}
"""Those that a driver may leave out."""
DESCRIPTION = {
    "name": str,
    "link_gbps": float,
    "max_mtu": int,
    "max_queues": int,
    "tx_cq_budget": int,
    "poll": int,
    "poll_tx": int,
    "poll_rx": int,
    "refill": int,
}
"""Class attributes that a driver has to define."""


class _File:
    """A file that was loaded: its text, the module that it became, and its driver (None: it has none to be used)."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.module: ModuleType | None = None
        self.driver: Driver | None = None


_files: dict[Path, _File] = {}
"""Every file loaded so far, in order."""


def driver_names() -> list[str]:
    """Drivers that are installed."""
    return sorted({*SHIPPED, *(point.name for point in metadata.entry_points(group=GROUP))})


def load_driver(name: str) -> Driver:
    """The driver called ``name``, or the one in the file ``name`` (which ends in ``.py``).  Raises UsageError."""
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name in SHIPPED:
        return _checked(importlib.import_module(f"netemu.drivers.{name}").DRIVER, name)
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            return _checked(point.load(), name)
    raise UsageError(f"unknown driver {name!r}; installed are {', '.join(driver_names())}, or give a .py file")


def _from_file(path: Path) -> Driver:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"driver file {path}: {error.strerror}") from None
    resolved = path.resolve()
    file = _files.setdefault(resolved, _File(text))
    if file.text != text:
        # the numbers that compiled code knows functions by are given once per process
        raise UsageError(f"driver file {path} has changed since this process loaded it: start a new process")
    if file.driver is None or file.module is None:
        file.module = _executed(path, resolved)
        file.driver = _checked(getattr(file.module, "DRIVER", None), f"file {path}")
    sys.modules[file.module.__name__] = file.module  # a pytest inside pytest forgets what was imported during it
    return file.driver


def _executed(path: Path, resolved: Path) -> ModuleType:
    declared = len(REGISTERED)
    try:
        return run_user_file(resolved, "driver", shown=path)
    finally:
        adopt_plugin(declared, tuple(_files))


@contextmanager
def blaming(driver: Driver, doing: str) -> Iterator[None]:
    """What goes wrong inside is the driver's fault: a UsageError in one line, with the place in its file and why."""
    try:
        yield
    except NetemuError:
        raise
    except Exception as error:
        file = Path(getattr(sys.modules.get(type(driver).__module__), "__file__", None) or driver.name)
        raise UsageError(
            f"driver {driver.name}: {doing}: {file.name}{line_in(error, file)}: {reason_of(error)}"
        ) from error


def _checked(found: object, name: str) -> Driver:
    if not isinstance(found, Driver):
        raise UsageError(f"driver {name}: DRIVER is not an instance of netemu.Driver")
    for attribute, kind in DESCRIPTION.items():
        value = getattr(found, attribute, None)
        if not isinstance(value, (int, float) if kind is float else kind):
            raise UsageError(f"driver {name}: {attribute} has to be set to {_article(kind)}")
    left_out = {name for name in OPTIONAL.values() if getattr(found, name) is None}
    for operation in {*OPERATIONS.values(), *OPTIONAL.values()} - left_out:
        problem = _problem_of(getattr(found, operation, None))
        if problem:
            raise UsageError(f"driver {name}: {operation} {problem}")
    return found


def _article(kind: type) -> str:
    return {str: "a text", float: "a number", int: "a whole number"}[kind]


def _problem_of(operation: object) -> str:
    """What is wrong with an operation, as the rest of a sentence; empty if nothing is."""
    if not isinstance(operation, KernelFunction):
        return "is missing: it has to be a kernel function"
    code: CodeType = operation.function.__code__
    parameters = code.co_varnames[: code.co_argcount]
    if len(parameters) != 4 or parameters[:2] != ("k", "cpu"):
        return f"takes ({', '.join(parameters)}): it has to take (k, cpu, queue, argument)"
    if not operation.entry:
        return "cannot be called by netemu: declare it with @kernel_function(entry=True)"
    if may_return_nothing(code):
        return "can end without a result: it has to return an integer on every way out"
    return ""


def may_return_nothing(code: CodeType) -> bool:
    """Does some way out of the function give None?"""
    before = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_CONST" and instruction.argval is None:
            return True
        if instruction.opname == "RETURN_VALUE" and before is not None:
            if before.opname == "LOAD_CONST" and before.argval is None:
                return True
        before = instruction
    return False
