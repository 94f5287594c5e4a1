"""XDP programs as a device takes them: an address that the engine calls for every received packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .engine.jit import JIT
from .engine.kernel import KernelFunction
from .errors import UsageError
from .net import redirect, xdp

if TYPE_CHECKING:
    from .netdevice import NetDevice


class XdpProgram(Protocol):
    """Something that can be attached to a device."""

    def attach(self, device: NetDevice) -> tuple[int, bool]:
        """The address of the program for :func:`~netemu.engine.kernel.indirect`, and whether it looks at bytes.

        What is at the address is called as ``program(k, cpu, rxq, row)`` and answers a verdict; the packet is
        ``k.xdp_buff[row]``.  The device keeps the program for as long as it lives.  If it has a method ``finish``,
        that is called when the device stops, to raise what could not be raised inside the engine.
        """


BUILT_IN = {
    "aborted": xdp.xdp_aborted,
    "drop": xdp.xdp_drop,
    "pass": xdp.xdp_pass,
    "tx": xdp.xdp_tx,
    "redirect": redirect.xdp_redirect,
}
"""Programs that do the same to every packet and look at none."""


def is_object(text: str) -> bool:
    """Does a text name an eBPF object file, with or without one of its programs?"""
    return text.endswith(".o") or ".o:" in text


def attach(program: XdpProgram | str, device: NetDevice) -> tuple[int, bool]:
    """What a device's row holds of ``program``: its address, and whether it looks at the bytes of packets."""
    if isinstance(program, str) and is_object(program):
        from .xdp_object import ObjectProgram

        machine = device.machine
        compiled = JIT and machine.k.watch is None
        program = ObjectProgram.from_text(program, cpus=machine.cpus, seed=machine.seed, jit=compiled)
    elif isinstance(program, str) and (".py:" in program or program.endswith(".py")):
        from .xdp_function import load_function

        program = load_function(program)
    if isinstance(program, str):
        if program not in BUILT_IN:
            raise UsageError(
                f"an XDP program is one of {', '.join(BUILT_IN)}, FILE.py, FILE.py:NAME or FILE.o, not {program!r}"
            )
        function = BUILT_IN[program]
        assert isinstance(function, KernelFunction)
        return function.address(device.machine.k), False
    if not hasattr(program, "attach"):
        raise UsageError(f"an XDP program is a name or a function under @netemu.xdp, not {type(program).__name__}")
    address, looks = program.attach(device)
    device.programs.append(program)
    if looks:
        device.machine.keep_contents()
    return address, looks
