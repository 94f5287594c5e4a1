"""What can go wrong, in three kinds: the caller misused something, the input is bad, or netemu itself is wrong."""

from __future__ import annotations

from typing import Any


class NetemuError(Exception):
    """Base of every error that netemu raises on purpose; its text is one line for a person."""


class UsageError(NetemuError, ValueError):
    """An option or argument that cannot be what was meant."""


class KernelBug(NetemuError):
    """Emulated kernel code hit a condition for which the real one would complain or crash.

    ``code`` is the short name of the condition, ``where`` the call path (root first) that met it.  ``reports``: what a
    checked machine has to say about it, each with the rule, the object and its history.
    """

    def __init__(self, message: str, *, code: str, where: tuple[str, ...] = (), reports: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.where = where
        self.reports = reports


class EmulatorError(NetemuError):
    """A bug of netemu itself (an index outside a state table, a full call tree)."""
