"""Some tests here run pytest inside pytest."""

from __future__ import annotations

import pytest

import netemu
from netemu.engine import jit
from netemu.testing.strategies import udp_frame


@pytest.fixture(autouse=True, scope="session")
def all_that_runs_is_imported() -> None:
    """Pytester forgets every module that a run inside it is the first to import, and a second numba does not know the
    types of the first.
    """
    if jit.JIT:
        import numba

        numba.njit(lambda x: x + 1)(1)
    for driver in ("mlx5", "netsec"):
        netemu.replay([udp_frame(0, 0, 60)], driver=driver, memory_mb=16)
