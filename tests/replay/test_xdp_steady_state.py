"""In the steady state of XDP no page comes from the allocator or goes back: rings and caches are all there is to it."""

from __future__ import annotations

from typing import Any

import pytest

import netemu
from tests.replay.runs import IMIX, JUMBO

LEGACY, STRIDING = {"rq": "legacy", "rx_ring": "256"}, {"rq": "striding", "rx_ring": "256"}
SETUPS: dict[str, dict[str, Any]] = {
    f"{name} {era}": {"era": era, **setup}
    for name, eras, setup in [
        ("mlx5 legacy", ("v4.19", "v5.15", "v6.6"), {"options": LEGACY}),
        ("mlx5 striding", ("v4.19", "v5.15", "v6.6"), {"options": STRIDING}),
        ("mlx5 legacy, several buffers", ("v6.1", "v6.6"), {"options": LEGACY, "mtu": 9000}),
        ("mlx5 striding, several buffers", ("v6.6",), {"options": STRIDING, "mtu": 9000}),
        ("netsec", ("v5.4", "v5.15", "v6.6"), {"driver": "netsec"}),
    ]
    for era in eras
}
WARM, LONG = 4000, 8000
"""The first is more than one pass over either trace: its largest burst has been there, and has filled what it fills."""
every_setup = pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)


def allocator(setup: dict[str, Any], program: str, packets: int) -> tuple[int, int]:
    """Pages that the allocator has given and got back when so many packets are through."""
    trace = JUMBO if setup.get("mtu") == 9000 else IMIX
    result = netemu.replay(trace, xdp=program, packets=packets, memory_mb=64, **setup)
    assert (result["xdp"][program], result["leaks"]) == (packets, [])
    return result["pages"]["allocated"], result["pages"]["freed"]


@every_setup
@pytest.mark.parametrize("program", ["drop", "tx", "redirect"])
def test_what_is_dropped_or_sent_touches_no_page_allocator(setup: dict[str, Any], program: str) -> None:
    """Redirected frames come back to the pool of the queue that received them, whoever sends them."""
    given, returned = allocator(setup, program, WARM)
    assert returned == 0
    assert allocator(setup, program, LONG) == (given, 0)
