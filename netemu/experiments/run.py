"""Running experiments: every point of every sweep, one run or two, and the figures read off them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from netemu.errors import EmulatorError, NetemuError
from netemu.experiments.checks import check_experiments
from netemu.experiments.files import Experiment, ExperimentError
from netemu.experiments.loop import run_loop
from netemu.experiments.metrics import Metric, NoValue, WrongMetric
from netemu.experiments.replays import run_traffic


class Follower(Protocol):
    """Hears of each run, and may stop them."""

    def begin(self, name: str, done: int, total: int) -> None:
        """A run of experiment ``name`` begins; ``done`` of ``total`` runs are over."""

    def stopped(self) -> bool:
        """Asked a few times a second: is it enough?"""


class Silence:
    """Follows without a word, to the end."""

    def begin(self, name: str, done: int, total: int) -> None:
        """Nothing is said."""

    def stopped(self) -> bool:
        """Never enough."""
        return False


TOLERANCE = 5.0
"""Percent by which a figure may miss what was published, unless its experiment says otherwise."""


@dataclass(frozen=True)
class Entry:
    """One figure: what was run (``point``: of a sweep), what came out, and what was published.

    Without a value, ``error`` says why that could not be run, or ``note`` why the run has no such figure.
    """

    name: str
    metric: str
    value: float | None
    unit: str
    inputs: dict[str, Any]
    point: dict[str, Any]
    published: Any = None
    source: str = ""
    tolerance: float = 0.0
    within: float | None = None
    label: str = ""
    error: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The documented keys."""
        made = {"name": self.name, "metric": self.metric, "value": self.value, "inputs": self.inputs}
        return {**made, "note": self.note} if self.note else made

    @property
    def distance(self) -> float | None:
        """How far the value is from what was published, 0 inside a range; None: nothing was."""
        if self.published is None or self.value is None:
            return None
        return self.value - self._nearest(self.value)

    def _nearest(self, value: float) -> float:
        low, high = self.published if isinstance(self.published, list) else (self.published, self.published)
        return float(min(max(value, low), high))

    @property
    def deviation(self) -> float | None:
        """The distance in percent of what was published; None: nothing was, or 0."""
        if self.value is None or not self.distance:
            return self.distance
        nearest = self._nearest(self.value)
        return 100 * self.distance / abs(nearest) if nearest else None

    @property
    def holds(self) -> bool:
        """Is the value as near to what was published as it has to be?"""
        if self.error:
            return False
        if self.published is None:
            return True
        if self.distance is None:
            return False
        if self.within is not None:
            return abs(self.distance) <= self.within
        return self.distance == 0 or (self.deviation is not None and abs(self.deviation) <= self.tolerance)


class Stopped(Exception):
    """The follower asked to stop."""


def runs_of(experiments: tuple[Experiment, ...]) -> int:
    """How many runs all the experiments take."""
    return sum(len(experiment.sides) for experiment in experiments for _ in experiment.points())


def run_experiments(
    experiments: tuple[Experiment, ...], follower: Follower | None = None, *, keep_going: bool = False
) -> Iterator[Entry]:
    """Run all experiments in order, when none of them has a mistake that can be told beforehand.

    ``keep_going``: what cannot be run is an entry without a value, which says why.  Raises ExperimentError at once for
    a mistake, else from the iterator, which also raises :class:`Stopped` when the follower asks for it.
    """
    check_experiments(experiments)
    return _Runner(follower or Silence(), runs_of(experiments)).all(experiments, keep_going=keep_going)


class _Runner:
    """Runs experiments, and keeps their follower informed."""

    def __init__(self, follower: Follower, total: int) -> None:
        self.follower = follower
        self.total = total
        self.done = 0

    def all(self, experiments: tuple[Experiment, ...], *, keep_going: bool) -> Iterator[Entry]:
        """Every figure of every point."""
        for experiment in experiments:
            for point in experiment.points():
                try:
                    yield from self.entries(experiment, point)
                except ExperimentError as error:
                    if not keep_going:
                        raise
                    for metric in experiment.metrics:
                        yield _entry(experiment, metric, point, {}, error=error.reason)

    def entries(self, experiment: Experiment, point: dict[str, Any]) -> Iterator[Entry]:
        """Every figure of one point."""
        inputs = {"kind": experiment.kind, **experiment.chosen, **point}
        if experiment.compares:
            inputs |= {"base": experiment.base, "test": experiment.test}
        results = [self._run(experiment, point, side) for side in experiment.sides]
        for metric in experiment.metrics:
            try:
                yield _entry(experiment, metric, point, inputs, _value(experiment, metric, results))
            except NoValue as error:
                yield _entry(experiment, metric, point, inputs, note=str(error))
            except WrongMetric as error:
                raise experiment.error(f"{metric.reading} cannot be told: {error}") from None

    def _run(self, experiment: Experiment, point: dict[str, Any], side: dict[str, Any]) -> dict[str, Any]:
        if self.follower.stopped():
            raise Stopped
        self.follower.begin(experiment.name, self.done, self.total)
        settings = experiment.settings(point, side)
        try:
            if experiment.kind == "traffic":
                result = run_traffic(settings, experiment.folder, self.follower.stopped)
            else:
                result = run_loop(experiment.kind, settings, self.follower.stopped)
        except EmulatorError:
            raise
        except MemoryError:
            size = f"{settings['nodes']} x {settings['memory_mb']} MiB (nodes x memory_mb)"
            raise experiment.error(f"this computer has no room for a machine of {size}: lower one of them") from None
        except NetemuError as error:
            raise experiment.error(error) from None
        if result is None:
            raise Stopped
        self.done += 1
        return result


def _entry(
    experiment: Experiment,
    metric: Metric,
    point: dict[str, Any],
    inputs: dict[str, Any],
    value: float | None = None,
    *,
    error: str = "",
    note: str = "",
) -> Entry:
    name, unit = _title(experiment, metric)
    return Entry(
        name=experiment.name,
        metric=name,
        value=value,
        unit=unit,
        inputs=inputs,
        point=point,
        published=metric.published,
        source=metric.source,
        tolerance=TOLERANCE if experiment.tolerance is None else experiment.tolerance,
        within=experiment.within if metric.within is None else metric.within,
        label=metric.label,
        error=error,
        note=note,
    )


def _title(experiment: Experiment, metric: Metric) -> tuple[str, str]:
    """What the figure of an experiment is called, and its unit."""
    name, unit = str(metric.reading), metric.reading.unit
    if not experiment.compares:
        return name, unit
    if experiment.compare == "difference":
        return f"difference of {name}", unit
    return (f"ratio of {name}", "") if experiment.compare == "ratio" else (f"change of {name}", "%")


def _value(experiment: Experiment, metric: Metric, results: list[dict[str, Any]]) -> float:
    """The figure of one run, or what those of two say together.  Raises NoValue, WrongMetric."""
    values = [metric.reading.value(result) for result in results]
    if not experiment.compares:
        return values[0]
    base, test = values
    if experiment.compare == "difference":
        return test - base
    if base == 0:
        raise NoValue("the base run has 0, and nothing can be compared with that")
    return test / base if experiment.compare == "ratio" else 100 * (test / base - 1)
