"""``netemu export``: a result, as ``netemu replay --json`` printed it, in another format."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

FORMATS = ("folded", "perf-script", "speedscope", "perfetto", "ftrace", "ethtool", "netlink", "html")


@click.command("export", short_help="Turn the JSON of a replay into what other tools read.")
@click.argument("result")
@click.argument("form", metavar="|".join(FORMATS), type=click.Choice(FORMATS))
def command(result: str, form: str) -> None:
    """Read RESULT (the JSON of netemu replay; - is standard input) and print it in another format.

    perfetto and html need a result with a timeline: replay --timeline --json; ftrace one with --tracepoints.
    """
    from netemu.report import formats

    click.echo(formats.text(_read(result), form), nl=False)


def _read(path: str) -> dict[str, Any]:
    from netemu.errors import UsageError

    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        result = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(result, dict) or "callgraph" not in result:
        raise UsageError(f"{path} is not a result of netemu replay --json")
    return result
