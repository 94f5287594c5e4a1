"""The machine's record: what programs rely on and cannot reach, because it is not in the arena."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .arena import host

# Faults: why a run was ended.  The verdict is then XDP_ABORTED.
FAULT_NONE = 0
FAULT_ACCESS = 1  # strict: an access outside every region
FAULT_BUDGET = 2  # too many instructions
FAULT_DEPTH = 3  # more than 8 nested calls
FAULT_PYTHON = 4  # a helper written in Python raised

MAX_CALL_FRAMES = 8
STACK_FRAME = 512
MAX_TAIL_CALLS = 33

_FIELDS = (
    "base",  # real address of the arena
    "read_bounds",  # per slot: low | high << 32; real addresses of both tables
    "write_bounds",
    "maps",  # real address of the map descriptors
    "nr_maps",
    "programs",  # real address of the entry points of loaded programs
    "nr_programs",
    "library",  # real address of the table of shared routines
    "python",  # what upcall calls
    "budget",  # instructions left to this run
    "full_budget",
    "tail_calls",  # made in this run
    "fault",
    "faults",  # runs that ended in one
    "fault_pc",
    "fault_address",
    "fault_size",
    # the first of them, kept
    "first_fault",
    "first_program",
    "first_pc",
    "first_address",
    "first_size",
    "first_meta",  # where its packet lay
    "first_end",
    "first_packet",
    "packet_number",  # of the packet under way, in its trace
    "pc",  # of the helper call under way (strict)
    "program",  # index of the running program
    # the packet: arena addresses, like struct xdp_buff
    "data_hard_start",
    "data_meta",
    "data",
    "data_end",
    "frame_size",
    "frame_struct",  # bytes at the start of the headroom that belong to the kernel (struct xdp_frame)
    "most_metadata",
    "no_metadata",  # the driver has no room for it
    "no_growth",  # the end of the buffer is not known
    "moved",  # the packet's start was moved: its headroom may have been written
    "ctx",  # arena address of struct xdp_md
    "stack_top",
    "ifindex",
    "rxq",
    "cpu",
    "now",  # ktime_get_ns
    "random",
    "scratch",  # real address of room for one key
    # what redirect helpers noted for the driver
    "redirect_map",  # map index + 1; 0: none
    "redirect_key",
    "redirect_ifindex",
    "redirect_target",  # what the entry was bound to when the program was attached; 0: to nothing
    "redirect_flags",
)


class State(ctypes.Structure):
    """The record, and access to the arena as routines use it when they run as plain Python."""

    _fields_ = [(name, ctypes.c_uint64) for name in _FIELDS]

    if TYPE_CHECKING:  # every field is an integer

        def __getattr__(self, name: str) -> int: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    mask: int
    strict: bool
    on_upcall: Callable[..., int]
    on_run: Callable[[int, int, int, int], int]

    def _at(self, address: int) -> int:
        return self.base + (address & self.mask)

    def load8(self, address: int) -> int:
        return host.load8(self._at(address))

    def load16(self, address: int) -> int:
        return host.load16(self._at(address))

    def load32(self, address: int) -> int:
        return host.load32(self._at(address))

    def load64(self, address: int) -> int:
        return host.load64(self._at(address))

    def store8(self, address: int, value: int) -> None:
        host.store8(self._at(address), value)

    def store16(self, address: int, value: int) -> None:
        host.store16(self._at(address), value)

    def store32(self, address: int, value: int) -> None:
        host.store32(self._at(address), value)

    def store64(self, address: int, value: int) -> None:
        host.store64(self._at(address), value)

    def fill(self, address: int, byte: int, length: int) -> None:
        ctypes.memset(self._at(address), byte, length)

    def move(self, target: int, source: int, length: int) -> None:
        ctypes.memmove(self._at(target), self._at(source), length)

    def to_host(self, target: int, source: int, length: int) -> None:
        ctypes.memmove(target, self._at(source), length)

    def from_host(self, target: int, source: int, length: int) -> None:
        ctypes.memmove(self._at(target), source, length)

    def upcall(self, *words: int) -> int:
        return self.on_upcall(*words)

    def run(self, entry: int, r1: int, r2: int, frame: int) -> int:
        return self.on_run(entry, r1, r2, frame)


OFFSETS = {name: 8 * number for number, name in enumerate(_FIELDS)}
UPCALL = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint64] * 6)
