"""``netemu conformance``: hold netemu to the recorded answers of a real kernel."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click


@click.command("conformance", short_help="Replay vector files and compare every answer with the real kernel's.")
@click.argument("family", type=click.Choice(["page_pool", "skb"]))
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def command(ctx: click.Context, family: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Replay vector FILEs (JSON lines, also gzipped) of a FAMILY through the engine and compare every answer.

    The exit status is 1 if anything differs.
    """
    if family == "skb":
        os.environ["NETEMU_EVENTS"] = "1"  # read when the engine is imported, which is now
    from netemu.cli.commands import FAILED
    from netemu.cli.progress import compile_if_needed
    from netemu.testing.conformance import Tally, replay_vectors
    from netemu.warm import is_cold

    if family == "page_pool":
        compile_if_needed()
    elif is_cold():
        click.echo("netemu: the first packets wait for the compiler (some tens of seconds, once)", err=True)
    tally = Tally()
    divergences = []
    for divergence in replay_vectors(family, files, tally):
        if as_json:
            divergences.append(asdict(divergence))
        else:
            click.echo(str(divergence))
    if as_json:
        click.echo(json.dumps(asdict(tally) | {"divergences": divergences}, indent=2))
    else:
        click.echo(f"scripts={tally.scripts} ops={tally.ops} divergences={tally.divergences}")
    if tally.divergences:
        ctx.exit(FAILED)
