"""What an eBPF object file holds: programs, maps and global data, read and linked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .btf import SourceLine
from .errors import BpfError
from .instructions import Instruction


@dataclass(frozen=True)
class MapSpec:
    """A map as an object declares it: sizes in bytes; ``kind`` by the kernel's numbers.

    ``contents`` is what a data section starts with; ``programs`` what a program array starts with.
    """

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    contents: bytes | None = None
    readonly: bool = False
    programs: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgramSpec:
    """A program with the functions it calls, as one run of instructions.

    ``instructions`` name maps by their number in the object (:data:`~netemu.bpf.instructions.MAP` and ``MAP_VALUE``).
    """

    name: str
    section: str
    instructions: list[Instruction]
    lines: Mapping[int, SourceLine] = field(default_factory=dict)

    def source_line(self, pc: int) -> SourceLine | None:
        """The source line that instruction ``pc`` came from, if the object says."""
        known = [at for at in self.lines if at <= pc]
        return self.lines[max(known)] if known else None


@dataclass(frozen=True)
class Variable:
    """A global variable: ``size`` bytes at ``offset`` of the map of its section."""

    map: int
    offset: int
    size: int


class BpfObject:
    """Programs, maps and variables of one object file."""

    def __init__(
        self,
        path: Path,
        maps: list[MapSpec],
        programs: dict[str, ProgramSpec],
        variables: dict[str, Variable],
        broken: dict[str, BpfError],
    ) -> None:
        self.path = path
        self.maps = maps
        self.programs = programs
        self.variables = variables
        self.broken = broken
        """Programs that cannot be linked, and why: it matters when one of them is wanted."""

    def program(self, name: str | None = None) -> ProgramSpec:
        """A program by its name or that of its section; without a name, the first one of an XDP section, or the first.

        Raises:
            BpfError: there is none, or it cannot be linked.
        """
        if name is None:
            everything = [*self.programs, *self.broken]
            xdp = [n for n in self.programs if self.programs[n].section.startswith(("xdp", "prog"))]
            xdp.sort(key=lambda n: "/" in self.programs[n].section)  # xdp/NAME is more often what others call
            name = next(iter([*xdp, *everything]), None)
            if name is None:
                raise BpfError(f"{self.path}: holds no program")
        if name in self.broken:
            raise self.broken[name]
        found = self.programs.get(name) or next((p for p in self.programs.values() if p.section == name), None)
        if found is None:
            known = ", ".join([*self.programs, *self.broken]) or "none"
            raise BpfError(f"{self.path}: no program or section {name!r} (there are: {known})")
        return found

    def set_variable(self, name: str, value: int | bytes) -> None:
        """Change what a global variable starts with: an integer, or bytes of at most its size.

        Raises:
            BpfError: there is no such variable, or the value does not fit.
        """
        variable = self.variables.get(name)
        if variable is None:
            known = ", ".join(sorted(self.variables)) or "none"
            raise BpfError(f"{self.path}: no global variable {name!r} (there are: {known})")
        if isinstance(value, int):
            try:
                value = value.to_bytes(variable.size, "little", signed=value < 0)
            except OverflowError:
                raise BpfError(f"{value!r} does not fit into the {variable.size} bytes of {name}") from None
        if len(value) > variable.size:
            raise BpfError(f"{len(value)} bytes do not fit into the {variable.size} bytes of {name}")
        before = self.maps[variable.map]
        data = bytearray(before.contents or b"")
        data[variable.offset : variable.offset + len(value)] = value
        self.maps[variable.map] = replace(before, contents=bytes(data))
