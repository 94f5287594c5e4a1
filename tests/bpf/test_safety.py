"""What keeps a program inside: masked addresses, bounds, budgets, and control data out of reach."""

from __future__ import annotations

import pytest

from netemu.bpf import instructions as bpf
from netemu.bpf.arena import GUARD, SMALL_BITS, Arena
from netemu.bpf.errors import ProgramRejected, Unsupported
from netemu.bpf.instructions import Instruction
from netemu.bpf.map_kinds import HANDLE, MapType
from netemu.bpf.vm import VirtualMachine
from tests.bpf.assembly import (
    EXIT,
    a_map,
    add,
    call,
    call_local,
    constant,
    goto,
    imm,
    load,
    mov,
    program,
    store,
    the_map,
)

PACKET = bytes(range(64))
WILD = (0, 1, 0xFFFFFFFF, 0x1_0000_0000, HANDLE, 0x7FFF_FFFF_FFFF, (1 << 64) - 1, (1 << 64) - 8, 0x0FFF_FFFD)
JITS = (True, False)


@pytest.mark.parametrize("jit", JITS)
@pytest.mark.parametrize("address", WILD)
def test_a_wild_store_changes_nothing_outside_the_arena(address: int, jit: bool) -> None:
    p = program(constant(1, address), imm(2, -1), store(1, 0, 2), load(0, 1, 0), EXIT, jit=jit)
    assert p.run(PACKET).verdict == 0xFFFFFFFF


@pytest.mark.parametrize("jit", JITS)
@pytest.mark.parametrize("address", WILD)
def test_strict_names_instruction_address_and_region_of_a_wild_access(address: int, jit: bool) -> None:
    p = program(constant(1, address), load(0, 1, 0), EXIT, safety="strict", jit=jit)
    result = p.run(PACKET)
    assert result.action == "aborted"
    assert result.fault is not None
    assert (result.fault.pc, result.fault.address, result.fault.size) == (2, address, 8)
    assert "instruction 2: r0 = *(u64 *)(r1 +0)" in str(result.fault)


def test_strict_stops_at_the_end_of_the_packet_and_sandbox_does_not() -> None:
    code = (load(1, 1, 0, bpf.W), load(0, 1, 60), EXIT)
    assert program(*code).run(PACKET).fault is None
    assert program(*code).run(PACKET + bytes(4)).fault is None
    result = program(*code, safety="strict").run(PACKET)
    assert "outside the packet (0x300100 to 0x300140)" in str(result.fault)
    assert program(*code, safety="strict").run(PACKET + bytes(4)).fault is None


@pytest.mark.parametrize("jit", JITS)
def test_strict_lets_no_program_write_its_context_or_a_frozen_map(jit: bool) -> None:
    result = program(imm(2, 1), store(1, 0, 2), imm(0, 2), EXIT, safety="strict", jit=jit).run(PACKET)
    assert "the context (struct xdp_md) is read-only" in str(result.fault)


@pytest.mark.parametrize("jit", JITS)
def test_strict_checks_what_helpers_are_given(jit: bool) -> None:
    code = (the_map(1, 0), imm(2, 64), call(1), imm(0, 2), EXIT)
    result = program(*code, maps=(a_map(),), safety="strict", jit=jit).run(PACKET)
    assert result.fault is not None
    assert (result.fault.pc, result.fault.address, result.fault.size) == (3, 64, 4)


@pytest.mark.parametrize("jit", JITS)
def test_an_endless_loop_uses_up_its_budget(jit: bool) -> None:
    result = program(imm(0, 2), goto(-2), EXIT, budget=1000, jit=jit).run(PACKET)
    assert result.action == "aborted"
    assert "used up its budget" in str(result.fault)


@pytest.mark.parametrize("jit", JITS)
def test_nested_calls_share_one_budget(jit: bool) -> None:
    # every function calls the next one in a loop of its own: 5 levels of 100 rounds each would be 10**10
    code: list[Instruction] = []
    for level in range(5):
        body = [call_local(3)] if level < 4 else [imm(0, 1)]
        code += [imm(6, 100), *body, add(6, -1), Instruction(bpf.JMP | bpf.JNE, 6, 0, -3, 0), EXIT]
    result = program(*code, budget=100_000, jit=jit).run(PACKET)
    assert "used up its budget" in str(result.fault)


@pytest.mark.parametrize("jit", JITS)
def test_recursion_ends_after_eight_frames(jit: bool) -> None:
    result = program(imm(0, 2), call_local(-2), EXIT, jit=jit).run(PACKET)
    assert "more than 8 nested calls" in str(result.fault)


@pytest.mark.parametrize("jit", JITS)
def test_a_function_has_a_frame_of_its_own_and_keeps_its_callers_registers(jit: bool) -> None:
    code = [imm(6, 5), imm(1, 7), store(10, -8, 1), call_local(3), load(1, 10, -8), mov(0, 6)]
    code += [Instruction(bpf.ALU64 | bpf.MUL | bpf.X, 0, 1, 0, 0), EXIT]
    code[3] = call_local(len(code) - 4)
    code += [imm(6, 99), store(10, -8, 6), imm(0, 1), EXIT]
    assert program(*code, jit=jit).run(PACKET).verdict == 35


def test_control_data_is_outside_the_arena() -> None:
    p = program(imm(0, 2), EXIT, maps=(a_map(), a_map(MapType.PROG_ARRAY, value=4, name="p")))
    vm = p.vm
    inside = range(vm.arena.base, vm.arena.base + vm.arena.size + GUARD)
    addresses = [vm.address, vm.state.maps, vm.state.programs, vm.state.read_bounds, vm.state.scratch]
    addresses += [storage.control.address for storage in vm.storages]
    assert not any(address in inside for address in addresses)


def test_overwriting_everything_leaves_keys_and_the_machine_intact() -> None:
    stride = 64 << 10
    code = [imm(1, 0), imm(2, -1), store(1, 0, 2), add(1, stride)]
    code += [Instruction(bpf.JMP32 | bpf.JNE, 1, 0, -3, 0), the_map(1, 0)]  # type: ignore[list-item]
    code += [mov(2, 10), add(2, -4), imm(3, 1), store(10, -4, 3, bpf.W), call(1), EXIT]
    p = program(*code, maps=(a_map(),))
    p.maps["m"][1] = 5
    for _ in range(2):
        assert p.run(PACKET).fault is None
    assert dict(p.maps["m"]) == {1: (1 << 64) - 1}  # a value is the program's own


@pytest.mark.parametrize("bits", [SMALL_BITS, 32])
def test_programs_do_the_same_in_the_small_arena(bits: int) -> None:
    p = program(load(1, 1, 0, bpf.W), load(0, 1, 0, bpf.B), EXIT)
    vm = VirtualMachine(p.object, arena_bits=bits)
    vm.put_packet(PACKET[7:])
    assert vm.call("run_packet", vm.entry(vm.load(p.object.program())), 57, 0) == 7


def test_memory_that_no_region_uses_is_the_same_small_piece_everywhere() -> None:
    arena = Arena()
    arena.region("something", 100)
    arena.seal()
    arena.write(0x4000_0000, b"x")
    assert arena.read(0x4000_0000 + (64 << 20), 1) == b"x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([imm(0, 1)], "must end with exit or a jump"),
        ([goto(5), EXIT], "jumps outside its function"),
        ([imm(11, 1), EXIT], "register beyond r10"),
        ([imm(10, 1), EXIT], "writes r10"),
        ([Instruction(bpf.LDDW, 1, 0, 0, 0), EXIT], "without a well-formed second half"),
        ([Instruction(bpf.ALU | bpf.END, 1, 0, 0, 8), EXIT], "byte swap of a width"),
        ([Instruction(bpf.ALU64 | bpf.DIV, 1, 0, 2, 1), EXIT], "arithmetic with offset"),
        ([Instruction(bpf.STX | bpf.ATOMIC | bpf.B, 1, 0, 0, 0), EXIT], "less than 4 bytes"),
        ([Instruction(bpf.STX | bpf.ATOMIC | bpf.W, 1, 0, 0, 0x33), EXIT], "unknown atomic operation"),
        ([call_local(7), EXIT], "calls outside the program"),
        ([*constant(1, 1, bpf.MAP), EXIT], "refers to a map that does not exist"),
    ],
)
def test_a_program_that_is_not_well_formed_is_rejected(code: list[Instruction], message: str) -> None:
    with pytest.raises(ProgramRejected, match=message):
        program(code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([call(9999), EXIT], "calls helper 9999"),
        ([Instruction(bpf.CALL_OP | bpf.X, 0, 0, 0, 1), EXIT], "callx"),
        ([Instruction(bpf.CALL_OP, 0, bpf.CALL_KFUNC, 0, 77), EXIT], "kfunc"),
        ([Instruction(bpf.LD | bpf.ABS | bpf.W, 0, 0, 0, 0), EXIT], "LD_ABS"),
    ],
)
def test_what_netemu_has_not_is_named(code: list[Instruction], message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        program(code)
