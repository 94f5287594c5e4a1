"""``netemu bpf-plugin``: run one bare program, for a conformance suite that starts this once per test."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("bpf-plugin", short_help="Run a bare eBPF program from standard input, for conformance suites.")
@click.argument("memory", default="", metavar="[MEMORY]")
@click.option("--elf", is_flag=True, help="Standard input is an object file, not bare instructions.")
@click.option("--xdp-safety", "safety", type=click.Choice(["sandbox", "strict"]), default="sandbox", show_default=True)
@click.option("--interpret", is_flag=True, help="Interpret the program instead of compiling it.")
def command(memory: str, elf: bool, safety: str, interpret: bool) -> None:
    """Run the program on standard input, written as hexadecimal bytes, and print r0 in hexadecimal.

    MEMORY, in hexadecimal too, is what r1 points to; r2 has its length.
    """
    from netemu.bpf.elf import read_object
    from netemu.bpf.errors import BpfError
    from netemu.bpf.instructions import decode
    from netemu.bpf.objects import BpfObject, ProgramSpec
    from netemu.bpf.vm import VirtualMachine

    source = Path("standard input")
    code, data = _bytes(sys.stdin.read(), "the program"), _bytes(memory, "the memory")
    if elf:
        obj = read_object(code, source)
        spec = obj.program()
    else:
        spec = ProgramSpec("program", "", decode(code))
        obj = BpfObject(source, [], {spec.name: spec}, {}, {})
    vm = VirtualMachine(obj, safety="strict" if safety == "strict" else "sandbox", jit=not interpret, for_packets=False)
    program = vm.load(spec)
    result = vm.call("run_plain", vm.entry(program), vm.give_memory(data), len(data))
    if fault := vm.fault():
        raise BpfError(str(fault))
    click.echo(f"{result:x}")


def _bytes(text: str, what: str) -> bytes:
    from netemu.bpf.errors import BpfError

    try:
        return bytes.fromhex("".join(text.split()))
    except ValueError:
        raise BpfError(f"{what} is not written as hexadecimal bytes") from None
