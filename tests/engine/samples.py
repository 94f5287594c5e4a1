"""Small kernel functions whose ways out are as varied as the weaving has to cope with."""

from __future__ import annotations

import netemu.kernel  # noqa: F401  every other kernel function is declared first
from netemu.engine.faults import fault, fault_code
from netemu.engine.kernel import REGISTERED, cost_point, indirect, inlined, kernel_function
from netemu.engine.layout import Kernel
from netemu.engine.log import message, printk
from netemu.engine.path import charge

_declared_before = len(REGISTERED)

POINT = cost_point("sample_point")
FIRST = fault_code("T-01", "sample {a} of {b}")
SECOND = fault_code("T-02", "never seen after {a}")
SAID = message("sample_said", "sample said {a} and {b}")


@kernel_function(entry=True)
def sample_leaf(k: Kernel, cpu: int, x: int) -> int:
    """Four ways out."""
    if x == 0:
        return 10
    if x > 0:
        for i in range(x):
            if i == 3:
                return 20
    else:
        return 30
    charge(k, cpu, POINT)
    return 40


@kernel_function
def sample_silent(k: Kernel, cpu: int, x: int) -> None:
    """Falls off its end, or not."""
    while x > 0:
        if x == 5:
            return
        x -= 1
    sample_leaf(k, cpu, 0)


@inlined
def sample_part(k: Kernel, cpu: int, x: int) -> int:
    """Not a node of its own: what it charges is its caller's."""
    charge(k, cpu, POINT)
    return x + 1


@kernel_function(name="renamed_sample", entry=True)
def sample_outer(k: Kernel, cpu: int, x: int) -> int:
    """Calls in a return, in a condition, and in a row."""
    sample_silent(k, cpu, x)
    if sample_leaf(k, cpu, x) == 20 and sample_leaf(k, cpu, -1) == 30:
        return sample_part(k, cpu, sample_leaf(k, cpu, 2))
    return sample_leaf(k, cpu, 1)


@kernel_function(entry=True)
def sample_misuse(k: Kernel, cpu: int, a: int, b: int) -> int:
    """Notes two conditions, says something, and carries on."""
    fault(k, cpu, FIRST, a, b)
    sample_late(k, cpu, a)
    printk(k, cpu, SAID, a, b)
    return a + b


@kernel_function
def sample_late(k: Kernel, cpu: int, a: int) -> None:
    """The second condition, deeper down."""
    fault(k, cpu, SECOND, a, 0)


@kernel_function(traced=False, entry=True)
def sample_narrow(k: Kernel, cpu: int, value: int) -> int:
    """Stores a value in fields that are too narrow for it; what refcount reads then."""
    k.pages[1].refcount = value
    k.pages[1].order = value
    k.pool[0].hold_cnt = value
    k.skb[0].cloned = value
    k.page_array[0] = value
    k.page_array[1] = k.pages[1].refcount + 1
    return k.pages[1].refcount


@kernel_function(traced=False, entry=True)
def sample_stray(k: Kernel, cpu: int, row: int) -> int:
    """Reads a row that may not be there."""
    return k.zone[row].managed


@kernel_function(traced=False, entry=True)
def sample_indirect(k: Kernel, cpu: int, address: int, x: int) -> int:
    """Calls whatever is behind an address."""
    return indirect(k, address, cpu, x, 0)


@kernel_function(traced=False, entry=True)
def sample_target(k: Kernel, cpu: int, x: int, unused: int) -> int:
    """What is behind it."""
    return cpu * 100 + x


del REGISTERED[_declared_before:]  # these are no part of the engine that is warmed up or priced
