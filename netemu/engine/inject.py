"""Faults on demand: requests that fail at chosen times, so that error paths run.

Each site counts its requests while it is armed.  It fails the ``nth``, then every ``every``-th after it (0: never
again), or each with a seeded probability.  A site that is not armed costs one load.
"""

from __future__ import annotations

from .kernel import inlined, kernel_function
from .layout import DECLARED, Kernel, table
from .path import MAX_NODES

NTH = 1
FRACTION = 2
COUNT = 3  # fail nothing, note from where requests come (on CPU 0)

table(
    "inject",  # [site]
    [
        ("armed", "i4"),  # 0, or how the site fails
        ("next", "i8"),  # request that fails next
        ("every", "i8"),
        ("threshold", "i8"),  # of 2**32
        ("state", "i8"),  # random generator
        ("requests", "i8"),
        ("failed", "i8"),
    ],
)
table("first_request", "i8")  # [site * MAX_NODES + call path] -> the first request from there, counting from 1

SITES: list[str] = []
"""Names of the sites, by number."""
MAX_SITES = 16


def site(name: str) -> int:
    """Declare a place where requests can be made to fail."""
    SITES.append(name)
    DECLARED.append(f"site {name}")
    return len(SITES) - 1


@kernel_function(traced=False)
def decide(k: Kernel, number: int) -> bool:
    """Count a request at an armed site; True: this one fails."""
    s = k.inject[number]
    s.requests += 1
    if s.armed == FRACTION:
        x = s.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        s.state = x
        fails = x <= s.threshold
    elif s.armed == NTH:
        fails = s.requests == s.next
        if fails:
            s.next = s.requests + s.every if s.every > 0 else 0
    else:
        fails = False
        place = number * MAX_NODES + k.cpu[0].node
        if k.first_request[place] == 0:
            k.first_request[place] = s.requests
    if fails:
        s.failed += 1
    return fails


@inlined
def injected(k: Kernel, number: int) -> bool:
    """Does this request fail on purpose?"""
    return k.inject[number].armed != 0 and decide(k, number)
