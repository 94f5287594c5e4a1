"""What an exhibit is, and how it is shown: the same operations twice, with the broken behaviour and without.

A scenario is a function of a :class:`Bench`.  The broken behaviour stands behind a name: a switch of the era (the
kernel had the bug), or a mistake of the driver that the scenario plays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..checks.reports import Report
from ..errors import KernelBug, UsageError
from ..handles import Page, PagePool
from ..machine import Machine
from ..mm.layout import PAGE_SIZE
from ..packets import SkBuff


class Bench:
    """Where a scenario works.  ``broken``: play it as it was; :meth:`machine` gives it its (checked) machines."""

    def __init__(self, era: str, switches: dict[str, str], broken: bool) -> None:
        self.broken = broken
        self.machines: list[Machine] = []
        self._era = era
        self._switches = switches

    def machine(self, **options: Any) -> Machine:
        """A machine of the exhibit's era, with two CPUs unless told otherwise."""
        given = {"cpus": 2, "memory_mb": 16, "skbs": 1 << 12, **options}
        made = Machine(era=self._era, switches=self._switches, check="every", collect=True, **given)
        self.machines.append(made)
        return made

    def reports(self) -> list[Report]:
        """Everything that was found, after a last look at machines at rest."""
        found: list[Report] = []
        for machine in self.machines:
            with suppress(KernelBug):  # the same reports again, as one text
                machine.assert_clean()
            found += machine.reports
        return found


def give_back(pool: PagePool, *frames: SkBuff | Page | None) -> None:
    """A driver returns completed frames, which are pages, to their pool."""
    for frame in frames:
        assert isinstance(frame, Page)
        pool.put_page(frame)


def packet_on(page: Page | None, *, truesize: int = PAGE_SIZE) -> SkBuff:
    """A packet with one fragment of 1000 bytes, accounted with ``truesize``, on this page."""
    assert page is not None
    return page.machine.alloc_skb(128).add_rx_frag(page, size=1000, truesize=truesize)


Scenario = Callable[[Bench], None]


@dataclass(frozen=True)
class Exhibit:
    """One historic bug.

    ``rule``: the one that the broken form must break; ``behaviour``: the name of what is broken, with its ``broken``
    and ``fixed`` value; ``tolerated``: words of kernel messages that are part of the fix.
    """

    id: str
    title: str
    commit: str
    era: str
    rule: str
    behaviour: str
    broken: str
    fixed: str
    scenario: Scenario
    tolerated: str = ""

    @property
    def story(self) -> str:
        """What went wrong, and the operations that show it."""
        return inspect.cleandoc(self.scenario.__doc__ or "")

    @property
    def operations(self) -> str:
        """The scenario's source, without its description."""
        lines = inspect.getsource(self.scenario).splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("def "))
        end = next(n for n, line in enumerate(lines[start + 1 :], start + 1) if line.rstrip().endswith('"""'))
        return inspect.cleandoc("\n".join(lines[end + 1 :]))


@dataclass
class Showing:
    """What came of both forms."""

    exhibit: Exhibit
    broken: list[Report] = field(default_factory=list)
    fixed: list[Report] = field(default_factory=list)

    @property
    def detected(self) -> bool:
        """Did the broken form break the expected rule?"""
        return any(report.id == self.exhibit.rule for report in self.broken)

    @property
    def clean_after_fix(self) -> bool:
        """Did the fixed form break none?"""
        return not self.fixed

    def main_report(self) -> Report | None:
        """The report about the expected rule."""
        return next((report for report in self.broken if report.id == self.exhibit.rule), None)


EXHIBITS: dict[str, Exhibit] = {}
"""Every exhibit by its identifier, in order."""


def exhibit(
    id: str,
    title: str,
    *,
    commit: str,
    era: str,
    rule: str,
    switch: str = "",
    mistake: str = "",
    broken: str = "yes",
    fixed: str = "no",
    tolerated: str = "",
) -> Callable[[Scenario], Scenario]:
    """Declare the scenario of a bug: of the kernel (``switch`` of the era, its two values) or of a driver
    (``mistake``).
    """

    def declare(scenario: Scenario) -> Scenario:
        EXHIBITS[id] = Exhibit(id, title, commit, era, rule, switch or mistake, broken, fixed, scenario, tolerated)
        return scenario

    return declare


def _play(piece: Exhibit, broken: bool) -> list[Report]:
    from ..engine.era import SWITCHES

    value = piece.broken if broken else piece.fixed
    switches = {piece.behaviour: value} if piece.behaviour in SWITCHES else {}
    bench = Bench(piece.era, switches, broken)
    piece.scenario(bench)
    found = bench.reports()
    if piece.tolerated:
        found = [report for report in found if broken or piece.tolerated not in report.what]
    return found


def show(piece: Exhibit) -> Showing:
    """Play an exhibit in both forms."""
    return Showing(piece, _play(piece, True), _play(piece, False))


def chosen(ids: Sequence[str]) -> list[Exhibit]:
    """The exhibits of these identifiers, all when there are none.  Raises UsageError for one that does not exist."""
    for id in ids:
        if id not in EXHIBITS:
            raise UsageError(f"the museum has no exhibit {id!r}; `netemu museum --list` shows what it has")
    return [EXHIBITS[id] for id in ids] if ids else list(EXHIBITS.values())


from . import buddy, drivers, mlx5, pools, skbs, xdp  # noqa: E402, F401  each declares its exhibits
