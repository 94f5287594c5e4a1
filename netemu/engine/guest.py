"""Guests: functions that users write and emulated code calls, such as XDP programs in Python.

A guest gets one object of a *guest class* and may use others from its globals (maps).  The same source runs as plain
Python, or compiled with every method of those classes: a class says which fields an object has in compiled code, the
rest of it is its own Python.  What goes wrong is a :class:`GuestFault`, noted with two numbers in :data:`NOTED`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

FAILED = 0
"""Code of a fault that only an exception tells about."""

NOTED = np.zeros(2, np.int64)
"""Code and detail of the latest fault of a guest."""


class GuestFault(Exception):
    """A guest did what it may not."""


def note(code: int, detail: int) -> None:
    """Say what is about to be raised; the detail in 64 bits."""
    NOTED[0] = code
    NOTED[1] = (detail + (1 << 63)) % (1 << 64) - (1 << 63)


def settled(value: int) -> int:
    """The value, to be checked and then used.

    Compiled arithmetic that leaves 64 bits has no definite result: of what follows from one, a compiler may forget the
    check and keep the use.  This makes it definite.
    """
    return value


def taken_note() -> tuple[int, int]:
    """Code and detail of the latest fault, once."""
    code, detail = int(NOTED[0]), int(NOTED[1])
    NOTED[:] = 0
    return code, detail


C = TypeVar("C", bound=type)


class GuestClass:
    """How objects of a class look in compiled code.

    ``fields`` are its members there: ``k`` the machine state, ``words`` an array of 64-bit integers at the
    object's ``address``, others integers.
    ``computed`` are attributes that Python keeps in the object and compiled code works out when they are read, and
    ``renew`` the method by which Python does that, if there is one: nothing in compiled code.
    """

    def __init__(
        self, python: type, fields: tuple[str, ...], renew: str, computed: dict[str, Callable[..., Any]]
    ) -> None:
        self.python = python
        self.fields = fields
        self.renew = renew
        self.computed = computed


CLASSES: dict[type, GuestClass] = {}
"""Every declared guest class."""


def guest_class(*fields: str, renew: str = "", **computed: Callable[..., Any]) -> Callable[[C], C]:
    """Declare a guest class: its methods and operators can be used in guests, compiled or not."""

    def declare(python: C) -> C:
        CLASSES[python] = GuestClass(python, fields, renew, computed)
        return python

    return declare


class CannotCompile(Exception):
    """A guest that has to stay plain Python; the text says why."""


class CompiledGuest:
    """A guest in native code, behind an address for :func:`~netemu.engine.kernel.indirect`.

    It is called as ``f(k, cpu, rxq, row)``; the guest gets ``subject(k, cpu, row)`` and answers an integer, and what
    the kernel function ``checked(k, cpu, row, answer)`` makes of that is the result.  When the guest gives up, it is
    that of the kernel function ``failed(k, cpu, row, code, detail)``, or ``aborted`` if that is None.
    Raises CannotCompile.
    """

    def __init__(self, function: Callable[..., Any], subject: type, checked: Any, failed: Any, aborted: int) -> None:
        from .guest_native import compiled

        self.address, self._kept = compiled(function, subject, checked, failed, aborted)


class CompiledRoutine:
    """A function over arrays and objects of guest classes, compiled for what it is called with."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._made: Any = None

    def __call__(self, *arguments: Any) -> Any:
        from . import jit

        if not jit.JIT:
            return self.function(*arguments)
        if self._made is None:
            from .guest_native import routine

            self._made = routine(self.function)
        return self._made(*arguments)
