"""``netemu replay``: a capture through an emulated NIC, and the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import exports, outputs, tracing, values
from netemu.cli.bpf_options import SAFETY, map_entries
from netemu.cli.commands import FAILED, complain, signal_status
from netemu.cli.interruption import Interruption
from netemu.cli.machine_options import machine_options, taken

if TYPE_CHECKING:
    from netemu import ReplayResult
    from netemu.programs import ObjectFile

_MAY_BE_FILES = ("driver", "platform", "recycle", "xdp")
_AT_LEAST_ONE = click.IntRange(min=1)


@click.command("replay", short_help="Replay a capture through an emulated NIC and report pages and time.")
@click.argument("trace")
@click.option("--driver", default="mlx5", show_default=True, metavar="mlx5|netsec|FILE.py", help="Emulated NIC driver.")
@click.option("--era", default="v6.1", show_default=True, metavar="VERSION", help="Kernel to emulate, v4.19 to v6.12.")
@click.option(
    "--set",
    "switches",
    multiple=True,
    metavar="SWITCH=VALUE",
    callback=values.assignments,
    help="Change one mechanism of the era; may be repeated.",
)
@click.option(
    "--platform",
    default="xeon-e5-1650v4",
    show_default=True,
    metavar="NAME",
    help="Machine whose costs of operations are used.",
)
@click.option("--cpus", type=_AT_LEAST_ONE, default=1, show_default=True, help="Emulated CPUs.")
@click.option("--queues", type=_AT_LEAST_ONE, help="RX/TX queue pairs.  [default: one per CPU]")
@click.option(
    "--recycle",
    default="mechanism",
    show_default=True,
    metavar="mechanism|0..1|POLICY",
    callback=values.recycling,
    help="How page recycling is decided; a number forces its success rate.",
)
@click.option(
    "--action",
    type=click.Choice(["forward", "local", "drop", "generic-xdp-drop"]),
    default="forward",
    show_default=True,
    help="What the stack does with a packet.",
)
@click.option(
    "--xdp",
    metavar="FILE.o[:PROGRAM]|FILE.py[:NAME]|drop|pass|tx|redirect|aborted",
    help="XDP program that sees every received packet first.",
)
@click.option(
    "--xdp-safety",
    "safety",
    type=SAFETY,
    default="sandbox",
    show_default=True,
    help="For FILE.o: strict ends a run that leaves the memory it was given.",
)
@click.option(
    "--xdp-maps",
    "maps",
    metavar="FILE.json|JSON",
    callback=map_entries,
    help='For FILE.o: what its maps start with: {"MAP": {"KEY": VALUE, ...}, ...}.',
)
@click.option(
    "--hold-us",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Virtual microseconds for which local delivery holds a packet.",
)
@click.option(
    "--rate",
    default="max",
    show_default=True,
    metavar="recorded|max|xN|PPS",
    callback=values.packet_rate,
    help="When packets arrive.",
)
@click.option("--repeat", type=_AT_LEAST_ONE, default=1, show_default=True, help="Times to replay the capture.")
@click.option(
    "--packets",
    type=_AT_LEAST_ONE,
    help="Replay the capture over and over until so many packets were offered, in place of --repeat.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of every random choice.")
@click.option("--mtu", type=click.IntRange(min=68, max=65535), default=1500, show_default=True, help="MTU in bytes.")
@click.option("--rq", type=click.Choice(["legacy", "striding"]), help="mlx5: kind of receive queue.")
@click.option(
    "--driver-option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=values.assignments,
    help="An option that the driver declares; may be repeated.",
)
@click.option(
    "--inject",
    multiple=True,
    metavar="SITE=N|every:N|P%",
    help="Make requests fail: page, skb, data, dma, ring or tx; down=N takes the device down. May be repeated.",
)
@click.option(
    "--check",
    type=click.Choice(["off", "quiesce", "every"]),
    default="off",
    show_default=True,
    help="Hold the run to the kernel's rules: at its end, or at every operation, a thousand packets or so a second.",
)
@machine_options
@exports.options
@click.option(
    "--timeline", is_flag=True, help="Add to the JSON what the gauges showed over virtual time, and each poll."
)
@tracing.options
@click.option(
    "--out",
    metavar="FILE.pcap|FILE.pcapng",
    callback=values.capture_name,
    help="Write the transmitted packets to a pcap, or what happened to every packet to a pcapng.",
)
@click.option(
    "--call-graph-limit",
    type=float,
    callback=values.percentage,
    default=0.1,
    show_default=True,
    metavar="PERCENT",
    help="Leave out call paths with a smaller share of busy time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the report.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    trace: str,
    call_graph_limit: float,
    as_json: bool,
    timeline: bool,
    **replayed: Any,
) -> None:
    """Replay the capture TRACE (pcap or pcapng; - is standard input) through an emulated NIC.

    The report shows where pages and virtual time went. Ctrl-C ends the replay early with the report so far.
    """
    import netemu
    from netemu.cli.progress import ReplayProgress, compile_if_needed

    trace = values.path_of(trace)
    files = exports.taken_from(replayed)
    written = {f"--{form}": path for form, path in files.items()}
    outputs.check(written | ({"--out": replayed["out"]} if replayed["out"] else {}), _inputs(trace, replayed))
    timeline = timeline or exports.need_timeline(files)
    followed = tracing.taken_from(replayed)
    if exports.need_tracepoints(files):
        followed["tracepoints"] = True
    if not followed and replayed["check"] != "every":
        compile_if_needed()
    with Interruption() as interruption:
        progress = ReplayProgress(interruption)
        try:
            result = netemu.replay(
                trace,
                timeline=timeline,
                progress=progress,
                **followed,
                **replay_arguments(replayed),
            )
        finally:
            progress.close()
        complete = exports.write(files, result.to_dict())
        _print(result, as_json, call_graph_limit)
    if result.error is not None:
        complain(result.error)
    if interruption.signum is not None:
        click.echo("netemu: interrupted; the report covers what was replayed until then", err=True)
        ctx.exit(signal_status(interruption.signum))
    if complain_of_leaks(result.to_dict()) or result.error is not None or not complete:
        ctx.exit(FAILED)


def complain_of_leaks(result: Mapping[str, Any], side: str = "") -> bool:
    """Say on standard error that a run (``side`` of a comparison) left something behind; False when it did not."""
    from netemu.report.findings import leaks_found

    found = leaks_found(result)
    if found:
        first = result["leaks"][0].splitlines()[0]
        complain(f"{side}{first}" if found == 1 else f"{side}{found} leaks or broken rules; the first: {first}")
    return found > 0


def _inputs(trace: str, given: dict[str, Any]) -> list[str]:
    """Files that a replay with these options reads, among other words; a program or parameters may follow a ``:``."""
    words = [word for word in map(given.get, _MAY_BE_FILES) if isinstance(word, str)]
    return [trace, *words, *(word.partition(":")[0] for word in words if ":" in word)]


def replay_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What :func:`netemu.replay` takes, from the values of this command's options but those of its outputs."""
    arguments = taken(given)
    rq = arguments.pop("rq", None)
    if rq is not None:
        arguments["options"] = {**arguments["options"], "rq": rq}
    safety, maps = arguments.pop("safety", "sandbox"), arguments.pop("maps", {})
    if safety != "sandbox" or maps:
        arguments["xdp"] = _object_file(arguments.get("xdp", ""), safety, maps)
    return arguments


def _object_file(text: str, safety: Any, maps: dict[str, Any]) -> ObjectFile:
    """The program of ``--xdp`` with what was said about it: that has to be an object file."""
    from netemu.programs import ObjectFile, is_object

    if not is_object(text):
        raise click.UsageError("--xdp-safety and --xdp-maps are for --xdp FILE.o.")
    return ObjectFile(text, safety, maps)


def _print(result: ReplayResult, as_json: bool, call_graph_limit: float) -> None:
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
        return
    if "lives" in result.to_dict():
        tracing.show(result.to_dict())
        return
    from rich.console import Console

    from netemu.report.terminal import WIDTH, render

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    render(result.to_dict(), console, call_graph_limit=call_graph_limit)
