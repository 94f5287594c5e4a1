"""Arming the sites at which requests fail on purpose (:mod:`netemu.engine.inject`), from Python and from words."""

from __future__ import annotations

from dataclasses import dataclass

from .engine.inject import COUNT, FRACTION, NTH, SITES
from .engine.layout import Kernel
from .errors import UsageError

DOWN = "down"
"""The word for a device that goes down in mid-traffic."""


@dataclass(frozen=True)
class Injection:
    """A site of a machine, and what became of the requests there since it was armed."""

    k: Kernel
    site: str

    @property
    def requests(self) -> int:
        """Requests so far."""
        count: int = self.k.inject[SITES.index(self.site)].requests
        return count

    @property
    def failed(self) -> int:
        """Of these, how many were made to fail."""
        count: int = self.k.inject[SITES.index(self.site)].failed
        return count


def arm(
    k: Kernel,
    site: str,
    *,
    nth: int | None = None,
    every: int | None = None,
    fraction: float | None = None,
    seed: int = 1,
    off: bool = False,
) -> Injection:
    """Arm a site, or only count its requests when nothing else is said.  Raises UsageError for what makes no sense."""
    if site not in SITES:
        raise UsageError(f"faults are injected at {', '.join(SITES)}, not {site!r}")
    if fraction is not None and (nth is not None or every is not None):
        raise UsageError("a site fails by count (nth, every) or by fraction, not both")
    if any(n is not None and n < 1 for n in (nth, every)):
        raise UsageError("nth and every count from 1")
    if fraction is not None and not 0.0 <= fraction <= 1.0:
        raise UsageError(f"fraction is 0 to 1, not {fraction}")
    row = k.inject[SITES.index(site)]
    row.requests = row.failed = row.every = 0
    if off:
        row.armed = 0
    elif fraction is not None:
        row.armed = FRACTION
        row.threshold = round(fraction * 2**32)
        row.state = (seed * 2654435761 + 40503 * (SITES.index(site) + 1)) & 0xFFFFFFFF or 1
    elif nth is None and every is None:
        row.armed = COUNT
    else:
        row.armed = NTH
        row.next = nth if nth is not None else every
        row.every = every or 0
    return Injection(k, site)


@dataclass(frozen=True)
class Plan:
    """What a command line asks for: ``SITE=N`` (the N-th request fails), ``SITE=every:N``, ``SITE=P%``, ``down=N``.

    ``SITE=count`` fails nothing, and notes from where requests come.
    """

    site: str
    nth: int | None = None
    every: int | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Raises UsageError, saying what was expected."""
        site, _, when = text.partition("=")
        try:
            if site == DOWN:
                return cls(site, nth=_positive(when))
            if when == "count":
                return cls(site)
            if when.endswith("%"):
                return cls(site, fraction=float(when[:-1]) / 100)
            if when.startswith("every:"):
                return cls(site, every=_positive(when.removeprefix("every:")))
            return cls(site, nth=_positive(when))
        except ValueError:
            raise UsageError(
                f"inject {text!r}: it is SITE=N, SITE=every:N or SITE=P% with a site of {', '.join(SITES)}, or "
                "down=PACKETS"
            ) from None

    def arm(self, k: Kernel, seed: int) -> Injection:
        """Arm the site on a machine."""
        return arm(k, self.site, nth=self.nth, every=self.every, fraction=self.fraction, seed=seed)


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError(word)
    return value
