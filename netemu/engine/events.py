"""Tracepoints: what kernel code did, in order, for whoever listens.

Silent until :func:`listen`, and compiled in only with ``NETEMU_EVENTS=1``, so that replays do not pay for them; plain
Python always has them.  What an event's numbers mean is said where its kind is declared.
"""

from __future__ import annotations

import numpy as np

from .jit import EVENTS
from .kernel import inlined, kernel_function
from .layout import DECLARED, Kernel, table

EVENT_ROWS = 1 << 16
"""Events that can happen between two calls of :func:`heard`."""

table("events", [("listening", "i4"), ("count", "i4"), ("lost", "i8")])
table("event", [("kind", "i4"), ("a", "i4"), ("b", "i4")])

KINDS: list[str] = []
"""Names of the kinds of events, by number."""


def event_kind(name: str) -> int:
    """Declare a kind of event; its number is what :func:`tracepoint` takes."""
    KINDS.append(name)
    DECLARED.append(f"event {name}")
    return len(KINDS) - 1


@kernel_function(traced=False)
def write_event(k: Kernel, kind: int, a: int, b: int) -> None:
    """Append one event, or count it as lost when nobody has read for too long."""
    events = k.events[0]
    if events.count == EVENT_ROWS:
        events.lost += 1
        return
    row = k.event[events.count]
    row.kind = kind
    row.a = a
    row.b = b
    events.count += 1


@inlined
def is_heard(k: Kernel) -> bool:
    """Is there a listener?"""
    return EVENTS and k.events[0].listening != 0


@inlined
def tracepoint(k: Kernel, kind: int, a: int, b: int) -> None:
    """Something happened: tell the listener, if there is one."""
    if is_heard(k):
        write_event(k, kind, a, b)


def listen(k: Kernel) -> None:
    """Record events from now on."""
    k.replace("event", np.zeros(EVENT_ROWS, k.arrays["event"].dtype))
    k.events[0].count = 0
    k.events[0].listening = 1


def heard(k: Kernel) -> list[tuple[str, int, int]]:
    """Events since the last call, in order, as (kind, a, b)."""
    count = k.events[0].count
    k.events[0].count = 0
    return [(KINDS[kind], a, b) for kind, a, b in k.arrays["event"][:count].tolist()]
