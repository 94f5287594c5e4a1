"""``netemu reproduce``: published results beside what the emulator makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from netemu.cli import outputs
from netemu.cli.commands import FAILED, signal_status
from netemu.cli.interruption import Interruption
from netemu.cli.predict import verdict
from netemu.cli.progress import RunsProgress, compile_if_needed

if TYPE_CHECKING:
    from rich.console import Console

    from netemu.experiments.reproduction import Curve, Reproduction

_BAR = 40


@click.command("reproduce", short_help="Run published results and print published beside emulated.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--check", is_flag=True, help="Exit 1 when a line does not come out.")
@click.option("--html", metavar="FILE", help="Write the report to this file as well.")
@click.option("--svg", metavar="FILE", help="Write the report to this file as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the report.")
@click.pass_context
def command(
    ctx: click.Context, /, *, ids: tuple[str, ...], check: bool, html: str | None, svg: str | None, as_json: bool
) -> None:
    """Run published results (all, or those with these IDs), and print published beside emulated.

    Inputs that were not published are named with the reason for their values, and curves show how the answer depends on
    them. Each result is an experiment file, in netemu/experiments.
    """
    from netemu.experiments.reproduction import reproduce, reproductions
    from netemu.experiments.run import Stopped

    files = reproductions()
    known = [file.reproduce["id"] for file in files]
    for wanted in ids:
        if wanted not in known:
            raise click.UsageError(f"{wanted} is none of the results that come with netemu: {', '.join(known)}.")
    outputs.check({f"--{form}": path for form, path in (("html", html), ("svg", svg)) if path}, ())
    compile_if_needed()
    made: list[Reproduction] = []
    with Interruption() as interruption:
        progress = RunsProgress(interruption)
        try:
            for file in files:
                if not ids or file.reproduce["id"] in ids:
                    made.append(reproduce(file, progress))
        except Stopped:
            pass
        finally:
            progress.close()
            if as_json:
                click.echo(json.dumps([result.to_dict() for result in made], indent=2))
            _report(made, html, svg, quiet=as_json)
    if interruption.signum is not None:
        click.echo("netemu: interrupted; these are the results until then", err=True)
        ctx.exit(signal_status(interruption.signum))
    if check and any(result.missed for result in made):
        ctx.exit(FAILED)


def _report(made: list[Reproduction], html: str | None, svg: str | None, *, quiet: bool) -> None:
    """Print the report, or only draw it when it is ``quiet``, and keep it where it is wanted."""
    import io
    import sys

    from rich.console import Console

    from netemu.report.terminal import WIDTH

    if quiet and not (html or svg):
        return
    console = Console(
        file=io.StringIO() if quiet else None,
        record=bool(html or svg),
        highlight=False,
        markup=False,
        emoji=False,
        width=None if sys.stdout.isatty() and not quiet else WIDTH,
    )
    for result in made:
        _print(result, console)
    if html:
        console.save_html(html, clear=False)
    if svg:
        console.save_svg(svg, title="netemu reproduce")


def _print(result: Reproduction, console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from netemu.experiments.reproduction import label

    console.print(f"{result.id}: {result.what}", style="bold")
    console.print(f"  {result.source}\n", style="dim")
    if result.lines:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in ("line", "published", "emulated", "off by", ""):
            table.add_column(column, overflow="fold")
        for line in result.lines:
            published, off, holds, _source = verdict(line)
            value = "-" if line.value is None else f"{line.value:.2f} {line.unit}".rstrip()
            style = "" if line.holds else "bold yellow"
            table.add_row(label(line), published, value, off, holds, style=style)
        console.print(table)
        console.print()
    for name, chosen in result.inputs.items():
        swept = f" (swept: {', '.join(chosen['swept'])})" if "swept" in chosen else ""
        console.print(f"  {name} = {chosen['value']}{swept}: {chosen['why']}")
    console.print()
    for curve in result.curves:
        _draw(curve, console)
    if result.missed:
        console.print(f"  does not come out: {', '.join(result.missed)}\n", style="bold yellow")


def _draw(curve: Curve, console: Console) -> None:
    """A curve as bars, one for each point."""
    console.print(f"  {curve.name}: {curve.metric}" + (f" [{curve.unit}]" if curve.unit else ""))
    largest = max((abs(value) for _point, value in curve.points), default=0.0) or 1.0
    width = max((len(str(point[curve.over])) for point, _value in curve.points), default=0)
    for point, value in curve.points:
        bar = "█" * round(_BAR * abs(value) / largest)
        console.print(f"    {curve.over} {point[curve.over]!s:>{width}}  {value:>12,.2f}  {bar}", no_wrap=True)
    if curve.published is not None:
        met = ", ".join(f"{at:.3g}" for at in curve.crossings)
        place = f"met at {curve.over} = {met}" if met else "met nowhere in between"
        console.print(f"    published: {curve.published:g}, {place}")
    console.print()
