"""The agenda: when each CPU can act next, and which of them is first.

A tournament: the CPUs' times are the leaves of a binary tree in which every inner node names the earlier of its two
children (of two at the same time, the CPU with the lower number).  A change costs one comparison per level.
"""

from __future__ import annotations

from .kernel import inlined, kernel_function
from .layout import Kernel, table

table("agenda", "i8")  # [cpu] -> when it can act next, ps
table("agenda_tree", "i4")  # [1]: the first CPU; [node]: the first below it; leaves are the CPUs, in order
table("agenda_leaves", "i4")  # [0]: leaves of the tree, a power of two

NO_CPU_TIME = 2**62
"""When a leaf without a CPU can act."""


def agenda_lengths(cpus: int) -> dict[str, int]:
    """Rows of the tables above for a machine of ``cpus`` CPUs."""
    leaves = leaves_of(cpus)
    return {"agenda": leaves, "agenda_tree": 2 * leaves}


def leaves_of(cpus: int) -> int:
    """Leaves of the tournament: a power of two that has room for every CPU."""
    return 1 << (cpus - 1).bit_length()


def set_up_agenda(k: Kernel, cpus: int) -> None:
    """Before anything runs: no CPU has anything to do."""
    leaves = leaves_of(cpus)
    k.agenda_leaves[0] = leaves
    k.arrays["agenda"][:] = NO_CPU_TIME
    tree = k.arrays["agenda_tree"]
    tree[leaves:] = range(leaves)
    for node in range(leaves - 1, 0, -1):
        tree[node] = tree[2 * node]


@inlined
def first_to_act(k: Kernel) -> int:
    """The CPU that can act first."""
    return k.agenda_tree[1]


@kernel_function(traced=False)
def replay_matches(k: Kernel, cpu: int) -> None:
    """A CPU's time has changed: decide again every match on its way up, or until it neither wins nor won."""
    winner = cpu
    when = k.agenda[cpu]
    node = k.agenda_leaves[0] + cpu
    while node > 1:
        other = k.agenda_tree[node ^ 1]
        at = k.agenda[other]
        node >>= 1
        if at < when or (at == when and other < winner):
            winner = other
            when = at
        if winner != cpu and k.agenda_tree[node] != cpu:
            break
        k.agenda_tree[node] = winner


@inlined
def may_be_next(k: Kernel) -> int:
    """The first of those CPUs that the first to act has not met before the last match: often the second to act."""
    first = k.agenda_tree[1]
    return k.agenda_tree[3] if k.agenda_tree[2] == first else k.agenda_tree[2]


@inlined
def set_agenda(k: Kernel, cpu: int, when: int) -> None:
    """``cpu`` can act at ``when`` (ps)."""
    if k.agenda[cpu] != when:
        k.agenda[cpu] = when
        if k.agenda_leaves[0] > 1:
            replay_matches(k, cpu)


@inlined
def act_no_later(k: Kernel, cpu: int, when: int) -> None:
    """``cpu`` may be asleep and has something to do at ``when`` (ps)."""
    if when < k.agenda[cpu]:
        set_agenda(k, cpu, when)
