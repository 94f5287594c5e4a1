"""When the packets of a replay arrive."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..net import run as engine_run

LEAST, MOST = 1e-3, 1e12
"""Limits of the number in a rate."""


@dataclass(frozen=True)
class Rate:
    """When packets arrive: recorded times divided by ``speed``, a fixed number per second, or as fast as possible."""

    mode: int
    speed_num: int = 1
    speed_den: int = 1
    gap: int = 0

    @classmethod
    def parse(cls, text: str) -> Rate:
        """``recorded``, ``max``, ``x2.5`` or packets per second.  Raises UsageError."""
        if text == "recorded":
            return cls(engine_run.RATE_RECORDED)
        if text == "max":
            return cls(engine_run.RATE_MAX)
        try:
            value = float(text.removeprefix("x"))
        except ValueError:
            value = 0.0
        if not LEAST <= value <= MOST:
            raise UsageError(
                f"rate is recorded, max, xN or packets per second, the number from {LEAST:g} to {MOST:g}, not {text!r}"
            )
        if text.startswith("x"):
            return cls(engine_run.RATE_RECORDED, speed_num=round(value * 1000), speed_den=1000)
        return cls(engine_run.RATE_FIXED, gap=round(10**12 / value))
