"""Cost profiles: nanoseconds per operation, each with its source."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...engine.kernel import NAMES
from ...engine.layout import Kernel
from ...errors import UsageError

DEFAULT = "xeon-e5-1650v4"


@dataclass(frozen=True)
class Platform:
    """Costs of one machine: ``costs`` maps a function or cost point to ns, ``origins`` to where that is from."""

    name: str
    description: str
    call: float
    costs: dict[str, float]
    origins: dict[str, str]


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
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"platform {name}: not a cost profile: {error}") from None


def _parse(name: str, data: dict[str, Any]) -> Platform:
    costs, origins = {}, {}
    for point, entry in data["cost"].items():
        ns = float(entry["ns"])
        if not 0 <= ns < 1e9:
            raise ValueError(f"{point}: {ns} ns is not a cost")
        origin = entry.get("source") or entry.get("derived")
        if not origin:
            raise ValueError(f"{point}: an entry needs a source, or says how it is derived")
        costs[point] = ns
        origins[point] = str(origin) if "source" in entry else f"derived: {origin}"
    return Platform(name, str(data.get("description", name)), float(data["call"]["ns"]), costs, origins)


def apply_platform(k: Kernel, platform: Platform) -> None:
    """Price every function and cost point of the machine; functions without an entry cost one call."""
    from ...engine.kernel import REGISTERED

    functions = {f.number for f in REGISTERED if f.traced}
    cost = k.arrays["cost"]
    for number, name in enumerate(NAMES):
        if name in platform.costs:
            cost[number] = round(platform.costs[name] * 1000)
        else:
            cost[number] = round(platform.call * 1000) if number in functions else 0
    cost[0] = 0
