"""``netemu verify``: does an eBPF program do the same here and in the running kernel?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from netemu.cli import values
from netemu.cli.bpf_options import global_values, program_options, split_program


@click.command("verify", short_help="Compare an eBPF program with the running kernel, packet by packet.")
@click.argument("program", metavar="PROG.o[:PROGRAM]")
@click.option("--pcap", metavar="TRACE", help="Packets to run, in order.")
@program_options
@click.option("--ignore-map", "ignored", multiple=True, metavar="MAP", help="A map not to compare; may be repeated.")
@click.option("--would-load", is_flag=True, help="Ask the kernel's verifier whether Linux would load the program.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def command(
    ctx: click.Context,
    program: str,
    pcap: str | None,
    maps: dict[str, Any],
    variables: dict[str, str],
    safety: Any,
    ignored: tuple[str, ...],
    would_load: bool,
    as_json: bool,
) -> None:
    """Run every packet of TRACE through the program in the running kernel (BPF_PROG_TEST_RUN) and in netemu.

    Verdicts, packets and, at the end, maps are compared; the exit status is 1 if anything differs. Needs root and a
    kernel with eBPF. Checks at run time do not replace the kernel's verifier: --would-load asks it.
    """
    from netemu.bpf.elf import load_object
    from netemu.bpf.kernel import KernelObject, VerifierRejected
    from netemu.bpf.verify import fits, verify
    from netemu.cli.commands import FAILED

    if pcap is None and not would_load:
        raise click.UsageError("say which packets: --pcap TRACE (or ask the verifier alone: --would-load).")
    file, name = split_program(program)
    obj = load_object(file)
    for variable, value in global_values(variables).items():
        obj.set_variable(variable, value)
    spec = obj.program(name)
    report: dict[str, Any] = {"program": spec.name}
    failed = False
    if would_load:
        try:
            with KernelObject(obj) as kernel:
                kernel.load(spec)
            report["would_load"] = True
        except VerifierRejected as rejected:
            failed = True
            report |= {"would_load": False, "verifier": rejected.log}
            if not as_json:
                click.echo(str(rejected))
    if pcap is not None and not failed:
        packets = _packets(pcap)
        taken = [packet for packet in packets if fits(packet)]
        if len(taken) < len(packets):
            click.echo(
                f"netemu: {len(packets) - len(taken)} packets left out: the kernel runs 14 to 3520 bytes", err=True
            )
        found = verify(obj, spec, taken, entries=maps, ignored=ignored, safety=safety)
        report |= {"packets": len(taken), "differences": [asdict(difference) for difference in found]}
        failed = bool(found)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif not failed or pcap is not None:
        _show(report)
    if failed:
        ctx.exit(FAILED)


def _packets(trace: str) -> list[bytes]:
    from netemu.pcap import packets

    return [bytes(data) for _, data, _ in packets(values.path_of(trace))]


def _show(report: dict[str, Any]) -> None:
    if report.get("would_load"):
        click.echo(f"{report['program']}: Linux would load it")
    differences = report.get("differences")
    if differences is None:
        return
    click.echo(
        f"{report['program']}: {report['packets']} packets, {len(differences)} differences from the running kernel"
    )
    if differences:
        first = differences[0]
        where = f"packet {first['packet']}" if first["packet"] >= 0 else "after the last packet"
        click.echo(f"first: {where}: {first['what']}\n  kernel {first['kernel']}\n  netemu {first['netemu']}")
