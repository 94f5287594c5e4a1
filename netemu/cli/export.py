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
    from netemu.errors import NetemuError

    name = "standard input" if path == "-" else path
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        result = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetemuError(
            f"{name}: not JSON that can be read ({error}); give what netemu replay --json prints"
        ) from None
    if not isinstance(result, dict) or "callgraph" not in result:
        raise NetemuError(f"{name}: not a result; give what netemu replay --json prints")
    return result
