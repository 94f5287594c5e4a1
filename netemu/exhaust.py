"""Failing each allocation site of a driver in turn, while its device is opened and over a trace: no error path may
leak, or break a rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .engine.faults import call_path
from .engine.inject import SITES
from .engine.layout import Kernel
from .engine.path import MAX_NODES
from .errors import KernelBug
from .injection import Plan, arm
from .machine import DEFAULT_MEMORY_MB, Machine
from .net.plugin_loader import load_driver
from .netdevice import ReceiveMemoryError
from .replayer import replay

SUSTAINED = 7
"""Every so many requests fail in the sustained pass over a site."""
OPENING = "open:"
"""In front of what is injected while the device is opened."""


@dataclass(frozen=True)
class Place:
    """Where requests come from: a site, the call path, and the first request from there."""

    site: str
    path: tuple[str, ...]
    first: int


@dataclass(frozen=True)
class Trial:
    """One run with faults at a place: ``inject`` as for :func:`netemu.replay` (behind ``open:``: while the device is
    opened), and what was found.
    """

    place: Place
    inject: str
    failed: int
    found: tuple[str, ...]


def places(trace: str | os.PathLike[str], *, driver: str, era: str, **options: object) -> list[Place]:
    """Every site and call path that makes requests while the trace is replayed."""
    result = replay(trace, driver=driver, era=era, inject=[f"{site}=count" for site in SITES], **options)  # type: ignore[arg-type]
    assert result.machine is not None
    return _requested(result.machine.k)


def _requested(k: Kernel) -> list[Place]:
    """The places of all requests that a machine has counted."""
    first = k.arrays["first_request"].reshape(-1, MAX_NODES)
    found = []
    for number, site in enumerate(SITES):
        for node in np.flatnonzero(first[number]):
            found.append(Place(site, call_path(k, int(node)), int(first[number][node])))
    return sorted(found, key=lambda place: (SITES.index(place.site), place.first))


def trials(
    trace: str | os.PathLike[str],
    *,
    driver: str,
    era: str,
    check: str = "every",
    told: Callable[[int, int], None] | None = None,
    **options: object,
) -> Iterator[Trial]:
    """Open the device, and replay the trace, once for each place there with its first request failing, and once for
    each site with every 7th.

    ``options`` are those of :func:`netemu.replay`.  ``check``: ``"every"`` follows each operation, in plain Python;
    ``"quiesce"`` only looks at what is left in the end.  ``told(done, all)`` is called after each run.
    """
    opening = _runs(places_of_open(driver=driver, era=era, **options))
    runs = _runs(places(trace, driver=driver, era=era, **options))
    for done, (place, text) in enumerate(opening + runs, 1):
        if done <= len(opening):
            yield _opened(place, text, driver=driver, era=era, check=check, options=options)
        else:
            yield _one(trace, place, text, driver=driver, era=era, check=check, options=options)
        if told is not None:
            told(done, len(opening) + len(runs))


def _runs(found: list[Place]) -> list[tuple[Place, str]]:
    """What to inject for each place, and after that for each site."""
    first = [(place, f"{place.site}={place.first}") for place in found]
    return first + [(place, f"{site}=every:{SUSTAINED}") for site, place in {p.site: p for p in found}.items()]


def places_of_open(*, driver: str, era: str, **options: object) -> list[Place]:
    """Every site and call path that makes requests while the device is opened."""
    machine = _machine(era, "off", options)
    for site in SITES:
        arm(machine.k, site)
    _open(machine, driver, options)
    return _requested(machine.k)


def _machine(era: str, check: str, options: Mapping[str, Any]) -> Machine:
    memory = options.get("memory_mb", DEFAULT_MEMORY_MB)
    return Machine(era=era, cpus=options.get("cpus", 1), memory_mb=memory, check=check, collect=True)


def _open(machine: Machine, driver: str, options: Mapping[str, Any]) -> None:
    """Open the device, if there is memory for its receive buffers."""
    plugin = load_driver(driver)
    with suppress(ReceiveMemoryError):
        machine.netdev(plugin, queues=options.get("queues") or min(machine.cpus, plugin.max_queues))


def _opened(place: Place, text: str, *, driver: str, era: str, check: str, options: Mapping[str, Any]) -> Trial:
    machine = _machine(era, check, options)
    armed = Plan.parse(text).arm(machine.k, machine.seed)
    failed, found = 0, []
    try:
        _open(machine, driver, options)
        failed = armed.failed
        machine.inject(place.site, off=True)
        machine.wind_up()
        machine.assert_clean()
    except KernelBug as bug:
        if not bug.reports:
            found.append(str(bug))
    return Trial(place, OPENING + text, failed, (*found, *map(str, machine.reports)))


def _one(
    trace: str | os.PathLike[str],
    place: Place,
    text: str,
    *,
    driver: str,
    era: str,
    check: str,
    options: dict[str, object],
) -> Trial:
    try:
        result = replay(trace, driver=driver, era=era, inject=[text], check=check, **options)  # type: ignore[arg-type]
    except KernelBug as bug:
        return Trial(place, text, 0, (str(bug),))
    return Trial(place, text, result["injected"][place.site]["failed"], tuple(result["leaks"]))
