"""Maps as programs use them.

Descriptors, hash chains, keys, and entries of redirect maps and program arrays are control data outside the arena; a
program sees values only.  A handle is checked before anything is looked up by it.

An LPM trie is a hash of prefixes that is asked once per prefix length in use, longest first.  An LRU hash gives up the
entry that a second-chance clock finds; the kernel's choice is approximate too, and another (``bpf_lru_list.c``).
"""

from __future__ import annotations

from .arena import host
from .map_kinds import (
    BPF_EXIST,
    BPF_F_LOCK,
    BPF_NOEXIST,
    C_COUNT,
    C_FREE,
    C_FRESH,
    C_HAND,
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
    E2BIG,
    E_PRESENT,
    E_VALUE,
    EEXIST,
    EINVAL,
    ENOENT,
    ENTRY_BYTES,
    EPERM,
    HANDLE,
    LPM_HEAD,
    N_HASH,
    N_KEY,
    N_NEXT,
    N_RECENT,
    N_USED,
    MapType,
)
from .routine import LOW32, routine, wrap
from .state import FAULT_ACCESS, State

ARRAY, PERCPU_ARRAY = int(MapType.ARRAY), int(MapType.PERCPU_ARRAY)
HASH, PERCPU_HASH = int(MapType.HASH), int(MapType.PERCPU_HASH)
LRU_HASH, LRU_PERCPU_HASH = int(MapType.LRU_HASH), int(MapType.LRU_PERCPU_HASH)
LPM_TRIE, DEVMAP, DEVMAP_HASH = int(MapType.LPM_TRIE), int(MapType.DEVMAP), int(MapType.DEVMAP_HASH)
CPUMAP, XSKMAP = int(MapType.CPUMAP), int(MapType.XSKMAP)

MIX = 0x9E3779B97F4A7C15


@routine
def reachable(vm: State, address: int, size: int, write: int) -> int:
    """May a helper use ``size`` bytes at ``address``?  If not, the fault is noted (strict mode)."""
    if size == 0:
        return 1
    if address <= LOW32:
        table = vm.write_bounds if write else vm.read_bounds
        row = host.load64(table + (address >> 20 << 3))
        if address >= row & LOW32 and address + size <= row >> 32:
            return 1
    if vm.fault == 0:
        vm.fault = FAULT_ACCESS
        vm.fault_pc = vm.pc
        vm.fault_address = address
        vm.fault_size = size
    return 0


@routine(inline=True)
def descriptor(vm: State, handle: int) -> int:
    """Where the descriptor of a map is, or 0 if ``handle`` is none."""
    index = handle ^ HANDLE
    return vm.maps + index * DESCRIPTOR_BYTES if index < vm.nr_maps else 0


# -- hashes ----------------------------------------------------------------------------------------------------------


@routine(inline=True)
def hash_of(vm: State, key: int, size: int) -> int:
    """32-bit hash of the ``size`` bytes at the real address ``key``."""
    mixed = wrap(size * MIX)
    while size >= 8:
        mixed = wrap((mixed ^ host.load64(key)) * MIX)
        mixed = mixed ^ mixed >> 32
        key += 8
        size -= 8
    if size & 4:
        mixed = wrap((mixed ^ host.load32(key)) * MIX)
        mixed = mixed ^ mixed >> 32
        key += 4
    if size & 2:
        mixed = wrap((mixed ^ host.load16(key)) * MIX)
        mixed = mixed ^ mixed >> 32
        key += 2
    if size & 1:
        mixed = wrap((mixed ^ host.load8(key)) * MIX)
        mixed = mixed ^ mixed >> 32
    return mixed & LOW32


@routine(inline=True)
def same_key(vm: State, left: int, right: int, size: int) -> int:
    """Are the ``size`` bytes at two real addresses equal?"""
    while size >= 8:
        if host.load64(left) != host.load64(right):
            return 0
        left += 8
        right += 8
        size -= 8
    while size:
        if host.load8(left) != host.load8(right):
            return 0
        left += 1
        right += 1
        size -= 1
    return 1


@routine(inline=True)
def hash_find(vm: State, key: int, size: int, buckets: int, mask: int, nodes: int, node_size: int) -> int:
    """Number + 1 of the node that has the key at real address ``key``, or 0."""
    hashed = hash_of(vm, key, size)
    number = host.load32(buckets + ((hashed & mask) << 2))
    while number:
        node = nodes + (number - 1) * node_size
        if host.load32(node + N_HASH) == hashed and same_key(vm, node + N_KEY, key, size):
            return number
        number = host.load32(node + N_NEXT)
    return 0


@routine
def hash_search(vm: State, d: int, key: int) -> int:
    """:func:`hash_find` in the map of descriptor ``d``."""
    return hash_find(
        vm,
        key,
        host.load64(d + D_KEY_SIZE),
        host.load64(d + D_BUCKETS),
        host.load64(d + D_BUCKET_MASK),
        host.load64(d + D_NODES),
        host.load64(d + D_NODE_SIZE),
    )


@routine
def hash_unlink(vm: State, d: int, number: int) -> int:
    """Take node ``number`` (+ 1) out of its chain and put it on the list of free ones."""
    nodes, node_size = host.load64(d + D_NODES), host.load64(d + D_NODE_SIZE)
    node = nodes + (number - 1) * node_size
    link = host.load64(d + D_BUCKETS) + ((host.load32(node + N_HASH) & host.load64(d + D_BUCKET_MASK)) << 2)
    while host.load32(link) != number:
        link = nodes + (host.load32(link) - 1) * node_size + N_NEXT
    host.store32(link, host.load32(node + N_NEXT))
    counters = host.load64(d + D_COUNTERS)
    host.store32(node + N_NEXT, host.load64(counters + C_FREE))
    host.store32(node + N_USED, 0)
    host.store64(counters + C_FREE, number)
    host.store64(counters + C_COUNT, host.load64(counters + C_COUNT) - 1)
    return 0


@routine
def hash_evict(vm: State, d: int) -> int:
    """Free the first node that was not used since the clock's hand last passed it."""
    counters, entries = host.load64(d + D_COUNTERS), host.load64(d + D_ENTRIES)
    hand = host.load64(counters + C_HAND)
    while 1:
        node = host.load64(d + D_NODES) + hand * host.load64(d + D_NODE_SIZE)
        number = hand + 1
        hand = 0 if number == entries else number
        if host.load32(node + N_RECENT) == 0:
            break
        host.store32(node + N_RECENT, 0)
    host.store64(counters + C_HAND, hand)
    return hash_unlink(vm, d, number)


@routine
def hash_add(vm: State, d: int, key: int) -> int:
    """Number + 1 of a new node for the key at real address ``key``; 0 if the map is full."""
    counters, entries = host.load64(d + D_COUNTERS), host.load64(d + D_ENTRIES)
    kind = host.load64(d + D_TYPE)
    if host.load64(counters + C_COUNT) == entries:
        if kind not in (LRU_HASH, LRU_PERCPU_HASH):
            return 0
        hash_evict(vm, d)
    number = host.load64(counters + C_FREE)
    nodes, node_size = host.load64(d + D_NODES), host.load64(d + D_NODE_SIZE)
    if number:
        host.store64(counters + C_FREE, host.load32(nodes + (number - 1) * node_size + N_NEXT))
    else:
        number = host.load64(counters + C_FRESH) + 1
        host.store64(counters + C_FRESH, number)
    node = nodes + (number - 1) * node_size
    size = host.load64(d + D_KEY_SIZE)
    hashed = hash_of(vm, key, size)
    link = host.load64(d + D_BUCKETS) + ((hashed & host.load64(d + D_BUCKET_MASK)) << 2)
    host.store32(node + N_NEXT, host.load32(link))
    host.store32(node + N_HASH, hashed)
    host.store32(node + N_USED, 1)
    host.store32(node + N_RECENT, 0)
    host.move(node + N_KEY, key, size)
    host.store32(link, number)
    host.store64(counters + C_COUNT, host.load64(counters + C_COUNT) + 1)
    return number


# -- longest prefix match --------------------------------------------------------------------------------------------


@routine
def keep_prefix(vm: State, key: int, size: int, prefix: int) -> int:
    """Make the LPM key at real address ``key`` the one of a prefix: its length, and nothing behind it."""
    host.store32(key, prefix)
    whole = prefix >> 3
    if LPM_HEAD + whole < size:
        first = key + LPM_HEAD + whole
        host.store8(first, host.load8(first) & (0xFF00 >> (prefix & 7)))
        host.fill(first + 1, 0, size - LPM_HEAD - whole - 1)
    return 0


@routine
def lpm_find(vm: State, d: int, key: int) -> int:
    """Number + 1 of the node with the longest prefix of the LPM key at real address ``key``, or 0."""
    size, prefixes = host.load64(d + D_KEY_SIZE), host.load64(d + D_PREFIXES)
    prefix = host.load32(key)
    if prefix > (size - LPM_HEAD) * 8:
        return 0
    left = prefix + 1
    while left:
        left -= 1
        if host.load32(prefixes + (left << 2)):
            keep_prefix(vm, key, size, left)
            number = hash_search(vm, d, key)
            if number:
                return number
    return 0


@routine
def lpm_count(vm: State, d: int, key: int, change: int) -> int:
    """Note that there is one prefix more or less of this length."""
    place = host.load64(d + D_PREFIXES) + (host.load32(key) << 2)
    host.store32(place, host.load32(place) + change)
    return 0


# -- lookups, one per kind of map: compiled programs call them with the map's geometry as constants -------------------


@routine(inline=True)
def value_address(vm: State, d: int, number: int) -> int:
    """Arena address of value ``number`` for the CPU that runs."""
    share = host.load64(d + D_ENTRIES) * (vm.cpu if host.load64(d + D_CPUS) > 1 else 0)
    return host.load64(d + D_VALUES) + (share + number) * host.load64(d + D_STRIDE)


@routine(inline=True)
def array_lookup(vm: State, key: int, values: int, entries: int, stride: int, per_cpu: int) -> int:
    """``array_map_lookup_elem``, ``percpu_array_map_lookup_elem``; the key may be read."""
    number = vm.load32(key)
    if number >= entries:
        return 0
    if per_cpu:
        number += entries * vm.cpu
    return values + number * stride


@routine(inline=True)
def hash_lookup(
    vm: State, d: int, key: int, size: int, mask: int, node_size: int, values: int, entries: int, stride: int, kind: int
) -> int:
    """``htab_map_lookup_elem`` and its per-CPU and LRU variants; the key may be read."""
    vm.to_host(vm.scratch, key, size)
    nodes = host.load64(d + D_NODES)
    number = hash_find(vm, vm.scratch, size, host.load64(d + D_BUCKETS), mask, nodes, node_size)
    if number == 0:
        return 0
    number -= 1
    if kind in (LRU_HASH, LRU_PERCPU_HASH):
        host.store32(nodes + number * node_size + N_RECENT, 1)
    if kind in (PERCPU_HASH, LRU_PERCPU_HASH):
        number += entries * vm.cpu
    return values + number * stride


@routine
def redirect_entry(vm: State, d: int, key: int) -> int:
    """Real address of the entry ``key`` of a redirect map, program array or event array; 0 if there is none."""
    kind = host.load64(d + D_TYPE)
    if kind == DEVMAP_HASH:
        host.store32(vm.scratch, key)
        number = hash_search(vm, d, vm.scratch)
        return host.load64(d + D_NODES) + (number - 1) * host.load64(d + D_NODE_SIZE) + N_KEY + 8 if number else 0
    if key >= host.load64(d + D_ENTRIES):
        return 0
    entry = host.load64(d + D_NODES) + key * ENTRY_BYTES
    return entry if host.load64(entry + E_PRESENT) else 0


@routine
def map_lookup_elem(vm: State, handle: int, key: int, _3: int, _4: int, _5: int) -> int:
    """Helper ``bpf_map_lookup_elem``: the address of a value, or 0."""
    d = descriptor(vm, handle)
    if d == 0:
        return 0
    kind, size = host.load64(d + D_TYPE), host.load64(d + D_KEY_SIZE)
    if vm.strict and reachable(vm, key, size, 0) == 0:
        return 0
    if kind in (ARRAY, PERCPU_ARRAY):
        number = vm.load32(key)
        return value_address(vm, d, number) if number < host.load64(d + D_ENTRIES) else 0
    if kind in (DEVMAP, DEVMAP_HASH, XSKMAP):
        number = vm.load32(key)
        entry = redirect_entry(vm, d, number)
        if entry == 0:
            return 0
        # a copy for the program to read: what a redirect uses is the entry itself
        address = host.load64(d + D_VALUES)
        vm.store64(address, host.load64(entry + E_VALUE))
        return address
    vm.to_host(vm.scratch, key, size)
    if kind == LPM_TRIE:
        number = lpm_find(vm, d, vm.scratch)
        return value_address(vm, d, number - 1) if number else 0
    if kind in (HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH):
        number = hash_search(vm, d, vm.scratch)
        if number == 0:
            return 0
        host.store32(host.load64(d + D_NODES) + (number - 1) * host.load64(d + D_NODE_SIZE) + N_RECENT, 1)
        return value_address(vm, d, number - 1)
    return 0


@routine
def slot_for_update(vm: State, d: int, key: int, flags: int) -> int:
    """Number + 1 of the value that an update of the key at real address ``key`` writes, or a negative error."""
    kind = host.load64(d + D_TYPE)
    if flags > BPF_EXIST:
        return wrap(-EINVAL)
    if kind in (ARRAY, PERCPU_ARRAY):
        if host.load32(key) >= host.load64(d + D_ENTRIES):
            return wrap(-E2BIG)
        return wrap(-EEXIST) if flags == BPF_NOEXIST else host.load32(key) + 1
    if kind == LPM_TRIE:
        size = host.load64(d + D_KEY_SIZE)
        if host.load32(key) > (size - LPM_HEAD) * 8:
            return wrap(-EINVAL)
        keep_prefix(vm, key, size, host.load32(key))
    number = hash_search(vm, d, key)
    if number:
        if flags == BPF_NOEXIST:
            return wrap(-EEXIST)
        if kind in (LRU_HASH, LRU_PERCPU_HASH):
            host.store32(host.load64(d + D_NODES) + (number - 1) * host.load64(d + D_NODE_SIZE) + N_RECENT, 1)
        return number
    if flags == BPF_EXIST:
        return wrap(-ENOENT)
    number = hash_add(vm, d, key)
    if number == 0:
        return wrap(-E2BIG)
    if kind == LPM_TRIE:
        lpm_count(vm, d, key, 1)
    if host.load64(d + D_CPUS) > 1:
        cpu = 0
        while cpu < host.load64(d + D_CPUS):
            place = host.load64(d + D_ENTRIES) * cpu + number - 1
            vm.fill(host.load64(d + D_VALUES) + place * host.load64(d + D_STRIDE), 0, host.load64(d + D_STRIDE))
            cpu += 1
    return number


@routine
def map_update_elem(vm: State, handle: int, key: int, value: int, flags: int, _5: int) -> int:
    """Helper ``bpf_map_update_elem``: 0 or a negative error."""
    d = descriptor(vm, handle)
    if d == 0 or host.load64(d + D_STRIDE) == 0:
        return wrap(-EINVAL)
    if host.load64(d + D_READONLY):
        return wrap(-EPERM)
    if vm.strict and (
        reachable(vm, key, host.load64(d + D_KEY_SIZE), 0) == 0
        or reachable(vm, value, host.load64(d + D_VALUE_SIZE), 0) == 0
    ):
        return 0
    vm.to_host(vm.scratch, key, host.load64(d + D_KEY_SIZE))
    number = slot_for_update(vm, d, vm.scratch, flags & ~BPF_F_LOCK)
    if number >> 63:
        return number
    vm.move(value_address(vm, d, number - 1), value, host.load64(d + D_VALUE_SIZE))
    return 0


@routine
def delete_key(vm: State, d: int, key: int) -> int:
    """Remove the key at real address ``key``: 0 or a negative error."""
    kind = host.load64(d + D_TYPE)
    if kind in (ARRAY, PERCPU_ARRAY):
        return wrap(-EINVAL)
    if kind == LPM_TRIE:
        size = host.load64(d + D_KEY_SIZE)
        if host.load32(key) > (size - LPM_HEAD) * 8:
            return wrap(-EINVAL)
        keep_prefix(vm, key, size, host.load32(key))
    number = hash_search(vm, d, key)
    if number == 0:
        return wrap(-ENOENT)
    hash_unlink(vm, d, number)
    if kind == LPM_TRIE:
        lpm_count(vm, d, key, -1)
    return 0


@routine
def map_delete_elem(vm: State, handle: int, key: int, _3: int, _4: int, _5: int) -> int:
    """Helper ``bpf_map_delete_elem``: 0 or a negative error."""
    d = descriptor(vm, handle)
    if d == 0 or host.load64(d + D_STRIDE) == 0:
        return wrap(-EINVAL)
    if host.load64(d + D_READONLY):
        return wrap(-EPERM)
    if vm.strict and reachable(vm, key, host.load64(d + D_KEY_SIZE), 0) == 0:
        return 0
    vm.to_host(vm.scratch, key, host.load64(d + D_KEY_SIZE))
    return delete_key(vm, d, vm.scratch)
