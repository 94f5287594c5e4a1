"""Pages with pictures: self-contained, drawn at every width, and true to the figures that they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu.report.charts import Series, bars, by_category, over_time
from netemu.report.html import compare_page, replay_page, sweep_page
from netemu.report.metrics import delta, functions
from tests.report.browser import look, needs_chromium
from tests.report.timelines import watched

ROWS: list[dict[str, Any]] = [
    {
        "point": at,
        "recycle": recycle,
        "hold-us": hold,
        "error": None if recycle != "broken" else "cannot",
        "pps": None if recycle == "broken" else 1e6 + at,
        "busy_ns_per_packet": 500.0,
        "recycled_percent": None,
        "zone_lock_acquisitions_per_packet": 0.25,
        "dropped": at,
        "command": "netemu replay x",
    }
    for at, (recycle, hold) in enumerate((r, h) for r in ("none", "lifo", "broken") for h in (0, 20, 200))
]


def compared() -> dict[str, Any]:
    data = watched()
    return {
        "base": data,
        "test": data,
        "delta": delta(data, data),
        "functions": functions(data, data),
        "options": {"trace": "a<b>.pcap", "base": "--era v4.19", "test": "--era v4.19 --recycle '<x>'"},
    }


PAGES = {
    "replay": lambda: replay_page(watched()),
    "compare": lambda: compare_page(compared()),
    "sweep": lambda: sweep_page("Grid", ["recycle", "hold-us"], ROWS),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_needs_nothing_but_itself(kind: str) -> None:
    page = PAGES[kind]()
    assert not re.search(r"(src|href)=(?!\"data:)", page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_names_from_outside_are_text() -> None:
    page = compare_page(compared())
    assert "a&lt;b&gt;.pcap" in page
    assert "<b>.pcap" not in page
    assert "<x>" not in page


@needs_chromium
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("kind", PAGES)
def test_charts_are_drawn_and_nothing_is_asked_for(kind: str, width: int, tmp_path: Path) -> None:
    seen = look(PAGES[kind](), width, tmp_path)
    assert seen.console == []
    assert seen.layout["loaded"] == []
    assert seen.layout["errors"] == []
    assert seen.layout["window"] == width
    assert seen.layout["across"] <= width
    assert seen.layout["text"].strip()
    shapes = seen.layout["shapes"]
    assert len(shapes) >= {"replay": 5, "compare": 10, "sweep": 1}[kind]
    for plot in shapes:
        assert plot
        assert any(wide > 0.5 * width / 3 for wide, _high in plot)
        assert all(high <= 200 for _wide, high in plot)
    if kind == "sweep":
        assert all(high > 5 for _wide, high in seen.layout["bars"][:2])
    else:
        boxes = [wide for wide, high in seen.layout["boxes"] if high > 10]
        assert len(boxes) > 15
        assert max(boxes) > 0.8 * min(width, 1100)


def test_the_page_of_a_replay_says_what_the_report_says() -> None:
    page = replay_page(watched())
    assert "Every freed page took zone-&gt;lock by itself" in page
    assert "Where pages are" in page
    for gauge in ("driver: receive buffers and its cache", "skbs in the stack", "transmit rings", "per-CPU lists"):
        assert gauge in page
    assert "3,600" in page


def test_a_result_without_a_timeline_makes_no_page() -> None:
    data = {name: value for name, value in watched().items() if name != "timeline"}
    with pytest.raises(netemu.UsageError, match="timeline"):
        replay_page(data)


def points_of(svg: str, kind: str = "polyline") -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<{kind} class="c\d" points="([^"]+)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in one.split()] for one in found]  # type: ignore[misc]


def test_a_line_goes_through_its_values() -> None:
    svg = over_time("t", "n", [0, 50, 100], [Series("a", [0, 5, 10])])
    assert points_of(svg) == [[(0, 240), (500, 120), (1000, 0)]]
    assert "<span>10</span>" in svg


def test_areas_stand_on_each_other() -> None:
    svg = over_time("t", "n", [0, 100], [Series("a", [2, 2]), Series("b", [2, 6])], stacked=True)
    upper, lower = points_of(svg, "polygon")
    assert upper == [(0, 120), (1000, 0), (1000, 180), (0, 180)]
    assert lower == [(0, 180), (1000, 180), (1000, 240), (0, 240)]


@pytest.mark.parametrize("times", [[], [5.0]])
def test_too_short_a_run_gives_a_sentence(times: list[float]) -> None:
    assert "Too short" in over_time("t", "n", times, [Series("a", [1.0] * len(times))])


def test_a_missing_value_is_a_gap() -> None:
    svg = by_category("t", "n", ["x", "y", "z"], [Series("a", [1, float("nan"), 3])])
    assert points_of(svg) == []
    assert svg.count('class="dot') == 2


def test_bars_point_to_both_sides_when_there_are_negative_ones() -> None:
    html = bars("t", "n", [("up", 2.0), ("down", -4.0)], "{:+.0f}".format)
    assert 'class="more" style="left:50.00%;width:25.00%"' in html
    assert 'class="less" style="left:0.00%;width:50.00%"' in html
