"""A journal: one pcapng that tells what happened to every packet of a machine.

Each device has an interface for what arrives at it (one for each interface of the capture that this is from, if there
are several) and one for what it transmits.  Arrivals carry the program's verdict, the reason for which they were
dropped, and what became of their page.  That is known only later, so packets are held back until it is; the file is in
order of time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.layout import MAX_DEVICES
from ..machine import Machine
from ..net.device_layout import NEVER
from ..net.journey import FATES, JOURNEYS, LOSSES, NO_PAGE, UNDECIDED, WITH_JOURNEYS
from ..net.run import OUTPUT_ROWS
from ..pcap import PACKET
from ..pcap.notes import INBOUND, NOTE, NOTHING, OUTBOUND, NotedWriter
from .feed import Feed
from .frames import Frames

MOST_BYTES = 32 << 20
"""Of packets that are held back."""
MOST_PACKETS = JOURNEYS - 2 * OUTPUT_ROWS
"""Arrivals after which a packet is written with what is known of it."""

_DROPPED = len(FATES)
_TRANSMITTED = 1 << 32


def is_journal(path: str | os.PathLike[str]) -> bool:
    """Can a file of this name tell what happened to packets?"""
    return PurePath(path).suffix.lower() == ".pcapng"


class Journal:
    """Writes to ``path``.  ``feeds``: where the packets are from; an interface has a name if it has one there."""

    def __init__(self, machine: Machine, path: str | os.PathLike[str], feeds: Sequence[Feed] = ()) -> None:
        phrases = [*FATES, *(f"dropped: {loss}" if loss else "" for loss in LOSSES)]
        self._writer = NotedWriter(path, phrases)
        self._machine = machine
        self._feeds = {feed.device: feed for feed in feeds}
        self._interfaces: dict[tuple[int, int], int] = {}
        self._counts: dict[int, list[int]] = {}
        self._last_ns = 0
        self._held = Frames(np.empty(0, np.uint8), np.empty(0, PACKET))
        self._notes = np.empty(0, NOTE)
        k = machine.k
        k.run[0].record_output = WITH_JOURNEYS
        k.replace("journey", np.zeros(JOURNEYS, k.arrays["journey"].dtype))
        k.arrays["journey"]["packet"] = NOTHING
        k.replace("page_journey", np.zeros(k.machine[0].pages, k.arrays["page_journey"].dtype))
        k.replace("wire_loss", np.zeros(MAX_DEVICES, k.arrays["wire_loss"].dtype))
        k.replace("out_note", np.zeros(OUTPUT_ROWS, k.arrays["out_note"].dtype))

    def take(self, frames: Frames) -> None:
        """Packets that arrived and were transmitted since the last call; those that nothing is open of are written."""
        if len(frames):
            notes = self._noted(frames.records)
            records = frames.records.copy()
            self._place(records, self._machine.k.arrays["out_note"][: len(records)])
            self._hold(Frames(frames.data, records), notes)
        self._write(self._settled())

    def close(self) -> None:
        """Write what is held back, the counts of every interface, and close the file."""
        try:
            self._write(len(self._notes))
            for interface, (received, dropped) in self._counts.items():
                self._writer.write_statistics(interface, self._last_ns, received, dropped)
        finally:
            self._writer.close()

    # -- taking --------------------------------------------------------------------------------------------------

    def _noted(self, records: NDArray[Any]) -> NDArray[Any]:
        told = self._machine.k.arrays["out_note"][: len(records)]
        notes = np.zeros(len(records), NOTE)
        notes["packetid"] = told["packet"]
        notes["queue"] = told["queue"]
        notes["direction"] = np.where(told["inbound"] == 1, INBOUND, OUTBOUND)
        notes["dropcount"] = told["lost"]
        notes["verdict"] = NOTHING
        notes["page"] = NOTHING
        return notes

    def _place(self, records: NDArray[Any], told: NDArray[Any]) -> None:
        """Give each packet its interface of the file."""
        where = np.where(told["inbound"] == 1, told["origin"].astype(np.int64), _TRANSMITTED)
        device = np.where(told["inbound"] == 1, -1 - records["interface"], records["interface"])
        places = device.astype(np.int64) * (2 * _TRANSMITTED) + where
        found, inverse = np.unique(places, return_inverse=True)
        numbers = [self._interface(*divmod(place, 2 * _TRANSMITTED)) for place in found.tolist()]
        records["interface"] = np.array(numbers, np.int32)[inverse]

    def _interface(self, device: int, origin: int) -> int:
        """The number of an interface in the file; ``origin``: interface of the source, or _TRANSMITTED."""
        key = (device, origin)
        if key not in self._interfaces:
            name = f"{self._machine.devices[device].driver.name}_{device}"
            name += " tx" if origin == _TRANSMITTED else f" rx{self._origin_name(device, origin)}"
            number = self._writer.add_interface(name)
            self._interfaces[key] = number
            self._counts[number] = [0, 0]
        return self._interfaces[key]

    def _origin_name(self, device: int, origin: int) -> str:
        """What tells the interfaces of a source apart, if it has several."""
        feed = self._feeds.get(device)
        interfaces = getattr(feed.source, "interfaces", []) if feed is not None else []
        if len(interfaces) <= 1 or origin >= len(interfaces):
            return "" if origin == 0 else f" {origin}"
        return f" {interfaces[origin].name or origin}"

    def _hold(self, frames: Frames, notes: NDArray[Any]) -> None:
        """Put new packets among those that are held back, in order of time."""
        fresh = frames.copy()
        fresh.records["offset"] += len(self._held.data)
        records = np.concatenate((self._held.records, fresh.records))
        order = np.argsort(records["ts_ns"], kind="stable")
        self._notes = np.concatenate((self._notes, notes))[order]
        self._held = Frames(np.concatenate((self._held.data, fresh.data)), records[order])

    # -- writing -------------------------------------------------------------------------------------------------

    def _settled(self) -> int:
        """How many of the packets can be written: nothing comes before them, and nothing is open of them."""
        count = int(np.searchsorted(self._held.records["ts_ns"], self._now_ns(), side="left"))
        inbound = self._notes["direction"][:count] == INBOUND
        journeys = self._journeys(self._notes["packetid"][:count])
        is_open = inbound & ((journeys["fate"] == UNDECIDED) | (journeys["over"] == 0))
        if is_open.any():
            count = min(count, int(is_open.argmax()))
        return max(count, self._overdue())

    def _overdue(self) -> int:
        """How many have to be written in any case."""
        arrived = int(self._machine.k.run[0].arrived)
        old = self._notes["packetid"] < arrived - MOST_PACKETS
        count = len(old) - int(old[::-1].argmax()) if old.any() else 0
        if len(self._held.data) > MOST_BYTES:
            kept = np.cumsum(self._held.records["caplen"][::-1], dtype=np.int64)
            count = max(count, len(kept) - int(np.searchsorted(kept, MOST_BYTES // 2)))
        return count

    def _now_ns(self) -> int:
        """Nothing will arrive or be transmitted before this time stamp."""
        k = self._machine.k
        now = int(k.horizon[0])
        for feed in self._feeds.values():
            w = k.wire[feed.device]
            if w.eof == 0 or w.next != w.end:
                now = min(now, int(w.free))
        for device in self._machine.devices:
            w = k.wire[device.number]
            if device.peer is not None and w.next != w.end:
                now = min(now, int(k.cable_arrival[w.next]))
        return int(k.run[0].start_ns) + min(now, NEVER) // 1000

    def _journeys(self, packets: NDArray[np.int64]) -> NDArray[Any]:
        known: NDArray[Any] = self._machine.k.arrays["journey"][packets & (JOURNEYS - 1)]
        return known

    def _write(self, count: int) -> None:
        """Write the first ``count`` of the packets that are held back, with what is known of them."""
        if count == 0:
            return
        records, notes = self._held.records[:count], self._notes[:count]
        journeys = self._journeys(notes["packetid"])
        known = (notes["direction"] == INBOUND) & (journeys["packet"] == notes["packetid"])
        notes["verdict"][known] = journeys["verdict"][known] - 1
        notes["fate"][known] = journeys["fate"][known]
        notes["more_pages"][known] = journeys["pages"][known] - 1
        paged = known & (journeys["fate"] != NO_PAGE) & (journeys["page"] > 0)
        notes["page"][paged] = journeys["page"][paged] - 1
        dropped = known & (journeys["loss"] > 0)
        notes["remark"][dropped] = _DROPPED + journeys["loss"][dropped]
        self._writer.write_noted(self._held.data, records, notes)
        lost = dropped & (notes["page"] == NOTHING)
        for interface, counts in self._counts.items():
            mine = records["interface"] == interface
            counts[0] += int(mine.sum())
            counts[1] += int((mine & lost).sum())
        self._last_ns = max(self._last_ns, int(records["ts_ns"].max()))
        self._keep(count)

    def _keep(self, count: int) -> None:
        """Forget the first ``count`` packets, which are written."""
        self._held = Frames(self._held.data, self._held.records[count:]).copy()
        self._notes = self._notes[count:].copy()
