"""Packets in, packets out: sources, emulated devices and sinks, joined on trio.

::

    machine = netemu.Machine(era="v6.1")
    left, right = machine.netdev("mlx5"), machine.netdev("mlx5")
    pipeline = Pipeline(machine).plug(left, source="in.pcap").plug(right, sinks="out.pcapng").route(left, right)
    trio.run(pipeline.run)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frames import Frames, Packet
    from .packet_socket import PacketSocket
    from .pipeline import Pipeline, Traffic
    from .sinks import AsyncSink, Callback, Capture, Counters, Sink
    from .sources import AsyncPackets, AsyncSource, PacketSource, Source
    from .tap import Tap
    from .wrappers import FaultInjector, PcapTap, Tracer, Wrapper

_HOMES = {
    "AsyncPackets": "sources",
    "AsyncSink": "sinks",
    "AsyncSource": "sources",
    "Callback": "sinks",
    "Capture": "sinks",
    "Counters": "sinks",
    "FaultInjector": "wrappers",
    "Frames": "frames",
    "Packet": "frames",
    "PacketSocket": "packet_socket",
    "PacketSource": "sources",
    "PcapTap": "wrappers",
    "Pipeline": "pipeline",
    "Sink": "sinks",
    "Source": "sources",
    "Tap": "tap",
    "Tracer": "wrappers",
    "Traffic": "pipeline",
    "Wrapper": "wrappers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a replay does without trio."""
    if name not in _HOMES:
        raise AttributeError(f"module 'netemu.pipeline' has no attribute {name!r}")
    import_module("..kernel", __name__)  # first: numbers in compiled code follow the order of declarations
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


__all__ = [
    "AsyncPackets",
    "AsyncSink",
    "AsyncSource",
    "Callback",
    "Capture",
    "Counters",
    "FaultInjector",
    "Frames",
    "Packet",
    "PacketSocket",
    "PacketSource",
    "PcapTap",
    "Pipeline",
    "Sink",
    "Source",
    "Tap",
    "Tracer",
    "Traffic",
    "Wrapper",
]
