"""Short programs for tests, by instruction."""

from __future__ import annotations

from pathlib import Path

from netemu.bpf import instructions as bpf
from netemu.bpf.instructions import Instruction
from netemu.bpf.map_kinds import MapType
from netemu.bpf.objects import BpfObject, MapSpec, ProgramSpec
from netemu.bpf.program import XdpProgram
from netemu.bpf.vm import Safety

EXIT = Instruction(bpf.EXIT_OP, 0, 0, 0, 0)


def mov(dst: int, src: int) -> Instruction:
    return Instruction(bpf.ALU64 | bpf.MOV | bpf.X, dst, src, 0, 0)


def imm(dst: int, value: int) -> Instruction:
    return Instruction(bpf.ALU64 | bpf.MOV, dst, 0, 0, value)


def add(dst: int, value: int) -> Instruction:
    return Instruction(bpf.ALU64 | bpf.ADD, dst, 0, 0, value)


def constant(dst: int, value: int, src: int = bpf.CONSTANT) -> list[Instruction]:
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    signed = [n - (1 << 32) if n >> 31 else n for n in (low, high)]
    return [Instruction(bpf.LDDW, dst, src, 0, signed[0]), Instruction(0, 0, 0, 0, signed[1])]


def the_map(dst: int, number: int) -> list[Instruction]:
    return constant(dst, number, bpf.MAP)


def load(dst: int, src: int, off: int, size: int = bpf.DW) -> Instruction:
    return Instruction(bpf.LDX | bpf.MEM | size, dst, src, off, 0)


def store(dst: int, off: int, src: int, size: int = bpf.DW) -> Instruction:
    return Instruction(bpf.STX | bpf.MEM | size, dst, src, off, 0)


def call(helper: int) -> Instruction:
    return Instruction(bpf.CALL_OP, 0, 0, 0, helper)


def call_local(distance: int) -> Instruction:
    return Instruction(bpf.CALL_OP, 0, bpf.CALL_LOCAL, 0, distance)


def goto(distance: int) -> Instruction:
    return Instruction(bpf.JMP | bpf.JA, 0, 0, distance, 0)


def a_map(kind: MapType = MapType.HASH, key: int = 4, value: int = 8, entries: int = 8, name: str = "m") -> MapSpec:
    return MapSpec(name, kind, key, value, entries)


def program(
    *code: Instruction | list[Instruction],
    maps: tuple[MapSpec, ...] = (),
    safety: Safety = "sandbox",
    **options: object,
) -> XdpProgram:
    """A program of its own machine."""
    flat = [i for part in code for i in (part if isinstance(part, list) else [part])]
    spec = ProgramSpec("test", "xdp", flat)
    obj = BpfObject(Path("test.o"), list(maps), {"test": spec}, {}, {})
    return XdpProgram(obj, safety=safety, **options)  # type: ignore[arg-type]
