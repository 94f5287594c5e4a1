"""A stand-in for the engine: ``netemu.replay`` and ``netemu.warm`` without anything behind them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import netemu
import netemu.engine
from tests.report.sample_result import locked_frees


@dataclass
class Result:
    """What the stand-in's replay returns: the sample result."""

    interrupted: bool = False
    error: str | None = None
    leaks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return locked_frees() | {"leaks": list(self.leaks)}


@dataclass
class Engine:
    """Records how ``replay`` was called, and answers with ``result`` or raises ``failure``."""

    result: Result = field(default_factory=Result)
    failure: BaseException | None = None
    called_with: dict[str, Any] = field(default_factory=dict)

    def replay(self, trace: str, **options: Any) -> Result:
        self.called_with = {"trace": trace, **options}
        if self.failure is not None:
            raise self.failure
        return self.result

    def replay_until_stopped(self, trace: str, **options: Any) -> Result:
        """A replay that only its ``progress`` can end; says on standard error when it is under way."""
        print("under way", file=sys.stderr, flush=True)
        while not options["progress"](1, 2, 3):
            time.sleep(0.01)
        return Result(interrupted=True)


class Warm(ModuleType):
    """``netemu.warm`` of an engine that compiles in no time."""

    def __init__(self, *, warm: bool) -> None:
        super().__init__("netemu.warm")
        self.warm = warm
        self.everything = False
        self.reports_progress: bool | None = None
        self.kept_in: Path | None = None

    def directory(self) -> Path | None:
        return self.kept_in

    def is_warm(self, *, everything: bool = False) -> bool:
        return self.warm and everything in (False, self.everything)

    def warm_up(self, progress: Any, *, everything: bool = False) -> float:
        self.everything = everything
        self.reports_progress = progress is not None
        if progress is not None:
            progress(1, 2)
        self.warm = True
        return 12.34


def install(engine: Engine, warm: Warm) -> None:
    """Put the stand-ins in place for the rest of this process."""
    vars(netemu)["replay"] = engine.replay
    vars(netemu)["warm"] = warm
    sys.modules["netemu.warm"] = warm


if __name__ == "__main__":  # a netemu command in a process of its own, whose replay only a signal ends
    from netemu.cli import main

    endless = Engine()
    install(endless, Warm(warm=True))
    vars(netemu)["replay"] = endless.replay_until_stopped
    main()
