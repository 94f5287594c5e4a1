"""``netemu sweep``: a grid of replays, to a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import outputs
from netemu.cli.interruption import Interruption

if TYPE_CHECKING:
    from netemu.sweep.journal import Journal
    from netemu.sweep.spec import Point, Sweep
    from netemu.sweep.workers import Workers

Row = dict[str, Any]


@click.command("sweep", short_help="Replay over a grid of options and write a table.")
@click.argument("spec", metavar="SPEC.toml")
@click.option("--out", metavar="NAME", help="Write NAME.csv and NAME.parquet.  [default: the spec's name]")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per CPU]")
@click.option(
    "--dask", metavar="ADDRESS|local", help="Run on a Dask cluster: its scheduler's address, or one made here."
)
@click.option("--fresh", is_flag=True, help="Forget what an interrupted sweep has found already.")
@click.option("--html", metavar="FILE", help="Write a report with pictures, one file that needs nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    spec: str,
    out: str | None,
    jobs: int | None,
    dask: str | None,
    fresh: bool,
    html: str | None,
    as_json: bool,
) -> None:
    """Replay every point of the grid in SPEC.toml and write a table, a row for each point.

    Interrupt it and run the same command again: it goes on where it was (NAME.jsonl keeps what was found).
    """
    from netemu.cli.commands import FAILED, complain, signal_status
    from netemu.cli.progress import compile_if_needed
    from netemu.sweep import spec as specs
    from netemu.sweep import table
    from netemu.sweep.journal import Journal
    from netemu.sweep.workers import Dask, Processes

    sweep = specs.load(spec)
    points = list(sweep.points())
    _check(points)
    base = Path(out) if out is not None else Path(Path(spec).stem)
    outputs.check({"--html": html} if html is not None else {}, [spec])
    compile_if_needed()
    workers: Workers = Dask(dask, jobs) if dask is not None else Processes(jobs)
    with Journal(base.with_name(f"{base.name}.jsonl")) as journal, Interruption() as interruption:
        if fresh:
            journal.clear()
        measured = _run(points, journal, workers, interruption)
    rows = table.assemble(points, measured)
    if interruption.signum is not None:
        complain(f"interrupted: {len(rows)} of {len(points)} points are done; run the same command again to go on")
        ctx.exit(signal_status(interruption.signum))
    files = [base.with_name(f"{base.name}.csv")]
    table.write_csv(rows, files[0])
    if table.write_parquet(rows, base.with_name(f"{base.name}.parquet")):
        files.append(base.with_name(f"{base.name}.parquet"))
    else:
        click.echo("netemu: no Parquet file without pyarrow: install netemu-kernel[sweep]", err=True)
    complete = _draw(sweep, rows, html)
    _tell(sweep, rows, files, as_json)
    failed = [row for row in rows if row["error"] is not None]
    if failed:
        complain(f"{len(failed)} of {len(rows)} points failed, the first one with: {failed[0]['error']}")
    if failed or not complete:
        ctx.exit(FAILED)


def _check(points: list[Point]) -> None:
    """Find wrong options before anything runs."""
    from netemu.cli import scenario
    from netemu.errors import UsageError

    for point in points:
        try:
            scenario.parse(point.words[0], point.words[1:])
        except UsageError as error:
            raise UsageError(f"point {point.number} ({point.command}): {error}") from None


def _run(points: list[Point], journal: Journal, workers: Workers, interruption: Interruption) -> dict[int, Row]:
    """Measure what the journal does not have yet; rows by the number of their point."""
    from netemu.sweep import identity

    keys = {point.number: identity.key(point) for point in points}
    known = journal.rows(frozenset(keys.values()))
    measured = {point.number: known[keys[point.number]] for point in points if keys[point.number] in known}
    left = [point for point in points if point.number not in measured]
    if measured and left:
        click.echo(f"netemu: {len(measured)} of {len(points)} points are known already", err=True)
    if not left:
        return measured
    started = monotonic()
    with _Bar(len(points), len(measured)) as advance:
        for point, row in workers.run(left):
            journal.write(keys[point.number], row)
            measured[point.number] = row
            advance()
            if interruption.signum is not None:
                workers.stop()
    click.echo(f"netemu: {len(measured)} of {len(points)} points after {monotonic() - started:.1f} s", err=True)
    return measured


def _draw(sweep: Sweep, rows: list[Row], html: str | None) -> bool:
    """Write the page if it is wanted; False when it cannot be written."""
    if html is None:
        return True
    from netemu.report.html import sweep_page

    return outputs.write(html, sweep_page(sweep.title, list(sweep.axes), rows))


def _tell(sweep: Sweep, rows: list[Row], files: list[Path], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"title": sweep.title, "rows": rows, "files": [str(file) for file in files]}, indent=2))
        return
    from netemu.cli.tables import print_table
    from netemu.report.grid import best, overview

    click.echo(f"{sweep.title}: {len(rows)} points in {', '.join(map(str, files))}\n")
    head, cells = overview(list(sweep.axes), rows)
    print_table(head, cells)
    for sentence in best(list(sweep.axes), rows):
        click.echo(sentence)


class _Bar:
    """Progress on a terminal, with the time that is left; calling it says that one more point is done."""

    def __init__(self, total: int, done: int) -> None:
        self._progress: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("sweeping"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._row = self._progress.add_task("sweeping", total=total, completed=done)

    def __enter__(self) -> _Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self) -> None:
        if self._progress is not None:
            self._progress.advance(self._row)
