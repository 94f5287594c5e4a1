"""Machines with cables for tests: a router whose one side leads over a cable to another device."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import Any

import trio

from netemu import Machine, NetDevice
from netemu.netdevice import DeviceSettings
from netemu.pipeline import Packet, Pipeline
from tests.pipeline.networks import MEMORY_MB, numbered


@dataclass
class Wired:
    """``outer`` is plugged to the world; a cable joins ``near`` and ``far``.  What each has transmitted, in order."""

    machine: Machine
    pipeline: Pipeline
    outer: NetDevice
    near: NetDevice
    far: NetDevice
    out: list[Packet]
    sent: list[Packet]
    back: list[Packet]

    def run(self) -> Wired:
        trio.run(self.pipeline.run)
        return self


def wired(
    source: Any,
    *,
    driver: str = "mlx5",
    far_driver: str | None = None,
    era: str = "v6.1",
    far: dict[str, Any] | None = None,
    delay_ns: float = 500,
    rate: str = "max",
    machine: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
    **options: Any,
) -> Wired:
    """A router of ``outer`` and ``near``; ``far`` is what it can reach.  Not run yet."""
    made = Machine(**{"era": era, "memory_mb": MEMORY_MB, "skbs": 1 << 14, **(machine or {})})
    outer, near = made.netdev(driver, **options), made.netdev(driver, **options)
    end = made.netdev(far_driver or driver, **{**options, **(far or {})})
    found = Wired(made, Pipeline(made, **(pipeline or {})), outer, near, end, [], [], [])
    found.pipeline.plug(outer, source=source, rate=rate, sinks=found.out.append)
    found.pipeline.plug(near, sinks=found.sent.append).plug(end, sinks=found.back.append)
    found.pipeline.cable(near, end, delay_ns=delay_ns).route(outer, near).route(near, outer)
    return found


def digest(w: Wired) -> str:
    """All that was transmitted when, and how far every clock went."""
    told = hashlib.sha256()
    for packet in (*w.out, *w.sent, *w.back):
        told.update(f"{packet.ts_ns} {packet.device} ".encode() + packet.data)
    told.update(repr([w.pipeline.traffic(device) for device in w.machine.devices]).encode())
    told.update(w.machine.k.arrays["cpu"]["clock"].tobytes())
    return told.hexdigest()


SETUPS: list[dict[str, Any]] = [
    {"far": {"xdp": "tx"}, "delay_ns": 123.456},
    {"driver": "netsec", "era": "v5.4", "far": {"xdp": "tx"}, "machine": {"cpus": 2}},
    {"era": "v4.19", "far": {"xdp": "tx", "settings": DeviceSettings(link_gbps=1)}, "rate": "1e6"},
]

if __name__ == "__main__":
    for setup in SETUPS[: int(sys.argv[1])]:
        print(digest(wired(numbered(60), **setup).run()))
