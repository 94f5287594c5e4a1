"""BTF, the type information inside an eBPF object: what netemu needs of it.

That is the maps of section ``.maps``, the source line of an instruction, and the relocations (CO-RE) by which a
program asks where fields of the running kernel's structures are.  Layout after ``Documentation/bpf/btf.rst``, v6.12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .errors import BpfError

MAGIC = 0xEB9F
(
    INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC,
    FLOAT, DECL_TAG, TYPE_TAG, ENUM64,
) = range(1, 20)  # fmt: skip

_MODIFIERS = {TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG}
# Bytes behind a type's 12-byte head: a fixed part, and one per member.
_FIXED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
_PER_MEMBER = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


class Type(NamedTuple):
    """One type: ``info`` is its size or the type it refers to, ``tail`` what follows its head."""

    kind: int
    name: str
    info: int
    members: int
    tail: bytes


class Member(NamedTuple):
    """A member of a structure, its offset in bits."""

    name: str
    type: int
    offset: int


class Relocation(NamedTuple):
    """What a program asks about a type of the running kernel (``struct bpf_core_relo``); ``offset`` is in bytes."""

    section: str
    offset: int
    type: int
    access: str
    kind: int


@dataclass(frozen=True)
class SourceLine:
    """Where an instruction came from."""

    file: str
    line: int
    text: str


class Btf:
    """Types and strings of section ``.BTF``; type 0 is void."""

    def __init__(self, data: bytes) -> None:
        try:
            magic, _, _, head, type_at, type_len, text_at, text_len = struct.unpack_from("<HBBIIIII", data)
            if magic != MAGIC:
                raise BpfError("section .BTF does not start like one (big-endian objects are not supported)")
            self.text = data[head + text_at : head + text_at + text_len]
            self.types = [Type(0, "void", 0, 0, b""), *self._read(data[head + type_at : head + type_at + type_len])]
        except struct.error:
            raise BpfError("section .BTF is cut off") from None

    def _read(self, data: bytes) -> Iterator[Type]:
        at = 0
        while at < len(data):
            name, info, size = struct.unpack_from("<III", data, at)
            kind, members = info >> 24 & 0x1F, info & 0xFFFF
            length = _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * members
            yield Type(kind, self.string(name), size, members, data[at + 12 : at + 12 + length])
            at += 12 + length

    def string(self, at: int) -> str:
        end = self.text.find(b"\0", at)
        return self.text[at:end].decode(errors="replace")

    def __getitem__(self, number: int) -> Type:
        if not 0 <= number < len(self.types):
            raise BpfError(f"section .BTF has no type {number}")
        return self.types[number]

    def resolve(self, number: int) -> Type:
        """The type behind typedefs and qualifiers."""
        for _ in range(64):
            found = self[number]
            if found.kind not in _MODIFIERS:
                return found
            number = found.info
        raise BpfError("section .BTF has a type that refers to itself")

    def members(self, of: Type) -> list[Member]:
        return [Member(self.string(n), t, o & 0xFFFFFF) for n, t, o in struct.iter_unpack("<III", of.tail)]

    def array(self, of: Type) -> tuple[int, int]:
        """Type of the elements, and how many."""
        element, _, count = struct.unpack("<III", of.tail)
        return element, count

    def size(self, number: int) -> int:
        """Size in bytes of a type."""
        found = self.resolve(number)
        if found.kind == PTR:
            return 8
        if found.kind == ARRAY:
            element, count = self.array(found)
            return self.size(element) * count
        return found.info

    def variables(self, section: str) -> Iterator[tuple[str, int]]:
        """Name and type of every variable in a data section."""
        for found in self.types:
            if found.kind == DATASEC and found.name == section:
                for variable, _, _ in struct.iter_unpack("<III", found.tail):
                    yield self[variable].name, self[variable].info

    def enum_value(self, number: int, index: int) -> tuple[str, int]:
        """Name and value of one enumerator."""
        found = self.resolve(number)
        if found.kind == ENUM:
            name, value = struct.unpack_from("<Ii", found.tail, 8 * index)
        else:
            name, low, high = struct.unpack_from("<III", found.tail, 12 * index)
            value = low | high << 32
        return self.string(name), value


class BtfExt:
    """Section ``.BTF.ext``: source lines and relocations, per program section."""

    def __init__(self, data: bytes, btf: Btf) -> None:
        self.data = data
        self.btf = btf
        try:
            self.head = struct.unpack_from("<I", data, 4)[0]
            fields = struct.unpack_from("<IIII", data, 8)
            self.lines_at, self.lines_len = fields[2:]
            self.relocations_at, self.relocations_len = (
                struct.unpack_from("<II", data, 24) if self.head >= 32 else (0, 0)
            )
        except struct.error:
            raise BpfError("section .BTF.ext is cut off") from None

    def _records(self, at: int, length: int) -> Iterator[tuple[str, bytes]]:
        if length < 4:
            return
        data = self.data[self.head + at : self.head + at + length]
        size = struct.unpack_from("<I", data)[0]
        at = 4
        while at + 8 <= len(data):
            section, count = struct.unpack_from("<II", data, at)
            at += 8
            for _ in range(count):
                if at + size > len(data) or size < 16:
                    raise BpfError("section .BTF.ext is cut off")
                yield self.btf.string(section), data[at : at + size]
                at += size

    def relocations(self) -> Iterator[Relocation]:
        for section, record in self._records(self.relocations_at, self.relocations_len):
            offset, number, access, kind = struct.unpack_from("<IIII", record)
            yield Relocation(section, offset, number, self.btf.string(access), kind)

    def lines(self) -> dict[tuple[str, int], SourceLine]:
        """Source lines by section and byte offset; a line holds until the next one."""
        found = {}
        for section, record in self._records(self.lines_at, self.lines_len):
            offset, file, text, place = struct.unpack_from("<IIII", record)
            found[section, offset] = SourceLine(self.btf.string(file), place >> 10, self.btf.string(text).strip())
        return found
