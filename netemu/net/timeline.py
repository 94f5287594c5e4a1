"""What a run leaves behind for pictures: when it wants its gauges read, and when each poll ran.

Off unless asked for: the run loop then compares one number per step, and a poll one number when it ends.
"""

from __future__ import annotations

from ..engine.kernel import inlined
from ..engine.layout import Kernel, table
from .device_layout import NEVER

SPAN_ROWS = 1 << 15
"""Spans that one run can record; the first ones are kept, later ones only counted."""

table(
    "timeline",
    [
        ("sampling", "i4"),
        ("recording", "i4"),  # 1: spans are kept
        ("next_sample", "i8"),  # when the gauges are to be read again, ps
        ("spans", "i4"),
        ("lost", "i8"),  # spans that found no room
    ],
)
table(
    "span",  # one poll of a NAPI, or (napi: -NET_TX_ACTION, -NET_RX_ACTION) a whole softirq
    [("cpu", "i4"), ("napi", "i4"), ("start", "i8"), ("end", "i8"), ("work", "i4"), ("tx_work", "i4")],
)


@inlined
def sample_is_due(k: Kernel, now: int) -> bool:
    """Does somebody want to read the gauges at this time (ps)?"""
    t = k.timeline[0]
    return t.sampling != 0 and now >= t.next_sample and now < NEVER


@inlined
def record_span(k: Kernel, cpu: int, napi: int, start: int, work: int, tx_work: int) -> None:
    """Keep what ran on this CPU from ``start`` until now, if spans are recorded."""
    t = k.timeline[0]
    if t.recording == 0:
        return
    if t.spans == SPAN_ROWS:
        t.lost += 1
        return
    s = k.span[t.spans]
    s.cpu = cpu
    s.napi = napi
    s.start = start
    s.end = k.cpu[cpu].clock
    s.work = work
    s.tx_work = tx_work
    t.spans += 1
