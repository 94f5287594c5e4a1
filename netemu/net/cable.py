"""Cables: what a device transmits arrives at another device of the machine.

A frame is on the way from when it is posted: copied to rows of ``k.feed`` and bytes of ``k.feed_data`` that are the
other device's, as a ring, so that its NIC takes it like a frame from anywhere.  It arrives when the sender's wire is
done with it, later by the cable's delay.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel, table
from ..mm.layout import NONE

RATE_CABLE = 3
"""``wire.mode``, beside those of sources: frames arrive by a cable."""

table(
    "cable",  # [device]: the cable that its frames arrive by
    [
        ("delay", "i8"),  # ps
        ("first", "i4"),  # its rows of k.feed
        ("rows", "i4"),  # 0: it is pulled out
        ("data", "i8"),  # its bytes of k.feed_data
        ("bytes", "i8"),
        ("free", "i8"),  # where the bytes of the next frame go, unless that is too near to the end
        ("drops", "i8"),  # frames that found no room, no cable or no link
    ],
)
table("cable_arrival", "i8")  # [row of k.feed] -> when the frame arrives, ps


@kernel_function(traced=False)
def cable_room(k: Kernel, dev: int, length: int) -> int:
    """Where in ``k.feed_data`` the next frame towards a device goes, all in one piece; NONE: there is no room."""
    c = k.cable[dev]
    w = k.wire[dev]
    if c.rows == 0 or k.netdev[dev].alive == 0:
        return NONE
    end = c.data + c.bytes
    if w.next == w.end:  # nothing is under way: begin anew, where the cache is warm
        w.next = c.first
        w.end = c.first
        return c.data if length < c.bytes else NONE
    if cable_row_after(k, dev, w.end) == w.next:
        return NONE
    oldest = k.feed[w.next].offset
    if c.free > oldest:
        if c.free + length < end:
            return c.free
        return c.data if c.data + length < oldest else NONE
    return c.free if c.free + length < oldest else NONE


@inlined
def cable_row_after(k: Kernel, dev: int, row: int) -> int:
    """The row of ``k.feed`` after this one of a cable's."""
    c = k.cable[dev]
    return row + 1 if row + 1 < c.first + c.rows else c.first


@kernel_function(traced=False, entry=True, rare=True)
def enter_cable(k: Kernel, dev: int, when: int) -> None:
    """The newest frame of the output, which the wire is done with at ``when`` (ps), is on its way to a device."""
    run = k.run[0]
    sent = k.out[run.out_count]
    c = k.cable[dev]
    at = cable_room(k, dev, sent.caplen)
    if at == NONE:
        c.drops += 1
        return
    w = k.wire[dev]
    row = w.end
    arrival = when + c.delay
    k.cable_arrival[row] = arrival
    f = k.feed[row]
    f.ts_ns = run.start_ns + arrival // 1000
    f.offset = at
    f.caplen = sent.caplen
    f.wirelen = sent.wirelen
    f.interface = 0
    for i in range(sent.caplen):
        k.feed_data[at + i] = k.out_data[sent.offset + i]
    c.free = at + max(sent.caplen, 1)  # so that only an empty ring begins where it ends
    w.end = cable_row_after(k, dev, row)
