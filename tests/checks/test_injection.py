"""Faults on demand: which requests fail, and that error paths give back what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

import netemu
from netemu import UsageError
from netemu.exhaust import places, trials
from netemu.injection import Plan
from netemu.pcap import open_writer, packets
from tests.drivers.authoring import edited

TRACE = "traces/dns.pcap"


def machine() -> netemu.Machine:
    return netemu.Machine(era="v5.4", memory_mb=16, skbs=1 << 10, seed=3)


def outcomes(m: netemu.Machine, count: int) -> list[bool]:
    """Which of ``count`` page allocations succeed."""
    return [m.alloc_pages() is not None for _ in range(count)]


def test_the_nth_request_fails_and_no_other() -> None:
    m = machine()
    armed = m.inject("page", nth=3)
    assert outcomes(m, 6) == [True, True, False, True, True, True]
    assert (armed.requests, armed.failed) == (6, 1)


def test_every_nth_request_fails() -> None:
    m = machine()
    m.inject("page", every=2)
    assert outcomes(m, 6) == [True, False] * 3
    m.inject("page", nth=1, every=3)
    assert outcomes(m, 7) == [False, True, True, False, True, True, False]


def test_a_fraction_fails_the_same_for_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        m = machine()
        m.inject("page", fraction=0.3)
        runs.append(outcomes(m, 400))
    assert runs[0] == runs[1]
    assert 80 < runs[0].count(False) < 160


def test_off_is_off() -> None:
    m = machine()
    m.inject("page", every=1)
    m.inject("page", off=True)
    assert outcomes(m, 3) == [True] * 3


def test_each_site_is_where_it_says() -> None:
    m = netemu.Machine(era="v6.1", memory_mb=16, skbs=1 << 10)
    pool = m.page_pool(flags=1)
    m.inject("dma", every=1)
    with pytest.raises(MemoryError):
        pool.alloc_pages()
    m.inject("dma", off=True)
    page = pool.alloc_pages()
    m.inject("ring", nth=1)
    pool.put_page(page)
    assert pool.statistics().recycle_ring_full == 1
    m.inject("skb", nth=1)
    with pytest.raises(MemoryError):
        m.alloc_skb(64)
    m.inject("data", nth=1)
    with pytest.raises(MemoryError):
        m.alloc_skb(64)


@pytest.mark.parametrize("text", ["page", "page=0", "page=x", "nowhere=1", "skb=every:0", "down=", "page=x%"])
def test_words_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Plan.parse(text).arm(machine().k, 1)


@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
def test_a_device_that_goes_down_in_mid_traffic_gives_all_back(driver: str) -> None:
    result = netemu.replay(TRACE, driver=driver, inject=["down=150"], action="local", hold_us=50, memory_mb=32)
    assert result["packets"]["offered"] == 150
    assert result["leaks"] == []


def test_refused_transmissions_are_dropped_and_counted() -> None:
    result = netemu.replay(TRACE, driver="netsec", inject=["tx=every:4"], memory_mb=32)
    assert result["injected"] == {"tx": {"requests": 800, "failed": 200}}
    assert result["packets"]["forwarded"] == 600
    assert result["leaks"] == []


DESTROYED = "        page_pool_destroy(nic.k, nic.cpu(0), nic.k.rxq[nic.rxq(0)].pool)\n"
MISTAKES = {
    "skb_mark_for_recycle is forgotten": (("    skb_mark_for_recycle(k, cpu, skb)\n", ""), "SK-06", "every"),
    "its pool is never destroyed": ((DESTROYED, "        pass\n"), "DR-06", "quiesce"),
    "its pool is destroyed twice": ((DESTROYED, 2 * DESTROYED), "PP-12", "every"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_exhaust_finds_a_driver_that_breaks_a_rule(tmp_path: Path, mistake: str) -> None:
    change, rule, needs = MISTAKES[mistake]
    driver = str(edited(tmp_path, "wrong.py", change))
    few = tmp_path / "few.pcap"
    with open_writer(few) as writer:
        for number, (_, data, _) in enumerate(packets(TRACE)):
            if number < 40:
                writer.write(number, bytes(data))
    for check in {"every", needs}:
        runs = list(trials(few, driver=driver, era="v6.1", memory_mb=32, check=check))
        assert any(found.startswith(rule) for trial in runs for found in trial.found), check


def test_exhaust_finds_the_places_that_ask_and_every_one_survives() -> None:
    found = places(TRACE, driver="netsec", era="v6.1", memory_mb=32)
    assert {place.site for place in found} >= {"skb", "ring", "tx"}
    assert all(place.path for place in found)
    runs = list(trials(TRACE, driver="netsec", era="v6.1", memory_mb=32))
    assert [trial for trial in runs if trial.found] == []
    assert all(trial.failed == 1 for trial in runs if "every" not in trial.inject)
