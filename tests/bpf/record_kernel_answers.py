"""Record what the running kernel answers, for machines without root: ``python -m tests.bpf.record_kernel_answers``."""

from __future__ import annotations

import gzip
import json
import platform
from typing import Any

from netemu.bpf.elf import load_object
from netemu.bpf.kernel_run import KernelRun
from netemu.bpf.verify import model_for
from tests.bpf.answers import RECORDED, condensed
from tests.bpf.opcodes import edge_packets
from tests.bpf.opcodes import programs as opcode_programs
from tests.bpf.packets import packets
from tests.bpf.shelf import EXAMPLES, object_file


def record() -> dict[str, Any]:
    """The answers of the running kernel to every example's packets."""
    found: dict[str, Any] = {"kernel": platform.release().split("-")[0], "programs": {}}
    for name, example in EXAMPLES.items():
        obj = load_object(object_file(name))
        program = obj.program(example.program)
        with KernelRun(obj, program) as theirs:
            theirs.fill(model_for(obj, program, example.entries, cpu=theirs.cpu).vm, example.entries)
            found["programs"][name] = condensed(theirs.answers(packets(), example.ignored), packets())
        print(name, {v: found["programs"][name]["verdicts"].count(v) for v in range(5)})
    instructions = opcode_programs()
    for name, program in instructions.programs.items():
        with KernelRun(instructions, program) as theirs:
            found["programs"][f"opcodes/{name}"] = condensed(theirs.answers(edge_packets()), edge_packets())
    return found


if __name__ == "__main__":
    text = json.dumps(record(), separators=(",", ":"), sort_keys=True).encode()
    RECORDED.write_bytes(gzip.compress(text, mtime=0))
