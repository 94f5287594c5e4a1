"""Call stacks as profilers read them: each format is read back by the rules of the tools that take it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from netemu.report.stacks import folded, perf_script, speedscope
from tests.report.timelines import watched

UNITS = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}


def self_times(data: dict[str, Any]) -> Counter[str]:
    """Rounded ns by folded stack, on all CPUs."""
    return (
        Counter({";".join(["netemu", *entry["path"]]): round(entry["self_ns"]) for entry in data["callgraph"]})
        - Counter()
    )


def collapsed(text: str) -> Counter[str]:
    """What stack collapsers for perf script make of it: process name, then functions from the root to the leaf.

    A header line has the process, its number, a time, a period and an event; a stack line an address, a symbol with
    its offset and an object in brackets; an empty line ends a sample.  The period is the weight.
    """
    stacks: Counter[str] = Counter()
    process, weight, frames = "", 0, []
    for line in text.splitlines():
        header = re.match(r"^(\S.+?)\s+(\d+)/*(\d+)*\s+\[\d+\]\s+\d+\.\d+:\s*(\d+)*\s+(\S+):\s*$", line)
        frame = re.match(r"^\s*(\w+)\s*(.+) \((.*)\)$", line)
        if header:
            process, weight, frames = header[1], int(header[4]), []
        elif frame:
            assert int(frame[1], 16) > 0
            frames.insert(0, re.sub(r"\+0x[\da-f]+$", "", frame[2]))
        else:
            assert line == ""
            stacks[";".join([process, *frames])] += weight
    return stacks


def test_folded_lines_hold_each_stack_once_with_its_own_time() -> None:
    data = watched()
    lines = list(folded(data))
    read = {stack: int(weight) for stack, weight in (line.rsplit(" ", 1) for line in lines)}
    assert len(read) == len(lines)
    assert read == self_times(data)


def test_perf_script_text_passes_through_a_stack_collapser() -> None:
    data = watched()
    read = collapsed("".join(perf_script(data)))
    expected = self_times(data)
    assert set(read) <= set(expected)
    for stack, weight in expected.items():
        assert read[stack] == pytest.approx(weight, abs=data["cpus"])  # rounded on each CPU by itself


def test_samples_of_a_cpu_follow_each_other_in_time() -> None:
    times: dict[str, list[float]] = {}
    for line in perf_script(watched()):
        header = re.match(r"^netemu \d+/\d+ \[(\d+)\] +(\d+\.\d+):", line)
        if header:
            times.setdefault(header[1], []).append(float(header[2]))
    assert set(times) == {"000", "001"}
    assert all(sequence == sorted(sequence) for sequence in times.values())


def test_speedscope_has_a_profile_for_each_cpu_that_keeps_to_the_schema() -> None:
    data = watched()
    document = json.loads(speedscope(data))
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert isinstance(document["activeProfileIndex"], int)
    frames = document["shared"]["frames"]
    assert all(set(frame) <= {"name", "file", "line", "col"} and isinstance(frame["name"], str) for frame in frames)
    assert len({frame["name"] for frame in frames}) == len(frames)
    assert [profile["name"] for profile in document["profiles"]] == ["CPU 0", "CPU 1"]
    for profile in document["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled"
        assert profile["unit"] in UNITS
        assert len(profile["samples"]) == len(profile["weights"]) > 0
        assert all(0 <= frame < len(frames) for sample in profile["samples"] for frame in sample)
        assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])


def test_profiles_of_all_cpus_add_up_to_busy_time() -> None:
    data = watched()
    document = json.loads(speedscope(data))
    spent = sum(profile["endValue"] for profile in document["profiles"])
    assert spent == pytest.approx(data["busy_ns"], abs=len(data["callgraph"]) * data["cpus"])
