"""Sweeps as TOML files: the grid in order, words of netemu replay, and mistakes told in the file's terms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netemu
from netemu.cli import scenario
from netemu.sweep.spec import load

SPEC = """
trace = "t.pcap"
[fixed]
driver = "mlx5"
no-bql = true
timeless = false
[fixed.driver-option]
rq = "legacy"
[grid]
era = ["v4.19", "v6.1"]
recycle = ["none", 0.5]
hold_us = [3]
[grid.set]
page_frag_free = ["pcp", "zone"]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "grid.toml"
    file.write_text(text)
    return file


def test_points_follow_the_order_of_the_file_the_last_option_fastest(tmp_path: Path) -> None:
    sweep = load(written(tmp_path, SPEC))
    points = list(sweep.points())
    assert len(points) == len(sweep) == 8
    assert list(sweep.axes) == ["era", "recycle", "set.page_frag_free"]
    assert [point.number for point in points] == list(range(8))
    assert points[1].place == {"era": "v4.19", "recycle": "none", "set.page_frag_free": "zone"}
    assert points[7].place == {"era": "v6.1", "recycle": 0.5, "set.page_frag_free": "zone"}


def test_a_point_is_a_command(tmp_path: Path) -> None:
    point = next(iter(load(written(tmp_path, SPEC)).points()))
    assert point.command == (
        f"netemu replay {tmp_path}/t.pcap --driver mlx5 --no-bql --driver-option rq=legacy --hold-us 3 "
        "--era v4.19 --recycle none --set page_frag_free=pcp"
    )
    given = scenario.parse(point.words[0], point.words[1:])
    assert given["trace"] == f"{tmp_path}/t.pcap"
    assert given["options"] == {"rq": "legacy"}
    assert given["switches"] == {"page_frag_free": "pcp"}
    assert given["hold_us"] == 3


def test_policy_files_are_looked_for_beside_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    text = 'trace = "t.pcap"\n[grid]\nrecycle = ["mine.py:size=4", "other.py"]'
    values = [point.place["recycle"] for point in load(written(tmp_path, text)).points()]
    assert values == [f"{tmp_path}/mine.py:size=4", "other.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace =", "Invalid value"),
        ("grid = 3", "it needs a trace"),
        ('trace = "t"\ngird = 3', "'gird' means nothing here: a sweep has title, trace, fixed, grid"),
        ('trace = "t"\n[grid]\nera = "v6.1"', "grid: era is a list of values, not 'v6.1'"),
        ('trace = "t"\n[grid]\nera = []', "era has no values"),
        ('trace = "t"\n[grid]\ncpus = [1, 1]', "cpus has a value twice"),
        ('trace = "t"\n[fixed]\ncpus = 1\n[grid]\ncpus = [1, 2]', "cpus is both fixed and in the grid"),
        ('trace = "t"\n[grid.era]\nx = [1]', "grid.era is no table: those are set and driver-option"),
        ('trace = "t"\n[fixed]\nera = ["v6.1"]', "era: ['v6.1'] is no text and no number"),
    ],
)
def test_mistakes_are_told_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(netemu.UsageError, match=re.escape(message)) as raised:
        load(written(tmp_path, text))
    assert "grid.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--nosuch", "No such option '--nosuch'"),
        ("--era", "Option '--era' requires an argument"),
        ("--json", "--json cannot be used here"),
        ("--html x --out y.pcap", "--html, --out cannot be used here"),
        ("--era 'v6", "No closing quotation"),
        ("--help", "ask for help"),
    ],
)
def test_options_that_make_no_scenario_are_refused(options: str, message: str) -> None:
    with pytest.raises(netemu.UsageError, match=re.escape(message)):
        scenario.parse("t.pcap", options)
