"""The hooks of the checker have the parameters of the functions that they are around."""

from __future__ import annotations

import inspect

import pytest

import netemu
from netemu.engine.kernel import KernelFunction
from netemu.engine.watch import Watch


def hooks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[KernelFunction, list[str]]]:
    """Every function that a checked machine follows, with the parameters of the hook behind ``body``."""
    seen = []
    plain = Watch.wrap

    def wrap(self: Watch, function: KernelFunction, hook: object) -> None:
        seen.append((function, list(inspect.signature(hook).parameters)[1:]))  # type: ignore[arg-type]
        plain(self, function, hook)  # type: ignore[arg-type]

    monkeypatch.setattr(Watch, "wrap", wrap)
    netemu.Machine(memory_mb=4, skbs=16, check="every")
    return seen


def test_a_hook_takes_what_its_function_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = hooks(monkeypatch)
    assert len(followed) > 60
    for function, parameters in followed:
        wanted = list(inspect.signature(function.function).parameters)
        if parameters[-1] in ("rest", "arguments"):
            assert wanted[: len(parameters) - 1] == parameters[:-1], function
        else:
            assert parameters == wanted, function
