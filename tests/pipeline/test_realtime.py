"""In real time: everything when it is due, counted from the start; on a clock that jumps, so that it takes no time."""

from __future__ import annotations

import pytest
import trio

from netemu.pcap import packets
from netemu.pipeline import Packet, Pipeline
from tests.pipeline.networks import in_virtual_time, leaks, numbered, numbers, router
from tests.replay.runs import DNS

LATENCY_S = 0.0005
"""More than interrupt moderation and a poll take."""


def test_recorded_packets_come_out_when_they_were_recorded() -> None:
    """A gap of hours is an instant of wall time, and no delay adds up."""
    gaps_s = [0.0, 3600.0, 3600.001, 3600.002, 7 * 3600.0]
    source = [Packet(10**18 + round(gap * 10**9), frame, 60, 0) for gap, frame in zip(gaps_s, numbered(5), strict=True)]
    came: list[float] = []
    machine, left, right = router()

    async def main() -> None:
        start = trio.current_time()
        pipeline = Pipeline(machine, realtime=True).plug(left, source=source)
        await pipeline.plug(right, sinks=lambda _: came.append(trio.current_time() - start)).route(left, right).run()

    in_virtual_time(main)
    for due, when in zip(gaps_s, came, strict=True):
        assert due <= when < due + LATENCY_S


def test_a_whole_capture_keeps_its_pace() -> None:
    came: list[float] = []
    machine, left, right = router()

    async def main() -> None:
        pipeline = Pipeline(machine, realtime=True).plug(left, source=DNS)
        await pipeline.plug(right, sinks=lambda _: came.append(trio.current_time())).route(left, right).run()

    in_virtual_time(main)
    recorded = [ts for ts, _data, _wire in packets(DNS)]
    for ts, when in zip(recorded, came, strict=True):
        assert when - came[0] == pytest.approx((ts - recorded[0]) / 1e9, abs=LATENCY_S)


def test_a_fixed_rate_is_kept_in_real_time() -> None:
    came: list[float] = []
    machine, left, right = router()

    async def main() -> None:
        pipeline = Pipeline(machine, realtime=True).plug(left, source=numbered(100), rate=10)
        await pipeline.plug(right, sinks=lambda _: came.append(trio.current_time())).route(left, right).run()

    in_virtual_time(main)
    assert came[-1] - came[0] == pytest.approx(9.9, abs=LATENCY_S)


def test_a_live_packet_arrives_when_it_comes_in() -> None:
    """Its time stamp is the time at which the source gave it."""

    async def main() -> None:
        machine, left, right = router()
        give, source = trio.open_memory_channel[bytes](0)
        got: list[tuple[float, Packet]] = []
        pipeline = Pipeline(machine, realtime=True).plug(left, source=source)
        pipeline.plug(right, sinks=lambda packet: got.append((trio.current_time(), packet))).route(left, right)
        sent = []
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            for frame in numbered(10):
                await trio.sleep(1)
                sent.append(trio.current_time())
                await give.send(frame)
            await trio.sleep(1)
            assert len(got) == 10  # the last too, without anything following it
            await give.aclose()
        for before, (when, packet) in zip(sent, got, strict=True):
            assert before <= when < before + LATENCY_S
            assert packet.ts_ns - got[0][1].ts_ns == pytest.approx((when - got[0][0]) * 1e9, abs=LATENCY_S * 1e9)
        assert leaks(machine) == []

    in_virtual_time(main)


def test_cancelling_brings_what_was_accepted_through_at_once() -> None:
    """Packets read but due in hours are handed on: time no longer matters."""
    got: list[Packet] = []
    source = [Packet(n * 3600 * 10**9, frame, 60, 0) for n, frame in enumerate(numbered(20))]
    machine, left, right = router()

    async def main() -> None:
        pipeline = Pipeline(machine, realtime=True).plug(left, source=source).plug(right, sinks=got.append)
        with trio.move_on_after(3 * 3600 + 1):
            await pipeline.route(left, right).run()
        assert trio.current_time() < 3 * 3600 + 10

    in_virtual_time(main)
    assert numbers(got) == list(range(20))
    assert leaks(machine) == []


def test_a_sink_that_never_takes_anything_is_given_up_after_the_grace_time() -> None:
    async def never(packet: Packet) -> None:
        await trio.sleep_forever()

    machine, left, right = router()

    async def main() -> None:
        pipeline = Pipeline(machine, grace=7).plug(left, source=DNS).plug(right, sinks=never)
        with trio.move_on_after(1):
            await pipeline.route(left, right).run()
        assert 7 <= trio.current_time() <= 9

    in_virtual_time(main)
