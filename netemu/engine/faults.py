"""The error record: emulated code notes the first thing that went wrong; Python raises it afterwards.

Nothing raises inside the engine.  A function that meets misuse calls :func:`fault` and carries on in the
safest way; the run loop and the object handles look at the record after each step.
"""

from __future__ import annotations

from ..errors import EmulatorError, KernelBug
from .kernel import NAMES, inlined
from .layout import DECLARED, PRIVATE_SLOTS, TABLES, Kernel, table

table("error", [("code", "i8"), ("a", "i8"), ("b", "i8"), ("c", "i8"), ("cpu", "i8"), ("node", "i8"), ("clock", "i8")])

INDEX_OUT_OF_TABLE = 1  # written by the checked build itself
_TEXTS: dict[int, tuple[str, str]] = {}


def fault_code(name: str, text: str) -> int:
    """Declare a condition; ``text`` may use {a} and {b}, the two numbers given to :func:`fault`."""
    code = 2 + len(_TEXTS)
    _TEXTS[code] = (name, text)
    DECLARED.append(f"fault {name} {text}")
    return code


@inlined
def fault(k: Kernel, cpu: int, code: int, a: int, b: int) -> None:
    """Note the condition ``code``, unless an earlier one is noted already."""
    e = k.error[0]
    if e.code == 0:
        e.code = code
        e.a = a
        e.b = b
        e.cpu = cpu
        e.node = k.cpu[cpu].node
        e.clock = k.cpu[cpu].clock


def call_path(k: Kernel, node: int) -> tuple[str, ...]:
    """Names from the root down to ``node``."""
    names: list[str] = []
    while node:
        names.append(NAMES[k.node[node].function])
        node = k.node[node].parent
    return tuple(reversed(names))


def raise_fault(k: Kernel) -> None:
    """Raise what the error record holds, if anything, and clear it."""
    e = k.error[0]
    code, a, b, c = e.code, e.a, e.b, e.c
    if code == 0:
        return
    where = call_path(k, e.node)
    cpu, clock = e.cpu, e.clock
    for field in ("code", "a", "b", "c", "cpu", "node", "clock"):
        setattr(e, field, 0)
    raised, k.raised = k.raised, None
    if raised is not None:
        raise raised
    if code == INDEX_OUT_OF_TABLE:
        name = f"private table {-1 - a}" if -PRIVATE_SLOTS <= a < 0 else f"k.{list(TABLES)[a]}"
        raise EmulatorError(f"netemu itself is wrong: {name} has no row {b} (rows: {c})")
    name, text = _TEXTS[code]
    message = text.format(a=a, b=b)
    raise KernelBug(
        f"{name}: {message} (CPU {cpu}, {clock / 1000:.0f} ns, in {' -> '.join(where) or 'no function'})",
        code=name,
        where=where,
    )
