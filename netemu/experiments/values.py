"""What a key of an experiment may be set to: small checkers that return the value, or say what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netemu.errors import UsageError
from netemu.profiles.eras import check_switch, era_names

Check = Callable[[Any], Any]
"""Takes a value as TOML gives it; returns it, or raises ValueError with what would be right."""


@dataclass(frozen=True)
class Key:
    """One key: what it may be, what it is when nobody sets it, and what it means."""

    name: str
    check: Check
    default: Any
    about: str


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return check


def one_of(*names: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str:
        if value not in names or not isinstance(value, str):
            raise ValueError("one of " + ", ".join(names))
        return value

    return check


def yes_or_no(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(value: Any) -> str:
    """Some text."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return value


def words(value: Any) -> dict[str, str]:
    """A table of names and texts; whole numbers count as their text, true and false as yes and no."""
    if not isinstance(value, dict):
        raise ValueError('a table such as { name = "value" }')
    made = {}
    for name, entry in value.items():
        if not isinstance(entry, str | int):
            raise ValueError(f"a table of texts, and {name} is none")
        made[name] = ("no", "yes")[entry] if isinstance(entry, bool) else str(entry)
    return made


def either(*checks: Check) -> Check:
    """What any of several checkers takes."""

    def check(value: Any) -> Any:
        allowed = []
        for option in checks:
            try:
                return option(value)
            except ValueError as error:
                allowed.append(str(error))
        raise ValueError(", or ".join(allowed))

    return check


def era(value: Any) -> str:
    """A kernel release."""
    return one_of(*era_names())(value)  # type: ignore[no-any-return]


def switches(value: Any) -> dict[str, str]:
    """Mechanisms of an era and their values."""
    made = words(value)
    for name, setting in made.items():
        try:
            check_switch(name, setting)
        except UsageError as error:
            raise ValueError(f"a table of switches: {error}") from None
    return made


def recycling(value: Any) -> float | str:
    """mechanism, a probability, or a policy by name or file."""
    try:
        return number(0, 1)(float(value) if isinstance(value, str) else value)  # type: ignore[no-any-return]
    except ValueError:
        if isinstance(value, str) and value and not value.replace(".", "").replace("-", "").isdecimal():
            return value
        raise ValueError("a number from 0 to 1, mechanism, or a recycle policy") from None


def consumer(value: Any) -> str:
    """A CPU by its distance from the receiving one."""
    kind, _, shift = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value != "same" and not (kind == "shift" and shift.isdecimal()):
        raise ValueError('same, or shift:N such as "shift:1"')
    return str(value)


def mix(value: Any) -> dict[str, int]:
    """Packet sizes and their weights."""
    allowed = 'a table of packet sizes (64 to 65535) and whole weights from 1, such as { "64" = 7, "1518" = 1 }'
    if not isinstance(value, dict) or not value:
        raise ValueError(allowed)
    for size, weight in value.items():
        if not size.isdecimal() or not SMALLEST_PACKET <= int(size) <= LARGEST_PACKET:
            raise ValueError(allowed)
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 10**6:
            raise ValueError(allowed)
    return dict(value)


def listed(check: Check) -> Check:
    """A list, not empty, of values that ``check`` takes."""

    def check_all(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise ValueError("a list that is not empty")
        return [check(entry) for entry in value]

    return check_all


def published(value: Any) -> Any:
    """A published figure: a number, or the two ends of a range."""
    is_range = isinstance(value, list) and len(value) == 2
    ends: Sequence[Any] = value if is_range else [value]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends) or ends[0] > ends[-1]:
        raise ValueError("a number, or a range such as [55.5, 62.1]")
    return value


SMALLEST_PACKET = 64
LARGEST_PACKET = 65535
