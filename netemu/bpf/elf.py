"""Reading eBPF object files, as clang writes them, and linking their programs.

Maps come from BTF (section ``.maps``) or as ``struct bpf_map_def`` (section ``maps``), global data from ``.data``,
``.rodata`` and ``.bss``.  Any executable section may hold programs; ``.text`` holds the functions that they call.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from . import btf as types
from . import instructions as bpf
from .btf import Btf, BtfExt, SourceLine
from .core_relocations import settle
from .errors import BpfError, ProgramRejected, Unsupported
from .instructions import Instruction
from .map_kinds import MapType
from .objects import BpfObject, MapSpec, ProgramSpec, Variable

R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_32 = 1, 2, 10
SHN_UNDEF, SHN_LORESERVE = 0, 0xFF00
EM_BPF = 247
_EXECUTABLE = 0x4
_DATA = (".data", ".rodata", ".bss")
_LEGACY_MAP = struct.Struct("<IIIII")  # struct bpf_map_def: type, key_size, value_size, max_entries, map_flags


# What pyelftools, and reading tables whose numbers are wrong, ends in.
_DAMAGE = (
    ELFError, ConstructError, struct.error, LookupError, ValueError, ArithmeticError, AttributeError, TypeError,
    RecursionError,
)  # fmt: skip


class Symbol(NamedTuple):
    name: str
    section: int
    value: int
    size: int
    type: str
    binding: str


class Section(NamedTuple):
    number: int
    name: str
    type: str
    flags: int
    data: bytes
    size: int
    entry_size: int
    info: int


class Place(NamedTuple):
    """A function: section and instructions ``start`` to ``end`` (exclusive) in it."""

    section: int
    start: int
    end: int


def load_object(path: str | Path) -> BpfObject:
    """Read and link an object file.

    Raises:
        OSError: the file cannot be read.
        BpfError: it is no eBPF object, or is damaged, or needs something that netemu does not have.
    """
    path = Path(path)
    return read_object(path.read_bytes(), path)


def read_object(data: bytes, path: Path) -> BpfObject:
    """Read and link the bytes of an object file; ``path`` is what messages call it."""
    try:
        return _Reader(data, path).result()
    except BpfError as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from None
    except _DAMAGE as error:
        raise BpfError(f"{path}: is no eBPF object, or a damaged one ({type(error).__name__}: {error})") from None


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.path = path
        elf = ELFFile(io.BytesIO(data))
        if not elf.little_endian or elf.elfclass != 64:
            raise BpfError("is no 64-bit little-endian object")
        if elf["e_machine"] not in ("EM_BPF", EM_BPF):
            raise BpfError(f"is an object for {elf['e_machine']}, not for eBPF")
        self.sections = [self._section(number, section) for number, section in enumerate(elf.iter_sections())]
        self.by_name = {section.name: section for section in self.sections}
        self.symbols = list(self._symbols(elf))
        self.relocations = self._relocations()
        self.btf = Btf(self.by_name[".BTF"].data) if ".BTF" in self.by_name else None
        extra = self.by_name.get(".BTF.ext")
        self.ext = BtfExt(extra.data, self.btf) if extra is not None and self.btf is not None else None
        self.maps: list[MapSpec] = []
        self.map_at: dict[tuple[int, int], int] = {}  # section and offset -> number of the map
        self.data_map: dict[int, int] = {}  # data section -> number of its map
        self.code = {s.number: bpf.decode(s.data) for s in self.sections if s.flags & _EXECUTABLE and s.data and s.size}
        self.functions = self._functions()

    def _section(self, number: int, section: Any) -> Section:
        kind = section["sh_type"]
        size = section["sh_size"]
        if size > 1 << 28:
            raise BpfError(f"section {section.name} has {size:,} bytes")
        data = b"" if kind == "SHT_NOBITS" else section.data()
        return Section(
            number, section.name, str(kind), section["sh_flags"], data, size, section["sh_entsize"], section["sh_info"]
        )

    def _symbols(self, elf: Any) -> Iterator[Symbol]:
        table = elf.get_section_by_name(".symtab")
        if table is None:
            return
        for symbol in table.iter_symbols():
            where = symbol["st_shndx"]
            number = where if isinstance(where, int) else SHN_UNDEF if where == "SHN_UNDEF" else SHN_LORESERVE
            info = symbol["st_info"]
            yield Symbol(symbol.name, number, symbol["st_value"], symbol["st_size"], info["type"], info["bind"])

    def _relocations(self) -> dict[int, dict[int, tuple[int, Symbol]]]:
        """Relocations by section and offset: type and symbol."""
        found: dict[int, dict[int, tuple[int, Symbol]]] = defaultdict(dict)
        for section in self.sections:
            if section.type == "SHT_REL":
                for offset, info in struct.iter_unpack("<QQ", section.data):
                    found[section.info][offset] = (info & 0xFFFFFFFF, self.symbols[info >> 32])
        return found

    def _functions(self) -> dict[int, list[Place]]:
        """The functions of each executable section, in order."""
        starts: dict[int, set[int]] = defaultdict(set)
        for symbol in self.symbols:
            is_code = symbol.type == "STT_FUNC" or (symbol.type == "STT_NOTYPE" and symbol.binding == "STB_GLOBAL")
            if symbol.section in self.code and is_code:
                starts[symbol.section].add(symbol.value // 8)
        places = {}
        for section, code in self.code.items():
            ordered = sorted(starts[section] | {0})
            ends = [*ordered[1:], len(code)]
            places[section] = [Place(section, start, end) for start, end in zip(ordered, ends, strict=True)]
        return places

    def result(self) -> BpfObject:
        self._read_data()
        self._read_btf_maps()
        self._read_legacy_maps()
        self._relocate_core()
        programs: dict[str, ProgramSpec] = {}
        broken: dict[str, BpfError] = {}
        for name, place in self._programs():
            try:
                programs[name] = self._link(name, place)
            except BpfError as error:
                broken[name] = type(error)(f"{self.path}: program {name}: {error}")
        return BpfObject(self.path, self.maps, programs, self._variables(), broken)

    # -- maps and data ---------------------------------------------------------------------------------------------

    def _read_data(self) -> None:
        for section in self.sections:
            if section.name.startswith(_DATA) and section.size and section.flags & 2:
                contents = section.data or bytes(section.size)
                self.data_map[section.number] = len(self.maps)
                readonly = section.name.startswith(".rodata")
                self.maps.append(
                    MapSpec(section.name, MapType.ARRAY, 4, section.size, 1, contents=contents, readonly=readonly)
                )

    def _variables(self) -> dict[str, Variable]:
        return {
            symbol.name: Variable(self.data_map[symbol.section], symbol.value, symbol.size)
            for symbol in self.symbols
            if symbol.type == "STT_OBJECT" and symbol.section in self.data_map and symbol.name
        }

    def _read_btf_maps(self) -> None:
        section = self.by_name.get(".maps")
        if section is None:
            return
        if self.btf is None:
            raise BpfError("has maps in section .maps but no type information (compile with clang -g)")
        # where each one is, only the symbols say: a linker would fill that into the type information
        offsets = {s.name: s.value for s in self.symbols if s.section == section.number}
        for name, kind in self.btf.variables(".maps"):
            offset = offsets[name]
            self.map_at[section.number, offset] = len(self.maps)
            self.maps.append(self._btf_map(self.btf, name, kind, section.number, offset))

    def _btf_map(self, btf: Btf, name: str, kind: int, section: int, offset: int) -> MapSpec:
        found: dict[str, int] = {}
        programs: dict[int, str] = {}
        for member in btf.members(btf.resolve(kind)):
            target = btf.resolve(member.type)
            if member.name in ("key", "value") and target.kind == types.PTR:
                found[f"{member.name}_size"] = btf.size(target.info)
            elif member.name == "values":
                programs = self._initial_programs(section, offset + member.offset // 8)
                found.setdefault("value_size", 4)
            elif target.kind == types.PTR and btf.resolve(target.info).kind == types.ARRAY:
                found[member.name] = btf.array(btf.resolve(target.info))[1]
        return MapSpec(
            name,
            found.get("type", 0),
            found.get("key_size", 0),
            found.get("value_size", 0),
            found.get("max_entries", 0),
            found.get("map_flags", 0),
            programs=programs,
        )

    def _initial_programs(self, section: int, first: int) -> dict[int, str]:
        return {
            (offset - first) // 8: symbol.name
            for offset, (_, symbol) in self.relocations[section].items()
            if offset >= first and symbol.section in self.code
        }

    def _read_legacy_maps(self) -> None:
        section = self.by_name.get("maps")
        if section is None:
            return
        here = sorted({s.value: s for s in self.symbols if s.section == section.number and s.name}.items())
        for offset, symbol in here:
            self.map_at[section.number, offset] = len(self.maps)
            self.maps.append(MapSpec(symbol.name, *_LEGACY_MAP.unpack_from(section.data, offset)))

    def _relocate_core(self) -> None:
        """Settle CO-RE relocations; one that cannot be settled breaks the programs that hold it."""
        self.unsettled: dict[tuple[int, int], Unsupported] = {}
        if self.ext is None or self.btf is None:
            return
        for relocation in self.ext.relocations():
            section = self.by_name[relocation.section].number
            pc = relocation.offset // 8
            try:
                value = settle(relocation, self.btf)
            except Unsupported as error:
                self.unsettled[section, pc] = error
                continue
            if value is not None:
                self.code[section][pc] = self.code[section][pc]._replace(imm=value)

    # -- programs --------------------------------------------------------------------------------------------------

    def _programs(self) -> Iterator[tuple[str, Place]]:
        """Names of programs and where they are: functions outside ``.text``, unless there is nothing else."""
        text = self.by_name[".text"].number if ".text" in self.by_name else -1
        only_text = set(self.code) <= {text}
        for symbol in sorted(self.symbols, key=lambda s: (s.section, s.value)):
            is_code = symbol.type in ("STT_FUNC", "STT_NOTYPE") and symbol.binding != "STB_LOCAL"
            if symbol.section in self.code and is_code and (only_text or symbol.section != text):
                yield symbol.name, self._place(symbol.section, symbol.value // 8)

    def _place(self, section: int, start: int) -> Place:
        for place in self.functions.get(section, ()):
            if place.start == start:
                return place
        raise ProgramRejected("calls something that is no function")

    def _link(self, name: str, entry: Place) -> ProgramSpec:
        """Lay a program and the functions it calls behind one another, and settle their references."""
        at = {entry: 0}
        order = [entry]
        length = entry.end - entry.start
        calls: list[tuple[int, Place]] = []
        linked: list[Instruction] = []
        for place in order:  # grows while functions are found
            for pc in range(place.start, place.end):
                insn = self.code[place.section][pc]
                if (place.section, pc) in self.unsettled:
                    raise self.unsettled[place.section, pc]
                relocation = self.relocations[place.section].get(8 * pc)
                if insn.code == bpf.CALL_OP and insn.src == bpf.CALL_LOCAL:
                    target = self._callee(place.section, pc, insn, relocation)
                    calls.append((len(linked), target))
                    if target not in at:
                        at[target] = length
                        length += target.end - target.start
                        order.append(target)
                elif relocation is not None:
                    insn = self._resolved(insn, *relocation)
                linked.append(insn)
        for pc, target in calls:
            linked[pc] = linked[pc]._replace(imm=at[target] - pc - 1)
        for pc, insn in enumerate(linked):
            if insn.code == bpf.LDDW and insn.src == bpf.MAP_VALUE and pc + 1 < len(linked):
                # the offset into the variable's section was in the first half
                linked[pc : pc + 2] = [
                    insn._replace(imm=insn.imm >> 32),
                    linked[pc + 1]._replace(imm=insn.imm & 0x7FFFFFFF),
                ]
        return ProgramSpec(name, self.sections[entry.section].name, linked, self._lines(order, at))

    def _callee(self, section: int, pc: int, insn: Instruction, relocation: tuple[int, Symbol] | None) -> Place:
        if relocation is None:
            return self._place(section, pc + 1 + insn.imm)
        symbol = relocation[1]
        if symbol.section == SHN_UNDEF:
            raise Unsupported(f"calls the kernel function (kfunc) {symbol.name}, which netemu does not have")
        start = symbol.value // 8 + (insn.imm + 1)
        return self._place(symbol.section, start)

    def _resolved(self, insn: Instruction, kind: int, symbol: Symbol) -> Instruction:
        """An instruction whose relocation is settled; of a variable, map and offset are packed into the immediate."""
        if kind != R_BPF_64_64 or insn.code != bpf.LDDW:
            if symbol.section == SHN_UNDEF:
                raise Unsupported(f"needs the external symbol {symbol.name}, which netemu does not have")
            raise Unsupported(f"relocation of type {kind} against {symbol.name or 'a section'}")
        if (symbol.section, symbol.value) in self.map_at:
            return insn._replace(src=bpf.MAP, imm=self.map_at[symbol.section, symbol.value])
        if symbol.section in self.data_map:
            offset = symbol.value + insn.imm
            return insn._replace(src=bpf.MAP_VALUE, imm=self.data_map[symbol.section] << 32 | offset)
        if symbol.section in self.code:
            raise Unsupported(f"takes the address of function {symbol.name} (callbacks are not supported)")
        raise Unsupported(f"needs the external symbol {symbol.name}, which netemu does not have")

    def _lines(self, order: list[Place], at: dict[Place, int]) -> dict[int, SourceLine]:
        if self.ext is None:
            return {}
        if not hasattr(self, "_source"):
            self._source = self.ext.lines()
        found = {}
        for (section, offset), line in self._source.items():
            for place in order:
                if self.sections[place.section].name == section and place.start <= offset // 8 < place.end:
                    found[at[place] + offset // 8 - place.start] = line
        return found
