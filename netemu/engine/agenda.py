"""The agenda: when each CPU can act next, and which of them is first.

A tournament: the CPUs' times are the leaves of a binary tree in which every inner node holds the earlier of its two
children, when and who (of two at the same time, the CPU with the lower number).  A change costs one match per level,
all the way up.  Which of two CPUs is earlier cannot be foretold, so a match is arithmetic and not a branch: the sign
of a difference, spread over all bits, picks one of the two.
"""

from __future__ import annotations

from .kernel import inlined, kernel_function
from .layout import Kernel, table

table("agenda", [("when", "i8"), ("cpu", "i8")])  # [1]: the first to act; [leaves + cpu]: a CPU; between: matches; ps
table("agenda_leaves", "i8")  # [0]: leaves of the tree, a power of two

NO_CPU_TIME = 2**62
"""When a leaf without a CPU can act."""


def agenda_lengths(cpus: int) -> dict[str, int]:
    """Rows of the tables above for a machine of ``cpus`` CPUs."""
    return {"agenda": 2 * leaves_of(cpus)}


def leaves_of(cpus: int) -> int:
    """Leaves of the tournament: a power of two that has room for every CPU."""
    return 1 << (cpus - 1).bit_length()


def set_up_agenda(k: Kernel, cpus: int) -> None:
    """Before anything runs: no CPU has anything to do."""
    leaves = leaves_of(cpus)
    k.agenda_leaves[0] = leaves
    nodes = k.arrays["agenda"]
    nodes["when"] = NO_CPU_TIME
    nodes["cpu"][leaves:] = range(leaves)
    for node in range(leaves - 1, 0, -1):
        nodes["cpu"][node] = nodes["cpu"][2 * node]


@inlined
def first_to_act(k: Kernel) -> int:
    """The CPU that can act first."""
    return k.agenda[1].cpu


@inlined
def first_time(k: Kernel) -> int:
    """When the first CPU can act, ps."""
    return k.agenda[1].when


@inlined
def next_time(k: Kernel, cpu: int) -> int:
    """When a CPU can act next, ps."""
    return k.agenda[k.agenda_leaves[0] + cpu].when


@inlined
def may_be_next(k: Kernel) -> int:
    """The first of those CPUs that the first to act meets in the last match only: often the second to act."""
    left = k.agenda[2].cpu
    return k.agenda[3].cpu if left == k.agenda[1].cpu else left


@kernel_function(traced=False)
def replay_matches(k: Kernel, cpu: int) -> None:
    """A CPU's time has changed: decide every match on its way up again.

    The node of an odd number is the right one of a match, whose CPU has the higher number.
    """
    node = k.agenda_leaves[0] + cpu
    when = k.agenda[node].when
    winner = cpu
    while node > 1:
        other = k.agenda[node ^ 1]
        earlier = (other.when - when - (node & 1)) >> 63
        winner ^= (winner ^ other.cpu) & earlier
        when ^= (when ^ other.when) & earlier
        node >>= 1
        k.agenda[node].when = when
        k.agenda[node].cpu = winner


@inlined
def set_agenda(k: Kernel, cpu: int, when: int) -> None:
    """``cpu`` can act at ``when`` (ps)."""
    leaf = k.agenda[k.agenda_leaves[0] + cpu]
    if leaf.when != when:
        leaf.when = when
        if k.agenda_leaves[0] > 1:
            replay_matches(k, cpu)


@inlined
def act_no_later(k: Kernel, cpu: int, when: int) -> None:
    """``cpu`` may be asleep and has something to do at ``when`` (ps)."""
    if when < next_time(k, cpu):
        set_agenda(k, cpu, when)
