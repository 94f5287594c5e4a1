"""Runs of experiments: comparisons, published figures, errors on the way, and stopping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from netemu.experiments.files import ExperimentError, ExperimentFile, load_experiments, read_experiments
from netemu.experiments.keys import LOOPS
from netemu.experiments.reproduction import Curve, reproduce, reproductions
from netemu.experiments.run import Entry, Stopped, run_experiments, runs_of
from netemu.machine import Machine

SMALL = '[defaults]\nkind = "page_alloc"\nera = "v4.19"\ncount = 50\nwarmup = 20\nmemory_mb = 64\n'
FREED = 'free = "page_frag_free"\n'
SIDES = 'base = { free = "__free_pages_ok" }\ntest = { free = "__free_pages" }\n'


def file(text: str) -> ExperimentFile:
    return read_experiments("x.toml", tomllib.loads(SMALL + text))


def entries(text: str) -> list[Entry]:
    return list(run_experiments(file(text).experiments))


def test_an_entry_has_the_documented_keys_and_the_inputs_that_were_chosen() -> None:
    made = [entry.to_dict() for entry in entries('[a]\nmetric = "ns_per_op"\nsweep = { cpus = [1, 2] }')]
    assert [entry["inputs"]["cpus"] for entry in made] == [1, 2]
    assert made[0].keys() == {"name", "metric", "value", "inputs"}
    assert made[0]["inputs"] == {
        "kind": "page_alloc",
        "era": "v4.19",
        "count": 50,
        "warmup": 20,
        "memory_mb": 64,
        "cpus": 1,
    }


def test_two_runs_are_compared_three_ways() -> None:
    ratio, percent, difference = (
        entries(f'[a]\nmetric = "ns_per_op"\ncompare = "{how}"\n{SIDES}')[0].value or 0.0
        for how in ("ratio", "percent", "difference")
    )
    assert ratio < 1
    assert percent == pytest.approx(100 * (ratio - 1))
    base = entries('[a]\nmetric = "ns_per_op"\nfree = "__free_pages_ok"')[0].value or 0.0
    assert difference == pytest.approx(base * (ratio - 1))


def test_several_metrics_are_read_off_one_run() -> None:
    experiments = file('[a]\nmetrics = ["ns_per_op", "ops_per_second"]').experiments
    assert runs_of(experiments) == 1
    one, other = run_experiments(experiments)
    assert one.value is not None
    assert other.value == pytest.approx(1e9 / one.value)


@pytest.mark.parametrize(
    ("value", "published", "limit", "distance", "holds"),
    [
        (105.0, 100, {"tolerance": 5}, 5, True),
        (105.1, 100, {"tolerance": 5}, 5.1, False),
        (9.0, [10, 20], {"tolerance": 5}, -1, False),
        (15.0, [10, 20], {"tolerance": 5}, 0, True),
        (1.4, 0, {"within": 1.5}, 1.4, True),
        (0.1, 0, {"tolerance": 5}, 0.1, False),
        (0.0, 0, {"tolerance": 5}, 0, True),
        (3.0, None, {}, None, True),
    ],
)
def test_a_figure_holds_when_it_is_near_enough(
    value: float, published: Any, limit: dict[str, float], distance: float | None, holds: bool
) -> None:
    entry = Entry("a", "m", value, "", {}, {}, published=published, **limit)  # type: ignore[arg-type]
    assert entry.distance == pytest.approx(distance)
    assert entry.holds is holds


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('metric = "zone_lock.holds"', "zone_lock.holds cannot be told: .* has no holds there"),
        ('metric = "ns_per_op"\nburst = 30000', "CPU 0 found no memory for its loop"),
    ],
)
def test_what_cannot_be_run_says_which_experiment_and_why(keys: str, said: str) -> None:
    with pytest.raises(ExperimentError, match=f"x.toml: experiment 'a': .*{said}"):
        entries(f"[a]\n{keys}")


@pytest.mark.parametrize("kind", ["page_alloc", "traffic"])
def test_a_machine_that_this_computer_has_no_room_for_names_the_keys(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Machine, "__init__", no_room)
    with pytest.raises(ExperimentError, match=r"'a': .* 8 x 262144 MiB \(nodes x memory_mb\): lower one of them"):
        entries(f'[a]\nkind = "{kind}"\nmetric = "busy_ns"\ncpus = 8\nnodes = 8\nmemory_mb = 262144')


def test_one_experiment_that_cannot_be_run_need_not_end_the_others() -> None:
    experiments = file('[a]\nmetric = "ns_per_op"\nburst = 30000\n[b]\nmetric = "ns_per_op"').experiments
    failed, done = run_experiments(experiments, keep_going=True)
    assert failed.value is None
    assert "CPU 0 found no memory for its loop" in failed.error
    assert not failed.holds
    assert done.value


def test_a_figure_that_one_point_has_not_is_null_there_and_says_why() -> None:
    none, some = entries('[a]\nmetric = "pages_per_hold"\nsweep = { free = ["__free_pages", "__free_pages_ok"] }')
    assert none.to_dict().items() >= {"value": None, "note": "zone->lock was never taken"}.items()
    assert some.value
    assert "note" not in some.to_dict()


@pytest.mark.parametrize("compare", ["ratio", "percent"])
def test_a_comparison_with_nothing_has_no_value(compare: str) -> None:
    keys = f'[a]\nmetric = "zone_lock.acquisitions"\ncompare = "{compare}"\ntest = {{ free = "__free_pages_ok" }}'
    (entry,) = entries(keys)
    assert entry.value is None
    assert entry.note == "the base run has 0, and nothing can be compared with that"


def test_what_was_published_does_not_hold_without_a_value() -> None:
    assert not Entry("a", "m", None, "", {}, {}, published=3, tolerance=1000, note="why").holds
    assert Entry("a", "m", None, "", {}, {}, note="why").holds


class Impatient:
    """Has enough after a number of runs."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.begun: list[tuple[str, int, int]] = []

    def begin(self, name: str, done: int, total: int) -> None:
        self.begun.append((name, done, total))

    def stopped(self) -> bool:
        return len(self.begun) >= self.runs


def test_whoever_follows_hears_of_each_run_and_can_stop() -> None:
    follower = Impatient(2)
    made = []
    with pytest.raises(Stopped):
        made.extend(
            run_experiments(file('[a]\nmetric = "ns_per_op"\nsweep = { cpus = [1, 2, 3] }').experiments, follower)
        )
    assert follower.begun == [("a", 0, 3), ("a", 1, 3)]


def test_a_trace_is_found_beside_its_experiment_file(tmp_path: Path) -> None:
    trace = Path(__file__).parents[2] / "traces" / "dns.pcap"
    (tmp_path / "here.pcap").write_bytes(trace.read_bytes())
    (tmp_path / "x.toml").write_text('[a]\nkind = "traffic"\ntrace = "here.pcap"\nmetric = "packets.offered"')
    (entry,) = run_experiments(load_experiments(str(tmp_path / "x.toml")).experiments)
    assert entry.value
    assert entry.value > 100


def test_interpreted_and_compiled_loops_and_traffic_give_the_same_figures(tmp_path: Path) -> None:
    kinds = dict.fromkeys(LOOPS, 'metrics = ["ns_per_op", "busy_ns"]\ncpus = 2')
    kinds["page_pool_cross_cpu"] = 'metric = "ns_per_op"\nreturning = 2'
    kinds["spinlock"] += "\nhold_ns = 20"
    kinds["traffic"] = 'metric = "ns_per_packet"\npackets = 100'
    text = SMALL.replace('kind = "page_alloc"\n', "think_ns = 50\n")
    text += "".join(f'[{kind}]\nkind = "{kind}"\n{keys}\n' for kind, keys in kinds.items())
    (tmp_path / "x.toml").write_text(text)
    plain = subprocess.run(
        [sys.executable, "-m", "netemu.cli", "predict", str(tmp_path / "x.toml"), "--json"],
        env={**os.environ, "NETEMU_JIT": "0"},
        capture_output=True,
        check=True,
    )
    compiled = run_experiments(load_experiments(str(tmp_path / "x.toml")).experiments)
    assert json.loads(plain.stdout) == [entry.to_dict() for entry in compiled]


# -- published results -------------------------------------------------------------------------------------------------

PUBLISHED = '[reproduce]\nid = "X"\nwhat = "w"\nsource = "s"\n[reproduce.inputs]\n'


def test_a_result_has_lines_from_plain_experiments_and_curves_from_sweeps() -> None:
    text = PUBLISHED + 'think_ns = "why"\n[line]\nthink_ns = 100\nmetric = { figure = "ns_per_op", label = "time" }\n'
    text += 'published = 1\n[curve]\nmetric = "ns_per_op"\npublished = 250\nsweep = { think_ns = [100, 200] }\n'
    result = reproduce(file(text))
    data = result.to_dict()
    assert data["published"] == {"time": 1, "ns_per_op": 250}
    assert data["emulated"]["time"] == pytest.approx(160, rel=0.1)
    assert data["missed"] == ["time"]
    assert data["inputs"] == {"think_ns": {"value": 100, "why": "why", "swept": ["100", "200"]}}
    assert [point["think_ns"] for point in data["curves"][0]["points"]] == [100, 200]


def test_a_figure_that_has_no_line_is_its_curve() -> None:
    text = PUBLISHED + 'cpus = "why"\n[curve]\nmetric = "ns_per_op"\npublished = 7\nsweep = { cpus = [1, 2] }\n'
    data = reproduce(file(text)).to_dict()
    assert data["published"] == {"ns_per_op": 7}
    assert [point["cpus"] for point in data["emulated"]["ns_per_op"]["points"]] == [1, 2]


def test_a_curve_says_where_it_meets_what_was_published() -> None:
    points = tuple(({"cpus": x}, y) for x, y in ((1, 0.0), (2, 5.0), (4, 9.0), (8, 3.0)))
    assert Curve("c", "m", "%", "cpus", 7, points).crossings == pytest.approx([3.0, 4 + 4 / 3])
    assert Curve("c", "m", "%", "cpus", 5, points).crossings == pytest.approx([2.0, 4 + 8 / 3])
    assert Curve("c", "m", "%", "cpus", 50, points).crossings == []


def test_the_four_results_of_the_report_come_with_netemu() -> None:
    assert [result.reproduce["id"] for result in reproductions()] == ["S1", "S2", "S3", "S4"]
