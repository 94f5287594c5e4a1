"""Experiment files: TOML read into experiments.  Every mistake is one sentence that says what would be right."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from netemu.errors import NetemuError
from netemu.experiments.keys import KINDS, keys_of
from netemu.experiments.metrics import Figure, Metric, WrongMetric, read_metric
from netemu.experiments.values import Key, number, one_of, published, text

SHIPPED = ".toml"
MOST_POINTS = 10_000
COMPARISONS = ("percent", "ratio", "difference")
TABLES = ("switches", "driver_options")
"""Keys that are tables: a comparison or a sweep changes single entries of them."""

_ABOUT = (
    "name",
    "kind",
    "metric",
    "metrics",
    "base",
    "test",
    "compare",
    "sweep",
    "published",
    "source",
    "tolerance",
    "within",
)
_TOP = ("about", "defaults", "experiment", "reproduce")
_REPRODUCE = ("id", "what", "source")


class ExperimentError(NetemuError):
    """An experiment that cannot be run, or has no such figure: says which file, which experiment, and why.

    ``reason``: why, alone.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


@dataclass(frozen=True)
class Experiment:
    """One experiment as its file says it."""

    file: str
    folder: Path
    name: str
    kind: str
    chosen: dict[str, Any]
    metrics: tuple[Metric, ...]
    base: dict[str, Any] | None = None
    test: dict[str, Any] | None = None
    compare: str = "percent"
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    tolerance: float | None = None
    within: float | None = None

    @property
    def compares(self) -> bool:
        """Is the value that of two runs?"""
        return self.base is not None

    def points(self) -> Iterator[dict[str, Any]]:
        """Every combination of swept values; one empty one without a sweep."""
        for values in itertools.product(*self.sweep.values()):
            yield dict(zip(self.sweep, values, strict=True))

    @property
    def sides(self) -> list[dict[str, Any]]:
        """What is different in each run of a point: one run, or the base and the test of a comparison."""
        return [self.base or {}, self.test or {}] if self.compares else [{}]

    def settings(self, *changes: Mapping[str, Any]) -> dict[str, Any]:
        """Every key of the kind: defaults, what the experiment chooses, then ``changes`` in turn."""
        made = {name: key.default for name, key in keys_of(self.kind).items()}
        for change in (self.chosen, *changes):
            for name, value in change.items():
                table, dot, entry = name.partition(".")
                if dot:
                    made[table] = made[table] | {entry: value}
                elif name in TABLES:
                    made[name] = made[name] | value
                else:
                    made[name] = value
        return made

    def error(self, reason: object) -> ExperimentError:
        """The reason why this experiment has no result, as an error."""
        return ExperimentError(f"{self.file}: experiment {self.name!r}: {reason}", str(reason))


@dataclass(frozen=True)
class ExperimentFile:
    """An experiment file: its experiments, and its table ``[reproduce]``, empty if it has none."""

    name: str
    about: str
    experiments: tuple[Experiment, ...]
    reproduce: dict[str, Any]


def shipped_files() -> list[str]:
    """Names of the experiment files that come with netemu."""
    return sorted(f.name[:-5] for f in resources.files("netemu.experiments").iterdir() if f.name.endswith(SHIPPED))


def load_experiments(name: str) -> ExperimentFile:
    """The experiments of a file, or of one that comes with netemu, by name.  Raises ExperimentError, OSError."""
    if name in shipped_files():
        content = resources.files("netemu.experiments").joinpath(name + SHIPPED).read_bytes()
        folder = Path()
    elif name.endswith(SHIPPED):
        content = Path(name).read_bytes()
        folder = Path(name).parent
    else:
        raise ExperimentError(
            f"{name}: an experiment file ends in .toml; those that come with netemu are {', '.join(shipped_files())}"
        )
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ExperimentError(f"{name}: not TOML: {error}") from None
    return read_experiments(name, data, folder)


def read_experiments(name: str, data: Mapping[str, Any], folder: Path = Path()) -> ExperimentFile:
    """The experiments in the tables of a file called ``name``.  Raises ExperimentError."""
    defaults = data.get("defaults", {})
    given = data.get("experiment", [])
    tables = [given] if isinstance(given, dict) else given
    if not isinstance(defaults, dict) or not isinstance(tables, list):
        raise ExperimentError(f"{name}: write [defaults] and [[experiment]] as tables")
    named: list[tuple[str, Any]] = [(f"number {at}", table) for at, table in enumerate(tables, start=1)]
    for key, value in data.items():
        if key in _TOP:
            continue
        if not isinstance(value, dict):
            raise ExperimentError(
                f"{name}: {key} stands outside every table; keys of experiments go into [[experiment]]"
            )
        named.append((key, {"name": key, **value}))
    if not named:
        raise ExperimentError(f"{name}: no experiment in it: write a table [[experiment]]")
    made = tuple(_Reader(name, folder, called, table, defaults).read() for called, table in named)
    return ExperimentFile(name, str(data.get("about", "")), made, _read_reproduce(name, data.get("reproduce"), made))


def _read_reproduce(name: str, given: Any, experiments: tuple[Experiment, ...]) -> dict[str, Any]:
    """The table [reproduce] of a file, empty if there is none.  Raises ExperimentError."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ExperimentError(f"{name}: write [reproduce] as a table with {', '.join(_REPRODUCE)}")
    inputs = given.get("inputs", {})
    for key in (*_REPRODUCE, *given):
        if key not in (*_REPRODUCE, "inputs"):
            raise ExperimentError(f"{name}: [reproduce]: {_unknown(key, [*_REPRODUCE, 'inputs'])}")
        if key != "inputs" and (not isinstance(given.get(key), str) or not given[key]):
            raise ExperimentError(f"{name}: [reproduce] needs {key} = a text that is not empty")
    if not isinstance(inputs, dict):
        raise ExperimentError(f"{name}: [reproduce.inputs] is a table of keys and texts; it says {_shown(inputs)}")
    chosen = {key for experiment in experiments for key in (*experiment.chosen, *experiment.sweep)}
    for key, why in inputs.items():
        if key not in chosen:
            raise ExperimentError(f"{name}: [reproduce.inputs]: {key} is set by no experiment of the file")
        if not isinstance(why, str):
            raise ExperimentError(f"{name}: [reproduce.inputs]: {key} is a text that says why; it says {_shown(why)}")
    return {**given, "inputs": inputs}


class _Reader:
    """Reads one experiment table."""

    def __init__(self, file: str, folder: Path, called: str, table: Any, defaults: Mapping[str, Any]) -> None:
        self.file = file
        self.folder = folder
        self.called = called
        if not isinstance(table, dict):
            raise self._wrong("experiments are tables: [[experiment]]")
        self.called = table["name"] if isinstance(table.get("name"), str) else called
        kind = table.get("kind", defaults.get("kind"))
        if kind is None:
            raise self._wrong(f"kind is missing: it is one of {', '.join(KINDS)}")
        self.kind = self._checked("kind", one_of(*KINDS), kind)
        self.keys = keys_of(self.kind)
        everywhere = {name for keys in KINDS.values() for name in (key.name for key in keys)} | set(_ABOUT)
        for name in defaults:
            if name not in everywhere:
                raise ExperimentError(f"{file}: [defaults]: {_unknown(name, sorted(everywhere))}")
        own = {name: value for name, value in defaults.items() if name in self.keys or name in _ABOUT}
        self.given = _names_in(table)
        for pair in _EXCLUSIVE:
            if not self.given.isdisjoint(pair):
                own = {name: value for name, value in own.items() if name not in pair}
        self.table = own | table

    def _wrong(self, reason: str) -> ExperimentError:
        return ExperimentError(f"{self.file}: experiment {self.called!r}: {reason}")

    def _checked(self, name: str, check: Any, value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise self._wrong(f"{name} is {error}; it says {_shown(value)}") from None

    def read(self) -> Experiment:
        table = self.table
        name = self._checked("name", text, table.get("name", self.called))
        chosen = self._settings("", {key: value for key, value in table.items() if key not in _ABOUT})
        metrics = self._metrics()
        for metric in metrics:
            self._is_of_this_kind(metric)
        base, test = (self._side(side) for side in ("base", "test"))
        if "compare" in table and base is None and test is None:
            raise self._wrong("compare needs a table base or test that says what is different")
        if base is not None or test is not None:
            base, test = base or {}, test or {}
        tolerance, within = table.get("tolerance"), table.get("within")
        made = Experiment(
            file=self.file,
            folder=self.folder,
            name=name,
            kind=self.kind,
            chosen=chosen,
            metrics=metrics,
            base=base,
            test=test,
            compare=self._checked("compare", one_of(*COMPARISONS), table.get("compare", "percent")),
            sweep=self._sweep(),
            tolerance=None if tolerance is None else self._checked("tolerance", number(0, 1000), tolerance),
            within=None if within is None else self._checked("within", number(0, 1e12), within),
        )
        self._together(made)
        return made

    def _settings(self, where: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._checked(where + name, self._key(where, name).check, value) for name, value in given.items()}

    def _key(self, where: str, name: str) -> Key:
        if name not in self.keys:
            known = [*self.keys, *_ABOUT] if not where else list(self.keys)
            place = f" in {where[:-1]}" if where else ""
            raise self._wrong(f"{_unknown(name, known)} (kind {self.kind}{place})")
        return self.keys[name]

    def _metrics(self) -> tuple[Metric, ...]:
        if ("metric" in self.table) == ("metrics" in self.table):
            raise self._wrong("it needs a metric, or a list of metrics, and not both")
        if "metric" in self.table:
            metric = self._checked("metric", read_metric, self.table["metric"])
            figure = self.table.get("published", metric.published)
            if figure is not None:
                figure = self._checked("published", published, figure)
            source = self._checked("source", text, self.table["source"]) if "source" in self.table else metric.source
            return (Metric(metric.reading, figure, source, metric.label, metric.within),)
        if "published" in self.table:
            raise self._wrong("with several metrics, published goes into the table of each metric")
        given = self.table["metrics"]
        if not isinstance(given, list) or not given:
            raise self._wrong(f"metrics is a list of metrics; it says {_shown(given)}")
        return tuple(self._checked("metrics", read_metric, metric) for metric in given)

    def _is_of_this_kind(self, metric: Metric) -> None:
        if isinstance(metric.reading, Figure):
            try:
                metric.reading.check(self.kind)
            except WrongMetric as error:
                raise self._wrong(f"{error} (kind {self.kind})") from None

    def _side(self, side: str) -> dict[str, Any] | None:
        if side not in self.table:
            return None
        if not isinstance(self.table[side], dict):
            raise self._wrong(f"{side} is a table of what is different in that run; it says {_shown(self.table[side])}")
        return self._settings(f"{side}.", self.table[side])

    def _sweep(self) -> dict[str, list[Any]]:
        given = self.table.get("sweep", {})
        if not isinstance(given, dict) or (not given and "sweep" in self.table):
            raise self._wrong("sweep is a table of keys with lists of values, such as { cpus = [1, 2, 4] }")
        made: dict[str, list[Any]] = {}
        for name, values in given.items():
            if not isinstance(values, list) or not values:
                if name in TABLES and isinstance(values, dict):
                    for entry, inner in values.items():
                        made[f"{name}.{entry}"] = self._swept(name, entry, inner)
                    continue
                raise self._wrong(f"sweep.{name} is a list that is not empty; it says {_shown(values)}")
            table, dot, entry = name.partition(".")
            if dot and table not in TABLES:
                raise self._wrong(f"sweep.{name}: only entries of {' and '.join(TABLES)} are swept by a dotted name")
            self._key("sweep.", table)
            made[name] = self._swept(table, entry, values)
        points = math.prod(len(values) for values in made.values())
        if points > MOST_POINTS:
            raise self._wrong(f"sweep has {points} points; at most {MOST_POINTS} can be run")
        return made

    def _swept(self, key: str, entry: str, values: Any) -> list[Any]:
        """The values of a swept key, or of an entry of a table."""
        name = f"sweep.{key}.{entry}" if entry else f"sweep.{key}"
        if not isinstance(values, list) or not values:
            raise self._wrong(f"{name} is a list that is not empty; it says {_shown(values)}")
        check = self.keys[key].check
        if entry:  # the table says which of its entries is wrong
            return [self._checked(f"sweep.{key}", check, {entry: value})[entry] for value in values]
        return [self._checked(name, check, value) for value in values]

    def _together(self, made: Experiment) -> None:
        """Keys that exclude each other, and those that can have no effect."""
        given = _names_in(self.table)
        for one, other in _EXCLUSIVE:
            if one in given and other in given:
                raise self._wrong(f"{one} and {other} exclude each other: leave one of them out")
        if self.kind == "traffic":
            self._actions(made)

    def _actions(self, made: Experiment) -> None:
        """Keys that depend on what the stack does with packets."""
        runs = [made.settings(point, side) for point in made.points() for side in made.sides]
        in_stack = [run for run in runs if run["xdp"] in (None, "pass")]
        if any(run["window"] and run["action"] == "forward" for run in in_stack):
            raise self._wrong(
                "a window is closed for good when packets are forwarded, since nobody reads them: "
                "leave window out, or set action to local or drop"
            )
        if any(run["action"] == "local" for run in in_stack):
            return
        for name in _OF_LOCAL_DELIVERY:
            if name in self.given and any(run[name] != self.keys[name].default for run in runs):
                raise self._wrong(
                    f"{name} has no effect where no packet is delivered locally: leave it out, or set action to local"
                    " and let xdp pass packets"
                )


_EXCLUSIVE = (
    ("packet_size", "mix"),
    ("flows", "streams"),
    *(("trace", generated) for generated in ("packets", "packet_size", "mix", "flows")),
    ("tolerance", "within"),
    ("metric", "metrics"),
)
_OF_LOCAL_DELIVERY = ("hold_us", "consumer_cpu")


def _names_in(table: Mapping[str, Any]) -> set[str]:
    """Keys that an experiment's table sets, for all runs or some."""
    inner = (table.get(name) for name in ("base", "test", "sweep"))
    return {*table, *(name for given in inner if isinstance(given, dict) for name in given)}


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"no key is called {name!r}; {hint}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
