"""XDP programs that judge many packets at once: what they are given, in columns, and what they look up in it."""

from __future__ import annotations

from ..engine.kernel import call_python, kernel_function
from ..engine.layout import Kernel, table
from .xdp_guest import xdp_checked
from .xdp_headers import ipv4_at, ipv6_at, transport_at

BATCH = 4096
"""Packets of a batch at most."""

COLUMNS = ("start", "end", "linear", "length", "number", "verdict", "offset", "value")
"""``start`` and ``end``: the first buffer in ``k.memory``; ``offset``: what is looked at, ``value``: the answer."""
table("xdp_batch", [(name, "i8", BATCH) for name in COLUMNS])


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batched(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """The verdict of a packet from a batch; the first without one has the completions at hand judged."""
    q = k.rxq[rxq]
    at = q.cq_head  # a driver moves on before or after it runs the program
    if at > 0 and k.cqe[q.cq_base + ((at - 1) & q.cq_mask)].packet == k.xdp_buff[xdp].packet:
        at -= 1
    if at >= q.batched:
        count = min(q.cq_tail - at, BATCH)
        b = k.xdp_batch[0]
        for i in range(count):
            row = q.cq_base + ((at + i) & q.cq_mask)
            c = k.cqe_contents[row]
            b.start[i] = c.address
            b.end[i] = c.address + c.linear
            b.linear[i] = c.linear
            b.length[i] = k.cqe[row].length
            b.number[i] = k.cqe[row].packet
        call_python(k, k.netdev[q.dev].xdp_python, cpu, xdp, q.index, count)
        for i in range(count):
            k.cqe_contents[q.cq_base + ((at + i) & q.cq_mask)].verdict = b.verdict[i]
        q.batched = at + count
    return xdp_checked(k, cpu, xdp, k.cqe_contents[q.cq_base + (at & q.cq_mask)].verdict)


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batch_read(k: Kernel, count: int, step: int, size: int, missing: int) -> int:
    """Big-endian integers at ``offset``, which goes on by ``step``, or ``missing``; the first packet that is too short,
    or -1.
    """
    b = k.xdp_batch[0]
    short = -1
    for i in range(count):
        at = b.offset[i * step]
        value = missing
        if at >= 0 and at <= b.linear[i] - size:
            value = 0
            for byte in range(size):
                value = value * 256 + k.memory[b.start[i] + at + byte]
        elif short < 0:
            short = i
        b.value[i] = value
    return short


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batch_ipv4(k: Kernel, count: int) -> None:
    """Where the IPv4 headers are."""
    b = k.xdp_batch[0]
    for i in range(count):
        b.value[i] = ipv4_at(k, b.start[i], b.end[i])


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batch_ipv6(k: Kernel, count: int) -> None:
    """Where the IPv6 headers are."""
    b = k.xdp_batch[0]
    for i in range(count):
        b.value[i] = ipv6_at(k, b.start[i], b.end[i])


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batch_transport(k: Kernel, count: int, protocol: int, size: int) -> None:
    """Where headers behind IP are."""
    b = k.xdp_batch[0]
    for i in range(count):
        b.value[i] = transport_at(k, b.start[i], b.end[i], protocol, size)
