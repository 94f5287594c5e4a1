"""``netemu museum``: historic bugs of the kernel's network memory path, played broken and fixed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from netemu.cli.commands import FAILED
from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu.museum import Exhibit, Showing


@click.command("museum", short_help="Play historic bugs, broken and fixed, and show what the checker says.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--list", "only_list", is_flag=True, help="List the exhibits without playing them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--markdown", is_flag=True, help="Print all exhibits as they stand in docs/museum.md.")
@click.pass_context
def command(ctx: click.Context, ids: tuple[str, ...], only_list: bool, as_json: bool, markdown: bool) -> None:
    """Play exhibits (all, or those of the given IDs such as I.1) with their bug and after the fix.

    Of one exhibit the story, the operations and the checker's report are shown. The exit status is 1 when the checker
    misses a bug, or finds something after the fix.
    """
    from netemu.museum import chosen, show

    pieces = chosen(ids)
    if only_list:
        print_table(("id", "era", "rule", "title"), [(p.id, p.era, p.rule, p.title) for p in pieces])
        return
    if markdown:
        click.echo(page(pieces), nl=False)
        return
    showings = [show(piece) for piece in pieces]
    if as_json:
        click.echo(json.dumps([_summary(showing) for showing in showings], indent=2))
    elif len(showings) == 1:
        _show_one(showings[0])
    else:
        rows = [
            (s.exhibit.id, s.exhibit.rule, _said(s.detected), _said(s.clean_after_fix), s.exhibit.title)
            for s in showings
        ]
        print_table(("id", "rule", "detected", "clean after fix", "title"), rows)
    if not all(showing.detected and showing.clean_after_fix for showing in showings):
        ctx.exit(FAILED)


def _said(yes: bool) -> str:
    return "yes" if yes else "NO"


def _summary(showing: Showing) -> dict[str, object]:
    return {
        "id": showing.exhibit.id,
        "title": showing.exhibit.title,
        "rule": showing.exhibit.rule,
        "detected": showing.detected,
        "clean_after_fix": showing.clean_after_fix,
    }


def _behaviour(piece: Exhibit) -> str:
    """What stands between the two forms."""
    if (piece.broken, piece.fixed) == ("yes", "no"):
        return f"driver: {piece.behaviour}"
    return f"kernel: {piece.behaviour}={piece.broken} (fixed: {piece.fixed})"


def _show_one(showing: Showing) -> None:
    piece = showing.exhibit
    commit = f", fixed by {piece.commit}" if piece.commit else ""
    click.echo(f"{piece.id} {piece.title}\n{piece.era}{commit}; {_behaviour(piece)}\n\n{piece.story}\n")
    click.echo("Operations:\n")
    click.echo("\n".join(f"    {line}".rstrip() for line in piece.operations.splitlines()))
    click.echo("\nBroken:\n")
    main = showing.main_report()
    click.echo(str(main) if main is not None else f"{piece.rule} was NOT reported")
    others = sorted({report.id for report in showing.broken} - {piece.rule})
    if others:
        click.echo(f"(also reported: {', '.join(others)})")
    click.echo("\nFixed:\n")
    click.echo("no report" if showing.clean_after_fix else "\n".join(map(str, showing.fixed)))


def page(pieces: list[Exhibit]) -> str:
    """The page of the documentation about these exhibits."""
    lines = [
        "# The museum of bugs",
        "",
        f"{len(pieces)} bugs of the kernel's network memory path and of drivers, as operations that anybody can run:",
        "`netemu museum` plays all of them, `netemu museum I.1` one, with the checker's report. Each is played twice:",
        "broken, when the checker has to name the rule, and after the fix, when it has to be silent. Where a bug needs",
        "two CPUs, the schedule is part of the operations. This page is written by `netemu museum --markdown`.",
        "",
        "| id | rule | era | what was wrong |",
        "|---|---|---|---|",
    ]
    lines += [f"| [{p.id}](#{p.id.lower().replace('.', '')}) | {p.rule} | {p.era} | {p.title} |" for p in pieces]
    for piece in pieces:
        lines += [
            "",
            f"## {piece.id}",
            "",
            f"**{piece.title}**" + (f" ({piece.commit})" if piece.commit else ""),
            "",
            piece.story,
            "",
            f"Era {piece.era}; {_behaviour(piece)}. Rule {piece.rule}.",
            "",
            "```python",
            piece.operations,
            "```",
        ]
    return "\n".join(lines) + "\n"
