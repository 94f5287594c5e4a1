"""Charts as HTML and SVG without a script: they stretch with the page, print, and follow its colours.

Lines live in an SVG that is stretched to the width at hand; every text is HTML beside it, so that it keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from .quantities import count, duration

WIDTH, HEIGHT = 1000, 240
"""Units of a plot; pixels only by chance."""
COLOURS = 8
_TICKS = 4

Values = Sequence[float]


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    values: Values


def over_time(
    title: str, note: str, times_ns: Values, series: Sequence[Series], *, unit: str = "", stacked: bool = False
) -> str:
    """Lines, or areas on top of each other, over virtual time.  Nothing to show gives a sentence instead."""
    end = times_ns[-1] if times_ns else 0
    start = times_ns[0] if times_ns else 0
    if end <= start or not series:
        return _figure(title, note, '<p class="empty">Too short to show over time.</p>')
    levels = _levels([one.values for one in series]) if stacked else [one.values for one in series]
    top = _round_up(max(max(level, default=0) for level in levels))
    across = [WIDTH * (time - start) / (end - start) for time in times_ns]
    drawn = [
        _area(across, levels, at, top) if stacked else _line(across, levels[at], at, top) for at in range(len(series))
    ]
    marks = [f"{duration(start + (end - start) * at / _TICKS)}" for at in range(_TICKS + 1)]
    plot = _plot("".join(reversed(drawn)), top, marks, unit)
    return _figure(title, note, plot + _legend(series, unit))


def bars(title: str, note: str, rows: Sequence[tuple[str, float]], show: Callable[[float], str]) -> str:
    """A bar for each row, from 0; a negative one points to the left of the middle."""
    widest = max((abs(value) for _name, value in rows), default=0)
    signed = any(value < 0 for _name, value in rows)
    made = [_bar(name, value, widest, signed, show) for name, value in rows]
    body = f'<div class="bars">{"".join(made)}</div>' if made else '<p class="empty">Nothing to show.</p>'
    return _figure(title, note, body)


def by_category(title: str, note: str, names: Sequence[str], series: Sequence[Series], *, unit: str = "") -> str:
    """A line for each series over values that have an order but no distance; gaps where a value is missing (nan).

    The axis does not start at 0: it shows the range of the values.
    """
    there = [value for one in series for value in one.values if not math.isnan(value)]
    bottom, top = _range(min(there, default=0), max(there, default=0))
    step = WIDTH / max(len(names), 1)
    across = [step * (at + 0.5) for at in range(len(names))]
    drawn = [_line(across, one.values, at, top, bottom, dots=True) for at, one in enumerate(series)]
    return _figure(title, note, _plot("".join(drawn), top, names, unit, bottom, centred=True) + _legend(series, unit))


# -- parts of a chart ------------------------------------------------------------------------------------------------


def _figure(title: str, note: str, body: str) -> str:
    return (
        f'<figure class="chart"><figcaption><h3>{escape(title)}</h3><p>{escape(note)}</p></figcaption>{body}</figure>'
    )


def _plot(
    drawn: str, top: float, marks: Sequence[str], unit: str, bottom: float = 0.0, *, centred: bool = False
) -> str:
    grid = "".join(f'<path class="grid" d="M0 {HEIGHT * at // _TICKS}h{WIDTH}"/>' for at in range(_TICKS + 1))
    ticks = [bottom + (top - bottom) * (_TICKS - at) / _TICKS for at in range(_TICKS + 1)]
    heights = "".join(f"<span>{_short(tick)}{unit}</span>" for tick in ticks)
    below = "".join(f"<span>{escape(mark)}</span>" for mark in marks)
    kind = "below centred" if centred else "below"
    return (
        f'<div class="plot"><div class="heights">{heights}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img">{grid}{drawn}</svg>'
        f'<div class="{kind}">{below}</div></div>'
    )


def _legend(series: Sequence[Series], unit: str) -> str:
    entries = []
    for at, one in enumerate(series):
        there = [value for value in one.values if not math.isnan(value)]
        span = f"{_short(min(there))} to {_short(max(there))}{unit}" if there else "-"
        entries.append(f'<li class="c{at % COLOURS}"><b></b>{escape(one.name)} <i>{span}</i></li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _bar(name: str, value: float, widest: float, signed: bool, show: Callable[[float], str]) -> str:
    share = 100 * abs(value) / widest if widest else 0
    if signed:
        share /= 2
    left = 50 - share if signed and value < 0 else 50 if signed else 0
    kind = "" if not signed else "less" if value < 0 else "more"
    return (
        f'<div class="bar"><span>{escape(name)}</span><div><b class="{kind}" '
        f'style="left:{left:.2f}%;width:{share:.2f}%"></b></div><span>{escape(show(value))}</span></div>'
    )


def _levels(layers: Sequence[Values]) -> list[list[float]]:
    """Each layer on top of those before it."""
    levels: list[list[float]] = []
    below = [0.0] * len(layers[0])
    for layer in layers:
        below = [low + value for low, value in zip(below, layer, strict=True)]
        levels.append(below)
    return levels


def _line(across: Values, values: Values, at: int, top: float, bottom: float = 0.0, *, dots: bool = False) -> str:
    pieces: list[list[str]] = [[]]
    for x, value in zip(across, values, strict=True):
        if math.isnan(value):
            pieces.append([])
        else:
            pieces[-1].append(f"{_tenths(x)},{_height(value - bottom, top - bottom)}")
    drawn = [f'<polyline class="c{at % COLOURS}" points="{" ".join(piece)}"/>' for piece in pieces if len(piece) > 1]
    if dots:  # a point of no length with a round cap stays round however the plot is stretched
        drawn += [f'<path class="dot c{at % COLOURS}" d="M{place}h0"/>' for piece in pieces for place in piece]
    return "".join(drawn)


def _area(across: Values, levels: Sequence[Values], at: int, top: float) -> str:
    upper = [f"{_tenths(x)},{_height(value, top)}" for x, value in zip(across, levels[at], strict=True)]
    floor: Values = levels[at - 1] if at else [0.0] * len(across)
    lower = [f"{_tenths(x)},{_height(value, top)}" for x, value in zip(across, floor, strict=True)]
    return f'<polygon class="c{at % COLOURS}" points="{" ".join([*upper, *reversed(lower)])}"/>'


def _height(value: float, top: float) -> str:
    return _tenths(HEIGHT * (1 - value / top))


def _tenths(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _round_up(value: float) -> float:
    """The top of an axis: 1, 2, 4, 5 or 8 times a power of ten."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 4, 5, 8, 10) if step * scale >= value * 0.999999)


def _range(least: float, most: float) -> tuple[float, float]:
    """Ends of an axis around these values, in steps of a power of ten."""
    if most <= least:
        return (least - 1, least + 1) if least else (0.0, 1.0)
    step = 10.0 ** math.floor(math.log10(most - least))
    return math.floor(least / step) * step, math.ceil(most / step) * step


def _short(value: float) -> str:
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= scale:
            digits = value / (1e3 if letter == "k" else scale)
            return f"{digits:.3g}{letter}"
    return count(value) if value == int(value) else f"{value:.3g}"
