"""No program may crash or hang the process, whatever its bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WANTED = int(os.environ.get("NETEMU_DAMAGED_PROGRAMS", "60"))
"""Programs to run in both safety modes; a release is tried with 20,000."""
PER_PROCESS = 500
MOST_MEMORY_MB = 700
SECONDS_PER_PROGRAM = 6


@pytest.mark.parametrize("number", range(-(-WANTED // PER_PROCESS)))
def test_damaged_programs_end_like_in_the_interpreter_and_never_the_process(number: int) -> None:
    count = min(PER_PROCESS, WANTED - number * PER_PROCESS)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bpf.damaged", str(number * 10_000), str(count)],
        cwd=ROOT,
        env={**os.environ, "NETEMU_CACHE_DIR": os.devnull},  # nobody needs their code again
        capture_output=True,
        text=True,
        timeout=60 + count * SECONDS_PER_PROGRAM,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    done = json.loads(ran.stdout)
    assert done["run"] == count
    assert done["different"] == []
    assert done["rss_mb"] < MOST_MEMORY_MB
