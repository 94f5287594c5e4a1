"""Machine state: a handful of tables of C-like records, reached through one :class:`Kernel`.

Each subsystem declares its tables next to the functions that own them, with :func:`table` (shared state, one
attribute of :class:`Kernel`) or :func:`private_table` (a driver's own state, one array per device).  Nothing
else describes state.  Compiled code sees a ``Kernel`` as a single pointer to the array ``[address, length,
...]``; plain Python and the object handles see the very same memory through ctypes records, so that integers
wrap alike in both.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .watch import Watch

DECLARED: list[str] = []
"""Everything that compiled code knows by number or offset (tables, switches, names, messages), in order.

The disk cache is keyed by it: modules imported in another order mean other numbers.
"""

Fields = Sequence[tuple[str, str] | tuple[str, str, int]]

_CTYPES = {
    "i1": ctypes.c_int8,
    "i2": ctypes.c_int16,
    "i4": ctypes.c_int32,
    "i8": ctypes.c_int64,
    "u1": ctypes.c_uint8,
    "u2": ctypes.c_uint16,
    "u4": ctypes.c_uint32,
}

MAX_DEVICES = 16
"""Devices one machine can hold."""
PRIVATE_SLOTS = 16
"""Private tables one driver can declare."""


CACHE_LINE = 64


def record(fields: Fields, *, whole_lines: bool = False) -> np.dtype[Any]:
    """A C-like record type; 64-bit unsigned fields are refused (mixed arithmetic would turn into floats).

    ``whole_lines``: rows begin on cache lines.
    """
    for field in fields:
        if field[1] not in _CTYPES:
            raise TypeError(f"field {field[0]!r}: type {field[1]!r} is not one of {', '.join(_CTYPES)}")
    plain = np.dtype(list(fields), align=True)
    if not whole_lines:
        return plain
    assert plain.fields is not None
    assert plain.names is not None
    kinds, offsets = zip(*(plain.fields[name][:2] for name in plain.names), strict=True)
    size = whole_cache_lines(plain.itemsize)
    return np.dtype({"names": plain.names, "formats": kinds, "offsets": offsets, "itemsize": size}, align=True)


def whole_cache_lines(size: int) -> int:
    """``size`` bytes, rounded up to cache lines."""
    return -(-size // CACHE_LINE) * CACHE_LINE


class TableSpec:
    """One declared table: its attribute name in :class:`Kernel` and the type of a row (or of a plain item)."""

    def __init__(self, name: str, dtype: np.dtype[Any], index: int) -> None:
        self.name = name
        self.dtype = dtype
        self.index = index
        self.ctype = _ctype_of(dtype, name)


def _ctype_of(dtype: np.dtype[Any], name: str) -> Any:
    if dtype.names is None:
        return _CTYPES[dtype.str[1:]]
    fields: list[tuple[str, Any]] = []
    offset = 0
    assert dtype.fields is not None
    for field in dtype.names:
        kind, start = dtype.fields[field][:2]
        base, shape = kind.base, kind.shape
        if start != offset:
            fields.append((f"_pad{offset}", ctypes.c_uint8 * (start - offset)))
        one = _CTYPES[base.str[1:]]
        fields.append((field, one * shape[0] if shape else one))
        offset = start + kind.itemsize
    if dtype.itemsize != offset:
        fields.append((f"_pad{offset}", ctypes.c_uint8 * (dtype.itemsize - offset)))
    return type(name, (ctypes.Structure,), {"_fields_": fields, "_pack_": 1, "_layout_": "ms"})


TABLES: dict[str, TableSpec] = {}
"""Every shared table, in order of declaration."""


def table(name: str, fields: Fields | str, *, whole_lines: bool = False) -> TableSpec:
    """Declare the shared table ``k.<name>``; ``fields`` is a record layout or one scalar type such as ``"i4"``.

    ``whole_lines``: records begin on cache lines.
    """
    if name in TABLES:
        raise TypeError(f"state table {name!r} is declared twice")
    dtype = np.dtype(fields) if isinstance(fields, str) else record(fields, whole_lines=whole_lines)
    spec = TABLES[name] = TableSpec(name, dtype, len(TABLES))
    DECLARED.append(f"table {name} {dtype.descr}")
    return spec


class PrivateTable:
    """A driver's own state: ``rows(k, dev, i)`` is row ``i`` of the array that device ``dev`` keeps in this slot.

    The driver sizes it in :meth:`Kernel.add_private` when a device is made.
    """

    def __init__(self, name: str, slot: int, fields: Fields) -> None:
        if not 0 <= slot < PRIVATE_SLOTS:
            raise TypeError(f"private table {name!r}: slot {slot} is not in 0..{PRIVATE_SLOTS - 1}")
        self.name = name
        self.slot = slot
        self.dtype = record(fields)
        self.ctype = _ctype_of(self.dtype, name)

    def __call__(self, k: Kernel, dev: int, index: int) -> Any:
        return k.private_rows(dev, self.slot)[index]


def private_table(name: str, slot: int, fields: Fields) -> PrivateTable:
    """Declare table number ``slot`` of a driver's private state."""
    return PrivateTable(name, slot, fields)


class Rows:
    """Python's view of one table: the same memory as the compiled code's, with every index checked."""

    __slots__ = ("_length", "_name", "_view")

    def __init__(self, name: str, array: npt.NDArray[Any], ctype: Any) -> None:
        self._view = (ctype * array.size).from_address(array.ctypes.data)
        self._view.memory = array  # a row keeps its view, and so its memory, when the machine is gone
        self._length = array.size
        self._name = name

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self._length:
            raise IndexError(f"k.{self._name}[{index}]: the table has {self._length} rows")
        return self._view[index]

    def __setitem__(self, index: int, value: int) -> None:
        if not 0 <= index < self._length:
            raise IndexError(f"k.{self._name}[{index}]: the table has {self._length} rows")
        self._view[index] = value

    def __len__(self) -> int:
        return self._length


class Arena:
    """One block of memory for tables of the given sizes (bytes): few huge pages instead of many small ones.

    Tables begin on cache lines; those of ``OWN_BYTES`` and more get a block of their own, of which the machine
    backs only what is touched.
    """

    HUGE_PAGE = 2 << 20
    OWN_BYTES = 4 << 20

    def __init__(self, sizes: Iterable[int]) -> None:
        used = sum(whole_cache_lines(size) for size in sizes if size < self.OWN_BYTES)
        self._memory = np.zeros(max(used, self.OWN_BYTES) + self.HUGE_PAGE, np.uint8)
        self._at = -self._memory.ctypes.data % self.HUGE_PAGE

    def zeros(self, rows: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """``rows`` zeroed items."""
        size = rows * dtype.itemsize
        if size >= self.OWN_BYTES:
            return np.zeros(rows, dtype)
        start = self._at
        self._at += whole_cache_lines(size)
        return self._memory[start : start + size].view(dtype)


table("private", "i8")  # address, length of each private array: MAX_DEVICES x PRIVATE_SLOTS pairs
table("scratch", "i8")  # where the checked build lets a stray access to a missing private table land


class Kernel:
    """The state of one emulated machine.  ``k.pages[pfn].refcount`` works alike compiled and interpreted.

    ``arrays`` holds each table as a numpy array, for bulk set-up and for reports; it owns the memory.
    ``sizes`` counts the rows in use of tables that grow, ``callables`` what :func:`~netemu.engine.kernel.indirect`
    calls when interpreting, ``watch`` who follows a watched machine (:mod:`netemu.engine.watch`), ``raised`` what
    Python that the engine called has raised, to be raised in place of the fault that it noted.
    """

    arrays: dict[str, npt.NDArray[Any]]

    def __init__(self, lengths: Mapping[str, int]) -> None:
        lengths = {"private": 2 * MAX_DEVICES * PRIVATE_SLOTS, "scratch": 512, **lengths}
        self.arrays = {}
        self._directory = np.zeros(2 * len(TABLES), np.int64)
        rows = {name: max(lengths.get(name, 1), 1) for name in TABLES}
        small = Arena([rows[name] * spec.dtype.itemsize for name, spec in TABLES.items()])
        for name, spec in TABLES.items():
            self._adopt(spec, small.zeros(rows[name], spec.dtype))
        self._address = self._directory.ctypes.data
        self._private: dict[tuple[int, int], tuple[npt.NDArray[Any], Rows]] = {}
        self.callables: list[Any] = [None]  # no function has the address 0
        self.watch: Watch | None = None  # set before anything runs: this machine is followed call by call
        self.raised: BaseException | None = None
        self.sizes: dict[str, int] = {}

    def _adopt(self, spec: TableSpec, array: npt.NDArray[Any]) -> None:
        self.arrays[spec.name] = array
        self._directory[2 * spec.index] = array.ctypes.data
        self._directory[2 * spec.index + 1] = array.size
        setattr(self, spec.name, Rows(spec.name, array, spec.ctype))

    def replace(self, name: str, array: npt.NDArray[Any]) -> None:
        """Put another array in place of table ``name`` (same type; the kernel keeps it alive)."""
        spec = TABLES[name]
        if array.dtype != spec.dtype or not array.flags.c_contiguous:
            raise TypeError(f"k.{name} holds {spec.dtype}, not {array.dtype}")
        self._adopt(spec, array)

    def add_private(self, dev: int, owned: PrivateTable, length: int) -> npt.NDArray[Any]:
        """Give device ``dev`` its array of ``length`` zeroed rows for the private table ``owned``."""
        array = np.zeros(length, owned.dtype)
        pair = 2 * (dev * PRIVATE_SLOTS + owned.slot)
        self.arrays["private"][pair] = array.ctypes.data
        self.arrays["private"][pair + 1] = array.size
        self._private[dev, owned.slot] = (array, Rows(owned.name, array, owned.ctype))
        return array

    def private_rows(self, dev: int, slot: int) -> Rows:
        """The checked view of a device's private table."""
        return self._private[dev, slot][1]

    def private_array(self, dev: int, owned: PrivateTable) -> npt.NDArray[Any]:
        """The numpy array behind a device's private table."""
        return self._private[dev, owned.slot][0]

    def __getattr__(self, name: str) -> Any:
        # reached only when a table is missing: say so in the reader's terms
        raise AttributeError(f"machine state has no table {name!r}; declared are: {', '.join(TABLES)}")
