"""Gauges over virtual time: every page has its place at each reading, and watching changes nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from netemu.sampling import MOST_READINGS, PLACES
from tests.replay.runs import HTTP, IMIX, JUMBO, run

RUNS: list[dict[str, Any]] = [
    {"trace": IMIX, "era": "v4.19", "recycle": 0.0},
    {"trace": IMIX, "era": "v6.6", "cpus": 3},
    {"trace": IMIX, "era": "v6.1", "recycle": "lifo", "options": {"rq": "legacy"}},
    {"trace": HTTP, "era": "v5.4", "driver": "netsec", "rate": "recorded"},
    {"trace": JUMBO, "era": "v6.1", "mtu": 9000, "action": "local", "hold_us": 30.0},
]


@pytest.mark.parametrize("options", RUNS, ids=lambda options: f"{options['trace'].name}-{options['era']}")
def test_every_page_has_its_place_at_each_reading(options: dict[str, Any]) -> None:
    data = run(**options, timeline=True)
    gauges = data["timeline"]["gauges"]
    managed = data["options"]["memory_mb"] << 8
    placed = zip(*(gauges[place] for place in PLACES), strict=True)
    assert {sum(pages) for pages in placed} == {managed}
    assert all(min(gauges[place]) >= 0 for place in PLACES)


@pytest.mark.parametrize("options", RUNS, ids=lambda options: f"{options['trace'].name}-{options['era']}")
def test_the_last_reading_is_what_the_report_says(options: dict[str, Any]) -> None:
    data = run(**options, timeline=True)
    last = {name: values[-1] for name, values in data["timeline"]["gauges"].items()}
    places = data["pages"]["places"]
    for place in ("buddy", "pcp", "pool_cache", "pool_ring", "driver"):
        assert last[place] == places[place], place
    assert last["received"] == data["packets"]["received"]
    assert last["pages_allocated"] == data["pages"]["allocated"]
    assert last["pages_wanted"] == data["recycling"]["pages_wanted"]
    waits = [last[f"zone_lock_wait_ns_cpu{cpu}"] for cpu in range(data["cpus"])]
    assert sum(waits) == pytest.approx(last["zone_lock_wait_ns"], abs=data["cpus"])


@pytest.mark.parametrize("options", RUNS[:3], ids=lambda options: f"{options['trace'].name}-{options['era']}")
def test_watching_changes_nothing(options: dict[str, Any]) -> None:
    watched = run(**options, timeline=True)
    del watched["timeline"]
    assert {**watched, "wall_s": None} == {**run(**options), "wall_s": None}


def test_a_long_run_is_read_less_often() -> None:
    short = run(IMIX, era="v6.1", packets=300, timeline=True)["timeline"]
    long = run(IMIX, era="v6.1", packets=30_000, timeline=True)["timeline"]
    assert short["interval_ns"] == 2000
    assert long["interval_ns"] > short["interval_ns"]
    assert MOST_READINGS // 2 <= len(long["times_ns"]) <= MOST_READINGS + 1
    assert all(before <= after for before, after in pairwise(long["times_ns"]))


def test_so_many_packets_are_replayed_as_are_asked_for() -> None:
    assert run(IMIX, packets=5)["packets"]["offered"] == 5
    assert run(IMIX, packets=9001)["packets"]["offered"] == 9001
