"""Signs of switches: for each one, something to look at that comes out differently for each of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netemu import Machine
from tests.mm.memory import set_pcps


@dataclass(frozen=True)
class Setting:
    """A kernel to look at: an era with some switches set by hand."""

    era: str
    switches: Mapping[str, str]

    def machine(self, *, memory_mb: int = 8, skbs: int = 1024, **options: Any) -> Machine:
        """A small machine of this kernel whose per-CPU lists are those of a large zone."""
        machine = Machine(era=self.era, switches=self.switches, memory_mb=memory_mb, skbs=skbs, **options)
        set_pcps(machine, batch=63, high=378)
        return machine


@dataclass(frozen=True)
class Sign:
    """How one switch shows.  ``look`` answers ``expected[value]``, with ``given`` set beside it, in every era."""

    switch: str
    look: Callable[[Setting], Any]
    given: Mapping[str, str]
    expected: Mapping[str, Any]


SIGNS: dict[str, Sign] = {}


def shows(
    switch: str, /, given: Mapping[str, str] | None = None, **expected: Any
) -> Callable[[Callable[[Setting], Any]], Callable[[Setting], Any]]:
    """Register the sign of a switch; ``expected``: what is seen for each of its values.

    ``given``: settings of other switches that it takes to see the difference.
    """

    def register(look: Callable[[Setting], Any]) -> Callable[[Setting], Any]:
        SIGNS[switch] = Sign(switch, look, given or {}, expected)
        return look

    return register
