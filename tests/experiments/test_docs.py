"""docs/experiments.md is the specification: its examples run, and it leaves out no key and no metric."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from netemu.experiments.files import _ABOUT, COMPARISONS, ExperimentFile, read_experiments
from netemu.experiments.keys import LOOP, LOOPS, MACHINE, TRAFFIC
from netemu.experiments.metrics import NAMED
from netemu.experiments.reproduction import reproduce
from netemu.experiments.run import run_experiments
from netemu.experiments.values import Key

TEXT = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def example(text: str) -> ExperimentFile:
    return read_experiments("docs", tomllib.loads(text))


def section(mark: str) -> str:
    """The table that follows a mark in the text."""
    return TEXT.split(f"<!-- {mark} -->\n")[1].split("\n\n")[0]


def test_there_are_enough_examples_to_learn_from() -> None:
    assert len(EXAMPLES) >= 12
    kinds = {experiment.kind for text in EXAMPLES for experiment in example(text).experiments}
    assert kinds >= {"page_alloc", "page_frag", "page_pool", "page_pool_cross_cpu", "spinlock", "skb", "traffic"}


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: next(iter(re.findall(r'name = "(.*?)"', text))))
def test_an_example_runs(text: str) -> None:
    entries = list(run_experiments(example(text).experiments))
    assert entries
    assert all(entry.value is not None and entry.inputs["kind"] for entry in entries)


def test_a_published_result_of_ones_own_has_lines_and_curves() -> None:
    (text,) = [text for text in EXAMPLES if "[reproduce]" in text]
    result = reproduce(example(text)).to_dict()
    assert result["published"] == {"waiting": 10, "lock_wait_percent": 10}
    assert result["emulated"].keys() == {"waiting", "lock_wait_percent"}
    assert [point["think_ns"] for point in result["curves"][0]["points"]] == [250, 500, 1000, 2000]


@pytest.mark.parametrize(
    ("mark", "keys"),
    [
        ("machine", MACHINE),
        ("loop", LOOP),
        ("traffic", TRAFFIC),
        *((kind, keys) for kind, keys in LOOPS.items() if keys),
    ],
    ids=lambda x: str(x)[:20],
)
def test_every_key_is_explained(mark: str, keys: tuple[Key, ...]) -> None:
    rows = section(f"keys: {mark}").splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [key.name for key in keys]


def test_every_metric_and_every_key_of_experiments_is_explained() -> None:
    rows = section("metrics").splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows] == list(NAMED)
    for name in (*_ABOUT, *COMPARISONS):
        assert re.search(rf"`\"?{name}\"?`", TEXT), name
