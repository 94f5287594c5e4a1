"""Cost profiles: nanoseconds per operation, each with where that is from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...engine.kernel import NAMES, REGISTERED
from ...engine.layout import Kernel
from ...errors import UsageError

DEFAULT = "xeon-e5-1650v4"
LONGEST_NS = 1e9
FASTEST_GHZ = 1000


@dataclass(frozen=True)
class Cost:
    """What one execution costs, in ns.  ``measured``: ``origin`` is a source, else it says how it is derived."""

    ns: float
    measured: bool
    origin: str


@dataclass(frozen=True)
class Platform:
    """Costs of one machine by function or cost point; ``call`` is that of a function without one of its own.

    ``ghz``: the machine's clock, if the profile states it.
    """

    name: str
    description: str
    call: Cost
    costs: dict[str, Cost]
    ghz: float | None = None

    @property
    def measured(self) -> int:
        """Entries with a source."""
        return sum(cost.measured for cost in self.costs.values())

    @property
    def derived(self) -> int:
        """Entries that follow from others, or from another machine."""
        return len(self.costs) - self.measured


def platform_names() -> list[str]:
    """Profiles that come with netemu."""
    return sorted(f.name[:-5] for f in resources.files(__package__).iterdir() if f.name.endswith(".toml"))


def load_platform(name: str) -> Platform:
    """A shipped profile by name, or the file at a path that ends in ``.toml``.  Raises UsageError."""
    if name in platform_names():
        text = resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the platform file {name}: {error}") from None
    else:
        raise UsageError(f"unknown platform {name!r}; netemu has {', '.join(platform_names())}, or give a .toml file")
    try:
        return _parse(name, tomllib.loads(text))
    except ValueError as error:
        raise UsageError(f"platform {name}: not a cost profile: {error}") from None


def _parse(name: str, data: dict[str, Any]) -> Platform:
    """The profile in a file's tables.  Raises ValueError."""
    entries = data.get("cost")
    if not isinstance(entries, dict):
        raise ValueError("it needs a table [cost] with an entry for each operation")
    if "call" not in data:
        raise ValueError("it needs an entry 'call', what a function without an entry of its own costs")
    costs = {point: _cost(point, entry) for point, entry in entries.items()}
    ghz = data.get("ghz")
    if ghz is not None and (isinstance(ghz, bool) or not isinstance(ghz, int | float) or not 0 < ghz < FASTEST_GHZ):
        raise ValueError(f"ghz: {ghz!r} is not a clock: it is a number above 0 and below {FASTEST_GHZ:g}")
    return Platform(name, str(data.get("description", name)), _cost("call", data["call"]), costs, ghz)


def _cost(point: str, entry: object) -> Cost:
    """One entry of a profile.  Raises ValueError."""
    if not isinstance(entry, dict) or "ns" not in entry:
        raise ValueError(f'{point}: write an entry as {{ ns = 1.5, source = "..." }}')
    ns = entry["ns"]
    if isinstance(ns, bool) or not isinstance(ns, int | float) or not 0 <= ns < LONGEST_NS:
        raise ValueError(f"{point}: {ns!r} ns is not a cost: it is a number from 0 up to {LONGEST_NS:g}")
    unknown = sorted(entry.keys() - {"ns", "source", "derived"})
    if unknown:
        raise ValueError(f"{point}: {unknown[0]!r} means nothing here: an entry has ns, and source or derived")
    measured = "source" in entry
    origin = entry.get("source" if measured else "derived")
    if measured and "derived" in entry:
        raise ValueError(f"{point}: an entry has a source or is derived, not both")
    if not isinstance(origin, str) or not origin.strip():
        raise ValueError(f"{point}: an entry needs a source, or says how it is derived")
    return Cost(float(ns), measured, origin)


def apply_platform(k: Kernel, platform: Platform) -> None:
    """Price every function and cost point of the machine; functions without an entry cost one call."""
    functions = {f.number for f in REGISTERED if f.traced}
    cost = k.arrays["cost"]
    for number, name in enumerate(NAMES):
        if name in platform.costs:
            cost[number] = round(platform.costs[name].ns * 1000)
        else:
            cost[number] = round(platform.call.ns * 1000) if number in functions else 0
    cost[0] = 0
