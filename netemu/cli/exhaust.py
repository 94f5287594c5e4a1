"""``netemu exhaust``: every allocation site of a driver fails in turn, and nothing may leak."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import values
from netemu.cli.commands import FAILED
from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu.exhaust import Trial


@click.command("exhaust", short_help="Fail each allocation site of a driver in turn over a capture.")
@click.argument("trace", callback=values.read_again)
@click.option("--driver", default="mlx5", show_default=True, metavar="mlx5|netsec|FILE.py", help="Emulated NIC driver.")
@click.option("--era", default="v6.1", show_default=True, metavar="VERSION", help="Kernel to emulate, v4.19 to v6.12.")
@click.option("--cpus", default=1, show_default=True, metavar="N", help="CPUs, and queues if the driver has so many.")
@click.option(
    "--check",
    type=click.Choice(["quiesce", "every"]),
    default="every",
    show_default=True,
    help="Follow every operation (a thousand packets or so a second), or only look at what is left in the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(ctx: click.Context, trace: str, driver: str, era: str, cpus: int, check: str, as_json: bool) -> None:
    """Replay TRACE once for every place that asks for memory, a mapping or ring space, and refuse its first request
    there.

    Then once for every kind of request, refusing each 7th.  The same before that while the device is opened.  After
    each run nothing may have leaked and no rule be broken; otherwise the exit status is 1.
    """
    from netemu.cli.progress import compile_if_needed
    from netemu.exhaust import trials

    compile_if_needed()
    shown = sys.stderr.isatty()

    def told(done: int, total: int) -> None:
        if shown:
            click.echo(f"\r{done} of {total} runs", nl=done == total, err=True)

    found = list(trials(trace, driver=driver, era=era, cpus=cpus, check=check, told=told))
    if as_json:
        click.echo(json.dumps([_summary(trial) for trial in found], indent=2))
    else:
        rows = [(t.inject, " > ".join(t.place.path), str(t.failed), _short(t.found)) for t in found]
        print_table(("inject", "from", "refused", "result"), rows)
        bad = sum(1 for trial in found if trial.found)
        click.echo(f"runs={len(found)} clean={len(found) - bad} broken={bad}")
    if any(trial.found for trial in found):
        ctx.exit(FAILED)


def _short(found: Sequence[str]) -> str:
    """The first line of what was found, and how much more there is."""
    if not found:
        return "clean"
    left = len(found) - 1
    return found[0].splitlines()[0] + (f"; and {left} more" if left else "")


def _summary(trial: Trial) -> dict[str, Any]:
    return {
        "inject": trial.inject,
        "site": trial.place.site,
        "path": list(trial.place.path),
        "failed": trial.failed,
        "found": list(trial.found),
    }
