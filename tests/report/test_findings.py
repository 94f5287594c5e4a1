"""The sentences of the headline follow from the figures."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.report.findings import findings, recycled_percent
from tests.report.sample_result import call, locked_frees, nothing_received, pool


def with_lock(**changed: Any) -> dict[str, Any]:
    result = locked_frees()
    return result | {"zone_lock": result["zone_lock"] | changed}


def test_one_lock_per_page_names_the_figure_and_the_share_of_time() -> None:
    assert findings(locked_frees())[0] == (
        "Every freed page took zone->lock by itself: 1.00 acquisitions per page freed, "
        "25.0 % of busy time in page_frag_free and below."
    )


def test_batched_frees_are_told_apart() -> None:
    assert findings(with_lock(acquisitions_free=8))[0].startswith(
        "Freed pages shared zone->lock: 0.008 acquisitions per page freed"
    )


def test_frees_that_stay_on_the_per_cpu_lists_are_told_apart() -> None:
    sentence = findings(with_lock(acquisitions_free=0, pages_freed=0))[0]
    assert sentence.startswith("1,000 pages were freed to per-CPU lists without taking zone->lock")


def test_recycling_everything_leaves_the_allocator_alone() -> None:
    result = locked_frees()
    kept = result | {"pages": result["pages"] | {"freed": 0}, "callgraph": []}
    assert "No page went back to the page allocator: every page was kept or recycled." in findings(kept)


def test_the_share_of_time_is_left_out_when_no_page_return_is_in_the_graph() -> None:
    graph = [call(["poll"], 1, 400_000, 400_000, 400_000)]
    assert findings(locked_frees() | {"callgraph": graph})[0].endswith("1.00 acquisitions per page freed.")


@pytest.mark.parametrize(("wait_ns", "said"), [(3_999, False), (4_000, True), (200_000, True)])
def test_lock_waiting_is_said_from_one_percent_on(wait_ns: int, said: bool) -> None:
    sentences = findings(with_lock(wait_ns=wait_ns))
    assert any(sentence.startswith("CPUs waited") for sentence in sentences) is said


def test_drops_name_the_reason_behind_most_of_them() -> None:
    sentences = findings(locked_frees())
    assert "1.2 % of the offered packets were dropped, most by rx_ring_full (10 of 12)." in sentences
    packets = locked_frees()["packets"]
    alone = locked_frees() | {"packets": packets | {"dropped": {"tx_full": 101, "rx_ring_full": 0}}}
    assert "10.0 % of the offered packets were dropped, all by tx_full." in findings(alone)
    none = locked_frees() | {"packets": packets | {"dropped": {"tx_full": 0}}}
    assert not any("dropped" in sentence for sentence in findings(none))


def test_recycling_counts_as_the_kernels_sample_does() -> None:
    pools = [pool(1, alloc_fast=60, alloc_slow=20, recycle_cached=30), pool(2, alloc_fast=20, recycle_ring=45)]
    assert recycled_percent(pools) == 75
    assert recycled_percent([pool(1)]) is None
    assert recycled_percent([]) is None


def test_nothing_received_is_the_only_thing_to_say_of_an_empty_run() -> None:
    assert findings(nothing_received()) == ["No packet reached the driver."]


def test_a_leak_comes_before_anything_else() -> None:
    assert findings(locked_frees() | {"leaks": ["page 3"]})[0] == "The run ended with 1 leak; see Pages."
