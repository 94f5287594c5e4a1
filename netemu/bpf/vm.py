"""A virtual machine: memory, maps and programs of one object, and runs of its programs over packets."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..engine.jit import JIT
from . import interpreter
from .arena import SLOT, Arena, Region
from .compiler import Code, compiled
from .errors import BpfError, ProgramRejected, Unsupported
from .helper_routines import MD_BYTES, TAILROOM, XDP_PACKET_HEADROOM
from .instructions import LDDW, MAP, MAP_VALUE, Instruction, encode
from .library import library
from .map_kinds import DESCRIPTOR_BYTES, MAX_KEY_SIZE
from .map_storage import Storage
from .maps import Map
from .objects import BpfObject, MapSpec, ProgramSpec
from .program_module import llvm_module
from .python_helpers import PythonHelpers
from .routine import Layout
from .run_routines import RUNS, begin
from .state import FAULT_NONE, FAULT_PYTHON, MAX_CALL_FRAMES, OFFSETS, STACK_FRAME, UPCALL, State
from .structure import Function, check_structure
from .translate import ENTRY, Surroundings

Safety = Literal["sandbox", "strict"]

DEFAULT_BUDGET = 1 << 23
"""Instructions that one run may take."""
FRAME_BYTES = 4096
MAX_FRAME_BYTES = 1 << 17
FRAME_STRUCT, MAX_METADATA = 40, 252
"""Bytes of headroom that struct xdp_frame takes, and of metadata that a packet can have, since v6.13."""
MAX_PROGRAMS = 1024


@dataclass(frozen=True)
class Fault:
    """Why a run was ended: see ``FAULT_*`` in :mod:`netemu.bpf.state`; ``region`` is the nearest one below."""

    kind: int
    program: str
    pc: int
    instruction: str
    address: int
    size: int
    region: str
    source: str

    def __str__(self) -> str:
        where = f"program {self.program}, instruction {self.pc}: {self.instruction}"
        if self.source:
            where += f" ({self.source})"
        match self.kind:
            case 1:
                return f"{where}: {self.size} bytes at {self.address:#x} are outside {self.region}"
            case 2:
                return f"{where}: used up its budget of instructions"
            case 3:
                return f"{where}: more than {MAX_CALL_FRAMES} nested calls"
        return f"{where}: a helper failed"


class LoadedProgram:
    """A program inside a virtual machine: well-formed, and compiled when first needed."""

    def __init__(self, number: int, spec: ProgramSpec, functions: list[Function]) -> None:
        self.number = number
        self.spec = spec
        self.name = spec.name
        self.instructions = spec.instructions
        self.functions = functions
        self.code: Code | None = None


class VirtualMachine:
    """Memory, maps and programs.  One program runs at a time.

    Args:
        bpf: what maps there are, and which programs may be loaded.
        safety: ``sandbox`` keeps every access inside the arena; ``strict`` also ends a run that leaves its memory.
        cpus: emulated CPUs, for per-CPU maps.
        seed: of ``bpf_get_prandom_u32``.
        budget: instructions that one run may take.
        frame_size: bytes of a packet's buffer with headroom and tailroom.
        jit: compile programs; otherwise interpret them.
        for_packets: programs get a packet's context in r1; otherwise whatever ``run_plain`` is given.
        arena_bits: size of the arena as a power of two.

    Raises:
        BpfError: a map that cannot exist or does not fit.
    """

    def __init__(
        self,
        bpf: BpfObject,
        *,
        safety: Safety = "sandbox",
        cpus: int = 1,
        seed: int = 1,
        budget: int = DEFAULT_BUDGET,
        frame_size: int = FRAME_BYTES,
        jit: bool = JIT,
        for_packets: bool = True,
        arena_bits: int | None = None,
    ) -> None:
        if safety not in ("sandbox", "strict"):
            raise BpfError(f"safety {safety!r}: there are sandbox and strict")
        if not XDP_PACKET_HEADROOM + TAILROOM < frame_size <= MAX_FRAME_BYTES:
            raise BpfError(
                f"a frame of {frame_size} bytes: there can be {XDP_PACKET_HEADROOM + TAILROOM + 1} to {MAX_FRAME_BYTES}"
            )
        self.bpf = bpf
        self.jit = jit
        self.for_packets = for_packets
        self.arena = Arena(arena_bits)
        self.ctx = self.arena.region("the context (struct xdp_md)", MD_BYTES, writable=False)
        self.stack = self.arena.region("the stack", MAX_CALL_FRAMES * STACK_FRAME)
        self.packet = self.arena.region("the packet", 0, room=frame_size)
        self.map_names = [spec.name for spec in bpf.maps]
        self._descriptors = ctypes.create_string_buffer(max(len(bpf.maps), 1) * DESCRIPTOR_BYTES)
        self._programs = (ctypes.c_uint64 * MAX_PROGRAMS)()
        self._scratch = ctypes.create_string_buffer(MAX_KEY_SIZE + 64)
        self.programs: list[LoadedProgram] = []
        self.missing_maps: dict[int, BpfError] = {}
        at = ctypes.addressof(self._descriptors)
        self.storages = [self._storage(spec, number, at, cpus) for number, spec in enumerate(bpf.maps)]
        self.arena.seal()
        self.helpers = PythonHelpers(self)
        self.error: BaseException | None = None
        self._upcall = UPCALL(self._answer)
        self.state = self._state(safety, seed, budget, frame_size)
        self.cpus = cpus
        self.layout = Layout(OFFSETS, address_bits=self.arena.bits, strict=self.state.strict)
        self._library = library(self.arena.bits, bool(self.state.strict)) if jit else None
        if self._library is not None:
            self.state.library = self._library.address
        self.maps: dict[str, Map] = {
            spec.name: Map(self, number, spec)
            for number, spec in enumerate(bpf.maps)
            if number not in self.missing_maps
        }
        self._fill_as_declared()

    def _storage(self, spec: MapSpec, number: int, descriptors: int, cpus: int) -> Any:
        try:
            return Storage(spec, number, descriptors, self.arena, cpus)
        except Unsupported as error:  # matters once a program uses it
            self.missing_maps[number] = error
            return None

    def _state(self, safety: str, seed: int, budget: int, frame_size: int) -> State:
        state = State()
        state.base = self.arena.base
        state.read_bounds = ctypes.addressof(self.arena.read_bounds)
        state.write_bounds = ctypes.addressof(self.arena.write_bounds)
        state.maps = ctypes.addressof(self._descriptors)
        state.nr_maps = len(self.bpf.maps)
        state.programs = ctypes.addressof(self._programs)
        state.python = ctypes.cast(self._upcall, ctypes.c_void_p).value or 0
        state.full_budget = state.budget = budget
        state.data_hard_start = self.packet.address
        state.frame_size = frame_size
        state.frame_struct, state.most_metadata = FRAME_STRUCT, MAX_METADATA
        state.ctx = self.ctx.address
        state.stack_top = self.stack.address + self.stack.size
        state.ifindex = 1
        state.random = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & (1 << 64) - 1 or 1
        state.scratch = ctypes.addressof(self._scratch)
        state.mask = self.arena.size - 1
        state.strict = safety == "strict"
        state.on_upcall = self.helpers
        state.on_run = self._interpret
        return state

    def fill_maps(self, entries: Mapping[str, Mapping[Any, Any]]) -> None:
        """Put entries into maps, given by name.

        Raises:
            BpfError: there is no such map, or an entry that it does not take.
        """
        for name, content in entries.items():
            if name not in self.maps:
                raise BpfError(f"{self.bpf.path}: no map {name!r} (there are: {', '.join(self.maps) or 'none'})")
            for key, value in content.items():
                self.maps[name][key] = value

    def _fill_as_declared(self) -> None:
        for number, spec in enumerate(self.bpf.maps):
            if spec.contents is not None:
                self.arena.write(self.storages[number].values, spec.contents)
            for index, name in spec.programs.items():
                self.maps[spec.name][index] = name

    def close(self) -> None:
        """Give memory and code back; nothing of this machine may be used afterwards."""
        for program in self.programs:
            program.code = None
        self.arena.close()

    # -- programs --------------------------------------------------------------------------------------------------

    def load(self, spec: ProgramSpec) -> LoadedProgram:
        """Check a program and make it ready to run.

        Raises:
            ProgramRejected: it is not well-formed.
            Unsupported: it needs something that netemu does not have.
        """
        for known in self.programs:
            if known.spec is spec:
                return known
        if len(self.programs) == MAX_PROGRAMS:
            raise BpfError(f"more than {MAX_PROGRAMS} programs in one machine")
        try:
            functions = check_structure(spec.instructions)
            self._check_maps(spec.instructions)
        except BpfError as error:
            raise type(error)(f"program {spec.name}: {error}") from None
        loaded = LoadedProgram(len(self.programs), spec, functions)
        self.programs.append(loaded)
        self.state.nr_programs = len(self.programs)
        if self.jit:
            self._compile(loaded)
        return loaded

    def program_number(self, wanted: Any) -> int:
        """Number of a program given by name, number or as loaded: what a program array holds."""
        if isinstance(wanted, LoadedProgram):
            return wanted.number
        if isinstance(wanted, int):
            if not 0 <= wanted < len(self.programs):
                raise BpfError(f"there is no program {wanted}")
            return wanted
        return self.load(self.bpf.program(str(wanted))).number

    def _check_maps(self, program: list[Instruction]) -> None:
        for pc, insn in enumerate(program):
            if insn.code == LDDW and insn.src in (MAP, MAP_VALUE):
                if not 0 <= insn.imm < len(self.storages):
                    raise ProgramRejected("refers to a map that does not exist", pc=pc)
                if insn.imm in self.missing_maps:
                    raise self.missing_maps[insn.imm]
                if insn.src == MAP_VALUE and not self._inside(insn.imm, program[pc + 1].imm):
                    raise ProgramRejected("refers to a variable outside its section", pc=pc)

    def _inside(self, number: int, offset: int) -> bool:
        return bool(0 <= offset < self.storages[number].stride)

    def _compile(self, program: LoadedProgram) -> None:
        context = self.ctx.address if self.for_packets else None
        around = Surroundings(self.layout, self.storages, self.state.stack_top, context, self._known_region)
        ingredients = [encode(program.instructions), self._geometry()]
        program.code = compiled(
            b"\n".join(ingredients),
            lambda: llvm_module(program.instructions, program.functions, around),
            instructions=len(program.instructions),
            every_access_checked=bool(self.state.strict),
        )
        self._programs[program.number] = program.code.address(ENTRY)

    def _geometry(self) -> bytes:
        """What compiled programs know of this machine."""
        maps = [
            [s.kind, s.values, s.entries, s.stride, s.cpus, s.bucket_mask, s.node_size, s.key_size, s.readonly]
            if s
            else None
            for s in self.storages
        ]
        return json.dumps(
            [self.arena.bits, bool(self.state.strict), self.for_packets, self.state.stack_top, maps]
        ).encode()

    def _known_region(self, address: int, size: int, write: bool) -> bool:
        if address >= self.arena.size or self.packet.address <= address < self.packet.address + SLOT:
            return False  # the packet's bounds move
        row = (self.arena.write_bounds if write else self.arena.read_bounds)[address // SLOT]
        return row & 0xFFFFFFFF <= address and address + size <= row >> 32

    # -- runs ------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Longest packet that fits."""
        return int(self.state.frame_size) - XDP_PACKET_HEADROOM - TAILROOM

    def put_packet(self, data: bytes) -> None:
        """Lay a packet behind the headroom."""
        if len(data) > self.room:
            frame = self.state.frame_size
            raise BpfError(f"a packet of {len(data)} bytes does not fit into a frame of {frame}: room for {self.room}")
        self.arena.write(self.packet.address + XDP_PACKET_HEADROOM, data)

    def give_memory(self, data: bytes) -> int:
        """Lay data where a packet would be, for a program that is for none; its arena address, 0 if there is none."""
        self.put_packet(data)
        start = self.packet.address + XDP_PACKET_HEADROOM
        self.arena.bound(self.packet.address, start, start + len(data))
        return start if data else 0

    def call(self, name: str, *words: int) -> int:
        """Call one of :data:`~netemu.bpf.run_routines.RUNS`, and raise what a helper in Python raised in it."""
        if self._library is not None:
            result = self._library.run(name)(self.address, self.arena.base, *words)
        else:
            result = RUNS[name][0](self.state, *words)
        self.raise_error()
        return int(result)

    def raise_error(self) -> None:
        """Raise what a helper in Python raised since the last look."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    @property
    def address(self) -> int:
        """Real address of the machine's record."""
        return ctypes.addressof(self.state)

    def entry(self, program: LoadedProgram) -> int:
        """What runs call: the address of the machine code, or of an interpreted program its number."""
        self.state.program = program.number
        return self._programs[program.number] if self.jit else program.number

    def _interpret(self, number: int, r1: int, r2: int, frame: int) -> int:
        registers = [0, r1, r2, 0, 0, 0, 0, 0, 0, 0, frame]
        for _ in interpreter.steps(self, self.programs[number], registers):
            pass
        return registers[0]

    def steps(self, program: LoadedProgram, length: int, meta: int = 0) -> Iterator[interpreter.Step]:
        """Interpret one run over the packet in place, stopping before each instruction and once behind the last."""
        begin(self.state, self.packet.address + XDP_PACKET_HEADROOM, length, meta)
        self.state.program = program.number
        registers = [0, self.state.ctx, *[0] * 8, self.state.stack_top]
        return interpreter.steps(self, program, registers)

    def _answer(self, _vm: int, _base: int, *words: int) -> int:
        """What compiled code calls for a helper in Python; an exception ends the run and is raised behind it."""
        try:
            return self.helpers(*words)
        except BaseException as error:
            self.error = self.error or error
            self.state.fault = FAULT_PYTHON
            return 0

    def fault(self) -> Fault | None:
        """Why the last run was ended, if it was."""
        s = self.state
        if s.fault == FAULT_NONE:
            return None
        return self._fault(s.fault, s.program, s.fault_pc, s.fault_address, s.fault_size, (s.data_meta, s.data_end))

    def first_fault(self) -> Fault | None:
        """Why the first of all runs that a fault has ended was ended."""
        s = self.state
        if s.faults == 0:
            return None
        bounds = (s.first_meta, s.first_end)
        return self._fault(s.first_fault, s.first_program, s.first_pc, s.first_address, s.first_size, bounds)

    def _fault(self, kind: int, number: int, pc: int, address: int, size: int, packet: tuple[int, int]) -> Fault:
        program = self.programs[number]
        pc = min(pc, len(program.instructions) - 1)
        line = program.spec.source_line(pc)
        source = f"{line.file}:{line.line}" if line else ""
        text = interpreter.describe(program.instructions, pc)
        return Fault(kind, program.name, pc, text, address, size, self._near(address, packet), source)

    def _near(self, address: int, packet: tuple[int, int]) -> str:
        region: Region | None = self.arena.find(address) if address < self.arena.size else None
        if region is None:
            return "every region (a NULL pointer?)" if address < SLOT else "every region"
        if region is self.packet:
            return f"the packet ({packet[0]:#x} to {packet[1]:#x})"
        if region.writable or not region.address <= address < region.address + region.size:
            return f"{region.name} ({region.address:#x} to {region.address + region.size:#x})"
        return f"what may be written: {region.name} is read-only"

    # -- memory, for maps ------------------------------------------------------------------------------------------

    def put_scratch(self, data: bytes) -> None:
        ctypes.memmove(self.state.scratch, data, len(data))

    def read_host(self, address: int, length: int) -> bytes:
        return ctypes.string_at(address, length)
