"""Damaged programs, run compiled and interpreted in both safety modes: ``python -m tests.bpf.damaged FIRST COUNT``.

Started as a process of its own, because what it looks for is a crash.  Prints what it did as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from netemu.bpf import instructions as bpf
from netemu.bpf.elf import load_object
from netemu.bpf.errors import BpfError
from netemu.bpf.helper_table import HELPERS
from netemu.bpf.instructions import Instruction
from netemu.bpf.objects import BpfObject, ProgramSpec
from netemu.bpf.vm import Safety, VirtualMachine
from tests.bpf.opcodes import edge_packets
from tests.bpf.opcodes import programs as opcode_programs
from tests.bpf.packets import packets
from tests.bpf.shelf import EXAMPLES, object_file

BUDGET = 4000
LONGEST = 260
MODES: tuple[Safety, ...] = ("sandbox", "strict")
SIZES = (-1, 0, 1, 2, 8, 63, 64, 255, 256, 4095, 4096, 65536, 0x7FFFFFFF, -0x80000000, 0x100000, 0x300100)


@cache
def stock() -> list[tuple[BpfObject, ProgramSpec, dict[str, dict[Any, Any]]]]:
    """Healthy programs to damage, with the entries of their maps."""
    found = []
    for name, example in EXAMPLES.items():
        obj = load_object(object_file(name))
        found += [(obj, p, example.entries) for p in obj.programs.values() if len(p.instructions) <= LONGEST]
    opcodes = opcode_programs()
    found += [(opcodes, p, {}) for p in opcodes.programs.values() if len(p.instructions) <= LONGEST]
    return found


def damaged(choose: random.Random, program: list[Instruction]) -> list[Instruction]:
    """A program with up to a dozen things changed."""
    code = list(program)
    for _ in range(choose.choice((1, 1, 1, 2, 2, 3, 5, 12))):
        at = choose.randrange(len(code))
        insn = code[at]
        match choose.randrange(12):
            case 0:
                code[at] = insn._replace(dst=choose.randrange(12))
            case 1:
                code[at] = insn._replace(src=choose.randrange(12))
            case 2:
                code[at] = insn._replace(
                    off=choose.choice((0, 1, -1, -8, -512, -520, 8, 4096, 32767, -32768, choose.randrange(-40, 40)))
                )
            case 3:
                code[at] = insn._replace(imm=choose.choice((*SIZES, choose.randrange(-64, 64))))
            case 4:
                code[at] = insn._replace(code=insn.code ^ 1 << choose.randrange(8))
            case 5:
                code[at] = code[choose.randrange(len(code))]
            case 6:
                del code[at]
                if not code:
                    return [insn]
            case 7:
                code.insert(at, code[choose.randrange(len(code))])
            case 8:
                code[at] = Instruction(bpf.CALL_OP, 0, 0, 0, choose.choice(list(HELPERS)))
            case 9:  # a loop, or a way out
                code[at] = Instruction(
                    bpf.JMP | choose.choice((bpf.JA, bpf.JNE, bpf.JEQ)),
                    0,
                    0,
                    choose.randrange(-at - 1, len(code) - at),
                    0,
                )
                if choose.randrange(2):
                    code[at] = Instruction(bpf.CALL_OP, 0, bpf.CALL_LOCAL, 0, choose.randrange(-at - 1, len(code) - at))
            case 10:  # a wild pointer
                code[at] = Instruction(
                    bpf.ALU64 | bpf.MUL, choose.randrange(10), 0, 0, choose.choice((-1, 3, 0x10001, 4096))
                )
            case _:
                code[at] = Instruction(
                    choose.randrange(256),
                    choose.randrange(11),
                    choose.randrange(11),
                    choose.randrange(-8, 8),
                    choose.choice(SIZES),
                )
    return code


class Outcome:
    """What a damaged program did to some packets, in one mode and by one engine."""

    def __init__(
        self, obj: BpfObject, spec: ProgramSpec, entries: dict[str, Any], safety: Safety, *, jit: bool
    ) -> None:
        self.vm = VirtualMachine(obj, safety=safety, budget=BUDGET, jit=jit)
        self.program = self.vm.load(spec)
        self.vm.fill_maps(entries)

    def run(self, data: list[bytes]) -> list[Any]:
        vm, seen = self.vm, []
        for packet in data:
            vm.put_packet(packet)
            verdict = vm.call("run_packet", vm.entry(self.program), len(packet), 0)
            fault = vm.fault()
            seen.append((verdict, vm.arena.read(vm.state.data_meta, vm.state.data_end - vm.state.data_meta), fault))
        return seen

    def close(self) -> None:
        self.vm.maps.clear()
        self.vm.close()


def peak_kib() -> int:
    """The most memory that this program has held.  (``ru_maxrss`` would begin with what its parent held.)"""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main(first: int, count: int) -> dict[str, Any]:
    """Damage and run programs number ``first`` and on, until ``count`` were well-formed enough to be run."""
    data = packets(60)[::20] + edge_packets()[100:101]
    done = {"run": 0, "rejected": 0, "faults": 0, "different": [], "slowest": 0.0}
    number = first
    while done["run"] < count:
        choose = random.Random(number)
        obj, spec, entries = choose.choice(stock())
        changed = replace(spec, name=f"damaged{number}", instructions=damaged(choose, spec.instructions))
        number += 1
        for safety in MODES:
            start = time.monotonic()
            try:
                compiled = Outcome(obj, changed, entries, safety, jit=True)
            except BpfError:
                done["rejected"] += 1
                break
            interpreted = Outcome(obj, changed, entries, safety, jit=False)
            ours, reference = compiled.run(data), interpreted.run(data)
            done["faults"] += sum(fault is not None for _, _, fault in ours)
            if ours != reference:
                done["different"].append((number - 1, safety))
            compiled.close()
            interpreted.close()
            done["slowest"] = max(done["slowest"], time.monotonic() - start)
        else:
            done["run"] += 1
    done["rss_mb"] = peak_kib() // 1024
    done["next"] = number
    return done


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
