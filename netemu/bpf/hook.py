"""A program where an emulated driver calls one: machine code behind one address, ``f(k, cpu, rxq, row) -> verdict``.

The packet is copied from emulated memory to the same place in a frame of the program's own, headroom and all, and back
behind the run; what the program did to its bounds goes into ``k.xdp_buff[row]``, where it wants it sent into
``k.xdp_cpu[cpu]``.  Virtual time is what the CPU's clock says when the run starts.
"""

from __future__ import annotations

from typing import Any

from ..engine.layout import TABLES, Kernel
from ..net.xdp_layout import TO_CPUMAP, TO_DEVICE, TO_DEVMAP, TO_NOTHING, TO_XSKMAP
from .arena import host
from .compiler import Code, compiled
from .helper_routines import BPF_F_BROADCAST, XDP_REDIRECT
from .map_kinds import D_TYPE, DESCRIPTOR_BYTES
from .map_routines import CPUMAP, XSKMAP
from .routine import DECLARATIONS, LOW32, routine, with_callees
from .run_routines import begin, finish
from .state import State
from .vm import MAX_FRAME_BYTES, LoadedProgram, VirtualMachine

PICOSECONDS = 1000  # per nanosecond


def _field(table: str, name: str) -> int:
    fields = TABLES[table].dtype.fields
    assert fields is not None
    return int(fields[name][1])


X_HARD_START, X_DATA, X_DATA_END = (_field("xdp_buff", name) for name in ("hard_start", "data", "data_end"))
X_DATA_META, X_FRAME_SZ, X_DEV = (_field("xdp_buff", name) for name in ("data_meta", "frame_sz", "dev"))
X_PACKET = _field("xdp_buff", "packet")
R_KIND, R_TARGET = _field("xdp_cpu", "kind"), _field("xdp_cpu", "target")


@routine
def note_target(vm: State, target: int) -> int:
    """Say in the row of ``k.xdp_cpu`` at real address ``target`` where the packet goes."""
    kind, where = TO_NOTHING, 0
    if vm.redirect_map == 0:
        if vm.redirect_ifindex:
            kind, where = TO_DEVICE, vm.redirect_ifindex
    elif not vm.redirect_flags & BPF_F_BROADCAST:
        map_kind = host.load64(vm.maps + (vm.redirect_map - 1) * DESCRIPTOR_BYTES + D_TYPE)
        if map_kind == CPUMAP:
            kind, where = TO_CPUMAP, vm.redirect_target
        elif map_kind == XSKMAP:
            kind, where = TO_XSKMAP, vm.redirect_target
        else:
            kind, where = TO_DEVMAP, vm.redirect_ifindex
    host.store32(target + R_KIND, kind)
    host.store32(target + R_TARGET, where)
    return 0


@routine
def run_on_buffer(vm: State, entry: int, buffer: int, memory: int, target: int, cpu: int, rxq: int, now: int) -> int:
    """Run over the packet of the row of ``k.xdp_buff`` at real address ``buffer``; ``memory`` is ``k.memory``."""
    hard_start, data = host.load64(buffer + X_HARD_START), host.load64(buffer + X_DATA)
    end, meta = host.load64(buffer + X_DATA_END), host.load64(buffer + X_DATA_META)
    vm.no_metadata = 1 if meta > data else 0
    if meta > data:
        meta = data
    vm.frame_size = host.load32(buffer + X_FRAME_SZ)
    if end - hard_start > MAX_FRAME_BYTES or vm.frame_size > MAX_FRAME_BYTES:
        return 0
    vm.ifindex = host.load32(buffer + X_DEV) + 1
    vm.rxq, vm.cpu, vm.now = rxq, cpu, now
    vm.packet_number = host.load64(buffer + X_PACKET)
    start = vm.data_hard_start + (meta - hard_start)
    vm.from_host(start, memory + meta, end - meta)
    begin(vm, start, end - meta, data - meta)
    verdict = finish(vm, vm.run(entry, vm.ctx, 0, vm.stack_top))
    moved = hard_start - vm.data_hard_start
    vm.to_host(memory + vm.data_meta + moved, vm.data_meta, vm.data_end - vm.data_meta)
    host.store64(buffer + X_DATA, vm.data + moved)
    host.store64(buffer + X_DATA_END, vm.data_end + moved)
    host.store64(buffer + X_DATA_META, vm.data_meta + moved + vm.no_metadata)
    if verdict == XDP_REDIRECT:
        note_target(vm, target)
    return verdict & LOW32


class Hook:
    """What a driver calls for a loaded program of a machine that lives as long as this object."""

    def __init__(self, vm: VirtualMachine, program: LoadedProgram) -> None:
        self.vm = vm
        self.program = program
        self._code: Code | None = None

    def address(self, k: Kernel) -> int:
        """The address for :func:`~netemu.engine.kernel.indirect`."""
        if not self.vm.jit:
            k.callables.append(self._interpreted)
            return len(k.callables) - 1
        text = self._module()
        self._code = compiled(text.encode(), lambda: text)
        self.vm.entry(self.program)
        return self._code.address("hook")

    def _interpreted(self, k: Kernel, cpu: int, rxq: int, row: int) -> int:
        def at(table: str, index: int) -> Any:
            array = k.arrays[table]
            return array.ctypes.data + index * array.itemsize

        now = k.cpu[cpu].clock // PICOSECONDS
        words = (at("xdp_buff", row), at("memory", 0), at("xdp_cpu", cpu), cpu, k.rxq[rxq].index, now)
        result: int = run_on_buffer(self.vm.state, self.vm.entry(self.program), *words)
        return result

    def _module(self) -> str:
        """The routine with a head that finds the tables; both machines' addresses are constants of it."""
        vm = self.vm
        found = [r.llvm_text(vm.layout) for r in with_callees([run_on_buffer])]
        lines = ["define i64 @hook(ptr %k, i64 %cpu, i64 %rxq, i64 %row) nounwind {"]
        rows = {"xdp_buff": "%row", "memory": "0", "xdp_cpu": "%cpu", "cpu": "%cpu", "rxq": "%rxq"}
        for table, row in rows.items():
            spec = TABLES[table]
            lines += [
                f"%d.{table} = getelementptr i64, ptr %k, i64 {2 * spec.index}",
                f"%t.{table} = load i64, ptr %d.{table}",
                f"%o.{table} = mul i64 {row}, {spec.dtype.itemsize}",
                f"%a.{table} = add i64 %t.{table}, %o.{table}",
            ]
        lines += [
            f"%clock.at = add i64 %a.cpu, {_field('cpu', 'clock')}",
            "%clock.p = inttoptr i64 %clock.at to ptr",
            "%clock = load i64, ptr %clock.p",
            f"%now = udiv i64 %clock, {PICOSECONDS}",
            f"%index.at = add i64 %a.rxq, {_field('rxq', 'index')}",
            "%index.p = inttoptr i64 %index.at to ptr",
            "%index.32 = load i32, ptr %index.p",
            "%index = zext i32 %index.32 to i64",
            f"%vm = inttoptr i64 {vm.address} to ptr",
            f"%base = inttoptr i64 {vm.arena.base} to ptr",
            f"%result = call i64 @{run_on_buffer.name}(ptr %vm, ptr %base, i64 {vm.entry(self.program)}, "
            "i64 %a.xdp_buff, i64 %a.memory, i64 %a.xdp_cpu, i64 %cpu, i64 %index, i64 %now)",
            "ret i64 %result",
            "}",
        ]
        return "\n".join([DECLARATIONS, *found, *lines])
