"""What stands around a device: faults, traces, captures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import UsageError
from netemu.pcap import packets
from netemu.pipeline import FaultInjector, Frames, Packet, PcapTap, Pipeline, Tracer, Wrapper
from tests.pipeline.networks import leaks, numbered, numbers, router
from tests.replay.runs import DNS, frames

COUNT = 2000


def damaged(source: Any, **chances: Any) -> tuple[list[Packet], Counter[str]]:
    """What a device with faults on its receiving side makes of ``source``."""
    machine, left, right = router()
    faulty = FaultInjector(left, on="arriving", **chances)
    got: list[Packet] = []
    trio.run(Pipeline(machine).plug(faulty, source=source).plug(right, sinks=got.append).route(faulty, right).run)
    assert leaks(machine) == []
    return got, faulty.counts


def test_without_chances_nothing_is_damaged() -> None:
    got, counts = damaged(numbered(COUNT))
    assert numbers(got) == list(range(COUNT))
    assert not counts


def test_dropped_packets_are_gone_and_the_rest_is_in_order() -> None:
    got, counts = damaged(numbered(COUNT), drop=0.25)
    assert len(got) == COUNT - counts["drop"]
    assert numbers(got) == sorted(set(numbers(got)))
    assert counts["drop"] == pytest.approx(COUNT / 4, rel=0.2)


def test_duplicated_packets_come_twice() -> None:
    got, counts = damaged(numbered(COUNT), duplicate=0.25)
    seen = Counter(numbers(got))
    assert sorted(seen) == list(range(COUNT))
    assert set(seen.values()) == {1, 2}
    assert sum(n == 2 for n in seen.values()) == counts["duplicate"]
    assert numbers(got) == sorted(numbers(got))


def test_reordered_packets_change_places_with_the_next() -> None:
    got, counts = damaged(numbered(COUNT), reorder=0.1)
    assert sorted(numbers(got)) == list(range(COUNT))
    assert numbers(got) != list(range(COUNT))
    assert counts["reorder"] > COUNT / 20
    times = [packet.ts_ns for packet in got]
    assert times == sorted(times)


def test_corrupted_packets_differ_in_one_bit() -> None:
    sent = [bytes([0xAA]) * 60] * COUNT
    got, counts = damaged(sent, corrupt=0.25)
    distances = Counter(
        (int.from_bytes(packet.data, "big") ^ int.from_bytes(sent[0], "big")).bit_count() for packet in got
    )
    assert distances == {0: COUNT - counts["corrupt"], 1: counts["corrupt"]}


def test_truncated_packets_are_shorter_and_keep_their_headers() -> None:
    got, counts = damaged([bytes([0xAA]) * 600] * COUNT, truncate=0.25)
    assert {packet.data == bytes([0xAA]) * packet.wirelen for packet in got} == {True}
    assert all(14 <= packet.wirelen <= 600 for packet in got)
    assert 0 < sum(packet.wirelen < 600 for packet in got) <= counts["truncate"]


@given(
    seed=st.integers(0, 2**32),
    chances=st.fixed_dictionaries({name: st.sampled_from([0, 0.3, 1]) for name in ("drop", "corrupt", "duplicate")}),
)
@settings(max_examples=10)
def test_the_same_seed_does_the_same_damage(seed: int, chances: dict[str, float]) -> None:
    _machine, left, _right = router()
    sent = [Packet(n, frame, 60, 0) for n, frame in enumerate(numbered(50))]
    first, second = (FaultInjector(left, seed=seed, **chances) for _ in range(2))
    assert list(first.arriving(Frames.of(sent))) == list(second.arriving(Frames.of(sent)))
    assert list(first.transmitted(Frames.of(sent))) == list(second.transmitted(Frames.of(sent)))
    assert first.counts == second.counts


def test_damage_on_the_way_out_is_the_same_for_every_sink() -> None:
    machine, left, _right = router()
    one: list[Packet] = []
    two: list[Packet] = []
    faulty = FaultInjector(left, drop=0.5, on="transmitted")
    trio.run(Pipeline(machine).plug(faulty, source=numbered(COUNT), sinks=[one.append, two.append]).run)
    assert one == two
    assert len(one) == COUNT - faulty.counts["drop"]
    assert machine.k.netdev[left.number].tx_packets == COUNT


def test_a_wrapper_is_a_device_and_wrappers_go_into_one_another() -> None:
    machine, left, right = router()
    lines: list[str] = []
    got: list[Packet] = []
    wrapped = Tracer(FaultInjector(left, drop=0.5, on="arriving"), lines.append)
    assert wrapped.ethtool() == left.ethtool()
    assert wrapped.number == left.number
    pipeline = Pipeline(machine).plug(wrapped, source=DNS).plug(Tracer(right, lines.append), sinks=got.append)
    trio.run(pipeline.route(wrapped, right).run)
    arrived = [line for line in lines if " mlx5.0 in " in line]
    left_again = [line for line in lines if " mlx5.1 out " in line]
    assert len(arrived) == 800  # the tracer is outside: it sees what the injector drops
    assert len(left_again) == len(got) == 800 - wrapped.counts["drop"]
    assert "Ether / IP / UDP" in arrived[0]


def test_a_wrapper_of_ones_own_changes_what_arrives() -> None:
    class Stamp(Wrapper):
        def arriving(self, frames: Frames) -> Frames:
            for offset in frames.records["offset"].tolist():
                frames.data[offset] = 0xEE
            return frames

    machine, left, _right = router()
    got: list[Packet] = []
    trio.run(Pipeline(machine).plug(Stamp(left), source=numbered(5), sinks=got.append).run)
    assert {packet.data[0] for packet in got} == {0xEE}


def test_more_packets_than_the_engine_takes_at_a_time_wait_their_turn() -> None:
    got, _counts = damaged(numbered(9000), duplicate=1.0)
    assert numbers(got) == [n for n in range(9000) for _ in range(2)]


@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_a_tap_writes_both_directions(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"tap.{ending}"
    machine, left, _right = router()
    counted = 0

    def count(packet: Packet) -> None:
        nonlocal counted
        counted += 1

    trio.run(Pipeline(machine).plug(PcapTap(left, path), source=DNS, sinks=count).run)
    assert counted == 800
    assert Counter(data for _ts, data, _wire in packets(path)) == Counter(frames("dns.pcap") * 2)


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"corrupt": -0.1}, {"on": "sideways"}])
def test_chances_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    _machine, left, _right = router()
    with pytest.raises(UsageError):
        FaultInjector(left, **wrong)
