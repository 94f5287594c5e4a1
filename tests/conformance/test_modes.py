"""The engine compiled and the engine interpreted are one engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WALK = Path(__file__).parent / "random_walk.py"


def states(seed: int, operations: int, **environment: str) -> str:
    """What a random walk prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, WALK, str(seed), str(operations)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_passes_the_same_states_compiled_and_interpreted(seed: int) -> None:
    compiled = states(seed, 1500, NETEMU_JIT="1")
    assert compiled == states(seed, 1500, NETEMU_JIT="0")
    assert compiled.count("\n") > 2 * 1500


def test_walks_differ_from_seed_to_seed() -> None:
    assert states(1, 200, NETEMU_JIT="0") != states(2, 200, NETEMU_JIT="0")
