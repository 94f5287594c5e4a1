"""Contents of pages and small objects, kept only when somebody will look at them (an output file, a program)."""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..mm.layout import NONE, PAGE_SIZE
from .cable import enter_cable


@inlined
def address_of_page(pfn: int) -> int:
    """Where a page's bytes are in ``k.memory``."""
    return pfn * PAGE_SIZE


@inlined
def skb_head_address(k: Kernel, skb: int) -> int:
    """Where the skb's head is in ``k.memory``."""
    r = k.skb[skb]
    if r.head_page != NONE:
        return address_of_page(r.head_page) + r.head_offset
    return address_of_page(k.machine[0].pages + r.head_object - 1)


@kernel_function(traced=False)
def dma_write(k: Kernel, frame_at: int, address: int, count: int) -> None:
    """The NIC writes ``count`` bytes of the arriving frame, from ``frame_at`` on, to memory."""
    for i in range(count):
        k.memory[address + i] = k.feed_data[frame_at + i]


@kernel_function(traced=False)
def zero_memory(k: Kernel, address: int, count: int) -> None:
    """The part of a frame that the capture left out arrives as zeros."""
    for i in range(count):
        k.memory[address + i] = 0


@kernel_function(traced=False)
def memory_copy(k: Kernel, to: int, origin: int, count: int) -> None:
    """memcpy within emulated memory."""
    for i in range(count):
        k.memory[to + i] = k.memory[origin + i]


@kernel_function(traced=False)
def memory_move(k: Kernel, to: int, origin: int, count: int) -> None:
    """memmove within emulated memory: the two places may overlap."""
    if to <= origin:
        memory_copy(k, to, origin, count)
        return
    for i in range(count - 1, -1, -1):
        k.memory[to + i] = k.memory[origin + i]


@inlined
def start_output(k: Kernel, dev: int, length: int, when: int) -> None:
    """A frame of ``length`` bytes follows in the output of a device, stamped ``when`` (ps)."""
    run = k.run[0]
    row = k.out[run.out_count]
    row.ts_ns = run.start_ns + when // 1000
    row.offset = run.out_bytes
    row.caplen = length
    row.wirelen = length
    row.interface = dev


@kernel_function(traced=False)
def append_output(k: Kernel, source: int, count: int) -> None:
    """Bytes of the frame that was started, from emulated memory."""
    at = k.run[0].out_bytes
    for i in range(count):
        k.out_data[at + i] = k.memory[source + i]
    k.run[0].out_bytes = at + count


@inlined
def end_output(k: Kernel, dev: int, when: int) -> None:
    """The frame is complete; it goes on if the device has a cable."""
    peer = k.netdev[dev].cable - 1
    if peer >= 0:
        enter_cable(k, peer, when)
    k.run[0].out_count += 1


@kernel_function(traced=False)
def record_output(k: Kernel, dev: int, skb: int, when: int) -> None:
    """Append the frame that an skb holds to the output of a device, stamped ``when`` (ps)."""
    r = k.skb[skb]
    start_output(k, dev, r.len, when)
    append_output(k, skb_head_address(k, skb) + r.data, r.len - r.data_len)
    f = k.frags[r.shinfo]
    for n in range(k.shinfo[r.shinfo].nr_frags):
        append_output(k, address_of_page(f.page[n]) + f.offset[n], f.size[n])
    end_output(k, dev, when)
