"""``netemu run``: one packet through an eBPF program, in the words of ``bpftool prog run``."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netemu.cli.bpf_options import global_values, program_options, rows, split_program

if TYPE_CHECKING:
    from netemu.bpf.program import RunResult, XdpProgram

_CONTEXT = struct.Struct("<IIIIII")  # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress
_WORDS = {
    "data_in": "FILE",
    "data_out": "FILE",
    "data_size_out": "BYTES",
    "ctx_in": "FILE",
    "ctx_out": "FILE",
    "ctx_size_out": "BYTES",
    "repeat": "N",
}
_MOST_REPEATS = 10_000_000


@click.command("run", short_help="Run an eBPF program over one packet, in the words of bpftool prog run.")
@click.argument("program", metavar="PROG.o[:PROGRAM]")
@click.argument(
    "words", nargs=-1, metavar="data_in FILE [data_out FILE [data_size_out N]] [ctx_in FILE [ctx_out FILE]] [repeat N]"
)
@program_options
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of random numbers.")
@click.option("--now", "now_ns", type=click.IntRange(min=0), default=0, help="What bpf_ktime_get_ns says.")
@click.option("--dump-maps", is_flag=True, help="Show the maps after the run.")
@click.option("--xdp-step", "step", is_flag=True, help="Show every instruction, the registers and the packet.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-p", "--pretty", is_flag=True, help="Print JSON that is easy to read.")
def command(
    program: str,
    words: tuple[str, ...],
    maps: dict[str, Any],
    variables: dict[str, str],
    safety: Any,
    seed: int,
    now_ns: int,
    dump_maps: bool,
    step: bool,
    as_json: bool,
    pretty: bool,
) -> None:
    """Run a program over the packet in FILE (- is standard input) and show its verdict.

    \b
    netemu run prog.o data_in packet.bin
    netemu run prog.o:section data_in packet.bin data_out after.bin repeat 1000000

    A file holds the bytes of the packet. Output goes to FILE, or as a listing to standard output if that is -.
    """
    from netemu.bpf.maps import as_json as map_json
    from netemu.bpf.program import XdpProgram

    asked = _parse(words)
    file, name = split_program(program)
    packet, metadata, ifindex, rxq = _input(asked)
    loaded = XdpProgram(
        file, name, safety=safety, variables=global_values(variables), maps=maps, seed=seed,
        frame_size=max(4096, len(packet) + len(metadata) + 1024),
    )  # fmt: skip
    if step:
        _steps(loaded, packet, metadata, ifindex, rxq, now_ns)
        return
    result = loaded.run(
        packet,
        metadata=metadata,
        ifindex=ifindex,
        rxq=rxq,
        now_ns=now_ns,
        repeat=_number(asked, "repeat", 1, _MOST_REPEATS),
    )
    report = _report(result)
    after = result.metadata + result.data
    limit = _number(asked, "data_size_out", len(after), 1 << 20)
    context = _CONTEXT.pack(len(result.metadata), len(after), 0, ifindex, rxq, 0)
    outputs = {
        "data_out": after[:limit],
        "ctx_out": context[: _number(asked, "ctx_size_out", len(context), 1 << 20)] if "ctx_in" in asked else None,
    }
    machine_readable = as_json or pretty
    for word, data in outputs.items():
        if data is None:
            continue
        target = asked.get(word)
        if target not in (None, "-"):
            Path(str(target)).write_bytes(data)
        elif machine_readable:
            report[word] = [f"0x{byte:02x}" for byte in data]
        elif target == "-":
            click.echo("\n".join(rows(data)))
    if dump_maps:
        report["maps"] = {n: map_json(m) for n, m in loaded.maps.items()}
    if machine_readable:
        click.echo(json.dumps(report, indent=2 if pretty else None))
        return
    click.echo(f"Return value: {result.verdict}, duration (average): {round(result.duration_ns)}ns")
    if result.fault is not None:
        click.echo(f"netemu: {result.fault}", err=True)
    if result.redirect is not None:
        r = result.redirect
        click.echo(f"Redirect: {f'map {r.map}, key {r.key}' if r.map else f'device {r.ifindex}'}")
    if dump_maps:
        click.echo(json.dumps(report["maps"], indent=2))


def _parse(words: tuple[str, ...]) -> dict[str, str]:
    """The pairs of word and value."""
    asked: dict[str, str] = {}
    for word, value in zip(words[::2], words[1::2], strict=False):
        if word not in _WORDS:
            raise click.UsageError(f"{word!r} is none of {', '.join(_WORDS)}.")
        if word in asked:
            raise click.UsageError(f"{word} is given twice.")
        asked[word] = value
    if len(words) % 2:
        known = f": {_WORDS[words[-1]]}" if words[-1] in _WORDS else ""
        raise click.UsageError(f"{words[-1]!r} needs a value{known}.")
    if "data_in" not in asked:
        raise click.UsageError("say which packet: data_in FILE.")
    return asked


def _number(asked: dict[str, str], word: str, default: int, most: int) -> int:
    text = asked.get(word)
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise click.UsageError(f"{word} {text!r} is not a number from 1 to {most:,}.")
    return int(text)


def _input(asked: dict[str, str]) -> tuple[bytes, bytes, int, int]:
    """Packet, metadata, device and queue."""
    data = _read(asked["data_in"])
    if "ctx_in" not in asked:
        return data, b"", 1, 0
    given = _read(asked["ctx_in"])[: _CONTEXT.size].ljust(_CONTEXT.size, b"\0")
    meta, _, _, ifindex, rxq, _ = _CONTEXT.unpack(given)
    if meta > len(data):
        raise click.UsageError(f"ctx_in says that the packet starts {meta} bytes into data_in, which has {len(data)}.")
    return data[meta:], data[:meta], ifindex or 1, rxq


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _report(result: RunResult) -> dict[str, Any]:
    """The keys of bpftool, then those that only netemu has."""
    report: dict[str, Any] = {
        "retval": result.verdict,
        "duration": round(result.duration_ns),
        "action": result.action,
    }
    if result.fault is not None:
        report["fault"] = str(result.fault)
    if result.redirect is not None:
        r = result.redirect
        report["redirect"] = {"ifindex": r.ifindex, "map": r.map, "key": r.key, "flags": r.flags}
    return report


def _steps(program: XdpProgram, packet: bytes, metadata: bytes, ifindex: int, rxq: int, now_ns: int) -> None:
    """One line per instruction, with the registers and bytes of the packet that it changed."""
    vm, state = program.vm, program.vm.state
    state.ifindex, state.rxq, state.now = ifindex, rxq, now_ns
    vm.put_packet(metadata + packet)
    before: list[int] = []
    seen = b""
    registers: list[int] = []
    for step in vm.steps(program.loaded, len(metadata) + len(packet), len(metadata)):
        registers = step.registers
        changed = [f"r{n}={v:#x}" for n, v in enumerate(registers) if not before or v != before[n]]
        if before and changed:
            click.echo(f"{'':24}{' '.join(changed)}")
        seen = _changed_bytes(program, seen)
        before = list(registers)
        line = step.program.spec.source_line(step.pc)
        source = f"  ; {line.file}:{line.line} {line.text}" if line else ""
        click.echo(f"{step.program.name}:{step.pc:<6} {'  ' * step.depth}{step.text}{source}")
    _changed_bytes(program, seen)
    if fault := vm.fault():
        click.echo(f"netemu: {fault}", err=True)
    click.echo(f"Return value: {0 if vm.fault() else registers[0] & 0xFFFFFFFF}")


def _changed_bytes(program: XdpProgram, before: bytes) -> bytes:
    """Show the packet if it is not what it was; returns what it is."""
    state = program.vm.state
    now = program.vm.arena.read(state.data_meta, state.data_end - state.data_meta)
    if now != before:
        click.echo(f"{'':24}packet, {len(now)} bytes:")
        click.echo("\n".join(f"{'':24}{row}" for row in rows(now)))
    return now
