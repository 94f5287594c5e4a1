"""Options that the commands for eBPF programs share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from netemu.cli import values

F = TypeVar("F", bound=Callable[..., Any])

SAFETY = click.Choice(["sandbox", "strict"])


def program_options(function: F) -> F:
    """``--maps``, ``--set-global`` and ``--xdp-safety``."""
    for option in (
        click.option(
            "--xdp-safety",
            "safety",
            type=SAFETY,
            default="sandbox",
            show_default=True,
            help="strict ends a run that leaves the memory it was given, and says where.",
        ),
        click.option(
            "--set-global",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            callback=values.assignments,
            help="What a global variable starts with, a number or hex:BYTES; may be repeated.",
        ),
        click.option(
            "--maps",
            metavar="FILE.json|JSON",
            callback=map_entries,
            help='What maps start with: {"MAP": {"KEY": VALUE, ...}, ...}.',
        ),
    ):
        function = option(function)
    return function


def split_program(text: str) -> tuple[str, str | None]:
    """``FILE.o`` or ``FILE.o:PROGRAM``: the file, and which program or section of it."""
    if Path(text).exists():
        return text, None
    file, colon, name = text.rpartition(":")
    return (file, name) if colon and name else (text, None)


def global_values(assigned: Mapping[str, str]) -> dict[str, int | bytes]:
    """Values of global variables as numbers or bytes."""
    found: dict[str, int | bytes] = {}
    for name, text in assigned.items():
        try:
            found[name] = bytes.fromhex(text[4:]) if text.startswith("hex:") else int(text, 0)
        except ValueError:
            raise click.BadParameter(
                f"--set-global {name}={text}: {text!r} is neither a number nor hex:BYTES."
            ) from None
    return found


def map_entries(_ctx: click.Context, _option: click.Parameter, value: str | None) -> dict[str, dict[Any, Any]]:
    """Entries of maps, from a file or as they stand on the command line."""
    if value is None:
        return {}
    try:
        text = value if value.lstrip().startswith("{") else Path(value).read_text()
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"is no JSON: {error}.") from None
    if not isinstance(found, dict) or not all(isinstance(entries, dict) for entries in found.values()):
        raise click.BadParameter('is not of the form {"MAP": {"KEY": VALUE, ...}, ...}.')
    return found


def rows(data: Sequence[int]) -> list[str]:
    """Bytes as a hexadecimal listing, 16 to a line."""
    listing = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        listing.append(f"{at:04x}  {' '.join(f'{b:02x}' for b in row):<47}  {shown}")
    return listing
