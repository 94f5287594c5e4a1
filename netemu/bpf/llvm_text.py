"""Writing LLVM assembly: values, widths, and the arithmetic of eBPF where it is not LLVM's."""

from __future__ import annotations

from itertools import count

from . import instructions as bpf

ALU_OPERATIONS = {
    bpf.ADD: "add", bpf.SUB: "sub", bpf.MUL: "mul", bpf.OR: "or", bpf.AND: "and", bpf.XOR: "xor",
}  # fmt: skip
_SHIFT = {bpf.LSH: "shl", bpf.RSH: "lshr", bpf.ARSH: "ashr"}


def is_literal(value: str) -> bool:
    """Is a value a number, and no name?"""
    return value[0] != "%"


class Writer:
    """Lines of one LLVM function; a value is a name or a number."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.numbers = count()

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def name(self) -> str:
        """A name that is not taken."""
        return f"%t{next(self.numbers)}"

    def value(self, line: str) -> str:
        """The name of what an instruction results in."""
        name = self.name()
        self.lines.append(f"{name} = {line}")
        return name

    def narrow(self, value: str, bits: int = 32) -> str:
        """The low bits of a value."""
        return str(int(value) & (1 << bits) - 1) if is_literal(value) else self.value(f"trunc i64 {value} to i{bits}")

    def wide(self, value: str, bits: int = 32, *, signed: bool = False) -> str:
        """A value of ``bits`` bits as one of 64."""
        return self.value(f"{'sext' if signed else 'zext'} i{bits} {value} to i64")

    def operate(self, op: int, left: str, right: str, bits: int, *, signed: bool) -> str:
        """An arithmetic operation of eBPF, byte swaps aside, on two values of ``bits`` bits."""
        if op in ALU_OPERATIONS:
            return self.value(f"{ALU_OPERATIONS[op]} i{bits} {left}, {right}")
        if op in _SHIFT:
            distance = (
                str(int(right) & bits - 1) if is_literal(right) else self.value(f"and i{bits} {right}, {bits - 1}")
            )
            return self.value(f"{_SHIFT[op]} i{bits} {left}, {distance}")
        if op == bpf.NEG:
            return self.value(f"sub i{bits} 0, {left}")
        return self._divide(op, left, right, bits, signed=signed)

    def _divide(self, op: int, left: str, right: str, bits: int, *, signed: bool) -> str:
        """Quotient or remainder; by zero gives 0 or the dividend, and the lowest number by -1 gives itself or 0."""
        zero = self.value(f"icmp eq i{bits} {right}, 0")
        by_zero = "0" if op == bpf.DIV else left
        if not signed:
            safe = self.value(f"select i1 {zero}, i{bits} 1, i{bits} {right}")
            result = self.value(f"{'udiv' if op == bpf.DIV else 'urem'} i{bits} {left}, {safe}")
            return self.value(f"select i1 {zero}, i{bits} {by_zero}, i{bits} {result}")
        minus = self.value(f"icmp eq i{bits} {right}, -1")
        either = self.value(f"or i1 {zero}, {minus}")
        safe = self.value(f"select i1 {either}, i{bits} 1, i{bits} {right}")
        result = self.value(f"{'sdiv' if op == bpf.DIV else 'srem'} i{bits} {left}, {safe}")
        by_minus = self.value(f"sub i{bits} 0, {left}") if op == bpf.DIV else "0"
        result = self.value(f"select i1 {minus}, i{bits} {by_minus}, i{bits} {result}")
        return self.value(f"select i1 {zero}, i{bits} {by_zero}, i{bits} {result}")
