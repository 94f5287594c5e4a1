"""An eBPF object as an XDP program of an emulated device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bpf.map_kinds import MapType
from .bpf.program import XdpProgram
from .errors import UsageError
from .net.xdp_setup import create_cpumap_entry
from .redirect_maps import Socket

if TYPE_CHECKING:
    from .netdevice import NetDevice

SOCKET_SLOTS = 1024
BYTES32, UNKNOWN_FRAME = 0, 0
"""Values of the switches xdp_frame_struct and xdp_frame_sz by which older kernels differ."""


class ObjectProgram:
    """A program of an object file, to be attached to a device.

    Entries of its device maps are numbers of devices, counted from 1; those of a cpumap start a kthread on the CPU that
    is their key when the program is attached, those of an xskmap a socket, kept in ``sockets`` by map and key.
    """

    def __init__(self, program: XdpProgram) -> None:
        self.program = program
        self.sockets: dict[tuple[str, int], Socket] = {}
        self._hooks: list[Any] = []

    @classmethod
    def from_text(cls, text: str, **options: Any) -> ObjectProgram:
        """``FILE.o``, or ``FILE.o:NAME`` for one program or section of it; ``options`` of an ``XdpProgram``."""
        file, _, name = text.partition(".o:")
        return cls(XdpProgram(Path(f"{file}.o" if name else text), name or None, **options))

    def __str__(self) -> str:
        return f"{self.program.object.path.name}:{self.program.name}"

    def attach(self, device: NetDevice) -> tuple[int, bool]:
        """See :class:`netemu.programs.XdpProgram`."""
        from .bpf.hook import Hook

        machine, state = device.machine, self.program.vm.state
        if self.program.vm.jit and machine.k.watch is not None:
            raise UsageError(f"{self} was compiled, but this machine is followed step by step: load it with jit=False")
        if self.program.vm.cpus < machine.cpus:
            raise UsageError(f"{self} was loaded for {self.program.vm.cpus} CPUs, the machine has {machine.cpus}")
        state.frame_struct = 32 if machine.k.era[0].xdp_frame_struct == BYTES32 else 40
        state.most_metadata = 32
        state.no_growth = int(machine.k.era[0].xdp_frame_sz == UNKNOWN_FRAME)
        self._bind(device)
        hook = Hook(self.program.vm, self.program.loaded)
        self._hooks.append(hook)
        return hook.address(machine.k), True

    def _bind(self, device: NetDevice) -> None:
        """Make what entries of cpumaps and xskmaps stand for."""
        machine = device.machine
        for name, entries in self.program.maps.items():
            if entries.kind == MapType.CPUMAP:
                for cpu, queue_size in entries.items():
                    if cpu < machine.cpus:
                        entries.bind(cpu, create_cpumap_entry(machine.k, cpu, queue_size) + 1)
            elif entries.kind == MapType.XSKMAP:
                for key in entries:
                    socket = self.sockets[name, key] = Socket(machine, SOCKET_SLOTS)
                    machine.sockets.append(socket)
                    entries.bind(key, socket.row + 1)

    def finish(self) -> None:
        """Raise what a helper in Python raised during the runs."""
        self.program.vm.raise_error()
