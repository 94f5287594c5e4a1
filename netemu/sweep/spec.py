"""A sweep as a TOML file describes it: what all replays have in common, and the grid of what differs."""

from __future__ import annotations

import itertools
import os
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError

MOST_POINTS = 1_000_000
_KEYS = ("title", "trace", "fixed", "grid")
_REPEATED = ("set", "driver-option")
"""Options that take NAME=VALUE and may be repeated: tables in the file."""
_FILES = (".py", ".toml")

Value = str | int | float | bool


@dataclass(frozen=True)
class Point:
    """One replay of a sweep: its place in the grid, and the words after ``netemu replay``, the trace first."""

    number: int
    place: Mapping[str, Value]
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return shlex.join(("netemu", "replay", *self.words))


@dataclass(frozen=True)
class Sweep:
    """``axes``: the values of each option that varies, in the order of the file; the last one varies fastest."""

    title: str
    axes: Mapping[str, tuple[Value, ...]]
    fixed: Mapping[str, Value]

    def __len__(self) -> int:
        total = 1
        for values in self.axes.values():
            total *= len(values)
        return total

    def points(self) -> Iterator[Point]:
        """Every combination, numbered from 0."""
        for number, values in enumerate(itertools.product(*self.axes.values())):
            place = dict(zip(self.axes, values, strict=True))
            yield Point(number, place, tuple(_words({**self.fixed, **place})))


def load(path: str | os.PathLike[str]) -> Sweep:
    """The sweep in a file.  Traces and other files that it names are looked for beside it.  Raises UsageError."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"sweep {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"sweep {path}: {error}") from None
    try:
        return _sweep(data, Path(path))
    except ValueError as error:
        raise UsageError(f"sweep {path}: {error}") from None


def _sweep(data: dict[str, Any], path: Path) -> Sweep:
    unknown = sorted(data.keys() - set(_KEYS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} means nothing here: a sweep has {', '.join(_KEYS)}")
    if "trace" not in data:
        raise ValueError("it needs a trace")
    folder = path.parent
    fixed = {name: _value(name, value, folder) for name, value in _flat(data.get("fixed", {}), "fixed").items()}
    axes: dict[str, tuple[Value, ...]] = {}
    traces = data["trace"] if isinstance(data["trace"], list) else [data["trace"]]
    _add_axis(
        axes,
        fixed,
        "trace",
        [os.path.normpath(folder / trace) if isinstance(trace, str) else trace for trace in traces],
    )
    for name, values in _flat(data.get("grid", {}), "grid").items():
        if name in fixed:
            raise ValueError(f"{name} is both fixed and in the grid")
        if not isinstance(values, list):
            raise ValueError(f"grid: {name} is a list of values, not {values!r}")
        _add_axis(axes, fixed, name, [_value(name, value, folder) for value in values])
    sweep = Sweep(str(data.get("title", path.stem)), axes, fixed)
    if len(sweep) > MOST_POINTS:
        raise ValueError(f"a grid of {len(sweep):,} points: at most {MOST_POINTS:,} can be run")
    return sweep


def _add_axis(axes: dict[str, tuple[Value, ...]], fixed: dict[str, Value], name: str, values: list[Value]) -> None:
    if not values:
        raise ValueError(f"{name} has no values")
    if len(set(map(repr, values))) != len(values):
        raise ValueError(f"{name} has a value twice")
    if len(values) == 1:
        fixed[name] = values[0]
    else:
        axes[name] = tuple(values)


def _flat(table: Any, where: str) -> dict[str, Any]:
    """Option names, as on the command line; ``set.NAME`` and ``driver-option.NAME`` for those in tables."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} is a table")
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if isinstance(value, dict):
            if name not in _REPEATED:
                raise ValueError(f"{where}.{key} is no table: those are {' and '.join(_REPEATED)}")
            flat |= {f"{name}.{inner}": given for inner, given in value.items()}
        else:
            flat[name] = value
    return flat


def _value(name: str, value: Any, folder: Path) -> Value:
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"{name}: {value!r} is no text and no number")
    if isinstance(value, str):
        file, colon, rest = value.partition(":")
        if file.endswith(_FILES) and (folder / file).exists():
            return f"{os.path.normpath(folder / file)}{colon}{rest}"
    return value


def _words(options: Mapping[str, Value]) -> Iterator[str]:
    yield str(options["trace"])
    for name, value in options.items():
        option, _, inner = name.partition(".")
        if option == "trace" or value is False:
            continue
        yield f"--{option}"
        if value is not True:
            yield f"{inner}={value}" if inner else str(value)
