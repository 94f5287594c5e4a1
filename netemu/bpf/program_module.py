"""A program as one LLVM module: its functions, its lookups in maps of known geometry, and the small helpers it uses."""

from __future__ import annotations

from . import instructions as bpf
from .instructions import Instruction
from .map_kinds import ARRAYS, DESCRIPTOR_BYTES, MapType
from .map_routines import array_lookup, hash_lookup
from .map_storage import Storage
from .routine import DECLARATIONS, Routine, with_callees
from .state import OFFSETS
from .structure import Function
from .translate import FunctionText, Surroundings


def llvm_module(program: list[Instruction], functions: list[Function], around: Surroundings) -> str:
    """The program as an LLVM module with one external function, :data:`ENTRY`."""
    used: dict[str, Routine] = {}
    lookups: set[int] = set()
    texts = [
        FunctionText(program, function, functions, around, used, lookups).text
        for function in called(program, functions)
    ]
    for number in sorted(lookups):
        texts.append(_lookup_text(number, around.storages[number], used))
    for found in with_callees(list(used.values())):
        texts.append(found.llvm_text(around.layout))
    tail = '!0 = !{!"branch_weights", i32 1, i32 1048575}\n'
    return "\n".join([DECLARATIONS, *texts, tail])


def called(program: list[Instruction], functions: list[Function]) -> list[Function]:
    """The functions that the first one calls, directly or not, itself first."""
    by_start = {function.start: function for function in functions}
    found = [functions[0]]
    for function in found:
        for pc in range(function.start, function.end):
            insn = program[pc]
            if insn.code == bpf.CALL_OP and insn.src == bpf.CALL_LOCAL:
                target = by_start[pc + 1 + insn.imm]
                if target not in found:
                    found.append(target)
    return found


def _lookup_text(number: int, storage: Storage | None, used: dict[str, Routine]) -> str:
    """A lookup in one map, whose geometry is constant."""
    assert storage is not None
    if storage.kind in ARRAYS:
        per_cpu = int(storage.kind == MapType.PERCPU_ARRAY and storage.cpus > 1)
        callee: Routine = array_lookup
        words = ["%key", storage.values, storage.entries, storage.stride, per_cpu]
    else:
        callee = hash_lookup
        plain = {MapType.PERCPU_HASH: MapType.HASH, MapType.LRU_PERCPU_HASH: MapType.LRU_HASH}
        kind = storage.kind if storage.cpus > 1 else plain.get(storage.kind, storage.kind)
        words = ["%d", "%key", storage.key_size, storage.bucket_mask, storage.node_size]
        words += [storage.values, storage.entries, storage.stride, int(kind)]
    used[callee.name] = callee
    arguments = "".join(f", i64 {word}" for word in words)
    return f"""\
define internal i64 @lookup{number}(ptr noalias %vm, ptr noalias %base, i64 %key) nounwind {{
%at = getelementptr i8, ptr %vm, i64 {OFFSETS["maps"]}
%maps = load i64, ptr %at
%d = add i64 %maps, {number * DESCRIPTOR_BYTES}
%found = call i64 @{callee.name}(ptr %vm, ptr %base{arguments})
ret i64 %found
}}
"""
