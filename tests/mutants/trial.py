"""One deliberate mistake: made in a copy of the sources, and looked for with the vectors of its family."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
INSTALLED_AS = {"netemu": "netemu", "drivers": "netemu/drivers", "traces": "netemu/traces"}
FAMILIES = sorted(file.stem for file in HERE.glob("*.toml"))
LONGEST_S = 120
"""After this time a mistake has made the engine run for ever."""

REPLAY = """
import sys
from pathlib import Path
import netemu
from netemu.testing.conformance import Tally, replay_vectors
home, family, *files = sys.argv[1:]
assert Path(netemu.__file__).is_relative_to(home), netemu.__file__
for divergence in replay_vectors(family, map(Path, files), Tally()):
    sys.exit(f"line {divergence.line} of {divergence.script}, {divergence.op[:60]}: {divergence.field}")
"""
"""Prints the first divergence and fails."""


@dataclass(frozen=True)
class Mutant:
    """A mistake: in ``function`` of ``file``, the one place that reads ``old`` reads ``new``."""

    file: str
    function: str
    old: str
    new: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}, {self.function}: {self.why}"

    def applied(self, source: str) -> str:
        """The source with the mistake.  Raises ValueError when there is not exactly one place for it."""
        places = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef) and node.name == self.function
        ]
        if len(places) != 1:
            raise ValueError(f"{self.file} has {len(places)} functions {self.function}")
        lines = source.splitlines(keepends=True)
        first, last = places[0].lineno - 1, places[0].end_lineno
        body = "".join(lines[first:last])
        if body.count(self.old) != 1:
            raise ValueError(f"{self.file}, {self.function}: {self.old!r} stands {body.count(self.old)} times")
        return "".join(lines[:first]) + body.replace(self.old, self.new) + "".join(lines[last:])


def load_mutants(family: str) -> list[Mutant]:
    """The mistakes listed for a family."""
    with (HERE / f"{family}.toml").open("rb") as file:
        return [Mutant(**entry) for entry in tomllib.load(file)["mutant"]]


class Copy:
    """A copy of the sources that mistakes can be made in."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for folder, installed in INSTALLED_AS.items():
            shutil.copytree(ROOT / folder, home / installed, ignore=shutil.ignore_patterns("__pycache__", "*.pcap*"))

    def finding(self, family: str, mutant: Mutant | None) -> str | None:
        """What shows the mistake, or None.  Without a mutant the copy is looked at as it is."""
        if mutant is None:
            return self._replay(family)
        file = self.home / mutant.file
        source = file.read_text()
        file.write_text(mutant.applied(source))
        try:
            return self._replay(family)
        finally:
            file.write_text(source)

    def _replay(self, family: str) -> str | None:
        vectors = sorted(
            (HERE.parent / "conformance" / family).glob("*.jsonl.gz"), key=lambda file: file.stat().st_size
        )
        environment = os.environ | {"NETEMU_JIT": "0", "PYTHONPATH": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", REPLAY, self.home, family, *vectors],
                env=environment,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "the replay does not end"
        return done.stderr.strip().splitlines()[-1] if done.returncode else None
