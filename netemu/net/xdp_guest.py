"""What XDP programs of users need of the engine: their faults, and verdicts for all packets at hand at once."""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.guest import FAILED
from ..engine.kernel import indirect, kernel_function
from ..engine.layout import Kernel
from .xdp_layout import XDP_ABORTED

READ_OUTSIDE = fault_code("XP-01", "the XDP program touches byte {b} of packet {a}, which is outside of it")
MISSING_KEY = fault_code("XP-02", "the XDP program looks for key {b} at packet {a}, which its map does not have")
MAP_FULL = fault_code("XP-03", "the XDP program adds key {b} at packet {a} to a map that is full")
BAD_INDEX = fault_code("XP-04", "the XDP program uses index {b} at packet {a}, which its array does not have")
RAISED = fault_code("XP-05", "the XDP program raised an exception at packet {a}")


@kernel_function(traced=False, entry=True, rare=True)
def xdp_guest_failed(k: Kernel, cpu: int, xdp: int, code: int, detail: int) -> int:
    """A program gave up on the packet that it looks at, and its packets are not to be aborted: end the run."""
    fault(k, cpu, RAISED if code == FAILED else code, k.xdp_buff[xdp].packet, detail)
    return XDP_ABORTED


@kernel_function(traced=False, entry=True, rare=True)
def xdp_batched(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """The verdict of a packet from a batch; the first without one has all completions at hand judged."""
    q = k.rxq[rxq]
    at = q.cq_head  # a driver moves on before or after it runs the program
    if at > 0 and k.cqe[q.cq_base + ((at - 1) & q.cq_mask)].packet == k.xdp_buff[xdp].packet:
        at -= 1
    if at >= q.batched:
        q.batched = at
        indirect(k, k.netdev[q.dev].xdp_batch, cpu, rxq, xdp)
        q.batched = q.cq_tail
    return k.cqe[q.cq_base + (at & q.cq_mask)].verdict
