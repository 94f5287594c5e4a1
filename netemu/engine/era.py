"""Switches: what kernel code does differently from release to release, as plain integers in machine state.

A subsystem declares each switch next to the code that tests it; ``k.era[0].<switch>`` holds its value.  Which
release has which values is data (:mod:`netemu.profiles.eras`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import TABLES, Kernel, table


@dataclass(frozen=True)
class Switch:
    """One mechanism that changed between releases.

    ``values`` are its settings by name, in order of their integer code; ``why`` says what the choice means for
    a reader of the report.
    """

    name: str
    values: tuple[str, ...]
    why: str


SWITCHES: dict[str, Switch] = {}


def switch(name: str, values: str, why: str) -> None:
    """Declare a switch; ``values`` are the words it can take, blank-separated; the first is the oldest behaviour."""
    SWITCHES[name] = Switch(name, tuple(values.split()), why)


def declare_era_table() -> None:
    """Lay out ``k.era`` once every subsystem has declared its switches."""
    if "era" not in TABLES:
        table("era", [(name, "i4") for name in sorted(SWITCHES)])


def set_switch(k: Kernel, name: str, value: str) -> None:
    """Set one switch by the names of :data:`SWITCHES`."""
    setattr(k.era[0], name, SWITCHES[name].values.index(value))
