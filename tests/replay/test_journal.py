"""``--out FILE.pcapng`` tells what happened to every packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import netemu
from netemu.net.device_layout import WIRE_OVERHEAD
from netemu.net.run import OUTPUT_ROWS
from netemu.net.xdp_layout import VERDICTS
from netemu.pcap import Batch, open_capture, packets
from netemu.pipeline import Frames, Pipeline, journal
from netemu.profiles.eras import era_names
from tests.bpf.shelf import object_file
from tests.pipeline.networks import leaks, router
from tests.replay.journals import Journal, read
from tests.replay.runs import DNS, FLOOD, HTTP, IMIX, JUMBO, MIXED, frames, pool_of, run

SETUPS: list[tuple[str, str]] = [("mlx5", era) for era in era_names()] + [("netsec", era) for era in era_names()]


def recorded(tmp_path: Path, trace: Any, **options: Any) -> tuple[dict[str, Any], Journal]:
    """The report of a replay, and the journal that it wrote."""
    out = tmp_path / "out.pcapng"
    data = netemu.replay(trace, out=out, **options).to_dict()
    assert data["leaks"] == []
    return data, read(out)


@pytest.mark.parametrize(("driver", "era"), SETUPS)
def test_every_packet_is_there_when_it_arrives_and_when_it_is_transmitted(
    tmp_path: Path, driver: str, era: str
) -> None:
    data, told = recorded(tmp_path, DNS, driver=driver, era=era, repeat=2)
    assert told.interfaces == [f"{driver}_0 rx", f"{driver}_0 tx"]
    for seen in (told.arrivals(), told.transmissions()):
        assert [s.packet_id for s in seen] == list(range(1600))
        assert [s.data for s in seen] == 2 * frames("dns.pcap")
    assert [s.ts_ns for s in told.packets] == sorted(s.ts_ns for s in told.packets)
    assert told.counts == {f"{driver}_0 rx": (1600, 0), f"{driver}_0 tx": (1600, 0)}
    assert sum(told.fates().values()) == 1600
    assert set(told.fates()) == {"of no page_pool"} or "of no page_pool" not in told.fates()
    assert data["packets"]["forwarded"] == 1600


@pytest.mark.parametrize("rate", ["recorded", "max"])
def test_arrivals_are_on_the_interfaces_that_they_were_captured_on(tmp_path: Path, rate: str) -> None:
    _, told = recorded(tmp_path, MIXED, rate=rate)
    with open_capture(MIXED) as capture:
        batch = Batch()
        came = [[], [], []]  # type: list[list[tuple[bytes, int]]]
        while count := capture.read_into(batch):
            for _ts, offset, caplen, wirelen, interface, _ in batch.records[:count].tolist():
                came[interface].append((batch.data[offset : offset + caplen].tobytes(), wirelen))
        names = [f"mlx5_0 rx {interface.name}" for interface in capture.interfaces]
    assert sorted(told.interfaces) == sorted([*names, "mlx5_0 tx"])
    for name, sent in zip(names, came, strict=True):
        assert [(s.data, s.wirelen) for s in told.arrivals() if s.interface == name] == sent


def test_an_arrival_is_stamped_when_the_wire_has_brought_it(tmp_path: Path) -> None:
    _, told = recorded(tmp_path, IMIX, rate="recorded")
    came = [ts for ts, _data, _wire in packets(IMIX)]
    for s, ts in zip(told.arrivals(), came, strict=True):
        on_the_wire = (s.wirelen + WIRE_OVERHEAD) * 8 // 100  # ns at 100 Gbit/s
        assert ts + on_the_wire <= s.ts_ns <= ts + on_the_wire + 1000


@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
@pytest.mark.parametrize("program", ["vlan_swap", "icmp_echo", "parse_deep", "adjust_tail"])
def test_verdicts_and_queues_are_those_of_the_report(tmp_path: Path, driver: str, program: str) -> None:
    queues = 2 if driver == "mlx5" else 1
    data, told = recorded(tmp_path, MIXED, driver=driver, cpus=2, queues=queues, xdp=str(object_file(program)))
    given = [s.verdict for s in told.arrivals()]
    assert {name: given.count(code) for code, name in enumerate(VERDICTS)} == data["xdp"]
    if driver == "mlx5":
        for queue in range(2):
            passed = [s for s in told.arrivals() if s.queue == queue and s.verdict == VERDICTS.index("pass")]
            assert len(passed) == data["ethtool"][f"rx{queue}_packets"]
    sent = [s.packet_id for s in told.transmissions()]
    assert sorted(sent) == [s.packet_id for s in told.arrivals() if s.verdict in (2, 3) and not s.comments[1:]]


@pytest.mark.parametrize(
    ("trace", "options"),
    [
        (JUMBO, {}),
        (HTTP, {"action": "drop"}),
        (HTTP, {"action": "generic-xdp-drop"}),
        (FLOOD, {"driver": "netsec", "rate": "2e7"}),
        (FLOOD, {"rate": "5e7"}),
        (FLOOD, {"rate": "5e7", "driver": "netsec", "xdp": "tx"}),
        (FLOOD, {"rate": "5e7", "xdp": "redirect"}),
        (DNS, {"inject": ["skb=every:50", "tx=7"]}),
        (DNS, {"action": "local", "hold_us": 1e5, "repeat": 8}),
    ],
)
def test_dropped_packets_are_there_with_the_reason_of_the_report(
    tmp_path: Path, trace: Path, options: dict[str, Any]
) -> None:
    data, told = recorded(tmp_path, trace, **options)
    by_report = {k: n for k, n in data["packets"]["dropped"].items() if k not in ("xdp_drop", "xdp_aborted")}
    assert told.dropped() == by_report
    assert len(told.arrivals()) == data["packets"]["offered"]
    lost = sum(by_report.get(reason, 0) for reason in ("rx_out_of_buffer", "oversize"))
    lost -= data["ethtool"].get("rx_oversize_pkts_sw_drop", 0)  # these the NIC has taken
    name = f"{data['driver']}_0 rx"
    assert told.counts[name] == (data["packets"]["offered"], lost)
    after_the_last = 0
    for s in reversed(told.arrivals()):
        if s.comments not in (["dropped: rx_out_of_buffer"], ["dropped: oversize"]):
            break
        after_the_last += 1
    assert sum(s.dropcount for s in told.arrivals()) == lost - after_the_last


@pytest.mark.parametrize("era", [era for era in era_names() if era not in ("v4.19", "v5.0")])
@pytest.mark.parametrize("options", [{}, {"xdp": "drop"}, {"xdp": "tx"}, {"recycle": 0.3}, {"action": "local"}])
def test_what_became_of_pages_is_what_their_pool_counted(tmp_path: Path, era: str, options: dict[str, Any]) -> None:
    data, told = recorded(tmp_path, HTTP, driver="netsec", era=era, **options)
    pool = pool_of(data)
    fates = told.fates()
    still = fates.get("still in use", 0)
    for fate, counter in (
        ("recycled into the page_pool cache", "recycle-cached"),
        ("recycled into the page_pool ring", "recycle-ring"),
        ("released from its page_pool: the ring was full", "recycle-ring-full"),
    ):
        assert pool[counter] - still <= fates.get(fate, 0) <= pool[counter], fate
    assert sum(fates.values()) == data["packets"]["offered"]
    assert still <= 64


def test_a_frame_on_several_pages_names_the_first(tmp_path: Path) -> None:
    _, told = recorded(tmp_path, JUMBO, mtu=9000)
    large = [s for s in told.arrivals() if s.wirelen > 9000]
    assert large
    assert all(" and 2 more " in s.comments[0] or " and 3 more " in s.comments[0] for s in large)


@pytest.mark.parametrize("cpus", [1, 4])
def test_recording_changes_nothing_in_the_report(tmp_path: Path, cpus: int) -> None:
    data, _ = recorded(tmp_path, FLOOD, cpus=cpus)
    plain = run(FLOOD, cpus=cpus)
    for report in (data, plain):
        del report["wall_s"]
    assert data == plain


def test_what_is_held_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    take = journal.Journal.take

    def counted(self: journal.Journal, frames: Frames) -> None:
        take(self, frames)
        held.append(len(self._notes))

    monkeypatch.setattr(journal, "MOST_PACKETS", 100)
    monkeypatch.setattr(journal.Journal, "take", counted)
    _, told = recorded(tmp_path, DNS, action="local", hold_us=1e4, repeat=12)
    assert [s.packet_id for s in told.arrivals()] == list(range(9600))
    assert held[0] == 100
    assert max(held) == 100
    assert told.fates()["still in use"] > 100


def test_frames_of_one_flush_always_find_room(tmp_path: Path) -> None:
    data, told = recorded(tmp_path, FLOOD, xdp="redirect", repeat=9)
    assert data["packets"]["offered"] > 2 * OUTPUT_ROWS
    assert [s.packet_id for s in told.transmissions()] == list(range(data["packets"]["offered"]))


def test_a_packet_has_one_number_on_all_devices(tmp_path: Path) -> None:
    machine, left, right = router()
    out = tmp_path / "all.pcapng"
    pipeline = Pipeline(machine, journal=out).plug(left, source=DNS).route(left, right)
    trio.run(pipeline.run)
    assert leaks(machine) == []
    told = read(out)
    assert told.interfaces == ["mlx5_0 rx", "mlx5_1 tx"]
    assert {s.packet_id: s.data for s in told.arrivals()} == {s.packet_id: s.data for s in told.transmissions()}
