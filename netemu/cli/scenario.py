"""Replays described by the options of ``netemu replay`` as text, for commands that run several of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

from netemu.cli import exports, tracing
from netemu.cli.replay import command as replay_command
from netemu.cli.replay import replay_arguments
from netemu.errors import UsageError

OUTPUTS = ("as_json", "timeline", "call_graph_limit", "out")
"""Options of replay that concern its outputs: they mean nothing in a scenario."""


def parse(trace: str, options: str | Sequence[str]) -> dict[str, Any]:
    """What :func:`netemu.replay` takes, its ``trace`` too.  Raises UsageError for options that replay would refuse."""
    try:
        words = shlex.split(options) if isinstance(options, str) else list(options)
        context = replay_command.make_context("replay", [trace, *words])
    except ValueError as error:
        raise UsageError(f"options {options!r}: {error}") from None
    except click.exceptions.Exit:
        raise UsageError(f"options {options!r} ask for help: netemu replay --help") from None
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    given = context.params
    refused = [f"--{form}" for form in exports.taken_from(given)]
    refused += [f"--{name.removeprefix('as_')}" for name in OUTPUTS[:2] if given[name]]
    refused += ["--out"] if given["out"] else []
    refused += [tracing.OPTIONS[name] for name in tracing.taken_from(given)]
    if refused:
        raise UsageError(f"{', '.join(refused)} cannot be used here: the command writes its own results")
    for name in OUTPUTS:
        del given[name]
    return replay_arguments(given)
