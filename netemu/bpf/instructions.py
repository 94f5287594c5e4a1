"""eBPF instructions (RFC 9669): their encoding, their names, and their text form as LLVM prints it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from .errors import ProgramRejected

# Instruction classes: the low three bits of an opcode.
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)

# Source bit of arithmetic and jumps: the second operand is the immediate, or the source register.
K, X = 0x00, 0x08

# Arithmetic: the high four bits.
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = (n << 4 for n in range(14))

# Jumps: the high four bits.
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE = (n << 4 for n in range(14))

# Loads and stores: size (bits 3 and 4) and mode (the high three bits).
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
SIZE_BYTES = {W: 4, H: 2, B: 1, DW: 8}
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

LDDW = LD | IMM | DW
CALL_OP = JMP | CALL
EXIT_OP = JMP | EXIT

# Atomic operations: in the immediate.
FETCH = 0x01
XCHG = 0xE0 | FETCH
CMPXCHG = 0xF0 | FETCH
ATOMIC_OPS = {ADD: "add", OR: "or", AND: "and", XOR: "xor"}

# Source register of a call and of a 64-bit constant: what the immediate means.
CALL_HELPER, CALL_LOCAL, CALL_KFUNC = 0, 1, 2
CONSTANT, MAP, MAP_VALUE = 0, 1, 2

FRAME_POINTER = 10
NR_REGISTERS = 11

ALU_NAMES = {
    ADD: "+=", SUB: "-=", MUL: "*=", DIV: "/=", OR: "|=", AND: "&=", LSH: "<<=", RSH: ">>=", MOD: "%=", XOR: "^=",
    MOV: "=", ARSH: "s>>=",
}  # fmt: skip
JUMP_NAMES = {
    JEQ: "==", JGT: ">", JGE: ">=", JSET: "&", JNE: "!=", JSGT: "s>", JSGE: "s>=", JLT: "<", JLE: "<=", JSLT: "s<",
    JSLE: "s<=",
}  # fmt: skip

_WORD = struct.Struct("<BBhi")
MAX_INSTRUCTIONS = 1_000_000


class Instruction(NamedTuple):
    """One instruction.  The second half of a 64-bit constant is an instruction with opcode 0."""

    code: int
    dst: int
    src: int
    off: int
    imm: int

    @property
    def kind(self) -> int:
        return self.code & 0x07

    @property
    def op(self) -> int:
        return self.code & 0xF0

    @property
    def size(self) -> int:
        """Bytes that a load or store moves."""
        return SIZE_BYTES[self.code & 0x18]

    @property
    def mode(self) -> int:
        return self.code & 0xE0

    @property
    def by_register(self) -> bool:
        return bool(self.code & X)

    @property
    def is_jump(self) -> bool:
        """May go elsewhere in the same function: a conditional or unconditional jump."""
        return self.kind in (JMP, JMP32) and self.op not in (CALL, EXIT)

    def encoded(self) -> bytes:
        return _WORD.pack(self.code, self.src << 4 | self.dst, self.off, self.imm)


def decode(code: bytes) -> list[Instruction]:
    """Instructions of little-endian machine code, one per 8 bytes."""
    if not code or len(code) % 8:
        raise ProgramRejected(f"{len(code)} bytes are no program: instructions have 8 bytes each")
    if len(code) // 8 > MAX_INSTRUCTIONS:
        raise ProgramRejected(f"more than {MAX_INSTRUCTIONS:,} instructions")
    return [Instruction(op, regs & 15, regs >> 4, off, imm) for op, regs, off, imm in _WORD.iter_unpack(code)]


def encode(program: list[Instruction]) -> bytes:
    return b"".join(insn.encoded() for insn in program)


def constant64(program: list[Instruction], pc: int) -> int:
    """The 64-bit constant that the instruction pair at ``pc`` loads."""
    return program[pc].imm & 0xFFFFFFFF | (program[pc + 1].imm & 0xFFFFFFFF) << 32


def jump_target(insn: Instruction, pc: int) -> int:
    """Where a jump at ``pc`` leads when it is taken."""
    return pc + 1 + (insn.imm if insn.code == JMP32 | JA else insn.off)


def disassemble(program: list[Instruction], pc: int) -> str:
    """The instruction at ``pc`` as text."""
    insn = program[pc]
    kind = insn.kind
    if kind in (ALU, ALU64):
        return _arithmetic_text(insn)
    if kind in (JMP, JMP32):
        return _jump_text(insn, pc)
    width = f"u{insn.size * 8}"
    if insn.code == LDDW:
        what = {CONSTANT: f"{constant64(program, pc):#x}", MAP: f"map[{insn.imm}]"}
        return f"r{insn.dst} = {what.get(insn.src, f'map[{insn.imm}] value + {program[pc + 1].imm}')} ll"
    if kind == LDX:
        signed = "s" if insn.mode == MEMSX else "u"
        return f"r{insn.dst} = *({signed}{insn.size * 8} *)(r{insn.src} {insn.off:+d})"
    if kind == ST:
        return f"*({width} *)(r{insn.dst} {insn.off:+d}) = {insn.imm}"
    if kind == STX and insn.mode == ATOMIC:
        return _atomic_text(insn, f"({width} *)(r{insn.dst} {insn.off:+d})")
    if kind == STX:
        return f"*({width} *)(r{insn.dst} {insn.off:+d}) = r{insn.src}"
    return f".byte {insn.code:#04x}"


def _arithmetic_text(insn: Instruction) -> str:
    name = "r" if insn.kind == ALU64 else "w"
    dst, src = f"{name}{insn.dst}", f"{name}{insn.src}" if insn.by_register else str(insn.imm)
    if insn.op == NEG:
        return f"{dst} = -{dst}"
    if insn.op == END:
        swap = "bswap" if insn.kind == ALU64 else "be" if insn.by_register else "le"
        return f"r{insn.dst} = {swap}{insn.imm} r{insn.dst}"
    if insn.op == MOV and insn.off:
        return f"{dst} = (s{insn.off}){src}"
    signed = "s" if insn.op in (DIV, MOD) and insn.off == 1 else ""
    return f"{dst} {signed}{ALU_NAMES.get(insn.op, '?=')} {src}"


def _jump_text(insn: Instruction, pc: int) -> str:
    if insn.op == EXIT:
        return "exit"
    if insn.op == CALL:
        return f"call {pc + 1 + insn.imm}" if insn.src == CALL_LOCAL else f"call helper {insn.imm}"
    if insn.op == JA:
        return f"goto {jump_target(insn, pc)}"
    name = "r" if insn.kind == JMP else "w"
    src = f"{name}{insn.src}" if insn.by_register else str(insn.imm)
    return f"if {name}{insn.dst} {JUMP_NAMES.get(insn.op, '?')} {src} goto {jump_target(insn, pc)}"


def _atomic_text(insn: Instruction, where: str) -> str:
    src = f"r{insn.src}"
    if insn.imm == CMPXCHG:
        return f"r0 = cmpxchg({where}, r0, {src})"
    if insn.imm == XCHG:
        return f"{src} = xchg({where}, {src})"
    name = ATOMIC_OPS.get(insn.imm & ~FETCH, "?")
    return f"{src} = fetch_{name}({where}, {src})" if insn.imm & FETCH else f"lock {name} *{where}, {src}"
