"""From sources through devices to sinks, as fast as it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from scapy.utils import rdpcap

from netemu import CaptureError, KernelBug, Machine, UsageError, replay
from netemu.net.device_layout import ACTION_LOCAL
from netemu.pcap import packets
from netemu.pipeline import Counters, Frames, Packet, Pipeline
from netemu.xdp_object import ObjectProgram
from tests.bpf.shelf import object_file
from tests.pipeline.networks import MEMORY_MB, forward, leaks, numbered, numbers, router
from tests.replay.runs import DNS, HTTP, IMIX, frames


def test_a_capture_comes_out_on_the_other_side_as_it_went_in(tmp_path: Path) -> None:
    machine, left, right = router()
    counters, got = Counters(), []
    out = tmp_path / "out.pcapng"
    pipeline = Pipeline(machine).plug(left, source=DNS).plug(right, sinks=[out, counters, got.append])
    trio.run(pipeline.route(left, right).run)
    expected = frames("dns.pcap")
    assert [data for _ts, data, _wire in packets(out)] == expected
    assert [packet.data for packet in got] == expected
    assert {packet.device for packet in got} == {right.number}
    assert counters.packets == len(expected)
    assert counters.bytes == sum(map(len, expected))
    assert pipeline.traffic(left).received == pipeline.traffic(right).transmitted == len(expected)
    assert pipeline.traffic(right).received == pipeline.traffic(left).transmitted == 0
    assert leaks(machine) == []


@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
@pytest.mark.parametrize("era", ["v4.19", "v6.12"])
def test_two_streams_pass_each_other(driver: str, era: str) -> None:
    machine, left, right = router(driver, era)
    there: list[Packet] = []
    back: list[Packet] = []
    pipeline = Pipeline(machine)
    pipeline.plug(left, source=DNS, sinks=back.append).plug(right, source=HTTP, sinks=there.append)
    trio.run(pipeline.route(left, right).route(right, left).run)
    assert [packet.data for packet in there] == frames("dns.pcap")
    assert [packet.data for packet in back] == frames("http.pcap")
    assert leaks(machine) == []


def test_two_recorded_captures_keep_their_times_against_each_other() -> None:
    machine, left, right = router()
    got: list[Packet] = []
    early = [Packet(10**18 + n * 400_000, frame, 60, 0) for n, frame in enumerate(numbered(50))]
    late = [Packet(10**18 + n * 400_000 + 200_000, frame, 60, 0) for n, frame in enumerate(numbered(50))]
    pipeline = Pipeline(machine).plug(left, source=late, rate="recorded", sinks=got.append)
    trio.run(pipeline.plug(right, source=early, rate="recorded", sinks=got.append).run)
    came = sorted(got, key=lambda packet: packet.ts_ns)
    assert [packet.device for packet in came] == [right.number, left.number] * 50
    assert all(0 < packet.ts_ns - 10**18 < 21_000_000 for packet in came)


def test_a_pipeline_and_a_replay_are_the_same_run(tmp_path: Path) -> None:
    result = replay(IMIX, out=tmp_path / "replay.pcap", memory_mb=32)
    machine, left, _right = router()
    got: list[Packet] = []
    trio.run(Pipeline(machine).plug(left, source=IMIX, sinks=got.append).run)
    assert [p.data for p in got] == [data for _ts, data, _wire in packets(tmp_path / "replay.pcap")]
    assert len(got) == result["packets"]["forwarded"]


@pytest.mark.parametrize("kind", [iter, list, rdpcap])
def test_any_iterable_is_a_source(kind: Any) -> None:
    source = rdpcap(str(DNS)) if kind is rdpcap else kind(frames("dns.pcap"))
    assert [packet.data for packet in forward(source)] == frames("dns.pcap")


def test_an_async_generator_is_a_source() -> None:
    async def generate() -> AsyncIterator[Any]:
        for frame in numbered(40):
            await trio.lowlevel.checkpoint()
            yield frame
        yield numbered(44)[40:]

    assert numbers(forward(generate())) == list(range(44))


def test_what_comes_out_of_one_pipeline_goes_into_another() -> None:
    assert numbers(forward(forward(numbered(100)))) == list(range(100))


def test_a_packet_comes_out_while_the_source_is_silent() -> None:
    async def main() -> None:
        machine, left, right = router()
        give, source = trio.open_memory_channel[bytes](0)
        sink, take = trio.open_memory_channel[Packet](0)
        pipeline = Pipeline(machine).plug(left, source=source).plug(right, sinks=sink.send).route(left, right)
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            for frame in numbered(20):
                await give.send(frame)
                assert (await take.receive()).data == frame
            await give.aclose()
        assert leaks(machine) == []

    trio.run(main)


def test_a_slow_sink_holds_the_source_back() -> None:
    """Packets that wait inside are few: the engine stops while its output is not taken."""
    taken = 0
    ahead: list[int] = []

    def source() -> Any:
        for n, frame in enumerate(numbered(60_000)):
            ahead.append(n - taken)
            yield frame

    async def slowly(packet: Packet) -> None:
        nonlocal taken
        taken += 1
        if taken % 1000 == 0:
            await trio.sleep(0)

    machine, left, right = router()
    trio.run(Pipeline(machine).plug(left, source=source()).plug(right, sinks=slowly).route(left, right).run)
    assert taken == 60_000
    assert max(ahead) < 3 * 8192


def test_cancelling_loses_nothing_that_was_accepted() -> None:
    accepted = 0
    got: list[Packet] = []

    async def generate() -> AsyncIterator[bytes]:
        nonlocal accepted
        for frame in numbered(10_000):
            accepted += 1
            yield frame
            await trio.sleep(0)

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def stop_after_some(packet: Packet) -> None:
                got.append(packet)
                if len(got) == 50:
                    nursery.cancel_scope.cancel()
                    await trio.sleep(0)

            pipeline = Pipeline(machine).plug(left, source=generate()).plug(right, sinks=stop_after_some)
            nursery.start_soon(pipeline.route(left, right).run)

    machine, left, right = router()
    trio.run(main)
    assert numbers(got) == list(range(accepted))
    assert 50 <= accepted < 10_000
    assert leaks(machine) == []


def test_cancelling_an_endless_capture_ends_it_with_a_whole_file(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"

    async def main() -> None:
        pipeline = Pipeline(machine).plug(left, source=DNS, repeat=10**6, sinks=out)
        with trio.move_on_after(0.3):
            await pipeline.run()
        traffic = pipeline.traffic(left)
        assert traffic.arrived == traffic.transmitted == sum(1 for _ in packets(out)) > 0

    machine, left, _right = router()
    trio.run(main)


def test_a_source_that_breaks_off_is_told_of_after_what_came_before_is_through(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(DNS.read_bytes()[:-10])
    machine, left, _right = router()
    counters = Counters()
    with pytest.raises(CaptureError, match="ends inside a packet"):
        trio.run(Pipeline(machine).plug(left, source=cut, sinks=counters).run)
    assert counters.packets == 799


def test_an_async_source_that_fails_is_told_of_after_what_came_before_is_through() -> None:
    async def generate() -> AsyncIterator[bytes]:
        yield from_first
        raise RuntimeError("the other side is gone")

    from_first = numbered(1)[0]
    machine, left, _right = router()
    counters = Counters()
    with pytest.raises(RuntimeError, match="the other side is gone"):
        trio.run(Pipeline(machine).plug(left, source=generate(), sinks=counters).run)
    assert counters.packets == 1


def test_a_sink_that_fails_ends_the_run_and_everything_is_closed() -> None:
    class Broken:
        closed = False

        def write(self, frames: Frames) -> None:
            raise OSError("no room")

        def close(self) -> None:
            self.closed = True

    machine, left, _right = router()
    broken = Broken()
    with pytest.raises(OSError, match="no room"):
        trio.run(Pipeline(machine).plug(left, source=DNS, sinks=broken).run)
    assert broken.closed


def test_a_kernel_bug_ends_the_run() -> None:
    machine, left, _right = router()
    machine.k.arrays["pages"]["refcount"][left.pages_held()] = 0
    with pytest.raises(KernelBug):
        trio.run(Pipeline(machine).plug(left, source=HTTP, repeat=3).run)


def test_packets_for_the_host_are_delivered_and_not_transmitted() -> None:
    machine, left, _right = router()
    machine.k.run[0].action = ACTION_LOCAL
    counters = Counters()
    trio.run(Pipeline(machine).plug(left, source=DNS, sinks=counters).run)
    assert counters.packets == 0
    assert machine.k.run[0].delivered == 800


def test_what_cannot_be_plugged_in_is_one_line() -> None:
    machine, left, right = router()
    other, _, _ = router()
    for wrong in (
        lambda: Pipeline(other).plug(left, source=[]),
        lambda: Pipeline(machine).plug(left, source=[]).plug(left, sinks=print),
        lambda: Pipeline(machine).plug(left, source=5),
        lambda: Pipeline(machine).plug(left, sinks=5),
        lambda: Pipeline(machine).plug(left, source=[], rate="fast"),
        lambda: Pipeline(machine).plug(left, source=[], repeat=0),
        lambda: right.forward_to(other.devices[0]),
    ):
        with pytest.raises(UsageError) as refused:
            wrong()
        assert "\n" not in str(refused.value)


def test_a_pipeline_runs_once() -> None:
    machine, left, _right = router()
    pipeline = Pipeline(machine).plug(left, source=DNS)
    trio.run(pipeline.run)
    with pytest.raises(UsageError, match="runs once"):
        trio.run(pipeline.run)


def test_a_kthread_on_another_cpu_takes_packets_of_a_cpumap_to_the_sink() -> None:
    program = ObjectProgram.from_text(str(object_file("cpumap")), maps={"cpus": {0: 192, 1: 192}}, cpus=2)
    machine = Machine(memory_mb=MEMORY_MB, cpus=2, skbs=1 << 14)
    left, right = machine.netdev("mlx5", xdp=program), machine.netdev("mlx5")
    got: list[Packet] = []
    pipeline = Pipeline(machine).plug(left, source=DNS, rate="2e5").plug(right, sinks=got.append)
    trio.run(pipeline.route(left, right).run)
    entries = [machine.k.cpumap_entry[n] for n in range(machine.k.xdp[0].cpumap_entries)]
    assert sum(e.processed for e in entries) == left.xdp_verdicts()["redirect"] > 100
    assert sum(e.processed for e in entries if e.cpu == 1) > 0
    assert Counter(packet.data for packet in got) <= Counter(frames("dns.pcap"))
    assert len(got) == left.xdp_verdicts()["redirect"]
    assert leaks(machine) == []
