"""An XDP program as users hold it: loaded from a file, with its maps, to be run over packets."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.jit import JIT
from .elf import load_object
from .errors import BpfError
from .maps import Map
from .objects import BpfObject
from .vm import DEFAULT_BUDGET, Fault, Safety, VirtualMachine

ACTIONS = ("aborted", "drop", "pass", "tx", "redirect")


@dataclass(frozen=True)
class Redirect:
    """Where a program sends a packet: a device, or the entry ``key`` of a map (of a device map, ``ifindex`` too)."""

    ifindex: int
    map: str | None
    key: int
    flags: int


@dataclass(frozen=True)
class RunResult:
    """What a run made of a packet.

    ``verdict`` is all that the program returned, as 32 bits; ``duration_ns`` the mean over the repetitions.
    """

    verdict: int
    data: bytes
    metadata: bytes
    redirect: Redirect | None
    fault: Fault | None
    duration_ns: float

    @property
    def action(self) -> str:
        """Name of the verdict; one that does not exist is taken for ``aborted``, as drivers do."""
        return ACTIONS[self.verdict] if self.verdict < len(ACTIONS) else "aborted"


class XdpProgram:
    """One program of an object file in a machine of its own.

    Args:
        path: the object file.
        program: a program's name, or that of its section; default is the first one of an XDP section.
        safety: ``sandbox`` or ``strict``; see :class:`~netemu.bpf.vm.VirtualMachine`.
        variables: what global variables start with, by name.
        maps: entries that maps start with, by the map's name.
        cpus: emulated CPUs.
        seed: of random numbers.

    Raises:
        OSError: the file cannot be read.
        BpfError: the object or the program cannot be used, and why.
    """

    def __init__(
        self,
        path: str | Path | BpfObject,
        program: str | None = None,
        *,
        safety: Safety = "sandbox",
        variables: Mapping[str, int | bytes] | None = None,
        maps: Mapping[str, Mapping[Any, Any]] | None = None,
        cpus: int = 1,
        seed: int = 1,
        budget: int = DEFAULT_BUDGET,
        frame_size: int = 4096,
        jit: bool = JIT,
    ) -> None:
        self.object = path if isinstance(path, BpfObject) else load_object(path)
        for name, value in (variables or {}).items():
            self.object.set_variable(name, value)
        spec = self.object.program(program)
        self.vm = VirtualMachine(
            self.object, safety=safety, cpus=cpus, seed=seed, budget=budget, frame_size=frame_size, jit=jit
        )
        self.loaded = self.vm.load(spec)
        self.name = spec.name
        self.vm.fill_maps(maps or {})

    @property
    def maps(self) -> dict[str, Map]:
        """The object's maps by name."""
        return self.vm.maps

    def run(
        self,
        packet: bytes,
        *,
        metadata: bytes = b"",
        ifindex: int = 1,
        rxq: int = 0,
        cpu: int = 0,
        now_ns: int = 0,
        repeat: int = 1,
    ) -> RunResult:
        """Run over one packet, ``repeat`` times without restoring it in between.

        Raises:
            BpfError: the packet does not fit, or there is no such CPU.
        """
        vm, state = self.vm, self.vm.state
        if not 0 <= cpu < vm.cpus:
            raise BpfError(f"no CPU {cpu}: there are {vm.cpus}")
        if len(metadata) % 4 or len(metadata) > 252:
            raise BpfError(f"{len(metadata)} bytes of metadata; there can be 0 to 252, in steps of 4")
        state.ifindex, state.rxq, state.cpu, state.now = ifindex, rxq, cpu, now_ns
        vm.put_packet(metadata + packet)
        length = len(metadata) + len(packet)
        start = time.perf_counter_ns()
        verdict = vm.call("run_repeated", vm.entry(self.loaded), length, len(metadata), repeat)
        took = time.perf_counter_ns() - start
        after = vm.arena.read(state.data_meta, state.data_end - state.data_meta)
        front = state.data - state.data_meta
        redirect = self._redirect() if verdict == ACTIONS.index("redirect") else None
        return RunResult(verdict, after[front:], after[:front], redirect, vm.fault(), took / repeat)

    def _redirect(self) -> Redirect:
        state = self.vm.state
        name = self.vm.map_names[state.redirect_map - 1] if state.redirect_map else None
        return Redirect(state.redirect_ifindex, name, state.redirect_key, state.redirect_flags)

    def verdicts(self, packets: Sequence[bytes]) -> list[int]:
        """Run over many packets, in order, in one go; returns what the program returned for each."""
        longest = max(map(len, packets), default=0)
        if longest > self.vm.room:
            self.vm.put_packet(bytes(longest))  # says what is wrong
        data = b"".join(packets)
        held = ctypes.create_string_buffer(data, max(len(data), 1))
        ends, found = (ctypes.c_uint64 * len(packets))(), (ctypes.c_uint32 * len(packets))()
        end = 0
        for number, packet in enumerate(packets):
            end += len(packet)
            ends[number] = end
        words = [ctypes.addressof(held), ctypes.addressof(ends), len(packets), ctypes.addressof(found), 0, 0]
        self.vm.call("run_batch", self.vm.entry(self.loaded), *words)
        return list(found)
