"""Nanoseconds per packet of the example programs: sandbox and strict, in place and with the packet copied in, and the
running kernel's own test run (as root), interleaved; ours in CPU time, the kernel's as it says.

``python benchmarks/bpf.py [PROGRAM...]``"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from netemu.bpf.elf import load_object
from netemu.bpf.kernel import KernelUnavailable
from netemu.bpf.kernel_run import KernelRun
from netemu.bpf.verify import ModelRun, model_for
from tests.bpf.packets import IPV4, TCP, Maker
from tests.bpf.shelf import EXAMPLES, object_file

ROUNDS, TIMES, BATCH = 15, 100_000, 1000


def packet() -> bytes:
    """64 bytes of TCP."""
    maker = Maker(1)
    return maker.ethernet(maker.ipv4(maker.tcp(10, 0x10), TCP), IPV4)[:64]


def in_place(model: ModelRun, data: bytes) -> float:
    model.vm.put_packet(data)
    start = time.thread_time()
    model.vm.call("run_repeated", model.vm.entry(model.program), len(data), 0, TIMES)
    return (time.thread_time() - start) / TIMES * 1e9


def copied(model: ModelRun, data: bytes) -> float:
    held = ctypes.create_string_buffer(data * BATCH)
    ends = (ctypes.c_uint64 * BATCH)(*range(len(data), len(data) * BATCH + 1, len(data)))
    verdicts = (ctypes.c_uint32 * BATCH)()
    room = 8 + 4096
    out = ctypes.create_string_buffer(room * BATCH)
    words = [*map(ctypes.addressof, (held, ends)), BATCH, *map(ctypes.addressof, (verdicts, out)), room]
    start = time.thread_time()
    for _ in range(20):
        model.vm.call("run_batch", model.vm.entry(model.program), *words)
    return (time.thread_time() - start) / (20 * BATCH) * 1e9


def main() -> None:
    print(f"{'program':18}{'insns':>6}{'sandbox':>10}{'copied':>10}{'strict':>10}{'kernel':>10}")
    data = packet()
    for name in sys.argv[1:] or EXAMPLES:
        obj = load_object(object_file(name))
        example = EXAMPLES[name]
        program = obj.program(example.program)
        models = {safety: model_for(obj, program, example.entries, safety=safety) for safety in ("sandbox", "strict")}
        kernel = None
        try:
            kernel = KernelRun(obj, program)
            kernel.fill(models["sandbox"].vm, example.entries)
        except KernelUnavailable:
            pass
        seen: dict[str, list[float]] = defaultdict(list)
        for _ in range(ROUNDS):
            seen["sandbox"].append(in_place(models["sandbox"], data))
            seen["copied"].append(copied(models["sandbox"], data))
            seen["strict"].append(in_place(models["strict"], data))
            if kernel is not None:
                seen["kernel"].append(kernel.kernel.test_run(kernel.fd, data, repeat=TIMES).duration)
        shown = [
            f"{statistics.median(seen[c]):10.1f}" if c in seen else f"{'-':>10}"
            for c in ("sandbox", "copied", "strict", "kernel")
        ]
        best = f"   best {min(seen['sandbox']):.1f}, strict {min(seen['strict']):.1f}"
        print(f"{name:18}{len(program.instructions):6}{''.join(shown)}{best}")


if __name__ == "__main__":
    main()
