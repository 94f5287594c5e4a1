"""Replaying vector files: every operation is performed, every field that has an answer is compared.

A line prints what changed since the last line about the same thing.  So a field that the line does not print must
be as it was then; that is compared too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from netemu.testing.skb_player import SkbPlayer
from netemu.testing.vectors import Script, VectorError, scripts
from netemu.testing.world import POOL_FIELDS, WordsError, World

Mismatch = tuple[str, Any, Any]
"""Field, expected, got."""


@dataclass(frozen=True)
class Divergence:
    """One field of one line that netemu answers differently."""

    file: str
    script: str
    line: int
    op: str
    field: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: script {self.script}, {self.op!r}: "
            f"{self.field}: expected {self.expected}, got {self.got}"
        )


@dataclass
class Tally:
    """What was replayed so far."""

    scripts: int = 0
    ops: int = 0
    divergences: int = 0


class Player(Protocol):
    """One fresh world and what was printed about it."""

    def play(self, line: dict[str, Any]) -> Iterable[Mismatch]:
        """Perform the operation of a line and compare the line.  Raises WordsError."""


class PagePoolPlayer:
    """Plays a script of the page_pool family."""

    def __init__(self) -> None:
        self.world = World()
        self._pools: dict[int, tuple[Any, ...]] = {}
        self._pages: dict[int, list[int]] = {}
        self._dma = [0, 0, 0, 0]
        self._callbacks = [0, 0, 0]

    def play(self, line: dict[str, Any]) -> list[Mismatch]:
        world = self.world
        done = world.perform(line["op"])
        wrong: list[Mismatch] = []

        def compare(field: str, expected: Any, got: Any) -> None:
            if expected != got:
                wrong.append((field, expected, got))

        if done.answers or "ret" in line:
            compare("ret", line.get("ret"), done.ret)
        if done.offset is not None or "off" in line:
            compare("off", line.get("off"), done.offset)
        if done.page >= 0:
            page = world.page_state(done.page)
            compare("page", line.get("page", self._pages.get(page[0])), page)
            self._pages[page[0]] = page
        elif "page" in line:
            compare("page", line["page"], None)
        if done.pool >= 0:
            self._compare_pool(line, done.pool, wrong)
        elif "pool" in line:
            compare("pool", line["pool"], None)
        counters = world.dma_counters()
        compare("dma", line.get("dma", self._dma), counters)
        self._dma = counters
        callbacks = world.callback_counters()
        compare("cb", line.get("cb", self._callbacks), callbacks)
        self._callbacks = callbacks
        compare("got", line.get("got", []), world.handed_out())
        compare("freed", line.get("freed", []), world.given_back())
        compare("warn", line.get("warn", []), world.warnings())
        compare("ev", line.get("ev", []), world.pool_events())
        world.check()
        return wrong

    def _compare_pool(self, line: dict[str, Any], slot: int, wrong: list[Mismatch]) -> None:
        if line.get("pool") != slot:
            wrong.append(("pool", line.get("pool"), slot))
        state = self.world.pool_state(slot)
        before = self._pools.get(slot, state)
        self._pools[slot] = state
        for field, was, now in zip(POOL_FIELDS, before, state, strict=True):
            expected = line.get(field, was)
            if expected != now:
                wrong.append((field, expected, now))
        if "ring_pages" in line:
            contents = self.world.pool_contents(slot)
            wrong += [(field, line.get(field), now) for field, now in contents.items() if line.get(field) != now]


FAMILIES: dict[str, Callable[[], Player]] = {"page_pool": PagePoolPlayer, "skb": SkbPlayer}
"""How each family of vectors is played."""


def replay_vectors(family: str, files: Iterable[Path], tally: Tally) -> Iterator[Divergence]:
    """Replay files of a family, counting in ``tally``; yields each divergence as it is met.

    Raises VectorError for a damaged file or a senseless operation, OSError for an unreadable file.
    """
    for file in files:
        for script, entries in scripts(file):
            tally.scripts += 1
            yield from _replay_script(FAMILIES[family](), script, entries, tally)


def _replay_script(
    player: Player, script: Script, entries: Iterable[tuple[int, dict[str, Any]]], tally: Tally
) -> Iterator[Divergence]:
    for number, line in entries:
        tally.ops += 1
        try:
            wrong = player.play(line)
        except WordsError as error:
            raise VectorError(f"{script.file}:{number}: script {script.name}, {line['op']!r}: {error}") from None
        for field, expected, got in wrong:
            tally.divergences += 1
            yield Divergence(script.file, script.name, number, line["op"], field, expected, got)
