"""The arena: all memory that programs can name, 4 GiB of addresses that always lead somewhere harmless.

A pointer of a program is a 32-bit offset into the arena, so ``xdp_md.data`` fits its field and NULL is 0.  Whatever
address a program computes, only its low bits count: it cannot leave the arena, and no access faults.  The part that
maps, packets and stacks use is ordinary memory.  The rest repeats one small piece of memory over and over, so that a
program that writes everywhere takes no more than that.

Nothing that netemu itself relies on is in the arena (see :mod:`netemu.bpf.maps` for what is not).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

from ..errors import EmulatorError
from .errors import BpfError

SLOT = 1 << 20
"""Bounds are kept per slot of this size; a region starts at the start of a slot."""
GUARD = 1 << 20
"""Bytes behind the arena that can be touched too: no single access or copy is longer."""
FULL_BITS = 32
SMALL_BITS = 26
"""Address bits of the arena where the system grants no 4 GiB of addresses (limits on address space)."""

_SHADOW = 64 << 20
_PROT = mmap.PROT_READ | mmap.PROT_WRITE
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Region:
    """A named piece of the arena that programs may use: ``size`` bytes from ``address``."""

    def __init__(self, name: str, address: int, size: int, *, writable: bool = True) -> None:
        self.name = name
        self.address = address
        self.size = size
        self.writable = writable


class Arena:
    """Reserved addresses, and the regions laid out in them from the bottom.

    Args:
        bits: size of the arena as a power of two; default is 4 GiB, or 64 MiB where the system refuses that.

    Raises:
        BpfError: the system grants not even the small one.
    """

    def __init__(self, bits: int | None = None) -> None:
        wanted = (bits,) if bits else (FULL_BITS, SMALL_BITS)
        self.base = 0
        for self.bits in wanted:
            self.base = _reserve((1 << self.bits) + GUARD)
            if self.base:
                break
        else:
            raise BpfError(f"the system grants no {1 << (wanted[-1] - 20)} MiB of address space for eBPF programs")
        self.size = 1 << self.bits
        self.regions: list[Region] = []
        slots = self.size // SLOT
        self.read_bounds = (ctypes.c_uint64 * slots)()
        self.write_bounds = (ctypes.c_uint64 * slots)()
        self._next = SLOT  # the first slot is where NULL pointers lead
        self.close = weakref.finalize(self, _munmap, self.base, self.size + GUARD)

    def region(self, name: str, size: int, *, writable: bool = True, room: int = 0) -> Region:
        """Take the next free addresses: ``size`` bytes that programs may use, in ``room`` bytes at least."""
        slots = -(-max(size, room, 1) // SLOT)
        if self._next + slots * SLOT > self.size:
            raise BpfError(
                f"{name}: {size:,} bytes do not fit into the {self.size >> 20} MiB that programs can address"
            )
        made = Region(name, self._next, size, writable=writable)
        self._next += slots * SLOT
        self.regions.append(made)
        self.bound(made.address, made.address, made.address + size, slots=slots, writable=writable)
        return made

    def bound(self, address: int, low: int, high: int, *, slots: int = 1, writable: bool = True) -> None:
        """Say that in the slots from ``address`` on, programs may use ``low`` up to ``high`` (exclusive)."""
        first = address // SLOT
        for slot in range(first, first + slots):
            self.read_bounds[slot] = high << 32 | low
            self.write_bounds[slot] = high << 32 | low if writable else 0

    def seal(self) -> None:
        """End the layout: every address that no region uses leads to the same small piece of memory."""
        if self.bits != FULL_BITS:
            return
        start = -(-self._next // _SHADOW) * _SHADOW
        shadow = os.memfd_create("netemu-shadow", os.MFD_CLOEXEC)
        try:
            os.ftruncate(shadow, _SHADOW)
            for address in range(start, self.size, _SHADOW):
                flags = mmap.MAP_SHARED | _MAP_FIXED | _MAP_NORESERVE
                if _mmap(self.base + address, _SHADOW, _PROT, flags, shadow, 0) == _FAILED:
                    raise EmulatorError(f"cannot lay out the arena: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(shadow)

    def find(self, address: int) -> Region | None:
        """The region whose slots hold ``address``."""
        below = [region for region in self.regions if region.address <= address]
        return below[-1] if below and address < self._next else None

    def read(self, address: int, length: int) -> bytes:
        return ctypes.string_at(self.base + address, length)

    def write(self, address: int, data: bytes) -> None:
        ctypes.memmove(self.base + address, data, len(data))


def _reserve(size: int) -> int:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    got = _mmap(None, size, _PROT, flags, -1, 0)
    return 0 if got == _FAILED else int(got)


class host:
    """Control data by its real address, as routines use it when they run as plain Python."""

    @staticmethod
    def load8(address: int) -> int:
        return ctypes.c_uint8.from_address(address).value

    @staticmethod
    def load16(address: int) -> int:
        return ctypes.c_uint16.from_address(address).value

    @staticmethod
    def load32(address: int) -> int:
        return ctypes.c_uint32.from_address(address).value

    @staticmethod
    def load64(address: int) -> int:
        return ctypes.c_uint64.from_address(address).value

    @staticmethod
    def store8(address: int, value: int) -> None:
        ctypes.c_uint8.from_address(address).value = value

    @staticmethod
    def store16(address: int, value: int) -> None:
        ctypes.c_uint16.from_address(address).value = value

    @staticmethod
    def store32(address: int, value: int) -> None:
        ctypes.c_uint32.from_address(address).value = value

    @staticmethod
    def store64(address: int, value: int) -> None:
        ctypes.c_uint64.from_address(address).value = value

    @staticmethod
    def fill(address: int, byte: int, length: int) -> None:
        ctypes.memset(address, byte, length)

    @staticmethod
    def move(target: int, source: int, length: int) -> None:
        ctypes.memmove(target, source, length)
