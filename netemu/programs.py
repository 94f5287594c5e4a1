"""XDP programs as a device takes them: an address that the engine calls for every received packet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .engine.jit import JIT
from .engine.kernel import KernelFunction
from .errors import UsageError
from .net import redirect, xdp

if TYPE_CHECKING:
    from .machine import Machine
    from .netdevice import NetDevice
    from .xdp_object import ObjectProgram


class XdpProgram(Protocol):
    """Something that can be attached to a device."""

    def attach(self, device: NetDevice) -> tuple[int, bool]:
        """The address of the program for :func:`~netemu.engine.kernel.indirect`, and whether it looks at bytes.

        What is at the address is called as ``program(k, cpu, rxq, row)`` and answers a verdict; the packet is
        ``k.xdp_buff[row]``.  The device keeps the program for as long as it lives.  If it has a method ``finish``,
        that is called when the device stops, to raise what could not be raised inside the engine; if it has
        ``faults``, the report has what that answers (:meth:`netemu.xdp_object.ObjectProgram.faults`).
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


@dataclass(frozen=True)
class ObjectFile:
    """A program of an object file that is loaded for the machine that it comes to: ``FILE.o``, or ``FILE.o:NAME``."""

    text: str
    safety: Literal["sandbox", "strict"] = "sandbox"
    maps: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)

    def load(self, machine: Machine) -> ObjectProgram:
        """The program, to be attached to devices of this machine.  Raises UsageError for one that cannot be used."""
        from .bpf.errors import BpfError
        from .xdp_object import ObjectProgram

        compiled = JIT and machine.k.watch is None
        try:
            return ObjectProgram.from_text(
                self.text, safety=self.safety, maps=self.maps, cpus=machine.cpus, seed=machine.seed, jit=compiled
            )
        except OSError as error:
            raise UsageError(f"XDP program file {error.filename or self.text}: {error.strerror}") from None
        except BpfError as error:
            raise UsageError(f"XDP program {error}") from error


def described(program: XdpProgram | ObjectFile | str | None) -> dict[str, Any]:
    """What a report says of the program that was asked for."""
    if isinstance(program, ObjectFile):
        return {"xdp": program.text, "xdp_safety": program.safety, "xdp_maps": _plain(program.maps)}
    return {"xdp": None if program is None else str(program), "xdp_safety": ObjectFile.safety, "xdp_maps": {}}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def attach(program: XdpProgram | ObjectFile | str, device: NetDevice) -> tuple[int, bool]:
    """What a device's row holds of ``program``: its address, and whether it looks at the bytes of packets."""
    if isinstance(program, str) and is_object(program):
        program = ObjectFile(program)
    if isinstance(program, ObjectFile):
        program = program.load(device.machine)
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
