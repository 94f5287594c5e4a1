"""Reproductions: experiment files that hold a published result, run and put beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from netemu.experiments.files import ExperimentFile, load_experiments, shipped_files
from netemu.experiments.run import Entry, Follower, run_experiments


@dataclass(frozen=True)
class Curve:
    """How one figure depends on a free input."""

    name: str
    metric: str
    unit: str
    over: str
    published: Any
    points: tuple[tuple[dict[str, Any], float], ...]

    @property
    def crossings(self) -> list[float]:
        """Values of the input at which the curve meets what was published, between points by straight lines."""
        if isinstance(self.published, list) or self.published is None:
            return []
        places = [(point.get(self.over), value - self.published) for point, value in self.points]
        numbers = [(x, y) for x, y in places if isinstance(x, int | float) and not isinstance(x, bool)]
        found = [float(x) for x, y in numbers if y == 0]
        for (x0, y0), (x1, y1) in pairwise(numbers):
            if y0 * y1 < 0:
                found.append(x0 + (x1 - x0) * y0 / (y0 - y1))
        return sorted(found)

    def to_dict(self) -> dict[str, Any]:
        """The curve as plain data."""
        return {
            "name": self.name,
            "metric": self.metric,
            "over": self.over,
            "published": self.published,
            "meets_published_at": self.crossings,
            "points": [{**point, "value": value} for point, value in self.points],
        }


@dataclass(frozen=True)
class Reproduction:
    """One published result: its lines as published and as emulated, the inputs chosen freely, and curves over them."""

    id: str
    what: str
    source: str
    lines: tuple[Entry, ...]
    curves: tuple[Curve, ...]
    inputs: dict[str, Any]

    @property
    def missed(self) -> list[str]:
        """Labels of the lines that do not come out."""
        return [label(line) for line in self.lines if not line.holds]

    def to_dict(self) -> dict[str, Any]:
        """The documented keys, and what else there is to say; a figure with no line of its own is its curve."""
        lines = {label(line) for line in self.lines}
        alone = [curve for curve in self.curves if curve.published is not None and curve.metric not in lines]
        return {
            "id": self.id,
            "what": self.what,
            "published": {label(line): line.published for line in self.lines if line.published is not None}
            | {curve.metric: curve.published for curve in alone},
            "emulated": {label(line): line.value for line in self.lines}
            | {curve.metric: curve.to_dict() for curve in alone},
            "inputs": self.inputs,
            "missed": self.missed,
            "curves": [curve.to_dict() for curve in self.curves],
            "source": self.source,
        }


def label(line: Entry) -> str:
    """What a line is called in the published result."""
    return line.label or line.metric


def reproductions() -> list[ExperimentFile]:
    """Every shipped file that holds a published result, by its number.  Raises ExperimentError."""
    files = [load_experiments(name) for name in shipped_files()]
    return sorted((file for file in files if file.reproduce), key=lambda file: file.reproduce["id"])


def reproduce(file: ExperimentFile, follower: Follower | None = None) -> Reproduction:
    """Run a file's experiments: those without a sweep give lines, those with one give curves.

    Raises ExperimentError, and :class:`~netemu.experiments.run.Stopped` when the follower asks for it.
    """
    entries = list(run_experiments(file.experiments, follower))
    lines = tuple(entry for entry in entries if not entry.point)
    inputs: dict[str, Any] = {}
    for name, why in file.reproduce["inputs"].items():
        values = [entry.inputs[name] for entry in (*lines, *entries) if name in entry.inputs]
        swept = list(dict.fromkeys(str(entry.point[name]) for entry in entries if name in entry.point))
        inputs[name] = {"value": values[0] if values else None, "why": why, **({"swept": swept} if swept else {})}
    return Reproduction(
        id=file.reproduce["id"],
        what=file.reproduce["what"],
        source=file.reproduce["source"],
        lines=lines,
        curves=tuple(_curves([entry for entry in entries if entry.point])),
        inputs=inputs,
    )


def _curves(entries: Sequence[Entry]) -> Iterator[Curve]:
    """One curve for each figure of each swept experiment, over its last swept key, for each value of the others."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        *others, _last = entry.point
        fixed = ", ".join(f"{name} {entry.point[name]}" for name in others)
        groups.setdefault((entry.name, fixed, label(entry)), []).append(entry)
    for (name, fixed, metric), group in groups.items():
        yield Curve(
            name=f"{name}, {fixed}" if fixed else name,
            metric=metric,
            unit=group[0].unit,
            over=list(group[0].point)[-1],
            published=group[0].published,
            points=tuple((entry.point, entry.value) for entry in group if entry.value is not None),
        )
