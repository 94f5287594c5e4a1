"""XDP programs as Python functions: native, guarded and over batches, they see and do the same."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

import netemu
from netemu import XDP_DROP, XDP_PASS, ArrayMap, HashMap, KernelBug, NotCompiled, UsageError, XdpBatch, xdp
from netemu.cli import COMMANDS
from netemu.engine import jit
from netemu.pcap import packets
from tests.drivers.xdp_stepping import frame_of
from tests.xdp import programs
from tests.xdp.programs import made, told

DEVICES = [("mlx5", "v4.19"), ("mlx5", "v6.12"), ("netsec", "v6.1")]
both_ways = pytest.mark.parametrize("compiled", [True, False], ids=["native", "guarded"])
every_device = pytest.mark.parametrize(("driver", "era"), DEVICES)


def replayed(frames: list[bytes], program: Any, **options: Any) -> netemu.ReplayResult:
    result = netemu.replay(frames, xdp=program, memory_mb=16, **options)
    assert result["leaks"] == []
    return result


UDP_PACKET = UDP(sport=1000, dport=53) / Raw(b"x" * 20)
FRAMES = [
    (Ether() / IP() / UDP_PACKET, (0x0800, -1, 14, -1, 34, -1)),
    (Ether() / IP() / TCP(dport=80), (0x0800, -1, 14, -1, -1, 34)),
    (Ether() / IP(options=[IPOption(b"\x01" * 8)]) / UDP_PACKET, (0x0800, -1, 14, -1, 42, -1)),
    (Ether() / IP(flags="MF") / UDP_PACKET, (0x0800, -1, 14, -1, 34, -1)),
    (Ether() / IP(frag=3, proto=17) / Raw(b"y" * 40), (0x0800, -1, 14, -1, -1, -1)),
    (Ether() / IP(proto=47) / Raw(b"y" * 40), (0x0800, -1, 14, -1, -1, -1)),
    (Ether() / Dot1Q(vlan=5) / IP() / UDP_PACKET, (0x0800, 5, 18, -1, 38, -1)),
    (Ether() / Dot1AD(vlan=9) / Dot1Q(vlan=5) / IPv6() / TCP(), (0x86DD, 9, -1, 22, -1, 62)),
    (Ether() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / IP() / UDP_PACKET, (0x8100, 1, -1, -1, -1, -1)),
    (Ether() / IPv6() / UDP_PACKET, (0x86DD, -1, -1, 14, 54, -1)),
    (Ether() / ARP() / Raw(bytes(20)), (0x0806, -1, -1, -1, -1, -1)),
]


@both_ways
def test_headers_are_found_where_they_are(compiled: bool) -> None:
    frames = [bytes(frame) for frame, _found in FRAMES]
    replayed(frames, made(programs.parse, compiled))
    assert told() == [(len(f), len(f), 0, *found) for f, (_frame, found) in zip(frames, FRAMES, strict=True)]


def cut_frames() -> list[bytes]:
    """Every beginning, of 14 bytes or more, of frames with many headers."""
    whole = [bytes(frame) for frame, _found in FRAMES[2:9:3]]
    return [frame[:length] for frame in whole for length in range(14, len(frame))]


def columns_of(batch: XdpBatch) -> int:
    kind = batch.u16(12)
    fields = [batch.length, batch.linear, 0 * kind, 0 * kind, 0 * kind, batch.ipv4(), batch.ipv6()]
    rows = np.stack([*fields, batch.udp(), batch.tcp()], axis=1)
    for number, row in zip(batch.number.tolist(), rows.tolist(), strict=True):
        for at, value in enumerate(row):
            programs.seen[number * 9 + at] = value
    return XDP_DROP


def test_cut_off_packets_are_parsed_alike_in_every_way_and_fault_in_none() -> None:
    frames = cut_frames()
    found = []
    for program in (made(programs.parse, True), made(programs.parse, False), xdp(batch=True)(columns_of)):
        replayed(frames, program)
        found.append(told())
    native, guarded, batch = found
    assert len(native) == len(frames)
    assert native == guarded
    assert [row[5:] for row in batch] == [row[5:] for row in native]


@both_ways
@every_device
def test_bytes_and_bounds_that_a_program_changes_go_out(tmp_path: Path, driver: str, era: str, compiled: bool) -> None:
    out = tmp_path / "out.pcap"
    frames = [frame_of(100 + n) for n in range(150)]
    result = replayed(frames, made(programs.rewrite, compiled), driver=driver, era=era, out=out)
    assert result["xdp"]["tx"] == len(frames)
    tag = bytes([0x81, 0, 0, 7, 8, 0])
    wanted = [f[6:8] + f[8:12] + f[0:6] + tag for f in frames]
    sent = [data for _ts, data, _wire in packets(out)]
    assert [len(data) for data in sent] == [len(f) for f in frames]
    # the head moved: what were bytes 0 to 11 is at 4, and the new addresses cover bytes 0 to 3 and a part of that
    assert [data[:18] for data in sent] == wanted
    assert [data[18:] for data in sent] == [f[14:-4] for f in frames]


FAULTS = {
    1: ("XP-01", "touches byte 63 of packet 5, which is outside of it"),
    2: ("XP-01", "touches byte -1 of packet 5, which is outside of it"),
    3: ("XP-02", "looks for key 77 at packet 5, which its map does not have"),
    4: ("XP-03", "adds key 4 at packet 5 to a map that is full"),
    5: ("XP-04", "uses index 4608 at packet 5, which its array does not have"),
}


@both_ways
def test_a_fault_is_an_error_with_the_packets_number(compiled: bool) -> None:
    for what, (code, text) in FAULTS.items():
        programs.ports.clear()
        with pytest.raises(KernelBug, match=f"{code}: the XDP program {text}"):
            replayed([bytes([what]) + bytes(63)] * 10, made(programs.faulty, compiled))


@pytest.mark.parametrize("way", ["native", "guarded", "batch"])
def test_the_first_of_several_buffers_in_a_striding_queue_is_empty(way: str) -> None:
    def batch_linear(batch: XdpBatch) -> int:
        for number, length, linear in zip(batch.number, batch.length, batch.linear, strict=True):
            programs.seen[int(number) * 9] = int(length)
            programs.seen[int(number) * 9 + 1] = int(linear)
        return XDP_DROP

    program = xdp(batch=True)(batch_linear) if way == "batch" else made(programs.parse, way == "native")
    options = {"rq": "striding", "rx_ring": "128"}
    replayed([frame_of(60), frame_of(9000)], program, era="v6.6", mtu=9000, options=options)
    assert [row[:2] for row in told()] == [(60, 0), (9000, 0)]


SIZES = (1, 2, 4, 6)
FAR = (2**63 - 1, 2**63 - 8, 2**62, 2**32, 2**31, -(2**31), -(2**32), -(2**62), -(2**63) + 1, -(2**63))


@both_ways
def test_no_byte_outside_of_a_packet_is_reached_however_far_it_is(compiled: bool) -> None:
    """Offsets that wrap when something is added to them are outside, as any other."""
    ends = [64 - size for size in SIZES * 2]
    rounds = [[at] * 8 for at in (*FAR, -1, 64, 65)] + [[end + 1 for end in ends], [0] * 8, ends]
    for number, at in enumerate(at for turn in rounds for at in turn):
        programs.aims[number], programs.reached[number] = at, 0
    result = replayed([bytes(64)] * 8 * len(rounds), made(programs.reaches, compiled, on_fault="abort"))
    outside = 8 * (len(rounds) - 2)
    assert list(programs.reached)[: 8 * len(rounds)] == [0] * outside + [1] * 16
    assert (result["xdp"]["aborted"], result["xdp"]["drop"]) == (outside, 16)


@both_ways
def test_an_offset_beyond_64_bits_is_outside(compiled: bool) -> None:
    programs.ports.clear()
    far = (2**62, 2**63 - 8, 2**63 - 1)
    for number, at in enumerate(at for at in far for _ in range(4)):
        programs.aims[number], programs.reached[number] = at, 0
    program = made(programs.reaches_further, compiled, on_fault="abort")
    assert replayed([bytes(64)] * 12, program)["xdp"]["aborted"] == 12
    assert list(programs.reached)[:12] == [0] * 12


def test_no_byte_outside_of_a_packet_is_reached_by_a_batch() -> None:
    aims = [(at, size) for size in SIZES[:3] for at in (*FAR, -1, 65 - size, 64)]
    answers = []

    @xdp(batch=True)
    def reach(batch: XdpBatch) -> int:
        read = {1: batch.u8, 2: batch.u16, 4: batch.u32}
        answers.extend(int(read[size](at, missing=-9)[0]) for at, size in aims)
        answers.extend(int(read[size](64 - size)[0]) for size in read)
        return XDP_DROP

    replayed([bytes(64)], reach)
    assert answers == [-9] * len(aims) + [0] * 3


@both_ways
def test_an_exception_is_an_error_with_the_packets_number(compiled: bool) -> None:
    text = (
        "the XDP program raised an exception at packet 5"
        if compiled and jit.JIT
        else (r"XDP program programs\.py:faulty \(line \d+\) failed at packet 5: ZeroDivisionError")
    )
    with pytest.raises(KernelBug, match=text):
        replayed([b"\x06" + bytes(63)] * 10, made(programs.faulty, compiled))


@both_ways
def test_by_choice_a_fault_aborts_the_packet(compiled: bool) -> None:
    program = made(programs.faulty, compiled, on_fault="abort")
    for what in (1, 3, 6):
        result = replayed([bytes([what]) + bytes(63)] * 10, program)
        assert (result["xdp"]["aborted"], result["xdp"]["pass"]) == (1, 9)


names: dict[int, str] = {}


@xdp
def uses_a_dictionary(packet: Any) -> int:
    names[packet.number()] = "seen"
    return XDP_PASS


def test_what_cannot_be_compiled_runs_as_guarded_python_and_says_why() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = replayed([bytes(60)] * 3, uses_a_dictionary)
    assert result["xdp"]["pass"] == 3
    assert names == dict.fromkeys(range(3), "seen")
    if jit.JIT:
        (warning,) = caught
        assert warning.category is NotCompiled
        assert str(warning.message).startswith(
            "XDP program test_functions.py:uses_a_dictionary runs as guarded Python: Untyped global name 'names'"
        )
        with pytest.raises(UsageError, match="cannot be compiled: Untyped global name 'names'"):
            replayed([bytes(60)], xdp(compiled=True)(uses_a_dictionary.function))


def nine(packet: Any) -> int:
    return 9


@both_ways
def test_an_answer_that_is_no_verdict_is_an_error_or_by_choice_what_the_driver_makes_of_it(compiled: bool) -> None:
    frames = [bytes(60)] * 3
    with pytest.raises(KernelBug, match="XP-06: the XDP program answers 9 at packet 0, which is no verdict"):
        replayed(frames, made(nine, compiled))
    assert replayed(frames, made(nine, compiled, on_fault="abort"))["xdp"]["aborted"] == 3


def test_an_answer_that_has_too_many_bits_is_no_verdict_either() -> None:
    with pytest.raises(KernelBug, match=r"XP-06: the XDP program answers -?\d+ at packet 0"):
        replayed([bytes(60)] * 3, xdp(compiled=False)(lambda packet: 2**70))


def test_a_verdict_is_an_integer() -> None:
    with pytest.raises(KernelBug, match="failed at packet 0: TypeError: 'NoneType' object cannot be"):
        replayed([bytes(60)], xdp(compiled=False)(lambda packet: None))


# -- batches ---------------------------------------------------------------------------------------------------------


@every_device
def test_each_packet_of_a_batch_gets_its_verdict(driver: str, era: str) -> None:
    sizes = []
    counts = HashMap(8)

    @xdp(batch=True)
    def odd_ones(batch: XdpBatch) -> Any:
        sizes.append(len(batch))
        counts.add_all(batch.u8(1))
        return np.where(batch.u8(0) % 2, XDP_DROP, XDP_PASS)

    frames = [bytes([n % 256, n % 3]) + bytes(58) for n in range(2000)]
    result = replayed(frames, odd_ones, driver=driver, era=era)
    assert (result["xdp"]["drop"], result["xdp"]["pass"]) == (1000, 1000)
    assert result["packets"]["forwarded"] == 1000
    assert dict(counts) == {0: 667, 1: 667, 2: 666}
    assert sum(sizes) == len(frames)
    assert max(sizes) > 1


def test_a_batch_names_the_packet_that_is_too_short_and_takes_another_value_for_it() -> None:
    frames = [bytes(60)] * 7 + [bytes(20)] + [bytes(60)] * 3
    with pytest.raises(
        KernelBug, match="failed at packet 7: OutsideOfPackets: byte 30 is outside of the packet, which"
    ):
        replayed(frames, xdp(batch=True)(lambda batch: batch.u16(30) + XDP_PASS))
    result = replayed(frames, xdp(batch=True)(lambda batch: batch.u16(30, missing=-1) + XDP_PASS))
    assert (result["xdp"]["pass"], result["xdp"]["drop"]) == (10, 1)
    result = replayed(frames, xdp(batch=True, on_fault="abort")(lambda batch: batch.u16(30)))
    assert result["xdp"]["aborted"] > 0


def test_a_batch_that_answers_something_else_is_an_error() -> None:
    frames = [bytes(60)] * 3
    with pytest.raises(KernelBug, match="UsageError: a batch program answers an integer or an array of"):
        replayed(frames, xdp(batch=True)(lambda batch: [1.5]))
    with pytest.raises(KernelBug, match="UsageError: an offset is an integer or an array of"):
        replayed(frames, xdp(batch=True)(lambda batch: batch.u8(np.arange(100))))
    with pytest.raises(KernelBug, match="XP-06: the XDP program answers 7 at packet 1, which is no verdict"):
        replayed(frames, xdp(batch=True)(lambda batch: np.where(batch.number == 1, 7, XDP_PASS)))


def test_taking_a_program_off_and_putting_another_on_forgets_verdicts() -> None:
    machine = netemu.Machine(memory_mb=16)
    nic = machine.netdev("mlx5", xdp=xdp(batch=True)(lambda batch: XDP_PASS))
    nic.attach_xdp(xdp(batch=True)(lambda batch: XDP_DROP))
    nic.detach_xdp()
    nic.attach_xdp(made(programs.parse, False))
    nic.stop()


# -- choices and files -----------------------------------------------------------------------------------------------


def test_choices_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="on_fault is 'raise' or 'abort'"):
        xdp(on_fault="ignore")(print)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="a batch program works on numpy arrays"):
        xdp(batch=True, compiled=True)(print)


PROGRAM = """
from netemu import XDP_DROP, XDP_PASS, ArrayMap, xdp

counts = ArrayMap(1)

@xdp(compiled=False)
def drop_dns(packet):
    udp = packet.udp()
    if udp >= 0 and packet.u16(udp + 2) == 53:
        counts[0] += 1
        return XDP_DROP
    return XDP_PASS
"""


def run(program: str) -> Any:
    return CliRunner().invoke(COMMANDS, ["replay", "traces/dns.pcap", "--json", "--xdp", program])


def test_the_command_takes_a_file_and_a_name_where_there_are_several(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    for text in (f"{file}:drop_dns", str(file)):
        result = run(text)
        assert result.exit_code == 0
        assert json.loads(result.stdout)["xdp"] == {"aborted": 0, "drop": 400, "pass": 400, "tx": 0, "redirect": 0}


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    for text, name, reason in (
        (None, "x", "there is no such file"),
        ("def f(:", "f", "line 1: invalid syntax"),
        ("1 / 0", "f", "ZeroDivisionError: division by zero"),
        (PROGRAM + PROGRAM.replace("drop_dns", "other"), None, "has several programs, say which"),
        ("1", None, "has no program: it has no function under @netemu.xdp"),
        (PROGRAM, "drop_http", "has no program 'drop_http': it has drop_dns"),
        ("def f(p): return 1", "f", "has no program 'f': it has no function under @netemu.xdp"),
    ):
        if text is not None:
            file.write_text(text)
        result = run(f"{file}:{name}" if name else str(file))
        assert (result.exit_code, result.stdout) == (2, "")
        assert reason in result.stderr
        assert result.stderr.startswith("netemu: error: XDP program file")
        assert result.stderr.count("\n") == 1


UNCOMPILED = """
import netemu

verdicts = {}

@netemu.xdp
def named(packet):
    return verdicts.setdefault("drop", netemu.XDP_DROP)
"""


def test_a_warning_is_one_line_and_the_program_runs(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(UNCOMPILED)
    command = [sys.executable, "-m", "netemu.cli", "replay", "traces/dns.pcap", "--json", "--xdp", f"{file}:named"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["xdp"]["drop"] == 800
    warned = [line for line in ended.stderr.splitlines() if "warning" in line]
    if jit.JIT:
        (line,) = warned
        assert line.startswith("netemu: warning: XDP program program.py:named runs as guarded Python: ")


def test_a_program_can_be_called_by_itself() -> None:
    array = ArrayMap(1)

    @xdp
    def counts(packet: Any) -> int:
        array[0] += packet
        return XDP_PASS

    assert counts(3) == XDP_PASS
    assert array[0] == 3
