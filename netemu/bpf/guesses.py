"""What a register probably points to: in strict mode an access is first held against that.

Guesses follow the text of a function, not its control flow.  A wrong one costs a second look at the bounds of the slot
that the address is in, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from . import instructions as bpf
from .helper_routines import MD_DATA, MD_DATA_META
from .instructions import Instruction

_MAP_LOOKUP = 1


class Extent(NamedTuple):
    """Arena addresses ``low`` to ``high`` (exclusive); of the packet, whose ends move, ``None``."""

    low: int
    high: int
    writable: bool


PACKET = Extent(0, 0, True)


class Guesses:
    """Per register, and per stack slot that a register was spilled to, what an address in it probably points to."""

    def __init__(self, context: Extent | None) -> None:
        self.registers: dict[int, Extent] = {1: context} if context is not None else {}
        self.slots: dict[int, Extent] = {}
        self.context = context

    def follow(self, insn: Instruction, found: Extent | None) -> None:
        """Take note of one instruction; ``found`` is where the value is that a lookup returns."""
        kind, dst = insn.kind, insn.dst
        if kind == bpf.ALU64 and insn.op == bpf.MOV and insn.by_register and not insn.off:
            self._set(dst, self.registers.get(insn.src))
        elif kind == bpf.ALU64 and insn.op == bpf.ADD:
            # a pointer plus a number, in either order
            if dst not in self.registers and insn.by_register and insn.src in self.registers:
                self._set(dst, self.registers[insn.src])
        elif kind in (bpf.ALU, bpf.ALU64):
            self._set(dst, None)
        elif kind == bpf.LDX:
            self._set(dst, self._loaded(insn))
        elif insn.code == bpf.LDDW:
            self._set(dst, found)
        elif insn.code == bpf.CALL_OP:
            self._set(0, found)
        elif kind == bpf.STX and insn.dst == bpf.FRAME_POINTER and insn.size == 8 and insn.mode == bpf.MEM:
            self.slots.pop(insn.off, None)
            if insn.src in self.registers:
                self.slots[insn.off] = self.registers[insn.src]

    def _set(self, register: int, what: Extent | None) -> None:
        if what is None:
            self.registers.pop(register, None)
        else:
            self.registers[register] = what

    def _loaded(self, insn: Instruction) -> Extent | None:
        if insn.src == bpf.FRAME_POINTER:
            return self.slots.get(insn.off) if insn.size == 8 else None
        holder = self.registers.get(insn.src)
        if holder is not None and holder is self.context and insn.size == 4 and insn.off in (MD_DATA, MD_DATA_META):
            return PACKET
        return None
