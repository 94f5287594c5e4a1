"""What differs between two captures: counts, and the first differences in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .packets import CapturedPacket
from .pairing import Pair, Pairing, by_order

ASPECTS = ("length", "bytes", "time", "interface", "verdict")
"""What can differ in a pair of packets, in this order."""


@dataclass(frozen=True)
class Asked:
    """What is compared besides lengths and bytes.

    ``tolerance_ns``: how far time stamps may be apart; None: anything.  ``snaplen``: only so many bytes of each packet.
    """

    tolerance_ns: int | None = None
    interfaces: bool = False
    verdicts: bool = False
    snaplen: int | None = None

    def key(self, packet: CapturedPacket) -> Hashable:
        """What makes packets alike for pairing."""
        return packet.wirelen, packet.data[: self.snaplen]

    def differences(self, a: CapturedPacket, b: CapturedPacket) -> list[str]:
        """The aspects in which a pair differs."""
        found = []
        if a.wirelen != b.wirelen:
            found.append("length")
        if a.data[: self.snaplen] != b.data[: self.snaplen]:
            found.append("bytes")
        if self.tolerance_ns is not None and abs(a.ts_ns - b.ts_ns) > self.tolerance_ns:
            found.append("time")
        if self.interfaces and a.interface != b.interface:
            found.append("interface")
        if self.verdicts and a.verdict != b.verdict:
            found.append("verdict")
        return found


@dataclass
class Comparison:
    """``packets``: in A and in B.  ``changed``: pairs that differ, ``aspects`` in what.  ``first``: as dictionaries."""

    packets: list[int] = field(default_factory=lambda: [0, 0])
    equal: int = 0
    changed: int = 0
    only: list[int] = field(default_factory=lambda: [0, 0])
    aspects: Counter[str] = field(default_factory=Counter)
    first: list[dict[str, Any]] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return self.changed == 0 and self.only == [0, 0]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {
            "same": self.same,
            "packets": dict(zip("ab", self.packets, strict=True)),
            "equal": self.equal,
            "changed": self.changed,
            "only_in": dict(zip("ab", self.only, strict=True)),
            "aspects": {aspect: self.aspects[aspect] for aspect in ASPECTS if self.aspects[aspect]},
            "first": self.first,
        }

    def add(self, pair: Pair, asked: Asked, limit: int) -> None:
        """Count one more pair, and keep it if it is one of the first ``limit`` that differ."""
        a, b = pair
        self.packets[0] += a is not None
        self.packets[1] += b is not None
        if a is None or b is None:
            self.only[a is None] += 1
            aspects = ["missing"]
        else:
            aspects = asked.differences(a, b)
            self.changed += bool(aspects)
            self.equal += not aspects
            self.aspects.update(aspects)
        if aspects and len(self.first) < limit:
            self.first.append(_described(a, b, aspects))


def compare(
    a: Iterator[CapturedPacket],
    b: Iterator[CapturedPacket],
    asked: Asked,
    *,
    pairing: Pairing = by_order,
    window: int = 1024,
    limit: int = 10,
) -> Comparison:
    """Compare two streams of packets; ``window``: how far ahead pairing looks, ``limit``: differences kept in full."""
    found = Comparison()
    for pair in pairing(a, b, asked.key, window):
        found.add(pair, asked, limit)
    return found


def _described(a: CapturedPacket | None, b: CapturedPacket | None, aspects: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"differs": aspects, "a": _shown(a), "b": _shown(b)}
    if "bytes" in aspects and a is not None and b is not None:
        described["byte"] = _first_difference(a.data, b.data)
        described["a"]["from_byte"] = a.data[described["byte"] :][:16].hex(" ")
        described["b"]["from_byte"] = b.data[described["byte"] :][:16].hex(" ")
    return described


def _first_difference(a: bytes, b: bytes) -> int:
    """The first place at which two different byte strings differ; where the shorter ends, if it is a part."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shown(packet: CapturedPacket | None) -> dict[str, Any] | None:
    if packet is None:
        return None
    shown: dict[str, Any] = {
        "number": packet.number,
        "ts_ns": packet.ts_ns,
        "length": packet.wirelen,
        "captured": len(packet.data),
        "interface": packet.interface,
    }
    if packet.verdict is not None:
        shown["verdict"] = packet.verdict
    return shown
