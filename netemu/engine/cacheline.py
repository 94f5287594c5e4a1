"""Cache lines that move between CPUs: what another CPU wrote last costs a transfer before it can be used.

A record that CPUs share keeps who wrote it last, as CPU + 1 (0: nobody yet).  Reads that are followed by a write,
as of a reference count, are what moves a line; with one CPU every line is at home.
"""

from __future__ import annotations

from .kernel import cost_point, inlined
from .layout import Kernel
from .path import charge

COLD_LINE = cost_point("cold_line")


@inlined
def fetch_line(k: Kernel, cpu: int, owner: int) -> int:
    """Take over a line that CPU ``owner - 1`` wrote last; returns its new owner, to be stored."""
    if owner != cpu + 1 and owner != 0:
        charge(k, cpu, COLD_LINE)
    return cpu + 1
