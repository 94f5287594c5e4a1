"""Compiled and interpreted, the same operations leave the same state, to the last bit of every table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def digests(era: str, seed: int, jit: str) -> dict[str, str]:
    """Digests of all tables after the operations, run in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.operations", era, str(seed)],
        cwd=ROOT,
        env={**os.environ, "NETEMU_JIT": jit},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("era", ["v4.19", "v5.4", "v5.15", "v6.12"])
def test_compiled_and_interpreted_code_leave_the_same_tables(era: str) -> None:
    compiled, interpreted = digests(era, 7, "1"), digests(era, 7, "0")
    assert compiled == interpreted
    assert {"pages", "zone", "pcp", "pool", "skb", "path_cost", "cpu"} <= compiled.keys()


def test_another_seed_leaves_other_tables() -> None:
    first, second = digests("v6.1", 1, "0"), digests("v6.1", 2, "0")
    assert {name for name in first if first[name] != second[name]} >= {"pages", "pool_ring", "skb", "path_cost"}
