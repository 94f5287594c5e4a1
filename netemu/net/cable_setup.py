"""Laying cables between devices: the speed of the link, and room for the frames that are under way."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.layout import Kernel
from ..errors import UsageError
from ..mm.layout import PAGE_SIZE
from .cable import RATE_CABLE
from .device_layout import WIRE_OVERHEAD
from .xdp_setup import XDP_QUEUES

LONGEST_DELAY_NS = 10**10
MOST_BYTES = 1 << 30
"""In each direction: under way by the delay of a cable, and as much again on the rings of the sender."""


@dataclass(frozen=True)
class Room:
    """For the frames on their way to device ``dev``: ``rows`` of ``k.feed``, ``bytes`` of ``k.feed_data``."""

    dev: int
    rows: int
    bytes: int


def connect(k: Kernel, left: int, right: int, delay_ps: int) -> None:
    """A cable between two devices: the link has the highest speed that both have.  Raises UsageError."""
    ps_per_byte = max(k.netdev[left].ps_per_byte, k.netdev[right].ps_per_byte)
    if delay_ps // ps_per_byte > MOST_BYTES:
        raise UsageError(
            f"a cable has at most {MOST_BYTES >> 20} MiB under way; at this link's speed that is a delay of "
            f"{MOST_BYTES * ps_per_byte // 1000} ns, not {delay_ps // 1000}"
        )
    for dev, peer in ((left, right), (right, left)):
        k.netdev[dev].ps_per_byte = ps_per_byte
        k.netdev[dev].cable = peer + 1
        k.cable[dev].delay = delay_ps
        k.wire[dev].mode = RATE_CABLE


def rooms(k: Kernel) -> list[Room]:
    """Room for all that can be under way to each device with a cable.

    That is what the sender has on its rings, what has left them and takes the cable's delay, and one frame for each CPU
    that has come to the end of a transmission while the others are not as far.
    """
    devices = range(k.machine[0].devices)
    longest = max((k.netdev[dev].hw_mtu for dev in devices), default=0) + PAGE_SIZE  # a program may have added some
    found = []
    for dev in devices:
        sender = k.netdev[dev].cable - 1
        if sender >= 0:
            posted = posted_at_most(k, sender) + k.machine[0].cpus
            underway = k.cable[dev].delay // k.netdev[dev].ps_per_byte
            rows = posted + underway // WIRE_OVERHEAD + 2  # one is never used
            found.append(Room(dev, rows, min((posted + 2) * longest, MOST_BYTES) + underway))
    return found


def posted_at_most(k: Kernel, dev: int) -> int:
    """Transmissions that a device's rings hold, those for XDP too."""
    d = k.netdev[dev]
    own = range(d.txq0, d.txq0 + d.queues)
    rings = {*own} | {getattr(k.txq[txq], which) - 1 for txq in own for which in XDP_QUEUES}
    return sum(k.txq[txq].mask + 1 for txq in rings if txq >= 0)


def plug_in(k: Kernel, room: Room, row: int, byte: int) -> None:
    """Give the cable towards a device its room, from ``row`` and ``byte`` on."""
    pull_out(k, room.dev)
    c = k.cable[room.dev]
    c.first, c.rows = row, room.rows
    c.data, c.bytes = byte, room.bytes


def pull_out(k: Kernel, dev: int) -> None:
    """What is under way to a device is lost, and so is what will be sent."""
    c, w = k.cable[dev], k.wire[dev]
    if c.rows:
        c.drops += (w.end - w.next) % c.rows
        c.rows = 0
        w.next = w.end
        w.rxq = 0
