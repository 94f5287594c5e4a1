"""What the kernel would print: warnings with their numbers, kept in order (a ring of the newest)."""

from __future__ import annotations

from .kernel import kernel_function
from .layout import DECLARED, Kernel, table

LOG_ROWS = 4096

table("log", [("code", "i4"), ("cpu", "i4"), ("a", "i8"), ("b", "i8"), ("c", "i8"), ("clock", "i8")])
table("log_count", "i8")  # messages ever written

_TEXTS: list[tuple[str, str]] = []


def message(name: str, text: str) -> int:
    """Declare a kernel message; ``text`` may use {a} and {b}, the numbers given to :func:`printk`, and {c}, the
    object's.
    """
    _TEXTS.append((name, text))
    DECLARED.append(f"message {name}")
    return len(_TEXTS) - 1


@kernel_function(traced=False)
def printk_about(k: Kernel, cpu: int, code: int, c: int, a: int, b: int) -> None:
    """Write one message about object ``c``."""
    row = k.log[k.log_count[0] % LOG_ROWS]
    row.code = code
    row.cpu = cpu
    row.a = a
    row.b = b
    row.c = c
    row.clock = k.cpu[cpu].clock
    k.log_count[0] += 1


@kernel_function(traced=False)
def printk(k: Kernel, cpu: int, code: int, a: int, b: int) -> None:
    """Write one message."""
    printk_about(k, cpu, code, 0, a, b)


def messages_since(k: Kernel, count: int) -> list[tuple[str, int, int, str]]:
    """Messages written after the first ``count``, as (name, a, b, text)."""
    now = k.log_count[0]
    rows = [k.log[i % LOG_ROWS] for i in range(max(count, now - LOG_ROWS), now)]
    return [(_TEXTS[r.code][0], r.a, r.b, _TEXTS[r.code][1].format(a=r.a, b=r.b, c=r.c)) for r in rows]
