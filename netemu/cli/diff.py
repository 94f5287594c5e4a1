"""``netemu diff``: two captures, packet by packet."""

from __future__ import annotations

import json
from typing import Any

import click

from netemu.cli import values
from netemu.cli.commands import FAILED


@click.command("diff", short_help="Compare two captures packet by packet.")
@click.argument("a")
@click.argument("b")
@click.option(
    "--pair",
    type=click.Choice(["order", "content"]),
    default="order",
    show_default=True,
    help="Packets keep their order, some may be missing or changed; or they may be in any order.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    metavar="PACKETS",
    help="How far apart the two of a pair are looked for.",
)
@click.option("--times", is_flag=True, help="Compare time stamps too.")
@click.option("--tolerance", type=click.IntRange(min=0), metavar="NS", help="How far time stamps may be apart.")
@click.option("--interfaces", is_flag=True, help="Compare the names of interfaces too.")
@click.option("--verdicts", is_flag=True, help="Compare the verdicts of programs too (pcapng).")
@click.option("--snaplen", type=click.IntRange(min=1), metavar="BYTES", help="Compare only the first bytes of packets.")
@click.option("--interface-a", metavar="NAME", help="Of A, only packets of this interface.")
@click.option("--interface-b", metavar="NAME", help="Of B, only packets of this interface.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=10, show_default=True, help="Differences that are shown in full."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the summary.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    a: str,
    b: str,
    pair: str,
    window: int,
    times: bool,
    tolerance: int | None,
    interfaces: bool,
    verdicts: bool,
    snaplen: int | None,
    interface_a: str | None,
    interface_b: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Compare the captures A and B (pcap or pcapng): lengths and bytes of packets, and what else is asked for.

    One of them may be -, which is standard input.

    Exit status: 0 when they are the same, 1 when they differ.
    """
    from netemu.diff import by_content, by_order, compare
    from netemu.diff.comparison import Asked
    from netemu.diff.packets import captured

    if a == b == "-":
        raise click.UsageError("Only one of A and B can be standard input.")
    if tolerance is not None and not times:
        raise click.UsageError("--tolerance is for --times.")
    asked = Asked((tolerance or 0) if times else None, interfaces, verdicts, snaplen)
    found = compare(
        captured(values.path_of(a), interface=interface_a, verdicts=verdicts),
        captured(values.path_of(b), interface=interface_b, verdicts=verdicts),
        asked,
        pairing=by_order if pair == "order" else by_content,
        window=window,
        limit=limit,
    ).to_dict()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for line in summary(found, a, b):
            click.echo(line)
    if not found["same"]:
        ctx.exit(FAILED)


def summary(found: dict[str, Any], a: str, b: str) -> list[str]:
    """The figures for people."""
    packets = found["packets"]
    lines = [f"A  {a}: {packets['a']:,} packets", f"B  {b}: {packets['b']:,} packets"]
    if found["same"]:
        return [*lines, "the same"]
    lines.append(
        f"{found['equal']:,} the same, {found['changed']:,} changed, {found['only_in']['a']:,} only in A, "
        f"{found['only_in']['b']:,} only in B"
    )
    if found["aspects"]:
        lines.append("changed in: " + ", ".join(f"{aspect} {count:,}" for aspect, count in found["aspects"].items()))
    for difference in found["first"]:
        lines += ["", *_lines(difference)]
    left = found["changed"] + sum(found["only_in"].values()) - len(found["first"])
    return [*lines, "", f"and {left:,} more"] if left else lines


def _lines(difference: dict[str, Any]) -> list[str]:
    a, b = difference["a"], difference["b"]
    if b is None:
        return [f"only in A: {_packet(a)}"]
    if a is None:
        return [f"only in B: {_packet(b)}"]
    at = f", from byte {difference['byte']}" if "byte" in difference else ""
    lines = [f"{' and '.join(difference['differs'])} differ{'s' if len(difference['differs']) == 1 else ''}{at}"]
    for side, packet in (("A", a), ("B", b)):
        lines.append(f"  {side} {_packet(packet)}")
        if "from_byte" in packet:
            lines.append(f"      {packet['from_byte']}")
    return lines


def _packet(packet: dict[str, Any]) -> str:
    seconds = f"{packet['ts_ns'] // 10**9}.{packet['ts_ns'] % 10**9:09}"
    verdict = f", verdict {packet['verdict']}" if "verdict" in packet else ""
    return f"packet {packet['number']:,} at {seconds}, {packet['length']:,} bytes, {packet['interface']}{verdict}"
