"""What can be wrong with an eBPF object or program, said in one line."""

from __future__ import annotations

from ..errors import NetemuError


class BpfError(NetemuError):
    """An object, a program or a map that cannot be used, and why."""


class ProgramRejected(BpfError):
    """A program that is no well-formed eBPF: what is wrong, and at which instruction."""

    def __init__(self, message: str, *, pc: int | None = None) -> None:
        super().__init__(message if pc is None else f"instruction {pc}: {message}")
        self.pc = pc


class Unsupported(BpfError):
    """Something that Linux has and netemu has not: a helper, a map type, a kernel function, an external symbol."""


class MapError(BpfError, KeyError):
    """A map operation from Python that the map's rules refuse."""

    def __str__(self) -> str:  # KeyError would quote the text
        return str(self.args[0])
