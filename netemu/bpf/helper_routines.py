"""Helpers other than those of maps, after ``net/core/filter.c`` and ``kernel/bpf/helpers.c`` of v6.12.

Those that write text or need a table of routes or devices are answered by Python (:mod:`netemu.bpf.python_helpers`).
"""

from __future__ import annotations

from .arena import host
from .map_kinds import (
    D_TYPE,
    E_VALUE,
    EACCES,
    EFAULT,
    EINVAL,
    ENOTSUPP,
)
from .map_routines import CPUMAP, DEVMAP, DEVMAP_HASH, XSKMAP, descriptor, reachable, redirect_entry
from .routine import LOW32, Routine, less, routine, wrap
from .state import MAX_TAIL_CALLS, State

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
ETH_HLEN = 14
TAILROOM = 320  # struct skb_shared_info, aligned
XDP_PACKET_HEADROOM = 256
MAX_CHECKSUMMED = 1 << 16
JIFFY_NS = 4_000_000  # HZ=250
BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS = 8, 16

MD_DATA, MD_DATA_END, MD_DATA_META, MD_IFINDEX, MD_RXQ, MD_EGRESS, MD_BYTES = 0, 4, 8, 12, 16, 20, 24

PROG_ARRAY = 3


@routine(inline=True)
def sign_extended(vm: State, word: int) -> int:
    """The low 32 bits as a signed 64-bit word."""
    return wrap((word & LOW32 ^ 0x80000000) - 0x80000000)


@routine
def publish(vm: State) -> int:
    """Show the program where its packet is: ``struct xdp_md``, and the bounds of strict mode."""
    vm.store32(vm.ctx + MD_DATA, vm.data)
    vm.store32(vm.ctx + MD_DATA_END, vm.data_end)
    vm.store32(vm.ctx + MD_DATA_META, vm.data_meta + vm.no_metadata)
    if vm.strict:
        bounds = vm.data_end << 32 | vm.data_meta
        host.store64(vm.read_bounds + (vm.data_hard_start >> 20 << 3), bounds)
        host.store64(vm.write_bounds + (vm.data_hard_start >> 20 << 3), bounds)
    return 0


@routine
def xdp_adjust_head(vm: State, _1: int, offset: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_xdp_adjust_head``; metadata moves along."""
    delta = sign_extended(vm, offset)
    data, metadata = wrap(vm.data + delta), vm.data - vm.data_meta
    if less(data, vm.data_hard_start + vm.frame_struct + metadata) or less(vm.data_end - ETH_HLEN, data):
        return wrap(-EINVAL)
    vm.moved = 1
    vm.move(vm.data_meta + delta, vm.data_meta, metadata)
    vm.data_meta = wrap(vm.data_meta + delta)
    vm.data = data
    return publish(vm)


@routine
def xdp_adjust_meta(vm: State, _1: int, offset: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_xdp_adjust_meta``."""
    if vm.no_metadata:
        return wrap(-ENOTSUPP)
    meta = wrap(vm.data_meta + sign_extended(vm, offset))
    if less(meta, vm.data_hard_start + vm.frame_struct) or less(vm.data, meta):
        return wrap(-EINVAL)
    if (vm.data - meta) & 3 or vm.data - meta > vm.most_metadata:
        return wrap(-EACCES)
    vm.moved = 1
    vm.data_meta = meta
    return publish(vm)


@routine
def xdp_adjust_tail(vm: State, _1: int, offset: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_xdp_adjust_tail``; what is added is zero."""
    delta = sign_extended(vm, offset)
    end = wrap(vm.data_end + delta)
    if vm.no_growth and not less(delta, 0):
        return wrap(-EINVAL)
    if less(vm.data_hard_start + vm.frame_size - TAILROOM, end) or less(end, vm.data + ETH_HLEN):
        return wrap(-EINVAL)
    if less(0, delta):
        vm.fill(vm.data_end, 0, delta)
    vm.data_end = end
    return publish(vm)


@routine
def xdp_get_buff_len(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_xdp_get_buff_len``."""
    return vm.data_end - vm.data


@routine
def packet_piece(vm: State, offset: int, length: int) -> int:
    """Arena address of a piece of the packet, or a negative error (``bpf_xdp_pointer``)."""
    if offset > 0xFFFF or length > 0xFFFF:
        return wrap(-EFAULT)
    if offset + length > vm.data_end - vm.data:
        return wrap(-EINVAL)
    return vm.data + offset


@routine
def xdp_load_bytes(vm: State, _1: int, offset: int, buffer: int, length: int, _5: int) -> int:
    """``bpf_xdp_load_bytes``."""
    place = packet_piece(vm, offset & LOW32, length & LOW32)
    if place >> 63:
        return place
    if vm.strict and reachable(vm, buffer, length & LOW32, 1) == 0:
        return 0
    vm.move(buffer, place, length & LOW32)
    return 0


@routine
def xdp_store_bytes(vm: State, _1: int, offset: int, buffer: int, length: int, _5: int) -> int:
    """``bpf_xdp_store_bytes``."""
    place = packet_piece(vm, offset & LOW32, length & LOW32)
    if place >> 63:
        return place
    if vm.strict and reachable(vm, buffer, length & LOW32, 0) == 0:
        return 0
    vm.move(place, buffer, length & LOW32)
    return 0


@routine
def sum_words(vm: State, address: int, size: int, total: int) -> int:
    """Add 32-bit words to a one's complement sum of 32 bits (``csum_partial``)."""
    while size:
        total += vm.load32(address)
        address += 4
        size -= 4
    total = (total & LOW32) + (total >> 32)
    return (total & LOW32) + (total >> 32)


@routine
def csum_diff(vm: State, old: int, old_size: int, new: int, new_size: int, seed: int) -> int:
    """``bpf_csum_diff``; folded to 16 bits, as since v6.13."""
    old_size, new_size, total = old_size & LOW32, new_size & LOW32, seed & LOW32
    if (old_size | new_size) & 3 or old_size > MAX_CHECKSUMMED or new_size > MAX_CHECKSUMMED:
        return wrap(-EINVAL)
    if vm.strict and (reachable(vm, old, old_size, 0) == 0 or reachable(vm, new, new_size, 0) == 0):
        return 0
    if new_size:
        total = sum_words(vm, new, new_size, total)
        if old_size:
            total += sum_words(vm, old, old_size, 0) ^ LOW32
            total = (total & LOW32) + (total >> 32)
    elif old_size:
        total = sum_words(vm, old, old_size, total ^ LOW32) ^ LOW32
    total = total + (total >> 16 | total << 16 & LOW32)
    return (total & LOW32) >> 16


@routine
def redirect(vm: State, ifindex: int, flags: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_xdp_redirect``: note the device; the driver does the rest."""
    if flags:
        return XDP_ABORTED
    vm.redirect_map = 0
    vm.redirect_target = 0
    vm.redirect_ifindex = ifindex & LOW32
    vm.redirect_flags = 0
    return XDP_REDIRECT


@routine
def redirect_map(vm: State, handle: int, key: int, flags: int, _4: int, _5: int) -> int:
    """``__bpf_xdp_redirect_map``: note map and key if the map has such an entry, else return what the flags say."""
    d = descriptor(vm, handle)
    if d == 0:
        return XDP_ABORTED
    kind, known = host.load64(d + D_TYPE), 3
    if kind in (DEVMAP, DEVMAP_HASH):
        known = 3 | BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS
    elif kind != CPUMAP and kind != XSKMAP:
        return XDP_ABORTED
    if flags & ~known:
        return XDP_ABORTED
    entry = redirect_entry(vm, d, key & LOW32)
    if entry == 0 and not flags & BPF_F_BROADCAST:
        return flags & 3
    vm.redirect_map = (handle & LOW32) + 1
    vm.redirect_key = key & LOW32
    vm.redirect_ifindex = host.load32(entry + E_VALUE) if entry else 0
    vm.redirect_target = host.load32(entry + E_VALUE + 4) if entry else 0
    vm.redirect_flags = flags
    return XDP_REDIRECT


@routine
def tail_call(vm: State, _1: int, handle: int, index: int, _4: int, _5: int) -> int:
    """Number + 1 of the program that ``bpf_tail_call`` goes on in; 0: there is none, or too many came before."""
    d = descriptor(vm, handle)
    if d == 0 or host.load64(d + D_TYPE) != PROG_ARRAY or vm.tail_calls >= MAX_TAIL_CALLS:
        return 0
    entry = redirect_entry(vm, d, index & LOW32)
    if entry == 0:
        return 0
    program = host.load64(entry + E_VALUE)
    if program >= vm.nr_programs:
        return 0
    vm.tail_calls += 1
    vm.program = program
    return program + 1


@routine
def ktime_get_ns(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_ktime_get_ns``: virtual time."""
    return vm.now


@routine
def jiffies64(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_jiffies64`` of a kernel with HZ=250."""
    return vm.now // JIFFY_NS


@routine
def get_smp_processor_id(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_get_smp_processor_id``: the emulated CPU."""
    return vm.cpu


@routine
def get_prandom_u32(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_get_prandom_u32``: xorshift64* from the run's seed."""
    state = vm.random
    state = state ^ state >> 12
    state = state ^ wrap(state << 25)
    state = state ^ state >> 27
    vm.random = state
    return wrap(state * 0x2545F4914F6CDD1D) >> 32


@routine
def spin_lock(vm: State, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """``bpf_spin_lock`` and unlock: one program runs at a time, so there is nobody to wait for."""
    return 0


@routine
def trace_printk(vm: State, text: int, size: int, r3: int, r4: int, r5: int) -> int:
    """``bpf_trace_printk``."""
    return vm.upcall(6, text, size, r3, r4, r5)


@routine
def perf_event_output(vm: State, ctx: int, handle: int, flags: int, data: int, size: int) -> int:
    """``bpf_xdp_event_output``."""
    return vm.upcall(25, ctx, handle, flags, data, size)


@routine
def fib_lookup(vm: State, ctx: int, parameters: int, size: int, flags: int, _5: int) -> int:
    """``bpf_xdp_fib_lookup``, in the routes that the user gave."""
    return vm.upcall(69, ctx, parameters, size, flags, 0)


@routine
def check_mtu(vm: State, ctx: int, ifindex: int, length: int, difference: int, flags: int) -> int:
    """``bpf_xdp_check_mtu``, of the devices that the user named."""
    return vm.upcall(163, ctx, ifindex, length, difference, flags)


@routine
def trace_vprintk(vm: State, text: int, size: int, data: int, length: int, _5: int) -> int:
    """``bpf_trace_vprintk``."""
    return vm.upcall(177, text, size, data, length, 0)


def helper_routines() -> dict[int, Routine]:
    """The routine behind each helper number; some numbers share one."""
    from . import map_routines
    from .helper_table import HELPERS

    shared = {
        "ktime_get_boot_ns": "ktime_get_ns",
        "ktime_get_coarse_ns": "ktime_get_ns",
        "spin_unlock": "spin_lock",
    }
    places = {**vars(map_routines), **globals()}
    return {number: places[shared.get(name, name)] for number, name in HELPERS.items()}
