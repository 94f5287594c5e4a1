"""Programs that apply every kind of instruction to two words of the packet and put the results behind them.

Operands come with the packets, edge values in all pairs, so that no compiler can work anything out beforehand.
"""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

from netemu.bpf import instructions as bpf
from netemu.bpf.instructions import Instruction
from netemu.bpf.objects import BpfObject, ProgramSpec

EDGES = (
    0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 0xFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x1_00000000,
    0x1_80000001, 0x0123456789ABCDEF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFFFFFE,
    0xFFFFFFFFFFFFFFFF,
)  # fmt: skip
IMMEDIATES = (1, 2, 3, 5, 31, 127, 4096, 0x7FFFFFFF, -1, -2, -128, -0x80000000)
SHIFTS = (0, 1, 7, 31)
ROOM = 3200
LEFT, RIGHT, DATA = 6, 7, 8
ARITHMETIC = (
    bpf.ADD,
    bpf.SUB,
    bpf.MUL,
    bpf.DIV,
    bpf.OR,
    bpf.AND,
    bpf.LSH,
    bpf.RSH,
    bpf.MOD,
    bpf.XOR,
    bpf.MOV,
    bpf.ARSH,
)
CONDITIONS = tuple(bpf.JUMP_NAMES)


def mov(dst: int, src: int) -> Instruction:
    return Instruction(bpf.ALU64 | bpf.MOV | bpf.X, dst, src, 0, 0)


def mov_imm(dst: int, value: int) -> Instruction:
    return Instruction(bpf.ALU64 | bpf.MOV, dst, 0, 0, value)


def load(dst: int, src: int, off: int, size: int = bpf.DW, mode: int = bpf.MEM) -> Instruction:
    return Instruction(bpf.LDX | mode | size, dst, src, off, 0)


def store(dst: int, off: int, src: int, size: int = bpf.DW) -> Instruction:
    return Instruction(bpf.STX | bpf.MEM | size, dst, src, off, 0)


EXIT = Instruction(bpf.EXIT_OP, 0, 0, 0, 0)


def edge_packets() -> list[bytes]:
    """Every pair of edge values, with room for results."""
    return [struct.pack("<QQ", *pair) + bytes(ROOM - 16) for pair in itertools.product(EDGES, repeat=2)]


def _program(name: str, results: list[list[Instruction]]) -> ProgramSpec:
    """A program that leaves the r1 of each list of instructions in the packet, in 8 bytes."""
    code = [
        load(2, 1, 4, bpf.W),
        load(DATA, 1, 0, bpf.W),
        mov(3, DATA),
        Instruction(bpf.ALU64 | bpf.ADD, 3, 0, 0, ROOM),
        Instruction(bpf.JMP | bpf.JLE | bpf.X, 3, 2, 2, 0),
        mov_imm(0, 1),
        EXIT,
        load(LEFT, DATA, 0),
        load(RIGHT, DATA, 8),
    ]
    for number, steps in enumerate(results):
        code += [*steps, store(DATA, 16 + 8 * number, 1)]
    assert 16 + 8 * len(results) <= ROOM
    return ProgramSpec(name, "xdp", [*code, mov_imm(0, 2), EXIT])


def _by_register(kind: int) -> list[list[Instruction]]:
    found = [[mov(1, LEFT), Instruction(kind | op | bpf.X, 1, RIGHT, 0, 0)] for op in ARITHMETIC]
    found += [[mov(1, LEFT), Instruction(kind | op | bpf.X, 1, RIGHT, 1, 0)] for op in (bpf.DIV, bpf.MOD)]
    found += [[mov(1, LEFT), Instruction(kind | bpf.NEG, 1, 0, 0, 0)]]
    widths = (8, 16, 32) if kind == bpf.ALU64 else (8, 16)
    found += [[Instruction(kind | bpf.MOV | bpf.X, 1, LEFT, width, 0)] for width in widths]
    return found


def _by_immediate(kind: int) -> list[list[Instruction]]:
    found = []
    for op in ARITHMETIC:
        shift = op in (bpf.LSH, bpf.RSH, bpf.ARSH)
        top = (*SHIFTS, 63) if kind == bpf.ALU64 else SHIFTS
        found += [[mov(1, LEFT), Instruction(kind | op, 1, 0, 0, value)] for value in (top if shift else IMMEDIATES)]
    for op in (bpf.DIV, bpf.MOD):
        found += [[mov(1, LEFT), Instruction(kind | op, 1, 0, 1, value)] for value in IMMEDIATES]
    return found


def _swaps() -> list[list[Instruction]]:
    codes = (bpf.ALU | bpf.END, bpf.ALU | bpf.END | bpf.X, bpf.ALU64 | bpf.END)
    return [[mov(1, LEFT), Instruction(code, 1, 0, 0, width)] for code in codes for width in (16, 32, 64)]


def _jumps() -> list[list[Instruction]]:
    # operands loaded afresh: what a branch says about them is of no interest to the kernel's verifier behind it
    operands = [load(2, DATA, 0), load(3, DATA, 8), mov_imm(1, 1)]
    found = []
    for kind in (bpf.JMP, bpf.JMP32):
        for op in CONDITIONS:
            found.append([*operands, Instruction(kind | op | bpf.X, 2, 3, 1, 0), mov_imm(1, 0)])
            for value in IMMEDIATES:
                found.append([*operands, Instruction(kind | op, 2, 0, 1, value), mov_imm(1, 0)])
    unequal = Instruction(bpf.JMP | bpf.JNE | bpf.X, 2, 3, 1, 0)
    for goto in (Instruction(bpf.JMP | bpf.JA, 0, 0, 1, 0), Instruction(bpf.JMP32 | bpf.JA, 0, 0, 0, 1)):
        found.append([*operands, unequal, goto, mov_imm(1, 0)])
    return found


def _memory() -> list[list[Instruction]]:
    fp = bpf.FRAME_POINTER
    found = []
    for size in (bpf.B, bpf.H, bpf.W, bpf.DW):
        modes = (bpf.MEM, bpf.MEMSX) if size != bpf.DW else (bpf.MEM,)
        for mode, off in itertools.product(modes, (-8, -5 if size == bpf.B else -8)):
            found.append([store(fp, -8, LEFT), load(1, fp, off, size, mode)])
        found.append([store(fp, -8, LEFT), store(fp, -8, RIGHT, size), load(1, fp, -8)])
        found.append([store(fp, -8, LEFT), Instruction(bpf.ST | bpf.MEM | size, fp, 0, -8, -2), load(1, fp, -8)])
    return found


def _atomics() -> list[list[Instruction]]:
    fp = bpf.FRAME_POINTER
    found = []
    for size in (bpf.W, bpf.DW):
        for op in (*bpf.ATOMIC_OPS, *(op | bpf.FETCH for op in bpf.ATOMIC_OPS), bpf.XCHG):
            atomic = Instruction(bpf.STX | bpf.ATOMIC | size, fp, 2, -8, op)
            before = [store(fp, -8, LEFT), mov(2, RIGHT), atomic]
            found += [[*before, load(1, fp, -8)], [*before, mov(1, 2)]]
        for wanted in (LEFT, RIGHT):
            atomic = Instruction(bpf.STX | bpf.ATOMIC | size, fp, 2, -8, bpf.CMPXCHG)
            before = [store(fp, -8, LEFT), mov(0, wanted), mov(2, RIGHT), atomic]
            found += [[*before, load(1, fp, -8)], [*before, mov(1, 0)]]
    return found


def _constants() -> list[list[Instruction]]:
    return [
        [
            Instruction(bpf.LDDW, 1, 0, 0, value & 0x7FFFFFFF),
            Instruction(0, 0, 0, 0, -1 if value >> 63 else value >> 32),
        ]
        for value in EDGES
    ]


def programs() -> BpfObject:
    """One program per kind of instruction."""
    kinds = {
        "alu64_register": _by_register(bpf.ALU64),
        "alu32_register": _by_register(bpf.ALU),
        "alu64_immediate": _by_immediate(bpf.ALU64),
        "alu32_immediate": _by_immediate(bpf.ALU),
        "swaps": _swaps(),
        "jumps": _jumps(),
        "memory": _memory(),
        "atomics": _atomics(),
        "constants": _constants(),
    }
    made = {name: _program(name, results) for name, results in kinds.items()}
    return BpfObject(Path("opcodes"), [], made, {}, {})
