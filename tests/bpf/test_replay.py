"""Programs on emulated devices: verdicts, redirects and packets as outside, and every page accounted for."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import netemu
from netemu.bpf import instructions as bpf
from netemu.bpf.helper_routines import XDP_PASS
from netemu.bpf.program import ACTIONS, XdpProgram
from netemu.pcap import packets
from netemu.report.terminal import render
from netemu.xdp_object import ObjectProgram
from tests.bpf.assembly import EXIT, imm, load, program
from tests.bpf.shelf import EXAMPLES, object_file

TRACE = Path(__file__).parents[2] / "traces" / "mixed.pcapng"
DRIVERS = ("mlx5", "netsec")
STATELESS = ("parse_deep", "vlan_swap", "encapsulate", "adjust_tail", "icmp_echo", "core_fields", "load_store_bytes")


def example(name: str, cpus: int = 1, **options: object) -> ObjectProgram:
    held = EXAMPLES[name]
    suffix = f":{held.program}" if held.program else ""
    return ObjectProgram.from_text(f"{object_file(name)}{suffix}", maps=held.entries, cpus=cpus, **options)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_in_a_replay_and_no_page_is_lost(name: str, driver: str) -> None:
    result = netemu.replay(TRACE, driver=driver, xdp=example(name, cpus=2), cpus=2).to_dict()
    assert sum(result["xdp"].values()) == result["packets"]["offered"]
    assert result["leaks"] == []


@pytest.mark.parametrize("safety", ["sandbox", "strict"])
@pytest.mark.parametrize("name", STATELESS)
def test_verdicts_on_a_device_are_those_of_the_program_alone(name: str, safety: str) -> None:
    result = netemu.replay(TRACE, driver="mlx5", xdp=example(name, safety=safety)).to_dict()
    alone = XdpProgram(object_file(name))
    seen = Counter(alone.run(bytes(data)).action for _, data, _ in packets(TRACE))
    assert result["xdp"] == {action: seen[action] for action in ACTIONS}


def test_what_a_program_made_of_a_packet_is_what_is_sent(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    netemu.replay(TRACE, driver="mlx5", xdp=str(object_file("vlan_swap")), action="drop", out=out)
    alone = XdpProgram(object_file("vlan_swap"))
    results = [alone.run(bytes(data)) for _, data, _ in packets(TRACE)]
    assert [bytes(data) for _, data, _ in packets(out)] == [r.data for r in results if r.action == "tx"]


def test_a_fault_is_reported_with_its_packet_instruction_and_address() -> None:
    past_60_bytes = program(load(1, 1, 0, bpf.W), load(0, 1, 60), imm(0, XDP_PASS), EXIT, safety="strict")
    result = netemu.replay(TRACE, driver="mlx5", xdp=ObjectProgram(past_60_bytes))
    short = [number for number, (_, data, _) in enumerate(packets(TRACE)) if len(data) < 68]
    (fault,) = result.to_dict()["xdp_faults"]
    assert (fault["runs"], fault["packet"]) == (len(short), short[0])
    assert "instruction 1: r0 = *(u64 *)(r1 +60): 8 bytes at 0x" in fault["first"]
    assert "outside the packet (0x" in fault["first"]
    console = Console(file=StringIO(), width=120)
    render(result.to_dict(), console)
    assert f"{len(short)} runs ended by a fault (aborted); the first, on packet {short[0]}" in console.file.getvalue()


def test_packets_go_to_the_cpus_of_a_cpumap() -> None:
    program = example("cpumap", cpus=2)
    result = netemu.replay(TRACE, driver="netsec", xdp=program, cpus=2).to_dict()
    assert result["xdp"]["redirect"] == result["packets"]["offered"]


def test_virtual_time_is_the_clock_of_a_program() -> None:
    program = example("rate_limiter")
    netemu.replay(TRACE.parent / "http.pcap", driver="mlx5", xdp=program, rate="recorded")
    times = list(program.program.maps["refilled_at"].values())
    assert len(set(times)) > 1
    assert max(times) > 0
