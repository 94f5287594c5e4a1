"""Option values of the ``netemu`` command that click has no type for; each function is an option's callback."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click


def assignments(ctx: click.Context, option: click.Parameter, values: Iterable[str]) -> dict[str, str]:
    """Every ``NAME=VALUE`` of a repeatable option; the last one wins for a name given twice."""
    pairs = {}
    for value in values:
        name, equals, assigned = value.partition("=")
        if not (name and equals and assigned):
            raise click.BadParameter(f"{value!r} is not of the form {option.metavar}.")
        pairs[name] = assigned
    return pairs


def path_of(trace: str) -> str:
    """The path of a capture that is read once; ``-`` is standard input."""
    return "/dev/stdin" if trace == "-" else trace


def read_again(ctx: click.Context, option: click.Parameter, value: str) -> str:
    """A capture that is read more than once, which a stream cannot be."""
    if value == "-" or Path(value).is_fifo() or Path(value).is_char_device():
        name = "standard input" if value == "-" else value
        raise click.BadParameter(
            f"{name} is a stream, and {ctx.command.name} reads the capture more than once: write it to a file first."
        )
    return value


def capture_name(ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The name of a capture to be written."""
    from netemu.errors import UsageError
    from netemu.pcap import check_ending

    if value is not None:
        try:
            check_ending(value)
        except UsageError as error:
            raise click.BadParameter(f"{error}.") from None
    return value


def recycling(ctx: click.Context, option: click.Parameter, value: str) -> str | float:
    """A probability, ``mechanism`` or the name of a policy."""
    try:
        probability = float(value)
    except ValueError:
        return value
    if not 0 <= probability <= 1:
        raise click.BadParameter(f"{value} is not a probability from 0 to 1.")
    return probability


def packet_rate(ctx: click.Context, option: click.Parameter, value: str) -> str:
    """``recorded``, ``max``, ``xN`` (N times the recorded speed) or packets per second."""
    if value not in ("recorded", "max"):  # these need no engine to be known
        from netemu.errors import UsageError
        from netemu.pipeline.arrivals import Rate

        try:
            Rate.parse(value)
        except UsageError as error:
            raise click.BadParameter(f"{error}.") from None
    return value


def percentage(ctx: click.Context, option: click.Parameter, value: float) -> float:
    """0 to 100, and a number."""
    if not 0 <= value <= 100:
        raise click.BadParameter(f"{value} is not a percentage from 0 to 100.")
    return value
