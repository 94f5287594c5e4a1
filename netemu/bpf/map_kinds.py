"""The map types that netemu has, by the kernel's numbers (``enum bpf_map_type``), and what tells them apart."""

from __future__ import annotations

from enum import IntEnum


class MapType(IntEnum):
    """``BPF_MAP_TYPE_*``."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    DEVMAP = 14
    CPUMAP = 16
    XSKMAP = 17
    DEVMAP_HASH = 25


UNSUPPORTED = {
    7: "stack_trace", 8: "cgroup_array", 12: "array_of_maps", 13: "hash_of_maps", 15: "sockmap", 18: "sockhash",
    19: "cgroup_storage", 20: "reuseport_sockarray", 21: "percpu_cgroup_storage", 22: "queue", 23: "stack",
    24: "sk_storage", 26: "struct_ops", 27: "ringbuf", 28: "inode_storage", 29: "task_storage", 30: "bloom_filter",
    31: "user_ringbuf", 32: "cgrp_storage", 33: "arena",
}  # fmt: skip

HASHES = {MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH}
ARRAYS = {MapType.ARRAY, MapType.PERCPU_ARRAY}
PER_CPU = {MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH}
REDIRECTS = {MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP, MapType.XSKMAP}

HANDLE = 1 << 44
"""What a program holds for a map: this bit and the map's index, no address of anything."""

# Words of a map's descriptor, all outside the arena (values are in it, at the arena address D_VALUES).
(
    D_TYPE, D_KEY_SIZE, D_VALUE_SIZE, D_STRIDE, D_ENTRIES, D_VALUES, D_CPUS, D_READONLY, D_COUNTERS, D_BUCKETS,
    D_BUCKET_MASK, D_NODES, D_NODE_SIZE, D_PREFIXES,
) = (8 * n for n in range(14))  # fmt: skip
DESCRIPTOR_BYTES = 128

# A hash's counters.
C_COUNT, C_FREE, C_FRESH, C_HAND = 0, 8, 16, 24

# A hash's node: its key follows, and after that, of a redirect map, the entry.
N_NEXT, N_HASH, N_USED, N_RECENT, N_KEY = 0, 4, 8, 12, 16

# An entry of a redirect map, program array or event array.
E_PRESENT, E_VALUE, ENTRY_BYTES = 0, 8, 16

MAX_KEY_SIZE = 512
LPM_HEAD = 4  # of a key of an LPM trie: its prefix length

# update flags
BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK = 1, 2, 4

ENOENT, E2BIG, EFAULT, EEXIST, ENODEV, EINVAL, EPERM, EACCES, ENOTSUPP = 2, 7, 14, 17, 19, 22, 1, 13, 524
