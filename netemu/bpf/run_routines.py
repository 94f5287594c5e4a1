"""A run of a program over a packet: set up, called, and its outcome read off."""

from __future__ import annotations

from .arena import host
from .helper_routines import (
    MD_EGRESS,
    MD_IFINDEX,
    MD_RXQ,
    XDP_ABORTED,
    XDP_PACKET_HEADROOM,
    publish,
)
from .routine import LOW32, routine
from .state import State


@routine(inline=True)
def begin(vm: State, start: int, length: int, meta: int) -> int:
    """Set up a run over ``length`` bytes that are in their place at ``start``, ``meta`` of them metadata."""
    if vm.moved:
        vm.fill(vm.data_hard_start, 0, XDP_PACKET_HEADROOM)
        vm.moved = 0
    vm.data_meta = start
    vm.data = start + meta
    vm.data_end = start + length
    vm.store32(vm.ctx + MD_IFINDEX, vm.ifindex)
    vm.store32(vm.ctx + MD_RXQ, vm.rxq)
    vm.store32(vm.ctx + MD_EGRESS, 0)
    publish(vm)
    vm.budget = vm.full_budget
    vm.tail_calls = 0
    vm.fault = 0
    vm.redirect_map = 0
    vm.redirect_ifindex = 0
    return 0


@routine
def keep_first_fault(vm: State) -> int:
    """What a report tells of runs that a fault has ended."""
    vm.first_fault = vm.fault
    vm.first_program = vm.program
    vm.first_pc = vm.fault_pc
    vm.first_address = vm.fault_address
    vm.first_size = vm.fault_size
    vm.first_meta = vm.data_meta
    vm.first_end = vm.data_end
    vm.first_packet = vm.packet_number
    return 0


@routine(inline=True)
def finish(vm: State, returned: int) -> int:
    """The verdict of a run: what the program returned, as 32 bits; XDP_ABORTED after a fault."""
    if vm.fault:
        if vm.faults == 0:
            keep_first_fault(vm)
        vm.faults += 1
        return XDP_ABORTED
    return returned & LOW32


@routine
def run_packet(vm: State, entry: int, length: int, meta: int) -> int:
    """Run over the packet that is in its place."""
    begin(vm, vm.data_hard_start + XDP_PACKET_HEADROOM, length, meta)
    return finish(vm, vm.run(entry, vm.ctx, 0, vm.stack_top))


@routine
def run_plain(vm: State, entry: int, r1: int, r2: int) -> int:
    """Run a program that is for no packet, with two arguments; all 64 bits of r0."""
    vm.budget = vm.full_budget
    vm.tail_calls = 0
    vm.fault = 0
    returned = vm.run(entry, r1, r2, vm.stack_top)
    return 0 if vm.fault else returned


@routine
def run_repeated(vm: State, entry: int, length: int, meta: int, times: int) -> int:
    """Run over the packet in place ``times`` times, without restoring it in between; the last verdict."""
    verdict = XDP_ABORTED
    while times:
        begin(vm, vm.data_hard_start + XDP_PACKET_HEADROOM, length, meta)
        verdict = finish(vm, vm.run(entry, vm.ctx, 0, vm.stack_top))
        times -= 1
    return verdict


@routine
def run_batch(vm: State, entry: int, packets: int, ends: int, count: int, verdicts: int, out: int, room: int) -> int:
    """Run over ``count`` packets that lie behind one another at real address ``packets``.

    ``ends`` has the end of each (64 bits), ``verdicts`` takes one word of 32 bits per packet.  If ``out`` is not 0,
    what a packet has become goes there, ``room`` bytes apart: its length and that of its metadata (32 bits each),
    metadata and data.  Returns how many runs ended in a fault.
    """
    number, start, faults = 0, 0, 0
    while number < count:
        end = host.load64(ends + (number << 3))
        place = vm.data_hard_start + XDP_PACKET_HEADROOM
        vm.from_host(place, packets + start, end - start)
        begin(vm, place, end - start, 0)
        verdict = finish(vm, vm.run(entry, vm.ctx, 0, vm.stack_top))
        host.store32(verdicts + (number << 2), verdict)
        if vm.fault:
            faults += 1
        if out:
            row = out + number * room
            host.store32(row, vm.data_end - vm.data)
            host.store32(row + 4, vm.data - vm.data_meta)
            vm.to_host(row + 8, vm.data_meta, vm.data_end - vm.data_meta)
        start = end
        number += 1
    return faults


RUNS = {
    run_packet.name: (run_packet, 3),
    run_plain.name: (run_plain, 3),
    run_repeated.name: (run_repeated, 4),
    run_batch.name: (run_batch, 7),
}
"""Routines that Python calls, with the number of their words."""
