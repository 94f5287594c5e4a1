"""How figures are written in reports: a few digits, a unit, thousands in groups."""

from __future__ import annotations

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_DURATIONS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"))


def count(value: float) -> str:
    """``1234567`` as ``1,234,567``; fractions (forced averages) keep two digits."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}"


def rate(value: float, unit: str) -> str:
    """A rate with an SI prefix: ``2.57 Mpps``."""
    for scale, prefix in _SI:
        if value >= scale:
            return f"{value / scale:.2f} {prefix}{unit}"
    return f"{value:.2f} {unit}"


def duration(nanoseconds: float) -> str:
    """A time span given in ns, in the unit that suits it: ``4.67 ms``."""
    for scale, unit in _DURATIONS:
        if nanoseconds >= scale:
            return f"{nanoseconds / scale:.2f} {unit}"
    return f"{nanoseconds:.0f} ns"


def percent(value: float) -> str:
    """A share already in percent: ``23.1 %``; shares under one keep two digits."""
    return f"{value:.1f} %" if value == 0 or value >= 1 else f"{value:.2f} %"


def ratio(part: float, whole: float) -> float:
    """``part / whole``, and 0 where there is no whole."""
    return part / whole if whole else 0.0
