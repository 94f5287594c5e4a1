"""eBPF to LLVM assembly.

One LLVM function per eBPF function, registers as stack slots that LLVM turns into machine registers.  The text holds
no address of this process, so that what is compiled from it can be kept on disk.  Every access is masked into the
arena (:mod:`netemu.bpf.arena`); in strict mode it is first held against the bounds of its slot.

Backward jumps and calls pay instructions from the run's budget, so that every run ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import instructions as bpf
from .guesses import PACKET, Extent, Guesses
from .helper_routines import MD_BYTES, MD_DATA, MD_DATA_END, helper_routines
from .instructions import Instruction
from .library import shared_routines
from .llvm_text import ALU_OPERATIONS, Writer, is_literal
from .map_kinds import (
    ARRAYS,
    HANDLE,
    HASHES,
)
from .map_routines import reachable
from .map_storage import Storage
from .routine import Layout, Routine
from .state import FAULT_ACCESS, FAULT_BUDGET, FAULT_DEPTH, MAX_CALL_FRAMES, STACK_FRAME
from .structure import Function

ENTRY = "program"
_LOW_MASK = 0xFFFFFFFF
_CONDITION = {
    bpf.JEQ: "eq", bpf.JNE: "ne", bpf.JGT: "ugt", bpf.JGE: "uge", bpf.JLT: "ult", bpf.JLE: "ule", bpf.JSGT: "sgt",
    bpf.JSGE: "sge", bpf.JSLT: "slt", bpf.JSLE: "sle",
}  # fmt: skip
_MAP_LOOKUP, _TAIL_CALL = 1, 12


@dataclass(frozen=True)
class Surroundings:
    """What a program is compiled for: the layout of the machine, its maps, and where its stacks are."""

    layout: Layout
    storages: list[Storage | None]
    stack_top: int
    context: int | None
    """Arena address of ``struct xdp_md``; None: programs get something else in r1."""
    known_regions: Callable[[int, int, bool], bool]
    """Does a constant address of a size lie inside a region of its own (for reading, or writing too)?"""

    @property
    def context_extent(self) -> Extent | None:
        return None if self.context is None else Extent(self.context, self.context + MD_BYTES, False)

    @property
    def lowest_frame(self) -> int:
        return self.stack_top - (MAX_CALL_FRAMES - 1) * STACK_FRAME


class FunctionText(Writer):
    """One eBPF function on its way to LLVM assembly.

    Within a basic block registers are LLVM values; only at its end are those that changed stored to their slots.
    """

    def __init__(
        self,
        program: list[Instruction],
        function: Function,
        functions: list[Function],
        around: Surroundings,
        used: dict[str, Routine],
        lookups: set[int],
    ) -> None:
        self.program = program
        self.function = function
        self.ends = {f.start: f.end for f in functions}
        self.around = around
        self.layout = around.layout
        self.used = used
        self.lookups = lookups
        super().__init__()
        self.faults: list[tuple[str, int, int, str, int]] = []
        self.block = "entry"
        self.values: dict[int, str] = {}
        self.changed: set[int] = set()
        self.from_frame: dict[str, int] = {}
        self.checked: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        self.helpers = helper_routines()
        self.guesses = Guesses(around.context_extent)
        self.context_in: set[int] = set()
        self.in_first_block = True
        main = function.start == 0
        if around.context is not None and main and not self._comes_back():
            self.context_in = {1}
        self._translate()
        head = f"define {'' if main else 'internal '}i64 @{ENTRY if main else f'f{function.start}'}"
        arguments = ", ".join(["ptr noalias %vm", "ptr noalias %base", *(f"i64 %a{n}" for n in range(1, 6)), "i64 %fp"])
        self.text = "\n".join([f"{head}({arguments}) nounwind {{", *self.lines, "}\n"])

    # -- text ------------------------------------------------------------------------------------------------------

    def start(self, label: str) -> None:
        self.emit(f"{label}:")
        self.block = label
        self.values.clear()
        self.changed.clear()
        self.from_frame.clear()
        self.checked.clear()

    def go_on(self) -> None:
        """Start a block that only this one leads to: all that is known stays known."""
        self.block = f"n{next(self.numbers)}"

    def field(self, name: str) -> str:
        return self.value(f"getelementptr i8, ptr %vm, i64 {self.layout.fields[name]}")

    # -- registers -------------------------------------------------------------------------------------------------

    def read(self, register: int) -> str:
        if register == bpf.FRAME_POINTER:
            return "%fp"
        if register in self.context_in:
            return str(self.around.context)
        found = self.values.get(register)
        if found is None:
            found = self.values[register] = self.value(f"load i64, ptr %r{register}")
        return found

    def write(self, register: int, value: str) -> None:
        self.context_in.discard(register)
        if self.in_first_block and value == str(self.around.context):
            self.context_in.add(register)
        self.values[register] = value
        self.changed.add(register)

    def flush(self) -> None:
        for register in sorted(self.changed):
            self.emit(f"store i64 {self.values[register]}, ptr %r{register}")
        self.changed.clear()

    # -- control flow ----------------------------------------------------------------------------------------------

    def _translate(self) -> None:
        leaders = self._leaders()
        for register in range(bpf.FRAME_POINTER):
            self.emit(f"%r{register} = alloca i64")
            self.emit(f"store i64 {f'%a{register}' if 1 <= register <= 5 else 0}, ptr %r{register}")
        open_block = True
        pc = self.function.start
        reached = self._reached()
        lasting = {r for r, n in self._writes(reached).items() if n == (0 if r == 1 else 1)}
        while pc < self.function.end:
            insn = self.program[pc]
            width = 2 if insn.code == bpf.LDDW else 1
            if pc in reached:
                if pc in leaders:
                    if open_block:
                        self.flush()
                        self.emit(f"br label %L{pc}")
                    self.start(f"L{pc}")
                    if pc != self.function.start:
                        self.in_first_block = False
                        self.context_in &= lasting
                found = self._found(insn)
                open_block = self._instruction(insn, pc)
                self.guesses.follow(insn, found)
            pc += width
        self._emit_fault_block()

    def _leaders(self) -> set[int]:
        leaders = {self.function.start}
        for pc in range(self.function.start, self.function.end):
            insn = self.program[pc]
            if insn.is_jump:
                leaders |= {bpf.jump_target(insn, pc), pc + 1}
        return leaders

    def _reached(self) -> set[int]:
        """Instructions that control flow can reach."""
        found: set[int] = set()
        waiting = [self.function.start]
        while waiting:
            pc = waiting.pop()
            while pc not in found:
                found.add(pc)
                insn = self.program[pc]
                if insn.code == bpf.EXIT_OP:
                    break
                if insn.is_jump:
                    target = bpf.jump_target(insn, pc)
                    if insn.op == bpf.JA:
                        pc = target
                        continue
                    waiting.append(target)
                pc += 2 if insn.code == bpf.LDDW else 1
        return found

    def _writes(self, reached: set[int]) -> dict[int, int]:
        """How many instructions write each register."""
        writes = dict.fromkeys(range(bpf.FRAME_POINTER), 0)
        for pc in reached:
            insn = self.program[pc]
            if insn.kind in (bpf.ALU, bpf.ALU64, bpf.LDX, bpf.LD):
                writes[insn.dst] += 1
            elif insn.code == bpf.CALL_OP:
                writes[0] += 1
            elif insn.kind == bpf.STX and insn.mode == bpf.ATOMIC and insn.imm & bpf.FETCH:
                writes[0 if insn.imm == bpf.CMPXCHG else insn.src] += 1
        return writes

    def _comes_back(self) -> bool:
        """Can control return to the program's first instruction, where r1 is the context at first?"""
        for pc, insn in enumerate(self.program):
            local = insn.code == bpf.CALL_OP and insn.src == bpf.CALL_LOCAL and pc + 1 + insn.imm == 0
            if local or (insn.is_jump and bpf.jump_target(insn, pc) == 0):
                return True
        return False

    def _found(self, insn: Instruction) -> Extent | None:
        """Where the value is that an instruction looks up, if that can be said beforehand."""
        number = -1
        if insn.code == bpf.CALL_OP and insn.src == bpf.CALL_HELPER and insn.imm == _MAP_LOOKUP:
            number = self._known_map()
        elif insn.code == bpf.LDDW and insn.src == bpf.MAP_VALUE:
            number = insn.imm
        storage = self.around.storages[number] if number >= 0 else None
        if storage is None or not storage.stride:
            return None
        return Extent(storage.values, storage.values + storage.size, not storage.readonly)

    def _known_map(self) -> int:
        """Number of the map whose handle is in r1, or -1."""
        handle = self.values.get(1, "%")
        number = int(handle) ^ HANDLE if is_literal(handle) else -1
        return number if 0 <= number < len(self.around.storages) else -1

    def _instruction(self, insn: Instruction, pc: int) -> bool:
        """Translate one instruction; returns whether control goes on to the next one in the same block."""
        kind = insn.kind
        if kind in (bpf.ALU, bpf.ALU64):
            self._arithmetic(insn)
        elif kind == bpf.LDX and self._is_packet_bound(insn):
            field = "data" if insn.off == MD_DATA else "data_end"
            self.write(insn.dst, self.value(f"load i64, ptr {self.field(field)}"))
        elif kind == bpf.LDX:
            pointer = self._pointer(insn.src, insn.off, insn.size, False, pc)
            loaded = self.value(f"load i{insn.size * 8}, ptr {pointer}, align 1")
            full = insn.size == 8
            self.write(insn.dst, loaded if full else self.wide(loaded, insn.size * 8, signed=insn.mode == bpf.MEMSX))
        elif kind == bpf.STX and insn.mode == bpf.ATOMIC:
            self._atomic(insn, pc)
        elif kind in (bpf.ST, bpf.STX):
            value = self.read(insn.src) if kind == bpf.STX else str(insn.imm)
            narrow = value if insn.size == 8 else self.narrow(value, insn.size * 8)
            pointer = self._pointer(insn.dst, insn.off, insn.size, True, pc)
            self.emit(f"store i{insn.size * 8} {narrow}, ptr {pointer}, align 1")
        elif insn.code == bpf.LDDW:
            self._constant(insn, pc)
        elif insn.code == bpf.EXIT_OP:
            self.emit(f"ret i64 {self.read(0)}")
            return False
        elif insn.code == bpf.CALL_OP:
            if insn.src == bpf.CALL_LOCAL:
                self._call_local(insn, pc)
            else:
                self._call_helper(insn, pc)
        else:
            self._jump(insn, pc)
            return False
        return True

    def _jump(self, insn: Instruction, pc: int) -> None:
        target = bpf.jump_target(insn, pc)
        condition = "" if insn.op == bpf.JA else self._condition(insn)
        self.flush()
        label = f"L{target}"
        if target <= pc:
            label = f"n{next(self.numbers)}"
        if condition:
            self.emit(f"br i1 {condition}, label %{label}, label %L{pc + 1}")
        else:
            self.emit(f"br label %{label}")
        if target <= pc:
            self.start(label)
            self._pay(pc - target + 1, pc)
            self.emit(f"br label %L{target}")

    def _condition(self, insn: Instruction) -> str:
        left, right = self.read(insn.dst), self.read(insn.src) if insn.by_register else str(insn.imm)
        bits = 64
        if insn.kind == bpf.JMP32:
            left, right, bits = self.narrow(left), self.narrow(right), 32
        if insn.op == bpf.JSET:
            return self.value(f"icmp ne i{bits} {self.value(f'and i{bits} {left}, {right}')}, 0")
        return self.value(f"icmp {_CONDITION[insn.op]} i{bits} {left}, {right}")

    def _pay(self, instructions: int, pc: int) -> None:
        place = self.field("budget")
        left = self.value(f"sub i64 {self.value(f'load i64, ptr {place}')}, {instructions}")
        self.emit(f"store i64 {left}, ptr {place}")
        self._fault_if(self.value(f"icmp slt i64 {left}, 0"), FAULT_BUDGET, pc)

    def _fault_if(self, condition: str, kind: int, pc: int, address: str = "0", size: int = 0) -> None:
        self.faults.append((self.block, kind, pc, address, size))
        before = self.block
        self.go_on()
        self.emit(f"br i1 {condition}, label %fault, label %{self.block}, !prof !0")
        self.emit(f"{self.block}:")
        assert before != self.block

    def _emit_fault_block(self) -> None:
        if not self.faults:
            return
        self.emit("fault:")
        for name, column in (("kind", 1), ("pc", 2), ("address", 3), ("size", 4)):
            incoming = ", ".join(f"[ {row[column]}, %{row[0]} ]" for row in self.faults)
            self.emit(f"%fault.{name} = phi i64 {incoming}")
        for name, field in (
            ("kind", "fault"),
            ("pc", "fault_pc"),
            ("address", "fault_address"),
            ("size", "fault_size"),
        ):
            self.emit(f"%at.{name} = getelementptr i8, ptr %vm, i64 {self.layout.fields[field]}")
            self.emit(f"store i64 %fault.{name}, ptr %at.{name}")
        self.emit("ret i64 0")

    def _leave_if_faulted(self) -> None:
        fault = self.value(f"load i64, ptr {self.field('fault')}")
        bad, leave = self.value(f"icmp ne i64 {fault}, 0"), f"n{next(self.numbers)}"
        self.go_on()
        self.emit(f"br i1 {bad}, label %{leave}, label %{self.block}, !prof !0")
        self.emit(f"{leave}:\nret i64 0")
        self.emit(f"{self.block}:")

    def _is_packet_bound(self, insn: Instruction) -> bool:
        """Does a load read the packet's bounds from the context?  In strict mode no program can change them there."""
        where = insn.src in self.context_in and insn.off in (MD_DATA, MD_DATA_END)
        return self.layout.strict and where and insn.size == 4 and insn.mode == bpf.MEM

    # -- memory ----------------------------------------------------------------------------------------------------

    def _pointer(self, register: int, offset: int, size: int, write: bool, pc: int) -> str:
        """A pointer to ``size`` bytes that is inside the arena, whatever the register holds."""
        base = self.read(register)
        if self._in_frame(register, offset, size):
            frame = self.from_frame.get(base, 0)
            place = self.value(f"add i64 %fp, {frame + offset}")
            return self.value(f"getelementptr i8, ptr %base, i64 {place}")
        if is_literal(base):
            address = int(base) + offset & _mask(self.layout)
            if not self.layout.strict or self.around.known_regions(address, size, write):
                return self.value(f"getelementptr i8, ptr %base, i64 {address}")
        address_value = self.value(f"add i64 {base}, {offset}") if offset else base
        if self.layout.strict:
            self._check(base, offset, address_value, size, write, pc, self.guesses.registers.get(register))
        lines, pointer = self.layout.arena_pointer(address_value, self.name)
        self.lines += lines
        return pointer

    def _in_frame(self, register: int, offset: int, size: int) -> bool:
        """Is an access known to be inside the function's own stack frame?"""
        frame = 0 if register == bpf.FRAME_POINTER else self.from_frame.get(self.read(register))
        return frame is not None and -STACK_FRAME <= frame + offset <= -size

    def _check(
        self, base: str, offset: int, address: str, size: int, write: bool, pc: int, guess: Extent | None
    ) -> None:
        """End the run if an access leaves its region, unless the block has looked at these bytes before."""
        done = self.checked.setdefault((base, write), [])
        if any(low <= offset and offset + size <= high for low, high in done):
            return
        done.append((offset, offset + size))
        if guess is PACKET:
            low = self.value(f"load i64, ptr {self.field('data_meta')}")
            high = self.value(f"load i64, ptr {self.field('data_end')}")
        elif guess is not None and (guess.writable or not write):
            low, high = str(guess.low), str(guess.high)
        else:
            low, high = self._bounds_of_slot(address, write)
            self._fault_if(self._outside(address, low, high, size), FAULT_ACCESS, pc, address, size)
            return
        self._look_again_if(self._outside(address, low, high, size), address, size, write, pc)

    def _outside(self, address: str, low: str, high: str, size: int) -> str:
        last = self.value(f"sub i64 {high}, {size}")
        below, above = self.value(f"icmp slt i64 {address}, {low}"), self.value(f"icmp sgt i64 {address}, {last}")
        return self.value(f"or i1 {below}, {above}")

    def _bounds_of_slot(self, address: str, write: bool) -> tuple[str, str]:
        table = self.value(f"load ptr, ptr {self.field('write_bounds' if write else 'read_bounds')}")
        slots = (1 << self.layout.address_bits - 20) - 1
        slot = self.value(f"and i64 {self.value(f'lshr i64 {address}, 20')}, {slots}")
        row = self.value(f"load i64, ptr {self.value(f'getelementptr i64, ptr {table}, i64 {slot}')}")
        return self.value(f"and i64 {row}, {_LOW_MASK}"), self.value(f"lshr i64 {row}, 32")

    def _look_again_if(self, condition: str, address: str, size: int, write: bool, pc: int) -> None:
        """The guess was wrong: leave it to the slot's bounds."""
        again, leave = f"n{next(self.numbers)}", f"n{next(self.numbers)}"
        self.go_on()
        self.emit(f"br i1 {condition}, label %{again}, label %{self.block}, !prof !0")
        self.emit(f"{again}:")
        self.emit(f"store i64 {pc}, ptr {self.field('pc')}")
        allowed = self._call_routine(reachable, [address, str(size), str(int(write))])
        self.emit(f"br i1 {self.value(f'icmp ne i64 {allowed}, 0')}, label %{self.block}, label %{leave}")
        self.emit(f"{leave}:\nret i64 0")
        self.emit(f"{self.block}:")

    def _constant(self, insn: Instruction, pc: int) -> None:
        if insn.src == bpf.CONSTANT:
            value = bpf.constant64(self.program, pc)
        elif insn.src == bpf.MAP:
            value = HANDLE | insn.imm
        else:
            storage = self.around.storages[insn.imm]
            assert storage is not None
            value = storage.values + self.program[pc + 1].imm
        self.write(insn.dst, str(value))

    def _atomic(self, insn: Instruction, pc: int) -> None:
        bits = insn.size * 8
        pointer = self._pointer(insn.dst, insn.off, insn.size, True, pc)
        operand = self.read(insn.src) if bits == 64 else self.narrow(self.read(insn.src))
        old = self.value(f"load i{bits}, ptr {pointer}, align 1")
        if insn.imm == bpf.CMPXCHG:
            wanted = self.read(0) if bits == 64 else self.narrow(self.read(0))
            same = self.value(f"icmp eq i{bits} {old}, {wanted}")
            new = self.value(f"select i1 {same}, i{bits} {operand}, i{bits} {old}")
        elif insn.imm == bpf.XCHG:
            new = operand
        else:
            new = self.value(f"{ALU_OPERATIONS[insn.imm & 0xF0]} i{bits} {old}, {operand}")
        self.emit(f"store i{bits} {new}, ptr {pointer}, align 1")
        if insn.imm & bpf.FETCH:
            self.write(0 if insn.imm == bpf.CMPXCHG else insn.src, old if bits == 64 else self.wide(old))

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def _arithmetic(self, insn: Instruction) -> None:
        op, bits = insn.op, 64 if insn.kind == bpf.ALU64 else 32
        if op == bpf.END:
            self._swap(insn)
            return
        right = self.read(insn.src) if insn.by_register else str(insn.imm)
        if op == bpf.MOV:
            self._move(insn, right, bits)
            return
        left = self.read(insn.dst)
        frame = self.from_frame.get(left)
        if op == bpf.ADD and bits == 64 and frame is not None and not insn.by_register:
            self.write(insn.dst, self.value(f"add i64 {left}, {insn.imm}"))
            self.from_frame[self.values[insn.dst]] = frame + insn.imm
            return
        if bits == 32:
            left, right = self.narrow(left), self.narrow(right)
        result = self.operate(op, left, right, bits, signed=insn.off == 1)
        self.write(insn.dst, result if bits == 64 else self.wide(result))

    def _move(self, insn: Instruction, right: str, bits: int) -> None:
        if insn.off:
            result = self.wide(self.narrow(right, insn.off), insn.off, signed=True)
            if bits == 32:
                result = self.wide(self.narrow(result))
        elif bits == 64:
            result = right
            if insn.src == bpf.FRAME_POINTER and insn.by_register:
                result = self.value("add i64 %fp, 0")
                self.from_frame[result] = 0
        else:
            result = str(insn.imm & _LOW_MASK) if not insn.by_register else self.wide(self.narrow(right))
        self.write(insn.dst, result)

    def _swap(self, insn: Instruction) -> None:
        bits = insn.imm
        value = self.read(insn.dst)
        narrow = value if bits == 64 else self.narrow(value, bits)
        if insn.kind == bpf.ALU64 or insn.by_register:
            narrow = self.value(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {narrow})")
        self.write(insn.dst, narrow if bits == 64 else self.wide(narrow, bits))

    # -- calls -----------------------------------------------------------------------------------------------------

    def _call_local(self, insn: Instruction, pc: int) -> None:
        target = pc + 1 + insn.imm
        self._fault_if(self.value(f"icmp eq i64 %fp, {self.around.lowest_frame}"), FAULT_DEPTH, pc)
        self._pay(self.ends[target] - target, pc)
        arguments = [f"i64 {self.read(register)}" for register in range(1, 6)]
        frame = self.value(f"sub i64 %fp, {STACK_FRAME}")
        name = ENTRY if target == 0 else f"f{target}"
        self.write(0, self.value(f"call i64 @{name}(ptr %vm, ptr %base, {', '.join(arguments)}, i64 {frame})"))
        self.checked.clear()
        self._leave_if_faulted()

    def _call_helper(self, insn: Instruction, pc: int) -> None:
        if self.layout.strict:
            self.emit(f"store i64 {pc}, ptr {self.field('pc')}")
        words = [self.read(register) for register in range(1, 6)]
        known = self._known_map()
        fast = insn.imm == _MAP_LOOKUP and known >= 0 and self._has_fast_lookup(known)
        if fast:
            storage = self.around.storages[known]
            assert storage is not None
            if self.layout.strict and not self._in_frame(2, 0, storage.key_size):
                self._check(words[1], 0, words[1], storage.key_size, False, pc, self.guesses.registers.get(2))
            self.lookups.add(known)
            found = self.value(f"call i64 @lookup{known}(ptr %vm, ptr %base, i64 {words[1]})")
        else:
            found = self._call_routine(self.helpers[insn.imm], words)
        self.write(0, found)
        if fast:
            return
        self.checked.clear()
        if self.layout.strict:
            self._leave_if_faulted()
        if insn.imm == _TAIL_CALL:
            self._go_on_in_program(found)

    def _call_routine(self, routine: Routine, words: list[str]) -> str:
        arguments = "".join(f", i64 {word}" for word in words)
        place = shared_routines().get(routine.name)
        if place is None:
            self.used[routine.name] = routine
            return self.value(f"call i64 @{routine.name}(ptr %vm, ptr %base{arguments})")
        table = self.value(f"load ptr, ptr {self.field('library')}")
        callee = self.value(f"load ptr, ptr {self.value(f'getelementptr ptr, ptr {table}, i64 {place}')}")
        return self.value(f"call i64 {callee}(ptr %vm, ptr %base{arguments})")

    def _has_fast_lookup(self, number: int) -> bool:
        storage = self.around.storages[number]
        return storage is not None and (storage.kind in ARRAYS or storage.kind in HASHES)

    def _go_on_in_program(self, number: str) -> None:
        """A tail call: leave for another program if there is one; the frame is reused."""
        none, leave = self.value(f"icmp eq i64 {number}, 0"), f"n{next(self.numbers)}"
        self.go_on()
        self.emit(f"br i1 {none}, label %{self.block}, label %{leave}")
        self.emit(f"{leave}:")
        table = self.value(f"load i64, ptr {self.field('programs')}")
        distance = self.value(f"shl i64 {number}, 3")  # programs are numbered from 1 here, so one word back
        place = self.value(f"getelementptr i8, ptr {self.value(f'inttoptr i64 {table} to ptr')}, i64 {distance}")
        entry = self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {place}, i64 -8')}")
        context = self.value(f"load i64, ptr {self.field('ctx')}")
        arguments = f"ptr %vm, ptr %base, i64 {context}, i64 0, i64 0, i64 0, i64 0, i64 %fp"
        self.emit(f"ret i64 {self.value(f'call i64 {entry}({arguments})')}")
        self.emit(f"{self.block}:")


def _mask(layout: Layout) -> int:
    return (1 << layout.address_bits) - 1
