"""Wrappers: a device with something around it, with the device's own interface, so that they can be put one in another.

What arrives goes through them from the outside in, what is transmitted from the inside out.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..netdevice import NetDevice
from ..pcap import PcapngWriter, open_writer
from .feed import Change
from .frames import Frames, Packet


class Wrapper:
    """Passes everything on; what it does not define is the device's."""

    def __init__(self, device: NetDevice | Wrapper) -> None:
        self.device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self.device, name)

    def arriving(self, frames: Frames) -> Frames:
        """What the device gets in place of what arrives.  It may be changed where it is."""
        return frames

    def transmitted(self, frames: Frames) -> Frames:
        """What the sinks get in place of what the device transmits.  It may be changed where it is."""
        return frames

    def close(self) -> None:
        """The run is over."""


def wrappers_of(device: NetDevice | Wrapper) -> list[Wrapper]:
    """From the outside in."""
    found = []
    while isinstance(device, Wrapper):
        found.append(device)
        device = device.device
    return found


def innermost(device: NetDevice | Wrapper) -> NetDevice:
    """The device itself."""
    while isinstance(device, Wrapper):
        device = device.device
    return device


def changes_of(device: NetDevice | Wrapper) -> tuple[list[Change], list[Change]]:
    """What is done to what arrives, and to what is transmitted, in order."""
    around = wrappers_of(device)
    return [wrapper.arriving for wrapper in around], [wrapper.transmitted for wrapper in reversed(around)]


class FaultInjector(Wrapper):
    """Damages traffic: each probability (0 to 1) is drawn for every packet by itself, from generators with ``seed``.

    A dropped packet is gone; a truncated one keeps a random part, at least an Ethernet header; a corrupted one has one
    bit flipped; a duplicated one comes twice; a reordered one changes places with the one that follows it in the same
    batch.  ``on``: ``arriving``, ``transmitted`` or ``both``.  ``counts``: how often each has happened.
    """

    def __init__(
        self,
        device: NetDevice | Wrapper,
        *,
        drop: float = 0.0,
        truncate: float = 0.0,
        corrupt: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        on: str = "both",
        seed: int = 1,
    ) -> None:
        super().__init__(device)
        self.chances = {
            "drop": drop,
            "truncate": truncate,
            "corrupt": corrupt,
            "duplicate": duplicate,
            "reorder": reorder,
        }
        for name, chance in self.chances.items():
            if not 0 <= chance <= 1:
                raise UsageError(f"{name} is a probability from 0 to 1, not {chance}")
        if on not in ("arriving", "transmitted", "both"):
            raise UsageError(f"on is arriving, transmitted or both, not {on!r}")
        self.counts: Counter[str] = Counter()
        self._arriving = random.Random(f"arriving {seed}") if on != "transmitted" else None
        self._transmitted = random.Random(f"transmitted {seed}") if on != "arriving" else None

    def arriving(self, frames: Frames) -> Frames:
        return frames if self._arriving is None else self._damage(frames, self._arriving)

    def transmitted(self, frames: Frames) -> Frames:
        return frames if self._transmitted is None else self._damage(frames, self._transmitted)

    def _damage(self, frames: Frames, draw: random.Random) -> Frames:
        kept: list[int] = []
        records = frames.records.copy()
        exchanged: list[int] = []
        for row in range(len(records)):
            if self._happens("drop", draw):
                continue
            if self._happens("truncate", draw):
                length = draw.randint(min(14, int(records["caplen"][row])), int(records["caplen"][row]))
                records["caplen"][row] = records["wirelen"][row] = length
            if self._happens("corrupt", draw) and records["caplen"][row]:
                at = int(records["offset"][row]) + draw.randrange(int(records["caplen"][row]))
                frames.data[at] ^= 1 << draw.randrange(8)
            if self._happens("reorder", draw):
                exchanged.append(len(kept))
            kept.append(row)
            if self._happens("duplicate", draw):
                kept.append(row)
        for at in exchanged:
            if at + 1 < len(kept):
                kept[at], kept[at + 1] = kept[at + 1], kept[at]
        chosen = records[kept]
        chosen["ts_ns"] = np.sort(chosen["ts_ns"])  # places change, times do not
        return Frames(frames.data, chosen)

    def _happens(self, what: str, draw: random.Random) -> bool:
        chance = self.chances[what]
        if chance == 0 or draw.random() >= chance:
            return False
        self.counts[what] += 1
        return True


class Tracer(Wrapper):
    """Tells of every packet, a line each: time, direction, length and what scapy makes of it."""

    def __init__(self, device: NetDevice | Wrapper, tell: Callable[[str], object] = print) -> None:
        super().__init__(device)
        self._tell = tell
        self._name = f"{innermost(device).driver.name}.{innermost(device).number}"

    def arriving(self, frames: Frames) -> Frames:
        self._trace("in ", frames)
        return frames

    def transmitted(self, frames: Frames) -> Frames:
        self._trace("out", frames)
        return frames

    def _trace(self, direction: str, frames: Frames) -> None:
        for packet in frames:
            self._tell(f"{stamp(packet.ts_ns)} {self._name} {direction} {packet.wirelen:5} {summary(packet)}")


def stamp(ts_ns: int) -> str:
    """Seconds with nine decimals."""
    return f"{ts_ns // 10**9}.{ts_ns % 10**9:09}"


def summary(packet: Packet) -> str:
    """One line about what is in a packet."""
    from scapy.layers.inet import IP  # noqa: F401  registers what Ethernet carries
    from scapy.layers.inet6 import IPv6  # noqa: F401
    from scapy.layers.l2 import Ether

    text: str = Ether(packet.data).summary()
    return text


class PcapTap(Wrapper):
    """Writes what arrives and what is transmitted to a capture; in a pcapng with the direction of each packet."""

    _EPB_FLAGS = 2
    _INBOUND = (1).to_bytes(4, "little")
    _OUTBOUND = (2).to_bytes(4, "little")

    def __init__(self, device: NetDevice | Wrapper, path: str | os.PathLike[str]) -> None:
        super().__init__(device)
        nic = innermost(device)
        self._writer = open_writer(Path(path), interfaces=(f"{nic.driver.name}.{nic.number}",))

    def arriving(self, frames: Frames) -> Frames:
        self._write(frames, self._INBOUND)
        return frames

    def transmitted(self, frames: Frames) -> Frames:
        self._write(frames, self._OUTBOUND)
        return frames

    def close(self) -> None:
        self._writer.close()

    def _write(self, frames: Frames, direction: bytes) -> None:
        for packet in frames:
            if isinstance(self._writer, PcapngWriter):
                self._writer.write(
                    packet.ts_ns, packet.data, wirelen=packet.wirelen, options=[(self._EPB_FLAGS, direction)]
                )
            else:
                self._writer.write(packet.ts_ns, packet.data, wirelen=packet.wirelen)


__all__ = ["FaultInjector", "PcapTap", "Tracer", "Wrapper"]
