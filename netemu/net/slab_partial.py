"""SLUB's way between a CPU and its node: a CPU serves itself until it runs dry or has too much, then takes list_lock.

A CPU that allocates what it frees never meets the lock.  One that allocates what others free takes a slab of
objects off the node's partial list at a time; one that frees what others have allocated gives its partial slabs
back when it has collected ``cpu_partial`` of them.
Source: mm/slub.c (get_partial_node, put_cpu_partial, unfreeze_partials), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.spinlock import lock_class, spin_lock, spin_unlock
from ..mm.layout import MAX_ZONES

OBJECTS_PER_SLAB = 32
"""sk_buffs of 256 bytes in a slab of two pages."""
CPU_PARTIAL = 13
"""Partial slabs that a CPU keeps of a cache of 256-byte objects."""

LIST_LOCKS = lock_class("kmem_cache_node->list_lock", MAX_ZONES)


@kernel_function
def get_partial_node(k: Kernel, cpu: int) -> None:
    """A slab of objects for a CPU that has none."""
    lock = LIST_LOCKS + k.cpu[cpu].numa_node
    spin_lock(k, cpu, lock)
    k.softnet[cpu].slab_objects += OBJECTS_PER_SLAB
    spin_unlock(k, cpu, lock)


@kernel_function
def unfreeze_partials(k: Kernel, cpu: int) -> None:
    """All partial slabs of a CPU to its node."""
    lock = LIST_LOCKS + k.cpu[cpu].numa_node
    spin_lock(k, cpu, lock)
    k.softnet[cpu].slab_objects -= OBJECTS_PER_SLAB * CPU_PARTIAL
    spin_unlock(k, cpu, lock)


@inlined
def slab_take(k: Kernel, cpu: int) -> None:
    """One object leaves what the CPU has at hand."""
    n = k.softnet[cpu]
    if n.slab_objects == 0:
        get_partial_node(k, cpu)
    n.slab_objects -= 1


@inlined
def slab_give(k: Kernel, cpu: int) -> None:
    """One object joins what the CPU has at hand."""
    n = k.softnet[cpu]
    n.slab_objects += 1
    if n.slab_objects > OBJECTS_PER_SLAB * (CPU_PARTIAL + 1):
        unfreeze_partials(k, cpu)
