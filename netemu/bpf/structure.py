"""Is a program well-formed, and which functions has it?  What the kernel checks before it looks at any value.

This is no verifier: it says nothing about what a program does, only that every instruction means something and every
jump stays inside its function (compare ``check_subprogs`` and ``resolve_pseudo_ldimm64`` in v6.1).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from . import instructions as bpf
from .errors import ProgramRejected, Unsupported
from .helper_table import HELPERS
from .instructions import Instruction


class Function(NamedTuple):
    """Instructions ``start`` to ``end`` (exclusive) of a program: its first function, or one that it calls."""

    start: int
    end: int


def check_structure(program: list[Instruction]) -> list[Function]:
    """The functions of a program, the entry first; raises :class:`ProgramRejected` if it is not well-formed."""
    if not program:
        raise ProgramRejected("a program without instructions")
    starts = {0}
    second_halves = set()
    pc = 0
    while pc < len(program):
        insn = program[pc]
        _check_instruction(insn, pc)
        if insn.code == bpf.LDDW:
            _check_pair(program, pc)
            second_halves.add(pc + 1)
            pc += 1
        elif insn.code == bpf.CALL_OP and insn.src == bpf.CALL_LOCAL:
            target = pc + 1 + insn.imm
            if not 0 <= target < len(program):
                raise ProgramRejected(f"calls outside the program ({target})", pc=pc)
            starts.add(target)
        pc += 1
    if torn := sorted(starts & second_halves):
        raise ProgramRejected("a call leads into the middle of a 64-bit constant", pc=torn[0])
    ordered = sorted(starts)
    functions = [Function(start, end) for start, end in zip(ordered, [*ordered[1:], len(program)], strict=True)]
    for function in functions:
        _check_flow(program, function, second_halves)
    return functions


def function_at(functions: list[Function], pc: int) -> Function:
    """The function that holds instruction ``pc``."""
    return functions[bisect_right(functions, pc, key=lambda function: function.start) - 1]


def _check_flow(program: list[Instruction], function: Function, second_halves: set[int]) -> None:
    for pc in range(function.start, function.end):
        insn = program[pc]
        if pc in second_halves or not insn.is_jump:
            continue
        target = bpf.jump_target(insn, pc)
        if not function.start <= target < function.end:
            raise ProgramRejected(f"jumps outside its function ({target})", pc=pc)
        if target in second_halves:
            raise ProgramRejected("jumps into the middle of a 64-bit constant", pc=pc)
    last = function.end - 1
    insn = program[last]
    leaves = last not in second_halves and (insn.code == bpf.EXIT_OP or (insn.is_jump and insn.op == bpf.JA))
    if not leaves:
        raise ProgramRejected("a function must end with exit or a jump", pc=last)


def _check_pair(program: list[Instruction], pc: int) -> None:
    if pc + 1 >= len(program) or program[pc + 1][:4] != (0, 0, 0, 0):
        raise ProgramRejected("64-bit constant without a well-formed second half", pc=pc)
    if program[pc].off:
        raise ProgramRejected("64-bit constant with an offset", pc=pc)


def _check_instruction(insn: Instruction, pc: int) -> None:
    kind = insn.kind
    if insn.dst >= bpf.NR_REGISTERS or (insn.src >= bpf.NR_REGISTERS):
        raise ProgramRejected("register beyond r10", pc=pc)
    if kind in (bpf.ALU, bpf.ALU64):
        _check_arithmetic(insn, pc)
    elif kind in (bpf.JMP, bpf.JMP32):
        _check_jump(insn, pc)
    elif kind == bpf.LD:
        _check_constant(insn, pc)
    else:
        _check_memory(insn, pc)


def _check_arithmetic(insn: Instruction, pc: int) -> None:
    if insn.dst == bpf.FRAME_POINTER:
        raise ProgramRejected("writes r10, which is read-only", pc=pc)
    op = insn.op
    if op > bpf.END:
        raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
    if op == bpf.END:
        if insn.imm not in (16, 32, 64) or insn.off or insn.src or (insn.kind == bpf.ALU64 and insn.by_register):
            raise ProgramRejected("byte swap of a width that does not exist", pc=pc)
        return
    if op == bpf.NEG:
        if insn.by_register or insn.off or insn.src or insn.imm:
            raise ProgramRejected("negation with an operand", pc=pc)
        return
    allowed = (0,)
    if op in (bpf.DIV, bpf.MOD):
        allowed = (0, 1)  # type: ignore[assignment]
    elif op == bpf.MOV and insn.by_register:
        allowed = (0, 8, 16, 32) if insn.kind == bpf.ALU64 else (0, 8, 16)  # type: ignore[assignment]
    if insn.off not in allowed:
        raise ProgramRejected(f"arithmetic with offset {insn.off}", pc=pc)
    if insn.by_register and insn.imm:
        raise ProgramRejected("two second operands", pc=pc)
    if not insn.by_register and insn.src:
        raise ProgramRejected("two second operands", pc=pc)


def _check_jump(insn: Instruction, pc: int) -> None:
    op = insn.op
    if op > bpf.JSLE or (insn.kind == bpf.JMP32 and op in (bpf.CALL, bpf.EXIT)):
        raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
    if op == bpf.CALL:
        _check_call(insn, pc)
    elif op == bpf.EXIT:
        if insn.by_register or insn.dst or insn.src or insn.off or insn.imm:
            raise ProgramRejected("exit with an operand", pc=pc)
    elif op == bpf.JA:
        unused = insn.off if insn.kind == bpf.JMP32 else insn.imm
        if insn.by_register or insn.dst or insn.src or unused:
            raise ProgramRejected("goto with an operand", pc=pc)
    elif insn.by_register and insn.imm:
        raise ProgramRejected("two second operands", pc=pc)
    elif not insn.by_register and insn.src:
        raise ProgramRejected("two second operands", pc=pc)


def _check_call(insn: Instruction, pc: int) -> None:
    if insn.by_register:
        raise Unsupported(f"instruction {pc}: callx (a call through a register) is not supported, nor is it in Linux")
    if insn.dst or insn.off:
        raise ProgramRejected("call with an operand", pc=pc)
    if insn.src == bpf.CALL_KFUNC or (insn.src == bpf.CALL_LOCAL and insn.imm == -1):
        raise Unsupported(f"instruction {pc}: calls a kernel function (kfunc), which netemu does not have")
    if insn.src not in (bpf.CALL_HELPER, bpf.CALL_LOCAL):
        raise ProgramRejected(f"call of unknown kind {insn.src}", pc=pc)
    if insn.src == bpf.CALL_HELPER and insn.imm not in HELPERS:
        raise Unsupported(f"instruction {pc}: calls helper {insn.imm}, which netemu does not have")


def _check_constant(insn: Instruction, pc: int) -> None:
    if insn.mode in (bpf.ABS, bpf.IND):
        raise Unsupported(f"instruction {pc}: LD_ABS and LD_IND are for socket filters, not for XDP")
    if insn.code != bpf.LDDW:
        raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
    if insn.dst == bpf.FRAME_POINTER:
        raise ProgramRejected("writes r10, which is read-only", pc=pc)
    if insn.src not in (bpf.CONSTANT, bpf.MAP, bpf.MAP_VALUE):
        raise Unsupported(f"instruction {pc}: 64-bit constant of kind {insn.src}, which netemu does not have")


def _check_memory(insn: Instruction, pc: int) -> None:
    kind, mode = insn.kind, insn.mode
    if kind == bpf.LDX:
        if mode != bpf.MEM and not (mode == bpf.MEMSX and insn.size < 8):
            raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
        if insn.dst == bpf.FRAME_POINTER:
            raise ProgramRejected("writes r10, which is read-only", pc=pc)
        if insn.imm:
            raise ProgramRejected("load with an immediate", pc=pc)
    elif kind == bpf.ST:
        if mode != bpf.MEM or insn.src:
            raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
    elif mode == bpf.ATOMIC:
        if insn.size < 4:
            raise ProgramRejected("atomic operation on less than 4 bytes", pc=pc)
        known = insn.imm in (bpf.XCHG, bpf.CMPXCHG) or insn.imm & ~bpf.FETCH in bpf.ATOMIC_OPS
        if not known:
            raise ProgramRejected(f"unknown atomic operation {insn.imm:#x}", pc=pc)
        if insn.imm & bpf.FETCH and insn.imm != bpf.CMPXCHG and insn.src == bpf.FRAME_POINTER:
            raise ProgramRejected("writes r10, which is read-only", pc=pc)
    elif mode != bpf.MEM or insn.imm:
        raise ProgramRejected(f"unknown opcode {insn.code:#04x}", pc=pc)
