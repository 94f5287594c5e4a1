"""The same packets through the running kernel and through netemu: is there any difference?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..engine.jit import JIT
from .map_kinds import LPM_HEAD, PER_CPU, MapType
from .objects import BpfObject, ProgramSpec
from .vm import LoadedProgram, Safety, VirtualMachine

SHORTEST, LONGEST = 14, 3520
"""Bytes of a packet that the kernel's test run takes: an Ethernet header, and what is left of a page."""
_COMPARED = {
    MapType.HASH, MapType.ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE,
}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One thing in which netemu and the kernel differ; ``packet`` counts from 0, -1 for maps after the last one."""

    packet: int
    what: str
    kernel: Any
    netemu: Any


@dataclass
class Answers:
    """What ran: per packet the verdict and what it became, and the maps at the end."""

    verdicts: list[int]
    packets: list[bytes]
    maps: dict[str, dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def fits(packet: bytes) -> bool:
    """Does the kernel's test run take such a packet?"""
    return SHORTEST <= len(packet) <= LONGEST


def compared(name: str, kind: int, ignored: Sequence[str]) -> bool:
    return kind in _COMPARED and name not in ignored and not name.startswith(".rodata")


def content(kind: int, entries: Mapping[bytes, Sequence[bytes]], cpu: int) -> dict[str, str]:
    """A map as text, so that two can be compared: of a per-CPU map one CPU's values, of an array what is not zero."""
    found = {}
    for key, values in entries.items():
        value = values[cpu] if kind in PER_CPU else values[0]
        if kind in (MapType.ARRAY, MapType.PERCPU_ARRAY) and not any(value):
            continue
        found[(_canonical(key) if kind == MapType.LPM_TRIE else key).hex()] = value.hex()
    return dict(sorted(found.items()))


def _canonical(key: bytes) -> bytes:
    """An LPM key without the bits behind its prefix, which the kernel keeps as they were given."""
    prefix, address = int.from_bytes(key[:LPM_HEAD], "little"), key[LPM_HEAD:]
    if len(address) in (4, 16):
        return key[:LPM_HEAD] + ipaddress.ip_network((address, prefix), strict=False).network_address.packed
    return key


class ModelRun:
    """A program in netemu, with its answers collected in the same form."""

    def __init__(self, vm: VirtualMachine, program: LoadedProgram) -> None:
        self.vm = vm
        self.program = program

    def answers(self, packets: Iterable[bytes], ignored: Sequence[str] = ()) -> Answers:
        verdicts, after = [], []
        vm = self.vm
        entry = vm.entry(self.program)
        for packet in packets:
            vm.put_packet(packet)
            verdicts.append(vm.call("run_packet", entry, len(packet), 0))
            after.append(vm.arena.read(vm.state.data_meta, vm.state.data_end - vm.state.data_meta))
        maps = {
            name: content(found.kind, found.raw(), vm.state.cpu)
            for name, found in vm.maps.items()
            if compared(name, found.kind, ignored)
        }
        return Answers(verdicts, after, maps)


def model_for(
    obj: BpfObject,
    program: ProgramSpec,
    entries: Mapping[str, Mapping[Any, Any]],
    *,
    cpu: int = 0,
    safety: Safety = "sandbox",
    jit: bool = JIT,
) -> ModelRun:
    """The program in netemu on one emulated CPU, with its maps filled."""
    vm = VirtualMachine(obj, cpus=cpu + 1, safety=safety, jit=jit)
    vm.state.cpu = cpu
    loaded = vm.load(program)
    vm.fill_maps(entries)
    return ModelRun(vm, loaded)


def differences(kernel: Answers, netemu: Answers) -> list[Difference]:
    """Everything in which two sets of answers differ."""
    found = []
    for number, (theirs, ours) in enumerate(zip(kernel.verdicts, netemu.verdicts, strict=True)):
        if theirs != ours:
            found.append(Difference(number, "verdict", theirs, ours))
        if kernel.packets[number] != netemu.packets[number]:
            found.append(Difference(number, "bytes", kernel.packets[number].hex(), netemu.packets[number].hex()))
    for name, theirs_ in kernel.maps.items():
        ours_ = netemu.maps.get(name, {})
        for key in sorted(theirs_.keys() | ours_.keys()):
            if theirs_.get(key) != ours_.get(key):
                found.append(Difference(-1, f"map {name}[{key}]", theirs_.get(key), ours_.get(key)))
    return found


def verify(
    obj: BpfObject,
    program: ProgramSpec,
    packets: Sequence[bytes],
    *,
    entries: Mapping[str, Mapping[Any, Any]] | None = None,
    ignored: Sequence[str] = (),
    safety: Safety = "sandbox",
) -> list[Difference]:
    """Run packets, in order, through a program in the kernel and in netemu, and compare.

    Args:
        entries: what maps hold at the start, by name.
        ignored: maps that are not compared (the clock of the kernel is not netemu's).

    Raises:
        KernelUnavailable: the kernel's side cannot be run here.
        VerifierRejected: Linux would not load the program.
        BpfError: netemu cannot load it.
    """
    from .kernel_run import KernelRun

    entries = entries or {}
    with KernelRun(obj, program) as theirs:
        ours = model_for(obj, program, entries, cpu=theirs.cpu, safety=safety)
        theirs.fill(ours.vm, entries)
        return differences(theirs.answers(packets, ignored), ours.answers(packets, ignored))
