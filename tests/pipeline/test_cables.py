"""Cables between devices: what one transmits arrives at the other, whole, in order, and exactly when it is due."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from netemu import Machine, UsageError
from netemu.net.device_layout import WIRE_OVERHEAD
from netemu.netdevice import DeviceSettings
from netemu.pcap import open_writer
from netemu.pipeline import Counters, FaultInjector, Packet, Pipeline
from netemu.pipeline.arrivals import Rate
from netemu.pipeline.emulation import Emulation, State
from netemu.pipeline.feed import Feed
from netemu.pipeline.sources import open_source
from tests.pipeline.cabled import SETUPS, Wired, digest, wired
from tests.pipeline.networks import MEMORY_MB, in_virtual_time, leaks, numbered, numbers
from tests.replay.journals import read
from tests.replay.runs import DNS, HTTP, JUMBO, frames

ROOT = Path(__file__).resolve().parents[2]
WITH_XDP = [("mlx5", era) for era in ("v4.19", "v5.4", "v5.15", "v6.1", "v6.12")] + [
    ("netsec", era) for era in ("v5.4", "v5.15", "v6.12")
]


def lost_nothing(w: Wired) -> bool:
    """Every frame that one end transmitted has arrived at the other, and no page is missing."""
    near, far = w.pipeline.traffic(w.near), w.pipeline.traffic(w.far)
    assert (near.transmitted, far.transmitted) == (far.arrived, near.arrived)
    assert (near.cable_drops, far.cable_drops) == (0, 0)
    return leaks(w.machine) == []


@pytest.mark.parametrize(("driver", "era"), WITH_XDP)
def test_a_host_that_answers_with_xdp_tx_gives_back_what_came(driver: str, era: str) -> None:
    w = wired(DNS, driver=driver, era=era, far={"xdp": "tx"}).run()
    for packets in (w.sent, w.back, w.out):
        assert [packet.data for packet in packets] == frames("dns.pcap")
    assert w.far.xdp_verdicts()["tx"] == 800
    assert lost_nothing(w)


@pytest.mark.parametrize(
    ("driver", "far_driver", "era"),
    [
        ("mlx5", "netsec", "v4.19"),
        ("netsec", "mlx5", "v4.19"),
        ("mlx5", "netsec", "v5.15"),
        ("netsec", "mlx5", "v6.12"),
    ],
)
def test_two_routers_in_a_row_forward_both_ways(driver: str, far_driver: str, era: str) -> None:
    machine = Machine(era=era, memory_mb=MEMORY_MB, skbs=1 << 14)
    a, b = machine.netdev(driver), machine.netdev(driver)
    c, d = machine.netdev(far_driver), machine.netdev(far_driver)
    there: list[Packet] = []
    back: list[Packet] = []
    pipeline = Pipeline(machine).cable(b, c, delay_ns=1000)
    pipeline.route(a, b).route(c, d).route(d, c).route(b, a)
    pipeline.plug(a, source=DNS, sinks=back.append).plug(d, source=HTTP, sinks=there.append)
    trio.run(pipeline.run)
    assert [packet.data for packet in there] == frames("dns.pcap")
    assert [packet.data for packet in back] == frames("http.pcap")
    assert leaks(machine) == []


@pytest.mark.parametrize("era", ["v5.4", "v6.1", "v6.12"])
def test_redirected_frames_take_one_cable_after_the_other(era: str) -> None:
    machine = Machine(era=era, memory_mb=MEMORY_MB, skbs=1 << 14)
    a, d, e = (machine.netdev("mlx5") for _ in range(3))
    b, c = machine.netdev("netsec", xdp="redirect"), machine.netdev("netsec")
    got: list[Packet] = []
    pipeline = Pipeline(machine).plug(e, source=DNS).plug(d, sinks=got.append)
    pipeline.cable(a, b).cable(c, machine.netdev("mlx5", xdp="redirect"), delay_ns=50)
    pipeline.route(e, a).route(b, c).route(machine.devices[-1], d)
    trio.run(pipeline.run)
    assert [packet.data for packet in got] == frames("dns.pcap")
    assert b.xdp_verdicts()["redirect"] == machine.devices[-1].xdp_verdicts()["redirect"] == 800
    assert leaks(machine) == []


@pytest.mark.parametrize("gbps", [1, 7.3, 100])
def test_a_frame_arrives_when_its_wire_is_done_and_the_delay_is_over(tmp_path: Path, gbps: float) -> None:
    told = tmp_path / "told.pcapng"
    link = DeviceSettings(link_gbps=gbps)
    w = wired(numbered(50, 200), far={"xdp": "tx"}, delay_ns=345, settings=link, pipeline={"journal": told}).run()
    arrivals = {seen.interface: [] for seen in read(told).arrivals()}  # type: dict[str, list[tuple[int, bytes]]]
    for seen in read(told).arrivals():
        arrivals[seen.interface].append((seen.ts_ns, seen.data))
    assert arrivals["mlx5_2 rx"] == [(packet.ts_ns + 345, packet.data) for packet in w.sent]
    assert arrivals["mlx5_1 rx"] == [(packet.ts_ns + 345, packet.data) for packet in w.back]
    k = w.machine.k
    for sender, receiver in ((w.near, w.far), (w.far, w.near)):  # the last one, to the picosecond
        assert k.wire[receiver.number].free == k.netdev[sender.number].tx_wire_free + 345_000


def test_a_fraction_of_a_nanosecond_counts() -> None:
    w = wired(numbered(3), far={"xdp": "tx"}, delay_ns=0.25).run()
    assert w.machine.k.wire[w.far.number].free == w.machine.k.netdev[w.near.number].tx_wire_free + 250


def test_a_slow_end_slows_the_link_both_ways() -> None:
    slow = {"xdp": "tx", "settings": DeviceSettings(link_gbps=1)}
    w = wired(numbered(200), far=slow, delay_ns=0).run()
    frame_ns = (60 + WIRE_OVERHEAD) * 8
    for packets in (w.sent, w.back):
        gaps = np.diff([packet.ts_ns for packet in packets])
        assert gaps.min() == frame_ns
        assert (gaps == frame_ns).sum() > 150
    assert lost_nothing(w)


def test_a_receiver_that_is_too_slow_drops_and_counts() -> None:
    """Redirecting on one CPU is faster than forwarding on another, and the short ring of netsec overflows."""
    machine = Machine(era="v6.1", cpus=2, memory_mb=MEMORY_MB, skbs=1 << 14)
    first, second = (DeviceSettings(irq_affinity=[cpu], link_gbps=100) for cpu in (0, 1))
    a, b = machine.netdev("mlx5", settings=first, xdp="redirect"), machine.netdev("mlx5", settings=first)
    c, d = (machine.netdev("netsec", settings=second) for _ in range(2))
    got: list[Packet] = []
    pipeline = Pipeline(machine).plug(a, source=numbered(3000)).plug(d, sinks=got.append).cable(b, c)
    trio.run(pipeline.route(a, b).route(c, d).run)
    sent, came, left = (pipeline.traffic(device) for device in (b, c, d))
    assert sent.transmitted == came.arrived == came.received + came.out_of_buffer
    assert came.out_of_buffer > 100
    assert len(got) == left.transmitted
    assert numbers(got) == sorted(set(numbers(got)))
    assert leaks(machine) == []


def test_a_frame_longer_than_the_other_end_takes_is_dropped_and_counted() -> None:
    w = wired(JUMBO, mtu=9000, machine={"memory_mb": 64}, far={"mtu": 1500, "xdp": "tx"}).run()
    short = [frame for frame in frames("jumbo.pcap") if len(frame) <= 1518]
    assert [packet.data for packet in w.sent] == frames("jumbo.pcap")
    assert [packet.data for packet in w.out] == short
    assert w.pipeline.traffic(w.far).oversize == len(frames("jumbo.pcap")) - len(short) > 0


@pytest.mark.parametrize("era", ["v5.15", "v6.1"])
def test_jumbo_frames_on_several_pages_arrive_whole(era: str) -> None:
    machine = Machine(era=era, memory_mb=128, skbs=1 << 14)
    a, b, c, d = (machine.netdev("mlx5", mtu=9000) for _ in range(4))
    got: list[Packet] = []
    pipeline = Pipeline(machine).plug(a, source=JUMBO).plug(d, sinks=got.append)
    trio.run(pipeline.cable(b, c).route(a, b).route(c, d).run)
    assert [packet.data for packet in got] == frames("jumbo.pcap")
    assert leaks(machine) == []


@pytest.mark.parametrize("era", ["v6.1", "v6.12"])
def test_xdp_frames_of_several_buffers_arrive_whole(era: str) -> None:
    legacy = {"options": {"rq": "legacy"}, "mtu": 9000}
    w = wired(JUMBO, era=era, machine={"memory_mb": 128}, far={"xdp": "tx"}, **legacy).run()
    assert [packet.data for packet in w.back] == [packet.data for packet in w.out] == frames("jumbo.pcap")
    assert lost_nothing(w)


def test_a_packet_that_was_cut_goes_on_at_its_length_on_the_wire(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    with open_writer(cut) as writer:
        for n, frame in enumerate(numbered(20)):
            writer.write(n, frame, wirelen=200)
    w = wired(cut, far={"xdp": "tx"}).run()
    assert [packet.data for packet in w.out] == [frame + bytes(140) for frame in numbered(20)]


def test_flows_are_spread_over_the_queues_behind_the_cable() -> None:
    w = wired(HTTP, machine={"cpus": 2}, far={"queues": 2, "xdp": "tx"}).run()
    seen = [w.far.ethtool()[f"rx{n}_xdp_tx_xmit"] for n in (0, 1)]
    assert min(seen) > 0.2 * sum(seen)
    assert sum(seen) == len(frames("http.pcap"))


def test_a_journal_has_a_new_packet_at_each_arrival(tmp_path: Path) -> None:
    told = tmp_path / "told.pcapng"
    w = wired(numbered(40), far={"xdp": "tx"}, pipeline={"journal": told}).run()
    journal = read(told)
    assert sorted(seen.packet_id for seen in journal.arrivals()) == list(range(120))
    sent = {(seen.interface, seen.packet_id) for seen in journal.transmissions()}
    for seen in journal.arrivals():
        there = {"mlx5_0 rx": "mlx5_1 tx", "mlx5_2 rx": "mlx5_2 tx", "mlx5_1 rx": "mlx5_0 tx"}[seen.interface]
        assert (there, seen.packet_id) in sent
        assert seen.verdict == (3 if seen.interface == "mlx5_2 rx" else None)
    assert [seen.ts_ns for seen in journal.packets] == sorted(seen.ts_ns for seen in journal.packets)
    assert len(w.out) == 40


def test_a_journal_is_in_order_of_time_wherever_the_engine_has_stopped(tmp_path: Path) -> None:
    """Frames are still on the cable when the CPU sleeps; nothing is open of them, as they are too long for its end."""
    told = tmp_path / "told.pcapng"
    machine = Machine(era="v4.19", memory_mb=MEMORY_MB, skbs=1 << 14)
    late = DeviceSettings(tx_usecs=500, tx_frames=200)
    a, b, c = machine.netdev("netsec"), machine.netdev("netsec", settings=late), machine.netdev("netsec", mtu=500)
    machine.cable(b, c, delay_ns=50_000)
    a.forward_to(b)
    feed = Feed(machine.k, a.number, open_source(numbered(100, 1000)), Rate.parse("max"))
    emulation = Emulation(machine, [feed], journal=told)
    while emulation.advance(1) is not State.DONE:
        emulation.delivered()
    emulation.close()
    times = [seen.ts_ns for seen in read(told).packets]
    assert len(times) == 300
    assert times == sorted(times)


def test_cabled_devices_need_no_sinks() -> None:
    machine = Machine(memory_mb=MEMORY_MB, skbs=1 << 14)
    a, b, c, d = (machine.netdev("mlx5") for _ in range(4))
    pipeline = Pipeline(machine).plug(a, source=DNS, repeat=20).cable(b, c).route(a, b).route(c, d)
    trio.run(pipeline.run)
    assert pipeline.traffic(d).transmitted == 16_000


def test_a_long_cable_holds_all_that_is_under_way() -> None:
    w = wired(numbered(3000), far={"xdp": "tx"}, delay_ns=2_000_000).run()
    assert numbers(w.out) == list(range(3000))
    assert w.back[0].ts_ns > w.sent[-1].ts_ns
    assert lost_nothing(w)


def test_a_checked_machine_has_nothing_to_complain_about() -> None:
    w = wired(numbered(60), far={"xdp": "tx"}, machine={"check": "every"}).run()
    assert numbers(w.out) == list(range(60))
    w.machine.wind_up()
    w.machine.assert_clean()


def test_the_same_machine_can_run_a_second_pipeline_over_its_cable() -> None:
    w = wired(numbered(10), far={"xdp": "tx"}).run()
    counters = Counters()
    trio.run(Pipeline(w.machine).plug(w.outer, source=numbered(30), sinks=counters).run)
    assert counters.packets == 30


@pytest.mark.parametrize("setup", SETUPS, ids=["v6.1", "netsec", "v4.19"])
def test_the_same_run_twice_is_the_same(setup: dict[str, Any]) -> None:
    assert digest(wired(DNS, **setup).run()) == digest(wired(DNS, **setup).run())


def test_compiled_and_interpreted_runs_are_the_same() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.pipeline.cabled", str(len(SETUPS))],
            cwd=ROOT,
            env={**os.environ, "NETEMU_JIT": jit},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for jit in ("1", "0")
    ]
    assert told[0] == told[1]
    assert len(set(told[0])) == len(SETUPS)


def test_in_real_time_frames_take_their_time_on_the_cable() -> None:
    async def main() -> None:
        options = {"far": {"xdp": "tx"}, "rate": "recorded", "settings": DeviceSettings(link_gbps=1)}
        w = wired(numbered(20), delay_ns=5e8, pipeline={"realtime": True}, **options)
        start = trio.current_time()
        await w.pipeline.run()
        assert 1.0 <= trio.current_time() - start < 1.1
        assert numbers(w.out) == list(range(20))
        assert 1e9 <= w.out[0].ts_ns - w.sent[0].ts_ns < 1.1e9

    in_virtual_time(main)


# -- frames that go round ----------------------------------------------------------------------------------------------


def ball_game(**pipeline: Any) -> Wired:
    """Two hosts that send back whatever comes."""
    w = wired(numbered(5), far={"xdp": "tx"}, rate="recorded", pipeline=pipeline)
    w.near.attach_xdp("tx")
    return w


def test_frames_that_go_round_do_so_until_the_time_is_up() -> None:
    w = ball_game(until_ns=300_000).run()
    near, far = w.pipeline.traffic(w.near), w.pipeline.traffic(w.far)
    assert near.arrived > 20
    assert far.transmitted == near.arrived + near.cable_drops
    assert near.transmitted == far.arrived + far.cable_drops
    assert near.cable_drops + far.cable_drops == 5
    assert max(packet.ts_ns for packet in w.sent) < 400_000
    assert leaks(w.machine) == []


@pytest.mark.parametrize("realtime", [False, True])
def test_frames_that_go_round_do_not_hold_up_cancelling(realtime: bool) -> None:
    async def main() -> None:
        with trio.fail_after(60), trio.move_on_after(0.2):
            await w.pipeline.run()

    w = ball_game(grace=0.2, realtime=realtime)
    trio.run(main)
    near, far = w.pipeline.traffic(w.near), w.pipeline.traffic(w.far)
    assert near.cable_drops + far.cable_drops == 5
    assert len(w.back) == far.transmitted == near.arrived + near.cable_drops
    assert leaks(w.machine) == []


def test_forwarding_round_cables_for_ever_is_refused() -> None:
    machine = Machine(memory_mb=MEMORY_MB, skbs=1 << 14)
    a, b, c = (machine.netdev("mlx5") for _ in range(3))
    pipeline = Pipeline(machine).plug(a, source=numbered(5)).cable(b, c).route(a, b)
    with pytest.raises(UsageError, match="received by devices 2, 1: route it elsewhere") as refused:
        trio.run(pipeline.run)
    assert "\n" not in str(refused.value)
    trio.run(pipeline.route(c, a).run)
    assert pipeline.traffic(a).transmitted == 5


def test_until_ns_ends_a_run_that_is_not_over() -> None:
    machine = Machine(memory_mb=MEMORY_MB, skbs=1 << 14)
    nic = machine.netdev("mlx5")
    got: list[Packet] = []
    trio.run(Pipeline(machine, until_ns=500_000).plug(nic, source=numbered(1000), rate="1e6", sinks=got.append).run)
    assert numbers(got) == list(range(500))
    assert leaks(machine) == []


def test_what_does_not_go_with_a_cable_is_one_line() -> None:
    machine = Machine(memory_mb=64, skbs=1 << 14)
    a, b, c, d = (machine.netdev("netsec") for _ in range(4))
    pipeline = Pipeline(machine).cable(a, b)
    wrong = [
        (lambda: pipeline.plug(a, source=[]), "device 0 has a source or a cable"),
        (lambda: Pipeline(machine).plug(b, source=[]), "device 1 has a source or a cable"),
        (lambda: pipeline.cable(a, c), "device 0 has a cable already, to device 1"),
        (lambda: pipeline.plug(c, source=[]).cable(c, d), "device 2 has a source or a cable"),
        (lambda: pipeline.plug(FaultInjector(a)), "device 0 has a cable, so it has no wrappers"),
        (lambda: Pipeline(machine).cable(d, FaultInjector(c)), "device 2 has a cable, so it has no wrappers"),
        (lambda: Pipeline(machine, until_ns=-1), "until_ns is a virtual time"),
        (lambda: Pipeline(machine, until_ns=1, realtime=True), "in real time, cancel the run"),
    ]
    for act, why in wrong:
        with pytest.raises(UsageError, match=why) as refused:
            act()
        assert "\n" not in str(refused.value)
