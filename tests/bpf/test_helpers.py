"""Helpers whose answers no kernel can be asked for: clocks, random numbers, text, events, devices and routes."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from netemu.bpf import instructions as bpf
from netemu.bpf.helper_routines import helper_routines
from netemu.bpf.helper_table import HELPERS
from netemu.bpf.instructions import Instruction
from netemu.bpf.map_kinds import MapType
from netemu.bpf.objects import MapSpec
from netemu.bpf.python_helpers import Device, Route
from tests.bpf.assembly import EXIT, a_map, add, call, constant, imm, load, mov, program, store, the_map

PACKET = bytes(range(100))
JITS = pytest.mark.parametrize("jit", [True, False])


def text(value: bytes) -> list[Instruction]:
    """Lay text on the stack and its address into r1, its length into r2."""
    padded = value + b"\0" * (-(len(value) + 1) % 8 + 1)
    code: list[Instruction] = []
    for at in range(0, len(padded), 8):
        code += [*constant(6, int.from_bytes(padded[at : at + 8], "little")), store(10, at - len(padded), 6)]
    return [*code, mov(1, 10), add(1, -len(padded)), imm(2, len(value) + 1)]


def test_every_helper_in_the_table_has_a_routine() -> None:
    assert len(HELPERS) == 26
    assert set(helper_routines()) == set(HELPERS)


@JITS
def test_clock_cpu_and_queue_are_those_of_the_host(jit: bool) -> None:
    for helper, expected in ((5, 123_456_789), (125, 123_456_789), (160, 123_456_789), (118, 30), (8, 2)):
        p = program(call(helper), EXIT, jit=jit, cpus=4)
        assert p.run(PACKET, now_ns=123_456_789, cpu=2).verdict == expected
    p = program(load(0, 1, 16, bpf.W), EXIT, jit=jit)
    assert p.run(PACKET, rxq=5).verdict == 5


@JITS
def test_random_numbers_follow_from_the_seed(jit: bool) -> None:
    def three(seed: int) -> list[int]:
        p = program(call(7), EXIT, jit=jit, seed=seed)
        return [p.run(PACKET).verdict for _ in range(3)]

    assert three(1) == three(1)
    assert three(1) != three(2)
    assert len(set(three(1))) == 3


@JITS
def test_text_is_formatted_as_the_kernel_does(jit: bool) -> None:
    code = [*text(b"%d %u %x\n"), imm(3, -5), imm(4, -5), imm(5, 255), call(6), EXIT]
    p = program(code, jit=jit)
    assert p.run(PACKET).verdict == len("-5 4294967291 ff\n") + 1
    assert list(p.vm.helpers.texts) == ["-5 4294967291 ff\n"]


@JITS
def test_events_hold_what_the_program_sent_and_the_piece_of_the_packet_it_asked_for(jit: bool) -> None:
    spec = a_map(MapType.PERF_EVENT_ARRAY, value=4, entries=0)
    code = [*constant(6, 0x1122334455667788), store(10, -8, 6), the_map(2, 0), constant(3, 0x5_FFFFFFFF), mov(4, 10)]
    p = program(*code, add(4, -8), imm(5, 8), call(25), EXIT, maps=(spec,), jit=jit)  # type: ignore[arg-type]
    assert p.run(PACKET).verdict == 0
    (event,) = p.vm.helpers.events
    assert (event.map, event.cpu) == ("m", 0)
    assert event.data == struct.pack("<Q", 0x1122334455667788) + PACKET[:5]


def mtu_check(length: int, difference: int, ifindex: int = 0) -> list[Instruction]:
    code = [imm(6, length), store(10, -4, 6, bpf.W), imm(2, ifindex), mov(3, 10), add(3, -4), imm(4, difference)]
    return [*code, imm(5, 0), call(163), EXIT]


@JITS
def test_the_mtu_is_that_of_the_device(jit: bool) -> None:
    def result(code: list[Instruction]) -> int:
        p = program(code, jit=jit)
        p.vm.helpers.devices = {1: Device(mtu=80), 7: Device(mtu=1500)}
        return p.run(PACKET).verdict

    assert result(mtu_check(0, 0)) == 1  # 100 bytes with their Ethernet header, 94 fit
    assert result(mtu_check(0, -6)) == 0
    assert result(mtu_check(1500, 0, ifindex=7)) == 0
    assert result(mtu_check(1501, 0, ifindex=7)) == 1
    assert result(mtu_check(0, 0, ifindex=3)) == 0x100000000 - 19


@JITS
def test_a_route_gives_device_and_addresses(jit: bool) -> None:
    def looked_up(address: bytes, *routes: Route) -> tuple[int, bytes]:
        code: list[Any] = [imm(6, 0)]
        code += [store(10, -64 + at, 6) for at in range(0, 64, 8)]
        code += [imm(6, 2), store(10, -64, 6, bpf.B), constant(6, int.from_bytes(address, "little"))]
        code += [store(10, -32, 6, bpf.W), mov(2, 10), add(2, -64), imm(3, 64), imm(4, 0), call(69), EXIT]
        p = program(*code, jit=jit)
        p.vm.helpers.routes = routes
        p.vm.helpers.devices = {4: Device(mac="02:00:00:00:00:04")}
        verdict = p.run(PACKET).verdict
        return verdict, p.vm.arena.read(p.vm.state.stack_top - 64, 64)

    near = Route("10.1.0.0/16", 4, "02:00:00:00:00:99")
    far = Route("10.0.0.0/8", 5)
    verdict, filled = looked_up(bytes([10, 1, 2, 3]), far, near)
    assert verdict == 0
    assert struct.unpack_from("<I", filled, 8) == (4,)
    assert filled[52:64].hex() == "020000000004020000000099"
    assert looked_up(bytes([10, 2, 2, 3]), far, near)[0] == 7  # no neighbour is known
    assert looked_up(bytes([11, 2, 2, 3]), far, near)[0] == 4  # not forwarded


def test_what_a_helper_in_python_raises_is_raised_behind_the_run() -> None:
    def broken(_line: str) -> None:
        raise ZeroDivisionError

    p = program([*text(b"hello"), call(6), EXIT])
    p.vm.helpers.on_text = broken
    with pytest.raises(ZeroDivisionError):
        p.run(PACKET)


@JITS
def test_a_tail_call_ends_after_33_of_them(jit: bool) -> None:
    progs = a_map(MapType.PROG_ARRAY, value=4, entries=2, name="p")
    count = MapSpec("c", MapType.ARRAY, 4, 8, 1)
    code = [mov(6, 1), imm(7, 0), store(10, -4, 7, bpf.W), the_map(1, 1), mov(2, 10), add(2, -4), call(1)]
    code += [load(1, 0, 0), add(1, 1), store(0, 0, 1), mov(1, 6), the_map(2, 0), imm(3, 0), call(12), imm(0, 3), EXIT]
    p = program(*code, maps=(progs, count), jit=jit)  # type: ignore[arg-type]
    p.maps["p"][0] = "test"
    assert p.run(PACKET).verdict == 3
    assert p.maps["c"][0] == 34
