"""netemu: the memory path of Linux network drivers, emulated.

Pages, page_pools, packet buffers and drivers (mlx5, netsec) as the kernel's own functions handle them, under
virtual time.  Start with :func:`replay` to see where a trace's pages and time go, or with :class:`Machine` to
drive single objects in a test.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import EmulatorError, KernelBug, NetemuError, UsageError

if TYPE_CHECKING:
    from .handles import Page, PagePool, PoolStatistics
    from .machine import Machine
    from .net.plugin import Driver, Nic
    from .net.xdp_layout import XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
    from .netdevice import DeviceSettings, NetDevice
    from .packets import Coalesced, SkBuff
    from .pcap import CaptureError
    from .programs import XdpProgram
    from .redirect_maps import CpuMap, DevMap, Socket, XskMap
    from .replayer import replay
    from .results import ReplayResult
    from .xdp_batch import XdpBatch
    from .xdp_function import NotCompiled, xdp
    from .xdp_maps import ArrayMap, HashMap, LpmMap
    from .xdp_packet import XdpPacket

_HOMES = {
    "ArrayMap": "xdp_maps",
    "CaptureError": "pcap",
    "Coalesced": "packets",
    "CpuMap": "redirect_maps",
    "DevMap": "redirect_maps",
    "DeviceSettings": "netdevice",
    "Driver": "net.plugin",
    "HashMap": "xdp_maps",
    "LpmMap": "xdp_maps",
    "Machine": "machine",
    "NetDevice": "netdevice",
    "Nic": "net.plugin",
    "NotCompiled": "xdp_function",
    "Page": "handles",
    "PagePool": "handles",
    "PoolStatistics": "handles",
    "ReplayResult": "results",
    "SkBuff": "packets",
    "Socket": "redirect_maps",
    "XDP_ABORTED": "net.xdp_layout",
    "XDP_DROP": "net.xdp_layout",
    "XDP_PASS": "net.xdp_layout",
    "XDP_REDIRECT": "net.xdp_layout",
    "XDP_TX": "net.xdp_layout",
    "XdpBatch": "xdp_batch",
    "XdpPacket": "xdp_packet",
    "XdpProgram": "programs",
    "XskMap": "redirect_maps",
    "replay": "replayer",
    "xdp": "xdp_function",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import netemu`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'netemu' has no attribute {name!r}")
    import_module(".kernel", __name__)  # first: numbers in compiled code follow the order of declarations
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


__all__ = [
    "XDP_ABORTED",
    "XDP_DROP",
    "XDP_PASS",
    "XDP_REDIRECT",
    "XDP_TX",
    "ArrayMap",
    "CaptureError",
    "Coalesced",
    "CpuMap",
    "DevMap",
    "DeviceSettings",
    "Driver",
    "EmulatorError",
    "HashMap",
    "KernelBug",
    "LpmMap",
    "Machine",
    "NetDevice",
    "NetemuError",
    "Nic",
    "NotCompiled",
    "Page",
    "PagePool",
    "PoolStatistics",
    "ReplayResult",
    "SkBuff",
    "Socket",
    "UsageError",
    "XdpBatch",
    "XdpPacket",
    "XdpProgram",
    "XskMap",
    "replay",
    "xdp",
]
