"""``netemu compare``: one capture replayed in two ways, and what differs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import values
from netemu.cli.interruption import Interruption

if TYPE_CHECKING:
    from netemu import ReplayResult


@click.command("compare", short_help="Replay a capture in two ways and say what differs.")
@click.argument("trace", callback=values.read_again)
@click.option("--base", required=True, metavar="'OPTIONS'", help="Options of netemu replay for the one side.")
@click.option("--test", required=True, metavar="'OPTIONS'", help="Options of netemu replay for the other side.")
@click.option("--html", metavar="FILE", help="Write a report with pictures, one file that needs nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the report.")
@click.pass_context
def command(ctx: click.Context, /, *, trace: str, base: str, test: str, html: str | None, as_json: bool) -> None:
    """Replay the capture TRACE with the options of --base and with those of --test, and compare.

    netemu compare t.pcap --base '--era v4.19' --test '--era v4.19 --recycle lifo' shows what a policy changes.
    """
    from netemu.cli import outputs, scenario
    from netemu.cli.commands import FAILED, complain, signal_status
    from netemu.cli.progress import compile_if_needed
    from netemu.cli.replay import complain_of_leaks
    from netemu.report import metrics

    scenarios = {"base": scenario.parse(trace, base), "test": scenario.parse(trace, test)}
    outputs.check({"--html": html} if html is not None else {}, [trace])
    compile_if_needed()
    with Interruption() as interruption:
        replayed = {side: _replay(given, html is not None, interruption) for side, given in scenarios.items()}
    if interruption.signum is not None:
        complain("interrupted before both sides were replayed")
        ctx.exit(signal_status(interruption.signum))
    results = {side: result.to_dict() for side, result in replayed.items() if result is not None}
    compared: dict[str, Any] = {
        **results,
        "delta": metrics.delta(results["base"], results["test"]),
        "functions": metrics.functions(results["base"], results["test"]),
        "options": {"trace": trace, "base": base, "test": test},
    }
    complete = True
    if html is not None:
        from netemu.report.html import compare_page

        complete = outputs.write(html, compare_page(compared))
    if as_json:
        click.echo(json.dumps(compared, indent=2))
    else:
        _print(compared)
    leaking = [complain_of_leaks(result, f"{side} side: ") for side, result in results.items()]
    cut = {result.error for result in replayed.values() if result is not None and result.error is not None}
    for error in cut:
        complain(f"{error}; what came before it was replayed")
    if any(leaking) or cut or not complete:
        ctx.exit(FAILED)


def _replay(given: dict[str, Any], timeline: bool, interruption: Interruption) -> ReplayResult | None:
    import netemu
    from netemu.cli.progress import ReplayProgress

    if interruption.signum is not None:
        return None
    progress = ReplayProgress(interruption)
    try:
        return netemu.replay(timeline=timeline, progress=progress, **given)
    finally:
        progress.close()


def _print(compared: Mapping[str, Any]) -> None:
    from rich.console import Console

    from netemu.report.comparison import render
    from netemu.report.terminal import WIDTH

    render(compared, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH))
