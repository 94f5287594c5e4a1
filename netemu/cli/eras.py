"""``netemu eras``: which kernel does what, and what differs between two."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu.profiles.eras import Difference


@click.command("eras", short_help="List the kernels that netemu emulates, or show what differs between two.")
@click.argument("eras", nargs=-1, metavar="[ERA [ERA]]")
@click.option("--markdown", is_flag=True, help="Print all eras and switches as they stand in docs/eras.md.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(eras: tuple[str, ...], markdown: bool, as_json: bool) -> None:
    """List the eras; of one ERA, all its switches; of two, the switches that differ and why that matters.

    A switch is set alone with replay --set SWITCH=VALUE.
    """
    import netemu.kernel  # noqa: F401  declares the switches

    if len(eras) > 2 or (markdown and (eras or as_json)):
        raise click.UsageError("give no era, one or two; --markdown stands alone")
    if markdown:
        click.echo("\n".join(markdown_lines()))
    elif len(eras) == 2:
        _show_differences(eras[0], eras[1], as_json)
    elif eras:
        _show_era(eras[0], as_json)
    else:
        _show_list(as_json)


def _show_list(as_json: bool) -> None:
    from netemu.profiles.eras import era_names, era_summary, era_switches

    if as_json:
        _print_json([{"era": era, "about": era_summary(era), "switches": era_switches(era)} for era in era_names()])
        return
    print_table(("era", "what it brought"), [(era, era_summary(era)) for era in era_names()])


def _show_era(era: str, as_json: bool) -> None:
    from netemu.engine.era import SWITCHES
    from netemu.profiles.eras import era_summary, era_switches

    chosen = era_switches(era)
    if as_json:
        _print_json({"era": era, "about": era_summary(era), "switches": chosen})
        return
    rows = [(name, chosen[name], " ".join(switch.values), switch.why) for name, switch in SWITCHES.items()]
    print_table(("switch", era, "can be", "what it decides"), rows)


def _show_differences(first: str, second: str, as_json: bool) -> None:
    from netemu.profiles.eras import differences

    found: list[Difference] = differences(first, second)
    if as_json:
        _print_json({"first": first, "second": second, "differences": [asdict(difference) for difference in found]})
    elif found:
        rows = [(difference.switch, difference.first, difference.second, difference.why) for difference in found]
        print_table(("switch", first, second, "why it matters"), rows)
    else:
        click.echo(f"{first} and {second} do not differ")


def markdown_lines() -> list[str]:
    """The eras, the switches in each, and what the switches decide, as Markdown."""
    from netemu.engine.era import SWITCHES
    from netemu.profiles.eras import era_names, era_summary, era_switches

    eras = era_names()
    settings = [era_switches(era) for era in eras]
    lines = ["| era | what it brought |", "|---|---|"]
    lines += [f"| {era} | {era_summary(era)} |" for era in eras]
    lines += ["", f"| switch | {' | '.join(eras)} |", "|---" * (len(eras) + 1) + "|"]
    for name in SWITCHES:
        values = [setting[name] for setting in settings]
        before = ["", *values]
        cells = ["=" if value == old else f"`{value}`" for value, old in zip(values, before, strict=False)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"- `{name}`: {switch.why}." for name, switch in SWITCHES.items()]
    return lines


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))
