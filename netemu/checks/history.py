"""What happened to an object, for the reports: each step with its call path, CPU, context, packet and virtual time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any

from ..engine.faults import call_path
from ..engine.layout import Kernel

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
LONGEST = 40
"""Steps that are kept of one object's life."""


@dataclass(frozen=True, slots=True)
class Event:
    """One step.  ``clock`` in ps; ``site``: the line of the script or test that led to it, if there is one."""

    serial: int
    what: str
    cpu: int
    context: str
    clock: int
    path: tuple[str, ...]
    packet: int
    site: str

    @property
    def where(self) -> str:
        """CPU, context, virtual time and packet."""
        packet = f", packet {self.packet}" if self.packet >= 0 else ""
        return f"CPU {self.cpu}, {self.context}, {self.clock / 1000:.0f} ns{packet}"

    def lines(self) -> list[str]:
        """The step in words, the way there below."""
        found = [f"{self.what}  ({self.where})"]
        way = " -> ".join(self.path)
        if way or self.site:
            found.append("    " + (f"{way}  " if way else "") + (f"at {self.site}" if self.site else ""))
        return [line.rstrip() for line in found]


class Recorder:
    """Makes events of what a machine does now."""

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.packet = -1
        self._count = 0
        self._paths: dict[int, tuple[str, ...]] = {0: ()}

    def now(self, what: str) -> Event:
        """``what`` happens on the CPU that runs."""
        self._count += 1
        watch = self.k.watch
        cpu = 0 if watch is None else watch.cpu
        c = self.k.cpu[cpu]
        path = self.path(cpu)
        if not path and watch is not None and watch.depth:
            path = (watch.now.entry,)
        return Event(self._count, what, cpu, context_of(c), c.clock, path, self.packet, calling_line())

    def path(self, cpu: int) -> tuple[str, ...]:
        """The call path that ``cpu`` is in, root first."""
        node = self.k.cpu[cpu].node
        known = self._paths.get(node)
        if known is None:
            known = self._paths[node] = call_path(self.k, node)
        return known


def context_of(c: Any) -> str:
    """In words: what runs on a CPU."""
    if c.hardirq:
        return "hardirq"
    if c.serving_softirq:
        return "softirq"
    return "bottom halves off" if c.bh_disabled else "process"


@cache
def _shown(filename: str) -> str | None:
    """How a file is named in reports; None for those of netemu and of libraries."""
    if filename.startswith((_PACKAGE, _LIBRARY, "<")) or "site-packages" in filename:
        return None
    here = os.getcwd() + os.sep
    return filename.removeprefix(here)


def calling_line() -> str:
    """``file:line`` of the innermost caller outside netemu and the libraries; empty when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _shown(frame.f_code.co_filename)
        if name is not None:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
