"""Where maps are kept: values in the arena, everything else outside it."""

from __future__ import annotations

import ctypes
import mmap

from .arena import GUARD, Arena, host
from .errors import BpfError, Unsupported
from .map_kinds import (
    ARRAYS,
    D_BUCKET_MASK,
    D_BUCKETS,
    D_COUNTERS,
    D_CPUS,
    D_ENTRIES,
    D_KEY_SIZE,
    D_NODE_SIZE,
    D_NODES,
    D_PREFIXES,
    D_READONLY,
    D_STRIDE,
    D_TYPE,
    D_VALUE_SIZE,
    D_VALUES,
    DESCRIPTOR_BYTES,
    ENTRY_BYTES,
    HASHES,
    LPM_HEAD,
    MAX_KEY_SIZE,
    N_KEY,
    PER_CPU,
    UNSUPPORTED,
    MapType,
)
from .objects import MapSpec

MAX_ENTRIES = 1 << 26
BPF_F_RDONLY_PROG = 1 << 7


def _rounded(size: int) -> int:
    return -(-size // 8) * 8


class Control:
    """Zeroed memory outside the arena."""

    def __init__(self, size: int) -> None:
        self.memory = mmap.mmap(-1, max(size, 1))
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))


class Storage:
    """The memory of one map and its geometry, as its descriptor holds it.

    Raises:
        Unsupported: a map type that netemu does not have.
        BpfError: sizes that the map type cannot have.
    """

    def __init__(self, spec: MapSpec, number: int, descriptors: int, arena: Arena, cpus: int) -> None:
        self.kind = check_spec(spec)
        self.key_size = spec.key_size
        self.cpus = cpus if self.kind in PER_CPU else 1
        self.entries = spec.max_entries or (cpus if self.kind == MapType.PERF_EVENT_ARRAY else 1)
        self.descriptor = descriptors + number * DESCRIPTOR_BYTES
        self.values = self.size = self.stride = self.node_size = self.bucket_mask = 0
        self.readonly = spec.readonly or bool(spec.flags & BPF_F_RDONLY_PROG)
        if self.kind in ARRAYS or self.kind in HASHES or self.kind == MapType.LPM_TRIE:
            self.stride = _rounded(spec.value_size)
            self.size = self.stride * self.entries * self.cpus
            self.values = arena.region(f"map {spec.name}", self.size, writable=not self.readonly).address
        elif self.kind != MapType.PROG_ARRAY and self.kind != MapType.PERF_EVENT_ARRAY:
            self.values = arena.region(f"map {spec.name}", 8, writable=False).address
        self.control = self._control(spec)
        fields = {
            D_TYPE: self.kind,
            D_KEY_SIZE: spec.key_size,
            D_VALUE_SIZE: spec.value_size,
            D_STRIDE: self.stride,
            D_ENTRIES: self.entries,
            D_VALUES: self.values,
            D_CPUS: self.cpus,
            D_READONLY: int(self.readonly),
            D_BUCKET_MASK: self.bucket_mask,
            D_NODE_SIZE: self.node_size,
        }
        for place, value in fields.items():
            host.store64(self.descriptor + place, value)

    def _control(self, spec: MapSpec) -> Control | None:
        if self.kind in ARRAYS:
            return None
        if self.kind in HASHES or self.kind in (MapType.LPM_TRIE, MapType.DEVMAP_HASH):
            return self._hash_control(spec)
        control = Control(self.entries * ENTRY_BYTES)
        host.store64(self.descriptor + D_NODES, control.address)
        return control

    def _hash_control(self, spec: MapSpec) -> Control:
        entry = ENTRY_BYTES if self.kind == MapType.DEVMAP_HASH else 0
        self.node_size = N_KEY + _rounded(spec.key_size) + entry
        self.bucket_mask = (1 << (self.entries - 1).bit_length()) - 1
        counters, prefixes = 64, 0
        if self.kind == MapType.LPM_TRIE:
            prefixes = _rounded(4 * ((spec.key_size - LPM_HEAD) * 8 + 1))
        buckets = _rounded(4 * (self.bucket_mask + 1))
        control = Control(counters + prefixes + buckets + self.entries * self.node_size)
        host.store64(self.descriptor + D_COUNTERS, control.address)
        host.store64(self.descriptor + D_PREFIXES, control.address + counters)
        host.store64(self.descriptor + D_BUCKETS, control.address + counters + prefixes)
        host.store64(self.descriptor + D_NODES, control.address + counters + prefixes + buckets)
        return control


def check_spec(spec: MapSpec) -> MapType:
    """The type of a map whose sizes are possible for it."""
    try:
        kind = MapType(spec.kind)
    except ValueError:
        name = UNSUPPORTED.get(spec.kind, f"of type {spec.kind}")
        raise Unsupported(f"map {spec.name}: is a {name} map, which netemu does not have") from None
    values = kind in ARRAYS or kind in HASHES or kind == MapType.LPM_TRIE
    if spec.max_entries > MAX_ENTRIES or (spec.max_entries == 0 and kind != MapType.PERF_EVENT_ARRAY):
        raise BpfError(f"map {spec.name}: {spec.max_entries:,} entries; there can be 1 to {MAX_ENTRIES:,}")
    if kind == MapType.LPM_TRIE and not LPM_HEAD < spec.key_size <= LPM_HEAD + 256:
        raise BpfError(f"map {spec.name}: an LPM key has 4 bytes of prefix length and 1 to 256 bytes of address")
    if kind in HASHES and not 0 < spec.key_size <= MAX_KEY_SIZE:
        raise BpfError(f"map {spec.name}: {spec.key_size:,} bytes of key; there can be 1 to {MAX_KEY_SIZE}")
    if kind not in HASHES and kind != MapType.LPM_TRIE and spec.key_size != 4:
        raise BpfError(f"map {spec.name}: the key of this kind of map ({kind.name.lower()}) has 4 bytes")
    if values and not 0 < spec.value_size <= GUARD:
        raise BpfError(f"map {spec.name}: {spec.value_size:,} bytes of value; there can be 1 to {GUARD:,}")
    if not values and spec.value_size not in (4, 8):
        raise BpfError(f"map {spec.name}: the value of this kind of map ({kind.name.lower()}) has 4 or 8 bytes")
    return kind
