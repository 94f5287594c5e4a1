"""Maps that XDP programs in Python share with the Python around them: arrays, hashes, longest-prefix matches.

Keys and values are 64-bit integers in one array of words, so that compiled programs and Python see the same map.
From Python they are like a dict: ``m[key]``, ``m[key] = value``, ``del m[key]``, ``key in m``, ``len(m)``, iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from ipaddress import IPv4Network

import numpy as np
import numpy.typing as npt

from .engine.guest import NOTED, CompiledRoutine, GuestFault, guest_class, note, settled
from .errors import UsageError
from .net.xdp_guest import BAD_INDEX, MAP_FULL, MISSING_KEY

MAX_ENTRIES = 1 << 24


class MissingKey(GuestFault, KeyError):
    """A map has no such key."""

    def __str__(self) -> str:
        return f"the map has no key {NOTED[1]}"


class MapFull(GuestFault):
    """A map has no room for another key."""

    def __str__(self) -> str:
        return f"the map is full: no room for key {NOTED[1]}"


class BadIndex(GuestFault, IndexError):
    """An array map has no such index."""

    def __str__(self) -> str:
        return f"the array has no index {NOTED[1]}"


def _words(count: int) -> tuple[npt.NDArray[np.int64], memoryview, int]:
    array = np.zeros(count, np.int64)
    return array, array.data, array.ctypes.data


def _check_size(size: int) -> int:
    if not 1 <= size <= MAX_ENTRIES:
        raise UsageError(f"a map has 1 to {MAX_ENTRIES} entries, not {size}")
    return size


@guest_class("words", "size")
class ArrayMap:
    """``size`` integers, zero at first.  An index outside is a fault."""

    def __init__(self, size: int) -> None:
        self.size = _check_size(size)
        self._array, self.words, self.address = _words(size)

    def __getitem__(self, index: int) -> int:
        index = settled(index)
        if index < 0 or index >= self.size:
            note(BAD_INDEX, index)
            raise BadIndex
        return self.words[index]

    def __setitem__(self, index: int, value: int) -> None:
        index = settled(index)
        if index < 0 or index >= self.size:
            note(BAD_INDEX, index)
            raise BadIndex
        self.words[index] = value

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(self._array.tolist())

    def add(self, index: int, amount: int) -> None:
        """Add to one of the integers."""
        self[index] = self[index] + amount


# a hash is open addressing in one array: how many keys, lengths of its prefixes, then slots of state, key and value
COUNT, PREFIXES, HEAD = 0, 1, 2
SLOT = 3


@guest_class("words", "size", "mask")
class _Hash:
    """At most ``size`` keys."""

    def __init__(self, size: int) -> None:
        self.size = _check_size(size)
        slots = 1 << (2 * size - 1).bit_length()
        self.mask = slots - 1
        self._array, self.words, self.address = _words(HEAD + SLOT * slots)

    def _home(self, key: int) -> int:
        """The slot where the search for a key begins."""
        mixed = (key ^ (key >> 31)) & 0x7FFFFFFF
        return (mixed * 2654435761 >> 16) & self.mask

    def _find(self, key: int) -> int:
        """Where in ``words`` the key's slot is, or the free one where it would be."""
        words = self.words
        key = settled(key)
        at = self._home(key)
        where = HEAD + SLOT * at
        while words[where] != 0 and words[where + 1] != key:
            at = (at + 1) & self.mask
            where = HEAD + SLOT * at
        return where

    def _slot(self, key: int) -> int:
        """The key's slot, which is made if there is none; a fault when there is no room."""
        where = self._find(key)
        if self.words[where] == 0:
            if self.words[COUNT] >= self.size:
                note(MAP_FULL, key)
                raise MapFull
            self.words[COUNT] += 1
            self.words[where] = 1
            self.words[where + 1] = key
            self.words[where + 2] = 0
        return where

    def _remove(self, key: int) -> bool:
        """Take a key out, and move those behind it up to where a search for them looks; False if it is not there."""
        where = self._find(key)
        if self.words[where] == 0:
            return False
        self.words[COUNT] -= 1
        hole = (where - HEAD) // SLOT
        at = (hole + 1) & self.mask
        while self.words[HEAD + SLOT * at] != 0:
            home = self._home(self.words[HEAD + SLOT * at + 1])
            if ((at - home) & self.mask) >= ((at - hole) & self.mask):
                self.words[HEAD + SLOT * hole + 1] = self.words[HEAD + SLOT * at + 1]
                self.words[HEAD + SLOT * hole + 2] = self.words[HEAD + SLOT * at + 2]
                hole = at
            at = (at + 1) & self.mask
        self.words[HEAD + SLOT * hole] = 0
        return True

    def _keys(self) -> list[int]:
        slots = self._array[HEAD:].reshape(-1, SLOT)
        keys: list[int] = slots[slots[:, 0] != 0, 1].tolist()
        return keys


class HashMap(_Hash, MutableMapping[int, int]):
    """At most ``size`` integers by integer keys.  A key that is not there, or one too many, is a fault."""

    def __getitem__(self, key: int) -> int:
        where = self._find(key)
        if self.words[where] == 0:
            note(MISSING_KEY, key)
            raise MissingKey
        return self.words[where + 2]

    def __setitem__(self, key: int, value: int) -> None:
        self.words[self._slot(key) + 2] = value

    def __delitem__(self, key: int) -> None:
        if not self._remove(key):
            note(MISSING_KEY, key)
            raise MissingKey

    def __contains__(self, key: object) -> bool:
        return self.words[self._find(key)] != 0  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.words[COUNT]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys())

    def get(self, key: int, default: int = 0) -> int:  # type: ignore[override]
        """The value of a key, or ``default``."""
        where = self._find(key)
        if self.words[where] == 0:
            return default
        return self.words[where + 2]

    def add(self, key: int, amount: int) -> None:
        """Add to the value of a key, which starts at 0."""
        where = self._find(key)
        if self.words[where] == 0:
            where = self._slot(key)
        self.words[where + 2] += amount

    def discard(self, key: int) -> bool:
        """Take a key out; False if it was not there."""
        return self._remove(key)

    def add_all(self, keys: npt.NDArray[np.int64], amount: int = 1) -> None:
        """:meth:`add` for every key of an array, for batch programs."""
        _add_all(self, np.ascontiguousarray(keys, np.int64), amount)


def _add_each(counts: HashMap, keys: npt.NDArray[np.int64], amount: int) -> None:
    for at in range(len(keys)):
        counts.add(keys[at], amount)


_add_all = CompiledRoutine(_add_each)


class LpmMap(_Hash, MutableMapping[str, int]):
    """At most ``size`` integers by IPv4 prefix: ``m["10.0.0.0/8"] = 1``.

    A program asks :meth:`lookup` for the value of the longest prefix that an address is in.
    """

    def lookup(self, address: int, default: int) -> int:
        """The value of the longest prefix that the address (an integer) is in, or ``default``."""
        lengths = self.words[PREFIXES]
        length = 32
        while length >= 0:
            if (lengths >> length) & 1:
                where = self._find((length << 32) | (address >> (32 - length) << (32 - length)))
                if self.words[where] != 0:
                    return self.words[where + 2]
            length -= 1
        return default

    @staticmethod
    def _key(prefix: str) -> int:
        try:
            network = IPv4Network(prefix)
        except ValueError as error:
            raise UsageError(f"a prefix is like 10.0.0.0/8: {error}") from None
        return network.prefixlen << 32 | int(network.network_address)

    def __getitem__(self, prefix: str) -> int:
        where = self._find(self._key(prefix))
        if self.words[where] == 0:
            raise KeyError(prefix)
        return self.words[where + 2]

    def __setitem__(self, prefix: str, value: int) -> None:
        key = self._key(prefix)
        self.words[self._slot(key) + 2] = value
        self.words[PREFIXES] |= 1 << (key >> 32)

    def __delitem__(self, prefix: str) -> None:
        if not self._remove(self._key(prefix)):
            raise KeyError(prefix)
        self.words[PREFIXES] = sum({1 << (key >> 32) for key in self._keys()})

    def __len__(self) -> int:
        return self.words[COUNT]

    def __iter__(self) -> Iterator[str]:
        return (str(IPv4Network((key & 0xFFFFFFFF, key >> 32))) for key in self._keys())


guest_class("words", "size", "mask")(HashMap)
guest_class("words", "size", "mask")(LpmMap)
