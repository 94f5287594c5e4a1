"""Maps as Python sees them: dictionaries.

Keys and values of 1, 2, 4 or 8 bytes are integers (little-endian, unsigned), others are bytes; a per-CPU map has a
list of values, one per CPU.  A key or value may also be given as bytes, or as a text: an address (``10.0.0.1``,
``fe80::1``, ``02:00:00:00:00:01``), a prefix for an LPM trie (``10.0.0.0/8``), digits, or ``hex:0a0b``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from .arena import host
from .errors import BpfError, MapError
from .map_kinds import (
    ARRAYS,
    C_COUNT,
    C_FRESH,
    D_COUNTERS,
    D_NODES,
    E_PRESENT,
    E_VALUE,
    EEXIST,
    ENTRY_BYTES,
    HASHES,
    LPM_HEAD,
    N_KEY,
    N_USED,
    MapType,
)
from .map_routines import delete_key, hash_add, hash_search, hash_unlink, lpm_find, slot_for_update
from .objects import MapSpec
from .routine import signed

if TYPE_CHECKING:
    from .vm import VirtualMachine

Key = int | bytes | str
Value = int | bytes
_INTEGER_SIZES = (1, 2, 4, 8)
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)


def to_bytes(given: Any, size: int, what: str) -> bytes:
    """A key or value in one of the forms that people write, as ``size`` bytes."""
    if isinstance(given, str):
        given = _from_text(given, size, what)
    if isinstance(given, int):
        try:
            return given.to_bytes(size, "little", signed=given < 0)
        except OverflowError:
            raise BpfError(f"{what}: {given} does not fit into {size} bytes") from None
    try:
        data = bytes(given)
    except (TypeError, ValueError):
        raise BpfError(f"{what}: {given!r} is no integer, no bytes and no text") from None
    if len(data) != size:
        raise BpfError(f"{what}: {len(data)} bytes given where {size} are needed")
    return data


def _from_text(text: str, size: int, what: str) -> int | bytes:
    try:
        if text.startswith("hex:"):
            return bytes.fromhex(text[4:])
        if "/" in text:
            address, _, prefix = text.partition("/")
            packed = ipaddress.ip_address(address).packed
            return int(prefix).to_bytes(LPM_HEAD, "little") + packed
        if _MAC.fullmatch(text):
            return bytes.fromhex(text.replace(":", ""))
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", text):
            return int(text, 0)
        return ipaddress.ip_address(text).packed
    except (ValueError, OverflowError):
        raise BpfError(f"{what}: cannot read {text!r} as {size} bytes") from None


def from_bytes(data: bytes) -> Value:
    """A key or value as Python shows it."""
    return int.from_bytes(data, "little") if len(data) in _INTEGER_SIZES else data


class Map(MutableMapping[Any, Any]):
    """One map of a loaded object; what a program sees and what Python sees is the same memory."""

    def __init__(self, vm: VirtualMachine, number: int, spec: MapSpec) -> None:
        self.vm = vm
        self.number = number
        self.spec = spec
        self.name = spec.name
        self.storage = vm.storages[number]
        self.kind = self.storage.kind
        self.array = self.kind in ARRAYS
        self.hash = self.kind in HASHES or self.kind == MapType.LPM_TRIE

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} map {self.name}, {len(self)} of {self.spec.max_entries} entries>"

    # -- a map of values: array, hash, LPM trie --------------------------------------------------------------------

    def _key(self, key: Key) -> bytes:
        return to_bytes(key, self.spec.key_size, f"map {self.name}: key")

    def _put_key(self, key: Key) -> tuple[int, int, int]:
        """Descriptor, real address and scratch of a key, laid down for a routine."""
        data = self._key(key)
        self.vm.put_scratch(data)
        return self.storage.descriptor, self.vm.state.scratch, len(data)

    def _number(self, key: Key) -> int:
        """Number of the value of a key; -1: there is none."""
        if self.array:
            number = int.from_bytes(self._key(key), "little")
            return number if number < self.storage.entries else -1
        descriptor, scratch, _ = self._put_key(key)
        if self.kind != MapType.LPM_TRIE:
            return hash_search(self.vm.state, descriptor, scratch) - 1
        wanted = self._masked(key)
        number = lpm_find(self.vm.state, descriptor, scratch) - 1
        return number if number >= 0 and self._node_key(number) == wanted else -1

    def _masked(self, key: Key) -> bytes:
        data = self._key(key)
        prefix = int.from_bytes(data[:LPM_HEAD], "little")
        bits = 8 * (len(data) - LPM_HEAD)
        address = int.from_bytes(data[LPM_HEAD:], "big") >> max(bits - prefix, 0) << max(bits - prefix, 0)
        return data[:LPM_HEAD] + address.to_bytes(len(data) - LPM_HEAD, "big")

    def lookup(self, address: Key) -> Any:
        """Of an LPM trie: the value of the longest prefix of an address, or None."""
        if self.kind != MapType.LPM_TRIE:
            return self.get(address)
        data = to_bytes(address, self.spec.key_size - LPM_HEAD, f"map {self.name}: address")
        descriptor, scratch, _ = self._put_key((8 * len(data)).to_bytes(LPM_HEAD, "little") + data)
        number = lpm_find(self.vm.state, descriptor, scratch) - 1
        return self._value(number) if number >= 0 else None

    def _place(self, number: int, cpu: int) -> int:
        return self.storage.values + (cpu * self.storage.entries + number) * self.storage.stride

    def _value(self, number: int) -> Any:
        size = self.spec.value_size
        values = [from_bytes(self.vm.arena.read(self._place(number, c), size)) for c in range(self.storage.cpus)]
        return values if self.per_cpu else values[0]

    @property
    def per_cpu(self) -> bool:
        return self.kind in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)

    def _encoded(self, value: Any) -> list[bytes]:
        size, what = self.spec.value_size, f"map {self.name}: value"
        if not self.per_cpu:
            return [to_bytes(value, size, what)]
        if isinstance(value, list | tuple):
            if len(value) != self.storage.cpus:
                raise BpfError(f"{what}: {len(value)} values given for {self.storage.cpus} CPUs")
            return [to_bytes(item, size, what) for item in value]
        return [to_bytes(value, size, what)] * self.storage.cpus

    # -- a map of entries: devices, CPUs, sockets, programs --------------------------------------------------------

    def _entry(self, key: Key, *, make: bool = False) -> int:
        """Real address of an entry; 0: there is none."""
        number = int.from_bytes(self._key(key), "little")
        if self.kind == MapType.DEVMAP_HASH:
            descriptor, scratch, _ = self._put_key(key)
            found = hash_search(self.vm.state, descriptor, scratch)
            if found == 0 and make:
                found = hash_add(self.vm.state, descriptor, scratch)
                if found == 0:
                    raise MapError(f"map {self.name}: is full")
            return self._node(found - 1) + N_KEY + 8 if found else 0
        if number >= self.storage.entries:
            return 0
        entry = host.load64(self.storage.descriptor + D_NODES) + number * ENTRY_BYTES
        return entry if make or host.load64(entry + E_PRESENT) else 0

    def _node(self, number: int) -> int:
        return host.load64(self.storage.descriptor + D_NODES) + number * self.storage.node_size

    def _node_key(self, number: int) -> bytes:
        return self.vm.read_host(self._node(number) + N_KEY, self.spec.key_size)

    # -- the dictionary --------------------------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> Any:
        if self.array or self.hash:
            number = self._number(key)
            if number >= 0:
                return self._value(number)
        elif entry := self._entry(key):
            value = host.load64(entry + E_VALUE)
            return self.vm.programs[value].name if self.kind == MapType.PROG_ARRAY else value & 0xFFFFFFFF
        raise MapError(f"map {self.name}: has no entry {key!r}")

    def __setitem__(self, key: Key, value: Any) -> None:
        if self.array or self.hash:
            encoded = self._encoded(value)
            descriptor, scratch, _ = self._put_key(key)
            number = slot_for_update(self.vm.state, descriptor, scratch, 0)
            if number >> 63:
                why = "key out of range" if self.array or signed(number) == -EEXIST else "no room for another entry"
                raise MapError(f"map {self.name}: {key!r}: {why}")
            for cpu, data in enumerate(encoded):
                self.vm.arena.write(self._place(number - 1, cpu), data)
            return
        word = self._entry_value(value)
        entry = self._entry(key, make=True)
        if entry == 0:
            raise MapError(f"map {self.name}: {key!r}: key out of range")
        host.store64(entry + E_VALUE, word & 0xFFFFFFFF)
        host.store64(entry + E_PRESENT, 1)

    def _entry_value(self, value: Any) -> int:
        if self.kind == MapType.PROG_ARRAY:
            return self.vm.program_number(value)
        size = self.spec.value_size
        data = value if isinstance(value, bytes) else to_bytes(value, 4, f"map {self.name}: value")
        if len(data) not in (4, size):
            raise BpfError(f"map {self.name}: value: {len(data)} bytes given where {size} are needed")
        return int.from_bytes(data, "little")

    def bind(self, key: Key, target: int) -> None:
        """Tie an entry of a redirect map to what it stands for in an emulated machine: a row, counted from 1."""
        host.store32(self._entry(key) + E_VALUE + 4, target)

    def __delitem__(self, key: Key) -> None:
        if self.array:
            raise MapError(f"map {self.name}: entries of an array cannot be deleted")
        if self.hash:
            if self._number(key) < 0:
                raise MapError(f"map {self.name}: has no entry {key!r}")
            descriptor, scratch, _ = self._put_key(key)
            delete_key(self.vm.state, descriptor, scratch)
            return
        entry = self._entry(key)
        if entry == 0:
            raise MapError(f"map {self.name}: has no entry {key!r}")
        host.store64(entry + E_PRESENT, 0)
        if self.kind == MapType.DEVMAP_HASH:
            descriptor, scratch, _ = self._put_key(key)
            hash_unlink(self.vm.state, descriptor, hash_search(self.vm.state, descriptor, scratch))

    def __iter__(self) -> Iterator[Any]:
        if self.array:
            yield from range(self.storage.entries)
        elif self.hash or self.kind == MapType.DEVMAP_HASH:
            counters = host.load64(self.storage.descriptor + D_COUNTERS)
            for number in range(host.load64(counters + C_FRESH)):
                if host.load32(self._node(number) + N_USED):
                    yield self._shown_key(self._node_key(number))
        else:
            for number in range(self.storage.entries):
                if self._entry(number):
                    yield number

    def _shown_key(self, data: bytes) -> int | bytes | str:
        if self.kind == MapType.LPM_TRIE and len(data) - LPM_HEAD in (4, 16):
            return f"{ipaddress.ip_address(data[LPM_HEAD:])}/{int.from_bytes(data[:LPM_HEAD], 'little')}"
        return from_bytes(data)

    def __len__(self) -> int:
        if self.array:
            return self.storage.entries
        if self.hash or self.kind == MapType.DEVMAP_HASH:
            return host.load64(host.load64(self.storage.descriptor + D_COUNTERS) + C_COUNT)
        return sum(1 for _ in self)

    def raw(self) -> dict[bytes, list[bytes]]:
        """Every entry as bytes, with one value per CPU: what a comparison with a kernel's map needs."""
        if not (self.array or self.hash):
            return {to_bytes(k, self.spec.key_size, self.name): [to_bytes(v, 4, self.name)] for k, v in self.items()}
        size = self.spec.value_size
        return {
            self._key(key): [self.vm.arena.read(self._place(n, c), size) for c in range(self.storage.cpus)]
            for key in self
            for n in [self._number(key)]
        }


def as_json(content: Mapping[Any, Any]) -> dict[str, Any]:
    """A map's entries for JSON: keys as text, bytes as ``hex:...``."""
    return {str(_json_value(key)): _json_value(value) for key, value in content.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"hex:{value.hex()}"
    return [_json_value(item) for item in value] if isinstance(value, list) else value
