"""``netemu calibrate``: a cost profile out of the output of the kernel's benchmark modules."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command("calibrate", short_help="Make a cost profile from the output of kernel benchmark modules.")
@click.argument("file", metavar="FILE|-")
@click.option(
    "--base", default="xeon-e5-1650v4", show_default=True, metavar="NAME", help="Profile for what is missing."
)
@click.option("--ghz", type=click.FloatRange(min=0.05, max=20), help="CPU clock, where the output gives only cycles.")
@click.option("--description", help="What the machine is.  [default: where the output is from]")
@click.option("--out", metavar="FILE.toml", help="Write the profile to this file instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
def command(file: str, base: str, ghz: float | None, description: str | None, out: str | None, as_json: bool) -> None:
    """Read pasted output of bench_page_pool_simple, time_bench_sample, page_bench01 and the like from FILE.

    What was measured becomes an entry with its line as the source; the rest follows from the base profile by the ratio
    of what was measured on both. The result works as replay --platform FILE.toml. Lines that are not used are listed.
    """
    from netemu.profiles.benchmarks import calibrate
    from netemu.profiles.platforms import load_platform

    name = "standard input" if file == "-" else file
    with click.open_file(file, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    made = calibrate(text, load_platform(base), file=name if file == "-" else Path(file).name, ghz=ghz)
    for note in made.unused:
        click.echo(f"netemu: not used: {note}", err=True)
    profile = made.to_toml(description or f"measured: {name}")
    if out is not None:
        Path(out).write_text(profile, encoding="utf-8")
    if as_json:
        costs = {point: asdict(price) for point, price in made.prices.items()}
        click.echo(
            json.dumps({"ghz": made.ghz, "call": asdict(made.call), "costs": costs, "unused": made.unused}, indent=2)
        )
    elif out is None:
        click.echo(profile, nl=False)
    measured = sum(price.measured for price in made.prices.values())
    click.echo(f"netemu: {measured} entries measured, {len(made.prices) - measured} derived from {made.base}", err=True)
