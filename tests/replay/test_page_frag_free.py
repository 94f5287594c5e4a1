"""The patch that netemu starts from: where page_frag_free puts a page, and what that costs."""

from __future__ import annotations

import pytest

from netemu.profiles.eras import era_names
from tests.replay.runs import IMIX, functions, has_chain, pool_of, run

UP_TO_PAGE_FRAG_FREE = [
    "mlx5e_poll_tx_cq",
    "napi_consume_skb",
    "skb_release_data",
    "skb_free_head",
    "skb_free_frag",
    "page_frag_free",
]
PAGE_PER_PACKET = {"page_per_packet": "yes"}
BATCH = 63
PAGES_PER_WQE = 64


def test_v4_19_frees_each_page_under_the_zone_lock() -> None:
    data = run(IMIX, era="v4.19", recycle=0)
    assert has_chain(data, [*UP_TO_PAGE_FRAG_FREE, "__free_pages_ok", "free_one_page"])
    assert not has_chain(data, [*UP_TO_PAGE_FRAG_FREE, "free_unref_page"])
    lock = data["zone_lock"]
    assert lock["pages_freed"] > 0
    assert lock["acquisitions_free"] == lock["pages_freed"]


def test_v4_19_takes_the_lock_once_for_each_page_when_no_page_is_shared() -> None:
    data = run(IMIX, era="v4.19", recycle=0, options=PAGE_PER_PACKET)
    freed = data["pages"]["freed"]
    assert freed == data["packets"]["forwarded"] // PAGES_PER_WQE * PAGES_PER_WQE  # the rest waits in its WQE
    assert data["zone_lock"]["acquisitions_free"] == data["zone_lock"]["pages_freed"] == freed


@pytest.mark.parametrize("how", [{"era": "v4.19", "switches": {"page_frag_free": "pcp"}}, {"era": "v5.0"}])
def test_the_patch_frees_through_the_per_cpu_list(how: dict[str, object]) -> None:
    data = run(IMIX, recycle=0, options=PAGE_PER_PACKET, **how)
    assert has_chain(data, [*UP_TO_PAGE_FRAG_FREE, "free_unref_page"])
    assert "__free_pages_ok" not in functions(data)
    freed = data["pages"]["freed"]
    assert freed == data["packets"]["forwarded"] // PAGES_PER_WQE * PAGES_PER_WQE  # the rest waits in its WQE
    assert data["zone_lock"]["acquisitions_free"] <= freed // BATCH


def test_the_patch_makes_forwarding_faster_when_pages_are_not_recycled() -> None:
    before = run(IMIX, era="v4.19", recycle=0)
    after = run(IMIX, era="v4.19", recycle=0, switches={"page_frag_free": "pcp"})
    assert after["pps"] > before["pps"]


def test_the_patch_changes_nothing_when_every_page_is_recycled() -> None:
    before = run(IMIX, era="v4.19", recycle=1)
    after = run(IMIX, era="v4.19", recycle=1, switches={"page_frag_free": "pcp"})
    assert before["callgraph"] == after["callgraph"]
    assert before["virtual_ns"] == after["virtual_ns"]


@pytest.mark.parametrize("era", era_names())
def test_with_recycling_forced_the_steady_state_allocates_nothing(era: str) -> None:
    once, often = (run(IMIX, era=era, recycle=1, options=PAGE_PER_PACKET, repeat=n) for n in (1, 5))
    assert often["packets"]["received"] == 5 * once["packets"]["received"]
    assert often["pages"]["allocated"] == once["pages"]["allocated"]
    assert often["pages"]["freed"] == 0
    assert often["zone_lock"] == once["zone_lock"]


@pytest.mark.parametrize("era", ["v4.19", "v5.4", "v6.1", "v6.12"])
def test_recycling_at_a_rate_between_frees_that_part_of_the_pages(era: str) -> None:
    data = run(IMIX, era=era, recycle=0.35, options=PAGE_PER_PACKET, repeat=2)
    share = data["pages"]["freed"] / data["packets"]["received"]
    assert 0.60 < share < 0.70


def test_the_seed_decides_which_pages_are_recycled() -> None:
    one, same, other = (run(IMIX, recycle=0.5, seed=seed)["virtual_ns"] for seed in (1, 1, 2))
    assert one == same != other


def test_skbs_return_their_pages_to_the_pool_in_v6_6() -> None:
    data = run(IMIX, era="v6.6", recycle=1)
    assert pool_of(data)["recycle-released-refcnt"] == 0
    assert "page_frag_free" not in functions(data)
