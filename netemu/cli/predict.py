"""``netemu predict``: experiments from a file, and the figures that they ask for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from netemu.cli.commands import FAILED, signal_status
from netemu.cli.interruption import Interruption
from netemu.cli.progress import RunsProgress, compile_if_needed
from netemu.cli.tables import markdown_table, print_table

if TYPE_CHECKING:
    from netemu.experiments.run import Entry


@click.command("predict", short_help="Run experiments described in a file and print their figures.")
@click.argument("file", metavar="FILE.toml")
@click.option("--check", is_flag=True, help="Compare with published figures; exit 1 if one is missed.")
@click.option("--markdown", is_flag=True, help="Print a table for a document.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(ctx: click.Context, /, *, file: str, check: bool, markdown: bool, as_json: bool) -> None:
    """Run the experiments in FILE and print the figures that they ask for.

    docs/experiments.md says how to write one. A file that comes with netemu is run by its name, such as calibration.
    Ctrl-C ends with the figures so far.
    """
    from netemu.experiments.files import load_experiments
    from netemu.experiments.run import Stopped, run_experiments

    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other.")
    experiments = load_experiments(file).experiments
    if any(experiment.kind == "traffic" for experiment in experiments):
        compile_if_needed()
    entries: list[Entry] = []
    with Interruption() as interruption:
        progress = RunsProgress(interruption)
        predicted = run_experiments(experiments, progress, keep_going=check)
        try:
            entries.extend(predicted)
        except Stopped:
            pass
        finally:
            progress.close()
            if as_json:
                click.echo(json.dumps([_as_json(entry, check) for entry in entries], indent=2))
            else:
                _print(entries, check, markdown)
    if interruption.signum is not None:
        click.echo("netemu: interrupted; these are the figures until then", err=True)
        ctx.exit(signal_status(interruption.signum))
    if check and not all(entry.holds for entry in entries):
        ctx.exit(FAILED)


def _as_json(entry: Entry, check: bool) -> dict[str, Any]:
    made = entry.to_dict()
    if check and entry.published is not None:
        made |= {
            "published": entry.published,
            "source": entry.source,
            "deviation_percent": entry.deviation,
            "holds": entry.holds,
            **({"error": entry.error} if entry.error else {}),
        }
    return made


def _print(entries: list[Entry], check: bool, markdown: bool) -> None:
    swept = list(dict.fromkeys(name for entry in entries for name in entry.point))
    head = ["experiment", *swept, "metric", "value"]
    if check:
        head += ["published", "deviation", "", "source"]
    rows = []
    for entry in entries:
        row = [entry.name, *(str(entry.point.get(name, "")) for name in swept), entry.metric, quantity(entry)]
        if check:
            row += verdict(entry)
        rows.append(row)
    if markdown:
        click.echo(markdown_table(head, rows))
    else:
        print_table(head, rows)


def quantity(entry: Entry) -> str:
    """The value, in its unit, or why there is none."""
    value = entry.value
    if value is None:
        return f"- ({entry.note})" if entry.note else "-"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {entry.unit}".rstrip()


def verdict(entry: Entry) -> list[str]:
    """What was published, how far off the value is, whether that holds, and the source."""
    if entry.published is None:
        return ["", "", entry.error, entry.source]
    figures = entry.published if isinstance(entry.published, list) else [entry.published]
    shown = " to ".join(f"{figure:g}" for figure in figures)
    if entry.distance is None:
        return [shown, "", entry.error or "missed", entry.source]
    off = (
        f"{entry.distance:+.4g}" if entry.within is not None or entry.deviation is None else f"{entry.deviation:+.1f} %"
    )
    return [shown, off, "holds" if entry.holds else "missed", entry.source]
