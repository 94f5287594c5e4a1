"""``netemu platforms``: what an operation costs on which machine, and where the figure is from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu.profiles.platforms import Cost, Platform


@click.command("platforms", short_help="List the machines whose costs netemu knows, or show one with its sources.")
@click.argument("name", required=False, metavar="[NAME|FILE.toml]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(name: str | None, as_json: bool) -> None:
    """List the cost profiles; of one, every cost with its origin.

    A measured cost names its source, a derived one says how it follows from others. A profile of your own is a file
    of the same form, for replay --platform FILE.toml too.
    """
    from netemu.profiles.platforms import load_platform, platform_names

    if name is None:
        _show_list([load_platform(shipped) for shipped in platform_names()], as_json)
    else:
        _show_platform(load_platform(name), as_json)


def _show_list(platforms: list[Platform], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_summary(platform) for platform in platforms], indent=2))
        return
    rows = [(p.name, p.description, str(p.measured), str(p.derived)) for p in platforms]
    print_table(("platform", "machine", "measured", "derived"), rows)


def _show_platform(platform: Platform, as_json: bool) -> None:
    if as_json:
        costs = {point: asdict(cost) for point, cost in platform.costs.items()}
        click.echo(json.dumps({**_summary(platform), "call": asdict(platform.call), "costs": costs}, indent=2))
        return
    click.echo(f"{platform.name}: {platform.description}\n")
    rows = [_row("call (any function not listed)", platform.call)]
    rows += [_row(point, cost) for point, cost in platform.costs.items()]
    print_table(("operation", "ns", "figure", "origin"), rows)


def _summary(platform: Platform) -> dict[str, Any]:
    return {
        "platform": platform.name,
        "about": platform.description,
        "measured": platform.measured,
        "derived": platform.derived,
    }


def _row(operation: str, cost: Cost) -> tuple[str, str, str, str]:
    return operation, f"{cost.ns:.2f}", "measured" if cost.measured else "derived", cost.origin
