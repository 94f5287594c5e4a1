"""The interpreter: the same instructions in plain Python, one at a time: to step through, and to test compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from . import instructions as bpf
from .arena import host
from .helper_routines import helper_routines
from .instructions import Instruction
from .map_kinds import HANDLE
from .routine import WORD, signed
from .state import FAULT_ACCESS, FAULT_BUDGET, FAULT_DEPTH, MAX_CALL_FRAMES, STACK_FRAME, State
from .structure import function_at

if TYPE_CHECKING:
    from .vm import LoadedProgram, VirtualMachine

_LOW = 0xFFFFFFFF
_helpers = cache(helper_routines)
_TAIL_CALL = 12


@dataclass
class Step:
    """An instruction about to be executed, and the registers before it."""

    program: LoadedProgram
    pc: int
    registers: list[int]
    depth: int

    @property
    def text(self) -> str:
        return describe(self.program.instructions, self.pc)


class _Fault(Exception):
    """Ends a run; the reason is in the machine's record."""


def describe(program: list[Instruction], pc: int) -> str:
    """An instruction as text, helpers by name."""
    from .helper_table import HELPERS

    insn = program[pc]
    if insn.code == bpf.CALL_OP and insn.src == bpf.CALL_HELPER:
        return f"call {HELPERS.get(insn.imm, insn.imm)}"
    return bpf.disassemble(program, pc)


def steps(vm: VirtualMachine, program: LoadedProgram, registers: list[int]) -> Iterator[Step]:
    """Execute one instruction per step, in ``registers`` (11 words, of which r10 is set)."""
    state = vm.state
    calls: list[tuple[LoadedProgram, int, list[int]]] = []
    pc = 0
    try:
        while True:
            code = program.instructions
            insn = code[pc]
            yield Step(program, pc, registers, len(calls))
            if insn.code == bpf.EXIT_OP:
                if not calls:
                    return
                program, pc, kept = calls.pop()
                registers[1:] = kept
            elif insn.code == bpf.CALL_OP and insn.src == bpf.CALL_LOCAL:
                target = pc + 1 + insn.imm
                if registers[10] == state.stack_top - (MAX_CALL_FRAMES - 1) * STACK_FRAME:
                    _fault(state, FAULT_DEPTH, pc)
                function = function_at(program.functions, target)
                _pay(state, function.end - function.start, pc)
                calls.append((program, pc + 1, registers[1:]))
                registers[6:] = [0, 0, 0, 0, registers[10] - STACK_FRAME]
                registers[0] = 0
                pc = target
            elif insn.code == bpf.CALL_OP:
                result = _call_helper(state, insn.imm, registers, pc)
                if insn.imm == _TAIL_CALL and result:
                    program, pc = vm.programs[result - 1], 0
                    registers[:10] = [0, state.ctx, *[0] * 8]
                else:
                    registers[0] = result
                    pc += 1
            elif insn.is_jump:
                target = bpf.jump_target(insn, pc)
                if insn.op == bpf.JA or _taken(insn, registers):
                    if target <= pc:
                        _pay(state, pc - target + 1, pc)
                    pc = target
                else:
                    pc += 1
            else:
                _execute(vm, code, insn, pc, registers)
                pc += 2 if insn.code == bpf.LDDW else 1
    except _Fault:
        registers[0] = 0


def _fault(state: State, kind: int, pc: int, address: int = 0, size: int = 0) -> None:
    record: Any = state
    record.fault, record.fault_pc, record.fault_address, record.fault_size = kind, pc, address, size
    raise _Fault


def _pay(state: Any, instructions: int, pc: int) -> None:
    state.budget = state.budget - instructions
    if signed(state.budget) < 0:
        _fault(state, FAULT_BUDGET, pc)


def _call_helper(state: Any, number: int, registers: list[int], pc: int) -> int:
    state.pc = pc
    result = _helpers()[number](state, *registers[1:6]) & WORD
    if state.fault:
        raise _Fault
    return result


def _taken(insn: Instruction, registers: list[int]) -> bool:
    left = registers[insn.dst]
    right = registers[insn.src] if insn.by_register else insn.imm & WORD
    bits = 64
    if insn.kind == bpf.JMP32:
        left, right, bits = left & _LOW, right & _LOW, 32
    op = insn.op
    if op in (bpf.JSGT, bpf.JSGE, bpf.JSLT, bpf.JSLE):
        left, right = _signed(left, bits), _signed(right, bits)
    match op:
        case bpf.JEQ:
            return left == right
        case bpf.JNE:
            return left != right
        case bpf.JSET:
            return left & right != 0
        case bpf.JGT | bpf.JSGT:
            return left > right
        case bpf.JGE | bpf.JSGE:
            return left >= right
        case bpf.JLT | bpf.JSLT:
            return left < right
    return left <= right


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _execute(vm: VirtualMachine, code: list[Instruction], insn: Instruction, pc: int, registers: list[int]) -> None:
    """Arithmetic, constants and memory."""
    kind = insn.kind
    state: Any = vm.state
    if kind in (bpf.ALU, bpf.ALU64):
        registers[insn.dst] = _arithmetic(insn, registers)
    elif kind == bpf.LDX:
        place = _place(state, registers[insn.src] + insn.off, insn.size, pc, write=False)
        value = _LOADS[insn.size](place)
        registers[insn.dst] = _signed(value, insn.size * 8) & WORD if insn.mode == bpf.MEMSX else value
    elif insn.code == bpf.LDDW:
        if insn.src == bpf.CONSTANT:
            registers[insn.dst] = bpf.constant64(code, pc)
        elif insn.src == bpf.MAP:
            registers[insn.dst] = HANDLE | insn.imm
        else:
            registers[insn.dst] = vm.storages[insn.imm].values + code[pc + 1].imm
    else:
        place = _place(state, registers[insn.dst] + insn.off, insn.size, pc, write=True)
        if kind == bpf.STX and insn.mode == bpf.ATOMIC:
            _atomic(insn, place, registers)
        else:
            _STORES[insn.size](place, (registers[insn.src] if kind == bpf.STX else insn.imm) & WORD)


_LOADS = {1: host.load8, 2: host.load16, 4: host.load32, 8: host.load64}
_STORES = {1: host.store8, 2: host.store16, 4: host.store32, 8: host.store64}


def _place(state: Any, address: int, size: int, pc: int, *, write: bool) -> int:
    """Real address of an access; in strict mode held against the bounds of its slot."""
    address &= WORD
    if state.strict:
        row = host.load64((state.write_bounds if write else state.read_bounds) + ((address & state.mask) >> 20 << 3))
        if not row & _LOW <= address <= (row >> 32) - size:
            _fault(state, FAULT_ACCESS, pc, address, size)
    return int(state.base + (address & state.mask))


def _atomic(insn: Instruction, place: int, registers: list[int]) -> None:
    size = insn.size
    mask = (1 << 8 * size) - 1
    old, operand = _LOADS[size](place), registers[insn.src] & mask
    match insn.imm & ~bpf.FETCH if insn.imm not in (bpf.XCHG, bpf.CMPXCHG) else insn.imm:
        case bpf.CMPXCHG:
            new = operand if old == registers[0] & mask else old
        case bpf.XCHG:
            new = operand
        case bpf.ADD:
            new = old + operand & mask
        case bpf.OR:
            new = old | operand
        case bpf.AND:
            new = old & operand
        case _:
            new = old ^ operand
    _STORES[size](place, new)
    if insn.imm & bpf.FETCH:
        registers[0 if insn.imm == bpf.CMPXCHG else insn.src] = old


def _arithmetic(insn: Instruction, registers: list[int]) -> int:
    bits = 64 if insn.kind == bpf.ALU64 else 32
    mask = (1 << bits) - 1
    left = registers[insn.dst] & mask
    right = (registers[insn.src] if insn.by_register else insn.imm) & mask
    match insn.op:
        case bpf.ADD:
            return left + right & mask
        case bpf.SUB:
            return left - right & mask
        case bpf.MUL:
            return left * right & mask
        case bpf.DIV | bpf.MOD:
            return _divide(insn, left, right, bits)
        case bpf.OR:
            return left | right
        case bpf.AND:
            return left & right
        case bpf.XOR:
            return left ^ right
        case bpf.LSH:
            return left << (right & bits - 1) & mask
        case bpf.RSH:
            return left >> (right & bits - 1)
        case bpf.ARSH:
            return _signed(left, bits) >> (right & bits - 1) & mask
        case bpf.NEG:
            return -left & mask
        case bpf.MOV:
            return _signed(right, insn.off) & mask if insn.off else right
    return _swapped(insn, registers[insn.dst])


def _divide(insn: Instruction, left: int, right: int, bits: int) -> int:
    mask = (1 << bits) - 1
    quotient = insn.op == bpf.DIV
    if right == 0:
        return 0 if quotient else left
    if insn.off == 1:  # signed; rounds towards zero
        dividend, divisor = _signed(left, bits), _signed(right, bits)
        result = abs(dividend) // abs(divisor)
        if (dividend < 0) != (divisor < 0):
            result = -result
        return (result if quotient else dividend - result * divisor) & mask
    return left // right if quotient else left % right


def _swapped(insn: Instruction, value: int) -> int:
    size = insn.imm // 8
    value &= (1 << insn.imm) - 1
    if insn.kind == bpf.ALU64 or insn.by_register:
        return int.from_bytes(value.to_bytes(size, "little"), "big")
    return value
