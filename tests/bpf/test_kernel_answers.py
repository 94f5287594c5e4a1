"""The example programs and every kind of instruction do what a Linux kernel's do, packet by packet."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

import pytest

from netemu.bpf.elf import load_object
from netemu.bpf.kernel import KernelUnavailable
from netemu.bpf.objects import BpfObject
from netemu.bpf.verify import differences, model_for, verify
from netemu.bpf.vm import Safety
from tests.bpf.answers import RECORDED, condensed
from tests.bpf.opcodes import edge_packets
from tests.bpf.opcodes import programs as opcode_programs
from tests.bpf.packets import packets
from tests.bpf.shelf import EXAMPLES, Example, object_file

OPCODES = tuple(opcode_programs().programs)
MODES: tuple[Safety, ...] = ("sandbox", "strict")
INTERPRETED = 60
"""Packets that the interpreter is given: it takes a microsecond per instruction."""


@cache
def recorded() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(gzip.decompress(RECORDED.read_bytes()))["programs"]
    return answers


def opened(name: str) -> tuple[BpfObject, Example]:
    return load_object(object_file(name)), EXAMPLES[name]


@pytest.mark.parametrize("safety", MODES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_the_kernel_recorded(name: str, safety: Safety) -> None:
    obj, example = opened(name)
    model = model_for(obj, obj.program(example.program), example.entries, safety=safety)
    assert condensed(model.answers(packets(), example.ignored), packets()) == recorded()[name]


@pytest.mark.parametrize("safety", MODES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_interpreter_does_what_compiled_code_does(name: str, safety: Safety) -> None:
    obj, example = opened(name)
    program = obj.program(example.program)
    compiled, interpreted = (
        model_for(obj, program, example.entries, safety=safety, jit=jit).answers(packets(INTERPRETED), example.ignored)
        for jit in (True, False)
    )
    assert differences(compiled, interpreted) == []


@pytest.mark.parametrize("safety", MODES)
@pytest.mark.parametrize("name", OPCODES)
def test_instructions_do_what_the_kernel_recorded_for_all_pairs_of_edge_values(name: str, safety: Safety) -> None:
    obj = opcode_programs()
    model = model_for(obj, obj.program(name), {}, safety=safety)
    assert condensed(model.answers(edge_packets()), edge_packets()) == recorded()[f"opcodes/{name}"]


@pytest.mark.parametrize("name", OPCODES)
def test_the_interpreter_does_what_the_kernel_recorded(name: str) -> None:
    obj = opcode_programs()
    chosen = range(0, len(edge_packets()), 11)
    given = [edge_packets()[number] for number in chosen]
    answers = model_for(obj, obj.program(name), {}, jit=False).answers(given)
    expected = recorded()[f"opcodes/{name}"]
    changed = condensed(answers, given)["changed"]
    assert [changed.get(str(n)) for n in range(len(given))] == [expected["changed"].get(str(n)) for n in chosen]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_the_running_kernel_does(name: str) -> None:
    obj, example = opened(name)
    try:
        found = verify(obj, obj.program(example.program), packets(60), entries=example.entries, ignored=example.ignored)
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    assert found == []


def test_the_examples_tell_packets_apart() -> None:
    assert len(packets()) >= 500
    assert len(set(packets())) == len(packets())
    seen = {verdict for name in EXAMPLES for verdict in recorded()[name]["verdicts"]}
    assert seen == {0, 1, 2, 3, 4}
    several = [name for name in EXAMPLES if len(set(recorded()[name]["verdicts"])) > 1]
    assert len(several) >= 20
