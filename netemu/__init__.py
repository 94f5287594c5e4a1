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
    from .netdevice import DeviceSettings, NetDevice
    from .packets import Coalesced, SkBuff
    from .pcap import CaptureError
    from .programs import XdpProgram
    from .redirect_maps import CpuMap, DevMap, Socket, XskMap
    from .replayer import replay
    from .results import ReplayResult

_HOMES = {
    "CaptureError": "pcap",
    "Coalesced": "packets",
    "CpuMap": "redirect_maps",
    "DevMap": "redirect_maps",
    "DeviceSettings": "netdevice",
    "Driver": "net.plugin",
    "Machine": "machine",
    "NetDevice": "netdevice",
    "Nic": "net.plugin",
    "Page": "handles",
    "PagePool": "handles",
    "PoolStatistics": "handles",
    "ReplayResult": "results",
    "SkBuff": "packets",
    "Socket": "redirect_maps",
    "XdpProgram": "programs",
    "XskMap": "redirect_maps",
    "replay": "replayer",
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
    "CaptureError",
    "Coalesced",
    "CpuMap",
    "DevMap",
    "DeviceSettings",
    "Driver",
    "EmulatorError",
    "KernelBug",
    "Machine",
    "NetDevice",
    "NetemuError",
    "Nic",
    "Page",
    "PagePool",
    "PoolStatistics",
    "ReplayResult",
    "SkBuff",
    "Socket",
    "UsageError",
    "XdpProgram",
    "XskMap",
    "replay",
]
