"""Options that follow a replay event by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

OPTIONS = {"trace_pages": "--trace-page", "trace_packets": "--trace-packet", "tracepoints": "--tracepoints"}
"""The option behind each parameter of :func:`netemu.replay`."""


def _numbers(_ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers, decimal or 0x..., given one by one or with commas between them."""
    try:
        return tuple(int(number, 0) for text in given for number in text.split(","))
    except ValueError:
        raise click.BadParameter(f"numbers with commas between them, not {','.join(given)!r}", param=option) from None


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that follow a replay."""
    for made in (
        click.option(
            "--tracepoints",
            is_flag=True,
            help="Add every tracepoint of the kernel to the JSON. Runs interpreted.",
        ),
        click.option(
            "--trace-packet",
            "trace_packets",
            multiple=True,
            metavar="N,...",
            callback=_numbers,
            help="Tell the life of packet N (from 0 on, as they come) in place of the report. Runs interpreted.",
        ),
        click.option(
            "--trace-page",
            "trace_pages",
            multiple=True,
            metavar="PFN,...",
            callback=_numbers,
            help="Tell the life of a page in place of the report. Runs interpreted: about a thousand packets a second.",
        ),
    ):
        command = made(command)
    return command


def taken_from(given: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, by parameter of :func:`netemu.replay`, taken out of a command's options."""
    asked = {name: given.pop(name) for name in OPTIONS}
    return {name: value for name, value in asked.items() if value}


def show(result: Mapping[str, Any]) -> None:
    """Print the lives that were asked for."""
    from netemu.report.lives import lives

    for line in lives(result):
        click.echo(line)
