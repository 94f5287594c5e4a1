"""Failing each allocation site of a driver in turn over a trace: no error path may leak, or break a rule."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .engine.faults import call_path
from .engine.inject import SITES
from .engine.path import MAX_NODES
from .errors import KernelBug
from .replayer import replay

SUSTAINED = 7
"""Every so many requests fail in the sustained pass over a site."""


@dataclass(frozen=True)
class Place:
    """Where requests come from: a site, the call path, and the first request from there."""

    site: str
    path: tuple[str, ...]
    first: int


@dataclass(frozen=True)
class Trial:
    """One run with faults at a place: ``inject`` as for :func:`netemu.replay`, and what was found."""

    place: Place
    inject: str
    failed: int
    found: tuple[str, ...]


def places(trace: str | os.PathLike[str], *, driver: str, era: str, **options: object) -> list[Place]:
    """Every site and call path that makes requests while the trace is replayed."""
    result = replay(trace, driver=driver, era=era, inject=[f"{site}=count" for site in SITES], **options)  # type: ignore[arg-type]
    machine = result.machine
    assert machine is not None
    first = machine.k.arrays["first_request"].reshape(-1, MAX_NODES)
    found = []
    for number, site in enumerate(SITES):
        for node in np.flatnonzero(first[number]):
            found.append(Place(site, call_path(machine.k, int(node)), int(first[number][node])))
    return sorted(found, key=lambda place: (SITES.index(place.site), place.first))


def trials(
    trace: str | os.PathLike[str],
    *,
    driver: str,
    era: str,
    told: Callable[[int, int], None] | None = None,
    **options: object,
) -> Iterator[Trial]:
    """Replay the trace once for each place with its first request failing, and once for each site with every 7th.

    ``told(done, all)`` is called after each run.
    """
    todo = places(trace, driver=driver, era=era, **options)
    runs = [(place, f"{place.site}={place.first}") for place in todo]
    runs += [(place, f"{site}=every:{SUSTAINED}") for site, place in {place.site: place for place in todo}.items()]
    for done, (place, text) in enumerate(runs, 1):
        yield _one(trace, place, text, driver=driver, era=era, options=options)
        if told is not None:
            told(done, len(runs))


def _one(
    trace: str | os.PathLike[str], place: Place, text: str, *, driver: str, era: str, options: dict[str, object]
) -> Trial:
    try:
        result = replay(trace, driver=driver, era=era, inject=[text], check="quiesce", **options)  # type: ignore[arg-type]
    except KernelBug as bug:
        return Trial(place, text, 0, (str(bug),))
    return Trial(place, text, result["injected"][place.site]["failed"], tuple(result["leaks"]))
