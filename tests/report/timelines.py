"""A replay with a timeline: pages are freed one by one on two CPUs, which meet at zone->lock."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.replay.runs import IMIX, run


@cache
def watched() -> dict[str, Any]:
    """Its result.  Not to be changed."""
    return run(IMIX, era="v4.19", cpus=2, recycle=0.0, timeline=True)
