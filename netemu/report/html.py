"""Pages with pictures: one file each that needs nothing else, for a screen of any width and for paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import pairwise
from typing import Any

from . import charts, comparison, grid
from .charts import Series
from .findings import findings
from .flame import flame
from .metrics import metrics
from .quantities import count, duration, percent, rate
from .tracks import timeline

Result = Mapping[str, Any]
Row = Mapping[str, Any]

_LIFE = {
    "driver": "driver: receive buffers and its cache",
    "skb": "skbs in the stack",
    "tx": "transmit rings",
    "pool_cache": "page_pool cache",
    "pool_ring": "page_pool ring",
    "page_frag_cache": "page_frag caches",
    "pcp": "per-CPU lists",
}
"""Places that a page goes through between two stays in the buddy allocator, and what the chart calls them."""


_ALONE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a page may load: nothing."""


def replay_page(result: Result) -> str:
    """The report of one replay that was made with a timeline.  Raises UsageError for one without."""
    title = f"{result['driver']}, kernel {result['era']}: {result['trace']}"
    machine = f"{result['platform']}, {_counted(result['cpus'], 'CPU')}"
    about = f"{machine}, seed {result['seed']}, recycle {result['options']['recycle']}"
    body = [
        _found(findings(result)),
        _cards(result),
        "<h2>Where time goes</h2>",
        _flame_figure(result),
        "<h2>Over virtual time</h2>",
        f'<div class="charts">{"".join(_timeline_charts(result))}</div>',
        "<h2>Counters</h2>",
        _counters(result),
    ]
    return _page(title, about, "".join(body))


def compare_page(compared: Mapping[str, Any]) -> str:
    """The comparison of two replays that were made with timelines."""
    options = compared["options"]
    about = f"base: {options['base']} - test: {options['test']}"
    changed = [(row["function"], row["change_ns"]) for row in compared["functions"][:16] if row["change_ns"]]
    body = [
        _found(comparison.sentences(compared)),
        "<h2>Figures</h2>",
        _table(("", "base", "test", "change"), comparison.table(compared)),
        "<h2>What costs more, what costs less</h2>",
        charts.bars(
            "ns per packet, by function", "Test minus base: to the right dearer.", changed, lambda ns: f"{ns:+.2f}"
        ),
    ]
    for side in ("base", "test"):
        body.append(f"<h2>{side.capitalize()}: <code>{escape(options[side])}</code></h2>")
        body.append(_found(findings(compared[side])))
        body.append(_flame_figure(compared[side]))
        body.append(f'<div class="charts">{"".join(_timeline_charts(compared[side]))}</div>')
    return _page(f"Two ways to replay {options['trace']}", about, "".join(body))


def sweep_page(title: str, axes: Sequence[str], rows: Sequence[Row]) -> str:
    """The table of a sweep, and its figures along each option."""
    good = [row for row in rows if row["error"] is None]
    head, cells = grid.overview(axes, rows)
    body = [
        _found(grid.best(axes, rows)),
        "<h2>Means for each value of each option</h2>",
        _table(head, cells, texts=2),
        "<h2>Along each option</h2>",
        f'<div class="charts">{"".join(_axis_charts(axes, good))}</div>',
        f"<details><summary>All {len(rows)} points</summary>",
        _table(list(rows[0]), [[_cell(row[name]) for name in row] for row in rows]) if rows else "",
        "</details>",
    ]
    return _page(title, f"{len(rows)} replays", "".join(body))


# -- parts of pages --------------------------------------------------------------------------------------------------


def _page(title: str, about: str, body: str) -> str:
    files = resources.files("netemu.report")
    style, script = files.joinpath("page.css").read_text(), files.joinpath("flame.js").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_ALONE}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>'
        f'<header><h1>{escape(title)}</h1><p class="about">{escape(about)}</p></header>\n<main>{body}</main>\n'
        "<footer>Made by netemu: everything here is emulated, in virtual time.</footer>\n"
        f"<script>\n{script}</script></body></html>\n"
    )


def _found(sentences: Iterable[str]) -> str:
    return f'<ul class="found">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ul>'


def _cards(result: Result) -> str:
    row = metrics(result)
    lost = row["dropped"] or 0
    shown = {
        "packets per second": rate(row["pps"] or 0, "pps"),
        "data": rate(1e9 * (row["gbit_per_s"] or 0), "bit/s"),
        "busy time per packet": f"{row['busy_ns_per_packet']:.1f} ns",
        "virtual time": duration(result["virtual_ns"]),
        "received": count(row["received"] or 0),
        "dropped": count(lost),
        "receive pages recycled": "-" if row["recycled_percent"] is None else percent(row["recycled_percent"]),
        "zone->lock per packet": f"{row['zone_lock_acquisitions_per_packet']:.3f}",
    }
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in shown.items())
    return f'<div class="cards">{cards}</div>'


def _flame_figure(result: Result) -> str:
    note = f"{duration(result['busy_ns'])} of busy time on all CPUs; callers on top. A click zooms in and out."
    caption = f"<figcaption><h3>Flame graph</h3><p>{escape(note)}</p></figcaption>"
    return f'<figure class="chart">{caption}{flame(result)}</figure>'


def _timeline_charts(result: Result) -> Iterable[str]:
    line = timeline(result)
    times, gauges = line["times_ns"], line["gauges"]
    life = [Series(label, gauges[place]) for place, label in _LIFE.items() if any(gauges[place])]
    free = f"{count(gauges['buddy'][-1])} more pages are free in the buddy allocator at the end."
    yield charts.over_time("Where pages are", free, times, life, stacked=True).replace('"chart"', '"chart wide"', 1)
    waits = [Series(f"CPU {cpu}", _per(gauges[f"zone_lock_wait_ns_cpu{cpu}"], times)) for cpu in range(result["cpus"])]
    waits = sorted(waits, key=lambda one: -max(one.values))[: charts.COLOURS]
    yield charts.over_time(
        "Waiting for zone->lock", "Share of each CPU's time; the CPUs that wait most.", times, waits, unit=" %"
    )
    yield charts.bars(
        "zone->lock, by CPU",
        "Time waited for it.",
        [(f"CPU {cpu}", gauges[f"zone_lock_wait_ns_cpu{cpu}"][-1]) for cpu in range(result["cpus"])],
        duration,
    )
    rings = [
        Series("received, not processed", gauges["rx_backlog"]),
        Series("posted for transmission", gauges["tx_posted"]),
        Series("page_pool rings", gauges["pool_ring"]),
    ]
    yield charts.over_time("How full rings are", "Entries in use, over all queues.", times, rings)
    yield charts.over_time(
        "Receive pages that were recycled",
        "Share of the pages that drivers wanted since the reading before.",
        times,
        [Series("recycled", _recycled(gauges))],
        unit=" %",
    )
    moved = [Series("received", _rates(gauges["received"], times)), Series("dropped", _rates(gauges["dropped"], times))]
    yield charts.over_time("Packets per second", f"{count(gauges['dropped'][-1])} were dropped.", times, moved)


def _steps(values: Sequence[float]) -> list[float]:
    """How much a counter grew since the reading before."""
    return [0.0, *(after - before for before, after in pairwise(values))]


def _per(counter: Sequence[float], times: Sequence[float]) -> list[float]:
    """Percent of the time between two readings by which a counter of ns has grown."""
    return [100 * grown / past if past else 0.0 for grown, past in zip(_steps(counter), _steps(times), strict=True)]


def _rates(counter: Sequence[float], times: Sequence[float]) -> list[float]:
    return [1e9 * grown / past if past else 0.0 for grown, past in zip(_steps(counter), _steps(times), strict=True)]


def _recycled(gauges: Mapping[str, Sequence[int]]) -> list[float]:
    wanted, fresh = _steps(gauges["pages_wanted"]), _steps(gauges["pages_from_allocator"])
    shares = []
    last = 0.0
    for need, new in zip(wanted, fresh, strict=True):
        last = 100 * max(1 - new / need, 0.0) if need else last
        shares.append(last)
    return shares


def _counters(result: Result) -> str:
    parts = []
    pools = result["page_pool"]
    if pools:
        names = [name for name in pools[0] if name not in ("id", "ifindex", "napi-id")]
        head = ("page_pool", *(f"id {pool['id']}" for pool in pools))
        parts.append(_table(head, [(name, *(count(pool[name]) for pool in pools)) for name in names]))
    if "policy" in result:
        policy = result["policy"]
        rows = {**policy["parameters"], **policy["verdicts"], **policy.get("counters", {}), "reused": policy["reused"]}
        parts.append(_table((f"policy {policy['name']}", ""), [(name, count(value)) for name, value in rows.items()]))
    counted = [(name, count(value)) for name, value in result["ethtool"].items() if value]
    if counted:
        parts.append(f"<details><summary>ethtool -S</summary>{_table(('counter', ''), counted)}</details>")
    return "".join(parts)


def _axis_charts(axes: Sequence[str], rows: Sequence[Row]) -> Iterable[str]:
    """Throughput along every option but the first, with a line for each value of the first."""
    if not axes or not rows:
        return
    first = axes[0]
    lines = list(dict.fromkeys(row[first] for row in rows))
    yield charts.bars(
        f"Mpps, by {first}",
        "Means over all other options.",
        [(str(value), grid.mean([row["pps"] for row in rows if row[first] == value]) or 0.0) for value in lines],
        lambda pps: f"{pps / 1e6:.3f}",
    )
    for axis in axes[1:]:
        values = list(dict.fromkeys(row[axis] for row in rows))
        series = [
            Series(str(line), [_mean_mpps(rows, {first: line, axis: value}) for value in values]) for line in lines
        ]
        yield charts.by_category(f"Mpps along {axis}", f"A line for each {first}.", [str(v) for v in values], series)


def _mean_mpps(rows: Sequence[Row], place: Row) -> float:
    found = grid.mean([row["pps"] for row in rows if all(row[axis] == value for axis, value in place.items())])
    return math.nan if found is None else found / 1e6


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    top = "".join(_cell_of("th", name, at < texts) for at, name in enumerate(head))
    body = "".join(
        f"<tr>{''.join(_cell_of('td', cell, at < texts) for at, cell in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell_of(kind: str, text: str, is_text: bool) -> str:
    return f'<{kind} class="text">{escape(text)}</{kind}>' if is_text else f"<{kind}>{escape(text)}</{kind}>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _counted(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
