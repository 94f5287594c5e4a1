"""The terminal report: its exact text for a known result, and what holds for any result."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from netemu.report.terminal import WIDTH, render
from tests.report import sample_result as sample


def rendered(result: dict[str, Any], **options: Any) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False)
    render(result, console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["locked_frees", "nothing_received"])
def test_report_reads_exactly_as_stored(name: str) -> None:
    stored = Path(__file__).with_name(f"{name}.txt").read_text(encoding="ascii")
    assert rendered(getattr(sample, name)()) == stored


def test_a_terminal_gets_the_same_text_with_colour() -> None:
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, force_terminal=True, color_system="standard")
    render(sample.locked_frees(), console)
    assert isinstance(console.file, io.StringIO)
    coloured = console.file.getvalue()
    assert "\x1b[1;31m" in coloured  # the hottest paths are red
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == rendered(sample.locked_frees())


def test_call_graph_limit_prunes_and_zero_shows_all() -> None:
    result = sample.locked_frees()
    assert "get_cqe" not in rendered(result)
    assert "get_cqe" in rendered(result, call_graph_limit=0)
    pruned = rendered(result, call_graph_limit=22)
    assert "__free_pages_ok" in pruned
    assert "free_one_page" not in pruned
    assert "left out below 22 %: 3 call paths" in pruned


def test_leaks_are_listed_one_by_one_and_lead_the_headline() -> None:
    leaks = [{"page": 17, "holder": "skb", "from": "page_pool_alloc_pages"}, "page 18: refcount 2"]
    text = rendered(sample.locked_frees() | {"leaks": leaks})
    assert "leak: page 17, holder skb, from page_pool_alloc_pages" in text
    assert "leak: page 18: refcount 2" in text
    assert "The run ended with 2 leaks" in text.splitlines()[3]


def test_leaks_that_are_not_listed_count_too() -> None:
    leaks = [f"page {page}: nobody holds it" for page in range(20)] + ["and 236 more"]
    text = rendered(sample.locked_frees() | {"leaks": leaks, "leaks_found": 256})
    assert "The run ended with 256 leaks" in text
    assert re.search(r"^.* leaks +256$", text, re.MULTILINE)


def test_few_pools_get_a_column_each_and_many_are_summed() -> None:
    result = sample.locked_frees()
    two = rendered(result | {"page_pool": [sample.pool(1, alloc_fast=7), sample.pool(2, alloc_fast=5)]})
    line = next(line for line in two.splitlines() if "alloc-fast" in line)
    assert line.split() == ["alloc-fast", "12", "7", "5"]
    many = rendered(result | {"page_pool": [sample.pool(number, alloc_fast=3) for number in range(40)]})
    line = next(line for line in many.splitlines() if "alloc-fast" in line)
    assert line.split()[:2] == ["alloc-fast", "120"]


def test_xdp_verdicts_are_shown_when_there_were_any() -> None:
    assert "xdp" not in rendered(sample.locked_frees())
    verdicts = {"aborted": 0, "drop": 3, "pass": 5, "tx": 0, "redirect": 0}
    assert "xdp drop" in rendered(sample.locked_frees() | {"xdp": verdicts})


def test_a_file_name_cannot_steer_the_terminal() -> None:
    first = rendered(sample.locked_frees() | {"trace": "\x1b[2Jx\udcff.pcap"}).splitlines()[0]
    assert first.startswith(r"'\x1b[2Jx\udcff.pcap': mlx5")


names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=32)
big = st.integers(0, 10**12)


@st.composite
def call_graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    paths = draw(st.lists(st.lists(names, min_size=1, max_size=24).map(tuple), unique=True, max_size=8))
    shares = st.floats(0, 100)
    return [
        {"path": list(path), "calls": draw(big), "self_ns": draw(big), "total_ns": draw(big), "percent": draw(shares)}
        for path in paths
    ]


@given(graph=call_graphs(), value=big, pools=st.integers(0, 6), reason=names)
def test_every_line_fits_the_width(graph: list[dict[str, Any]], value: int, pools: int, reason: str) -> None:
    result = sample.locked_frees()
    lock = dict.fromkeys(result["zone_lock"], value)
    everything = result | {
        "callgraph": graph,
        "zone_lock": lock,
        "page_pool": [sample.pool(number, alloc_slow=value // 1000) for number in range(pools)],
        "packets": result["packets"] | {"dropped": {reason: value}},
        "virtual_ns": value,
        "busy_ns": value,
    }
    too_long = [line for line in rendered(everything).splitlines() if len(line) > WIDTH]
    assert not too_long
