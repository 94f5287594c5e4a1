"""A program in the running kernel, its maps filled, its answers collected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .kernel import KernelObject
from .map_kinds import MapType
from .objects import BpfObject, ProgramSpec
from .verify import Answers, compared, content
from .vm import VirtualMachine


class KernelRun:
    """A context manager; while it lasts, this thread stays on one CPU: the kernel uses one value of each per-CPU map.

    Raises:
        KernelUnavailable: no right to use eBPF here, or no eBPF.
        VerifierRejected: Linux would not load the program.
    """

    def __init__(self, obj: BpfObject, program: ProgramSpec) -> None:
        self.obj = obj
        self.kernel = KernelObject(obj)
        try:
            self.fd = self.kernel.load(program)
            for name in [name for spec in obj.maps for name in spec.programs.values()]:
                self.kernel.load(obj.program(name))
        except BaseException:
            self.kernel.close()
            raise
        self.cpus_before = os.sched_getaffinity(0)
        self.cpu = min(self.cpus_before)
        os.sched_setaffinity(0, {self.cpu})

    def __enter__(self) -> KernelRun:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kernel.close()
        with suppress(OSError):
            os.sched_setaffinity(0, self.cpus_before)

    def fill(self, model: VirtualMachine, entries: Mapping[str, Mapping[Any, Any]]) -> None:
        """Give the kernel's maps the entries that netemu's have, where ``entries`` says something."""
        for number, spec in enumerate(self.obj.maps):
            if spec.name not in entries:
                continue
            for key, held in model.maps[spec.name].raw().items():
                values = [value.ljust(spec.value_size, b"\0") for value in held]
                if spec.kind == MapType.PROG_ARRAY:
                    name = model.programs[int.from_bytes(held[0], "little")].name
                    values = [self.kernel.load(self.obj.program(name)).to_bytes(4, "little")]
                if not (spec.kind in (MapType.ARRAY, MapType.PERCPU_ARRAY) and not any(values[0])):
                    self.kernel.update(number, key, values)

    def answers(self, packets: Iterable[bytes], ignored: Sequence[str] = ()) -> Answers:
        """Run the packets, in order."""
        outcomes = [self.kernel.test_run(self.fd, packet) for packet in packets]
        maps = {
            spec.name: content(spec.kind, self.kernel.entries(number), self.cpu)
            for number, spec in enumerate(self.obj.maps)
            if compared(spec.name, spec.kind, ignored)
        }
        return Answers([o.verdict for o in outcomes], [o.data for o in outcomes], maps)
