"""Are deliberate mistakes found?  ``python -m tests.mutants [FAMILY...]`` makes each mistake in a copy and looks.

A mistake counts as found when the compact vectors of its family, replayed interpreted, diverge (or the replay fails).
The exit status is 1 if one is not found.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.trial import FAMILIES, Copy, Mutant, load_mutants


def main() -> int:
    """Try every mutant of the families asked for; print what found it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"one of {', '.join(FAMILIES)}; all if none")
    parser.add_argument("--jobs", type=int, default=2, help="mistakes tried at once")
    options = parser.parse_args()
    if unknown := set(options.families) - set(FAMILIES):
        parser.error(f"there are no mutants of {', '.join(unknown)}")
    survivors = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        idle: SimpleQueue[Copy] = SimpleQueue()
        for number in range(options.jobs):
            idle.put(Copy(Path(folder) / str(number)))
        for family in options.families or FAMILIES:
            mutants = load_mutants(family)

            def try_out(mutant: Mutant, family: str = family) -> str | None:
                copy = idle.get()
                try:
                    return copy.finding(family, mutant)
                finally:
                    idle.put(copy)

            if (wrong := idle_copy_finding(idle, family)) is not None:
                print(f"{family}: the vectors differ even without a mistake: {wrong}", file=sys.stderr)
                return 1
            with ThreadPoolExecutor(options.jobs) as pool:
                for mutant, finding in zip(mutants, pool.map(try_out, mutants), strict=True):
                    survivors += finding is None
                    print(
                        f"{'SURVIVED' if finding is None else 'found'}: {mutant}\n    {finding or mutant.new}",
                        flush=True,
                    )
            print(f"{family}: mutants={len(mutants)}", flush=True)
    print(f"survivors={survivors} seconds={time.monotonic() - start:.0f}")
    return 1 if survivors else 0


def idle_copy_finding(idle: "SimpleQueue[Copy]", family: str) -> str | None:
    """What an unchanged copy diverges in: nothing, or no finding means anything."""
    copy = idle.get()
    finding = copy.finding(family, None)
    idle.put(copy)
    return finding


sys.exit(main())
