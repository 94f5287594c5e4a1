"""Eras: kernel releases as named sets of mechanism switches."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..engine.era import SWITCHES
from ..errors import UsageError


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("eras.toml").read_text(encoding="utf-8"))


_NOT_ERAS = {"about", "names"}


def era_names() -> list[str]:
    """Every era, oldest first."""
    return [name for name in _data() if name not in _NOT_ERAS]


def era_summary(era: str) -> str:
    """What an era brought, in a line."""
    summary: str = _data()["about"][era]
    return summary


def era_switches(era: str) -> dict[str, str]:
    """All switches of an era.  Raises UsageError for an unknown name."""
    if era not in era_names():
        raise UsageError(f"unknown era {era!r}; netemu knows {', '.join(era_names())}")
    chosen: dict[str, str] = {}
    for name in era_names():
        chosen |= _data()[name]
        if name == era:
            break
    return chosen


def check_switch(name: str, value: str) -> None:
    """Raise UsageError unless ``name`` is a switch that can take ``value``."""
    if name not in SWITCHES:
        raise UsageError(f"unknown switch {name!r}; netemu has {', '.join(SWITCHES)}")
    if value not in SWITCHES[name].values:
        raise UsageError(f"switch {name} is one of {', '.join(SWITCHES[name].values)}, not {value!r}")


def function_names(era: str) -> dict[str, str]:
    """What functions were called in this era, where that differs from their newest name."""
    eras = era_names()
    renamed: dict[str, str] = {}
    for function, history in _data()["names"].items():
        for last, old in history.items():
            if eras.index(era) <= eras.index(last):
                renamed[function] = old
                break
    return renamed


@cache
def newest_names() -> dict[str, str]:
    """The newest name of each function by every name that it had before."""
    return {old: function for function, history in _data()["names"].items() for old in history.values()}


@dataclass(frozen=True)
class Difference:
    """A switch that two eras set differently: what the first and the second have, and why that matters."""

    switch: str
    first: str
    second: str
    why: str


def differences(first: str, second: str) -> list[Difference]:
    """Every switch that two eras set differently, from memory management to drivers."""
    one, other = era_switches(first), era_switches(second)
    return [
        Difference(name, one[name], other[name], switch.why)
        for name, switch in SWITCHES.items()
        if one[name] != other[name]
    ]
