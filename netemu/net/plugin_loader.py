"""Finding drivers: by entry point, or in a file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

from ..engine.kernel import REGISTERED
from ..errors import UsageError
from .plugin import Driver

GROUP = "netemu.drivers"
SHIPPED = ("mlx5", "netsec")
"""Drivers that come with netemu: found without a look at what else is installed."""


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
    if not path.is_file():
        raise UsageError(f"driver file {path} does not exist")
    module_name = f"netemu_driver_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"driver file {path} is not Python")
    before = len(REGISTERED)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"driver file {path}: {type(error).__name__}: {error}") from error
    for function in REGISTERED[before:]:
        function.plugin = (path.resolve(),)
    return _checked(getattr(module, "DRIVER", None), str(path))


def _checked(found: object, name: str) -> Driver:
    if not isinstance(found, Driver):
        raise UsageError(f"driver {name}: DRIVER is not an instance of netemu.Driver")
    return found
