"""What XDP programs of users need of the engine: their faults, and the way into Python."""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.guest import FAILED
from ..engine.kernel import call_python, kernel_function
from ..engine.layout import Kernel
from .xdp_layout import XDP_ABORTED, XDP_REDIRECT

READ_OUTSIDE = fault_code("XP-01", "the XDP program touches byte {b} of packet {a}, which is outside of it")
MISSING_KEY = fault_code("XP-02", "the XDP program looks for key {b} at packet {a}, which its map does not have")
MAP_FULL = fault_code("XP-03", "the XDP program adds key {b} at packet {a} to a map that is full")
BAD_INDEX = fault_code("XP-04", "the XDP program uses index {b} at packet {a}, which its array does not have")
RAISED = fault_code("XP-05", "the XDP program raised an exception at packet {a}")
BAD_VERDICT = fault_code("XP-06", "the XDP program answers {b} at packet {a}, which is no verdict: they are 0 to 4")


@kernel_function(traced=False, entry=True, rare=True)
def xdp_guest_failed(k: Kernel, cpu: int, xdp: int, code: int, detail: int) -> int:
    """A program gave up on the packet that it looks at, and its packets are not to be aborted: end the run."""
    fault(k, cpu, RAISED if code == FAILED else code, k.xdp_buff[xdp].packet, detail)
    return XDP_ABORTED


@kernel_function(traced=False)
def xdp_checked(k: Kernel, cpu: int, xdp: int, verdict: int) -> int:
    """The answer of a program, if it is one; otherwise the run ends, or the driver does what it does with such."""
    if verdict < XDP_ABORTED or verdict > XDP_REDIRECT:
        x = k.xdp_buff[xdp]
        if k.netdev[k.rxq[x.rxq].dev].xdp_strict:
            fault(k, cpu, BAD_VERDICT, x.packet, verdict)
            return XDP_ABORTED
    return verdict


@kernel_function(traced=False, entry=True, rare=True)
def xdp_guarded(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """The verdict of Python for one packet."""
    x = k.xdp_buff[xdp]
    return xdp_checked(k, cpu, xdp, call_python(k, k.netdev[k.rxq[rxq].dev].xdp_python, cpu, xdp, x.data, x.data_end))
