"""The checker has nothing to say about recorded scripts that the kernel went through without complaint.

Four scripts are mistakes of a driver that the kernel does not notice; their notes say so, and the checker finds them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netemu.testing.skb_world import SkbWorld
from netemu.testing.vectors import scripts
from netemu.testing.world import World

COMPLETE = os.environ.get("NETEMU_VECTORS", "")
FOLDER = Path(COMPLETE or Path(__file__).resolve().parent)
ENOUGH = 1 << 62 if COMPLETE else 1000
"""Operations of each file after which no further script of it is followed here."""
SILENT_MISTAKES = {
    "13_quirks-001": "PP-03",  # the same page returned twice
    "13_quirks-003": "SK-06",  # a pool page dropped with a plain put
    "13_quirks-005": "PP-07",  # a page returned to another pool than its own
    "13_quirks-009": "PP-07",  # pages put that the pool has dropped already
}
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.jsonl*"))


def quiet_scripts(file: Path) -> list[tuple[str, list[str]]]:
    """Scripts without a complaint of the kernel, as name and operations, shortest first."""
    found = []
    for script, entries in scripts(file):
        lines = [line for _, line in entries]
        if not any(line.get("warn") for line in lines):
            found.append((script.name, [line["op"] for line in lines]))
    return sorted(found, key=lambda entry: len(entry[1]))


def rules_broken(file: Path, operations: list[str]) -> list[str]:
    """What the checker says of a script."""
    world = (SkbWorld if file.parent.name == "skb" else World)("every")
    for operation in operations:
        world.perform(operation)
        world.check()
    world.machine.quiesce()
    return [report.id for report in world.machine.reports]


@pytest.mark.parametrize("file", FILES)
def test_no_report_where_the_kernel_does_not_complain(file: str) -> None:
    done = 0
    for name, operations in quiet_scripts(FOLDER / file):
        found = rules_broken(FOLDER / file, operations)
        if name in SILENT_MISTAKES:
            assert SILENT_MISTAKES[name] in found
        else:
            assert found == [], name
        done += len(operations)
        if done >= ENOUGH:
            break
