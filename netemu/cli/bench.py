"""``netemu bench``: how fast netemu itself is on this machine."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("bench", short_help="Measure how fast netemu itself is on this machine.")
@click.option("--packets", type=click.IntRange(min=1), default=2_000_000, show_default=True, help="Packets in a round.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds; medians are reported."
)
@click.option("--cold/--no-cold", default=True, show_default=True, help="Also time compiling everything from nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(packets: int, rounds: int, cold: bool, as_json: bool) -> None:
    """Measure reading, replaying, starting and memory of netemu, with dpkt and scapy beside it where installed.

    Readers and replays take turns in one warmed process over a generated capture of 64-byte packets.
    """
    from netemu.cli.measurements import measure
    from netemu.cli.progress import compile_if_needed

    compile_if_needed()
    figures = measure(
        packets=packets, rounds=rounds, cold=cold, note=lambda text: click.echo(f"netemu: {text}", err=True)
    )
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        for line in table(figures):
            click.echo(line)


def table(figures: dict[str, Any]) -> list[str]:
    """The figures of ``bench --json`` as lines for people."""
    rows = [(f"emulating, {name}", value, "ns/packet") for name, value in figures["ns_per_packet"].items()]
    rows += [
        ("reading a capture", figures["read_mpps"], "Mpps"),
        ("  against dpkt", figures["read_vs_dpkt"], "x"),
        ("whole replay, forward", figures["replay_mpps"], "Mpps"),
        ("  against scapy PcapReader", figures["replay_vs_scapy"], "x"),
        ("compiling from nothing", figures["compile_cold_s"], "s"),
        ("starting, once compiled", figures["start_warm_s"], "s"),
        ("memory growth, 0.1M to 10M packets", figures["rss_mb"], "MB"),
    ]
    return [f"{name:<38}{_figure(value, unit)}" for name, value, unit in rows]


def _figure(value: float | None, unit: str) -> str:
    return "  not measured" if value is None else f"{value:>14,} {unit}"
