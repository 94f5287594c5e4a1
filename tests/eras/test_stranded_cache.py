"""To v5.3 a pool with an empty ring does not look into its cache: what it has there is stranded, and it allocates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netemu import traces
from tests.drivers.authoring import edited, replay_interpreted
from tests.net.pools import cached, pool_machine, take

STRANDED = ["v4.19", "v5.0"]
COPYING = (
    ("import napi_build_skb, napi_consume_skb", "import napi_alloc_skb, napi_consume_skb"),
    ("skb = napi_build_skb(k, cpu, pfn, 0, PAGE_SIZE)", "skb = napi_alloc_skb(k, cpu, length)"),
    ("        skb_reserve(k, skb, HEADROOM)\n", ""),
    (
        "        part_with_page(k, cpu, rxq, skb, pfn)\n",
        "        page_pool_recycle_direct(k, cpu, k.rxq[rxq].pool, pfn)\n",
    ),
)
"""Edits that make the template copy each frame and give its page straight back to the pool's cache."""
CACHE_SIZE = 128
ROUNDS = 300
IN_USE = 10


def pages_taken_from_the_allocator(era: str, **switches: str) -> int:
    """By a consumer that holds ten pages, and takes and returns one at a time."""
    machine = pool_machine(era, pool_slow="single", **switches)
    pool = machine.page_pool()
    take(pool, IN_USE)
    for _ in range(ROUNDS):
        pool.recycle_direct(pool.alloc_pages())
    return int(machine.k.zone[0].allocated)


@pytest.mark.parametrize("era", STRANDED)
def test_every_page_is_a_new_one_until_the_cache_overflows_into_the_ring(era: str) -> None:
    assert pages_taken_from_the_allocator(era) == IN_USE + CACHE_SIZE + 1


@pytest.mark.parametrize("era", ["v5.4", "v5.10", "v5.15", "v6.1", "v6.6", "v6.12"])
def test_later_pools_hand_out_the_page_that_came_back(era: str) -> None:
    assert pages_taken_from_the_allocator(era) == IN_USE + 1


@pytest.mark.parametrize("era", STRANDED)
@pytest.mark.parametrize("looks", ["cache_in_softirq", "cache_first"])
def test_the_order_of_looking_alone_makes_the_difference(era: str, looks: str) -> None:
    assert pages_taken_from_the_allocator(era, pool_alloc=looks) == IN_USE + 1


@pytest.mark.parametrize("era", STRANDED)
def test_the_stranded_pages_are_still_there(era: str) -> None:
    pool = pool_machine(era).page_pool()
    for _ in range(CACHE_SIZE):
        pool.recycle_direct(pool.alloc_pages())
    assert len(set(cached(pool))) == CACHE_SIZE


def replay(driver: Path, era: str, *options: str) -> dict[str, Any]:
    done = replay_interpreted(
        traces.path("dns.pcap"), driver, "--era", era, "--action", "drop", "--repeat", "2", "--json", *options
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["leaks"] == []
    return result


@pytest.mark.parametrize("era", STRANDED)
def test_a_replay_shows_it_in_the_traffic_of_the_page_allocator(tmp_path: Path, era: str) -> None:
    """A driver that copies frames needs no page beyond its ring; in these eras it takes a cache full of them."""
    driver = edited(tmp_path, "copying.py", *COPYING)
    stranded = replay(driver, era)
    moved = replay(driver, era, "--set", "pool_alloc=cache_in_softirq")
    extra = stranded["pages"]["allocated"] - moved["pages"]["allocated"]
    assert stranded["packets"]["received"] == moved["packets"]["received"] > 2 * CACHE_SIZE
    assert extra == stranded["page_pool"][0]["alloc-slow"] - moved["page_pool"][0]["alloc-slow"]
    assert extra >= CACHE_SIZE
    assert stranded["zone_lock"]["acquisitions_alloc"] > moved["zone_lock"]["acquisitions_alloc"]


def test_v5_4_takes_nothing_beyond_its_ring(tmp_path: Path) -> None:
    driver = edited(tmp_path, "copying.py", *COPYING)
    assert replay(driver, "v5.4")["page_pool"][0]["alloc-slow"] == 256
