"""Running one traffic experiment: a trace or generated packets through the replayer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import netemu
from netemu.errors import UsageError
from netemu.net.plugin_loader import load_driver
from netemu.traffic import GeneratedTraffic

PASSED_ON = (
    "era",
    "switches",
    "platform",
    "cpus",
    "nodes",
    "memory_mb",
    "pcp_batch",
    "pcp_high",
    "seed",
    "driver",
    "queues",
    "mtu",
    "repeat",
    "action",
    "hold_us",
    "xdp",
    "window",
    "consumer_cpu",
    "netdev_budget",
    "recycle",
)
"""Keys that the replayer takes by the same name."""
OF_THE_DEVICE = ("rx_usecs", "rx_frames", "tx_usecs", "tx_frames", "bql", "xps", "irq_affinity", "link_gbps")
"""Keys of :class:`netemu.DeviceSettings`."""


def run_traffic(chosen: Mapping[str, Any], folder: Path, stopped: Callable[[], bool]) -> dict[str, Any] | None:
    """The result of one traffic experiment, None when ``stopped`` says so before it is over.

    A trace is looked for in ``folder``.  Raises UsageError, CaptureError, KernelBug.
    """
    arguments = {name: chosen[name] for name in PASSED_ON}
    settings = netemu.DeviceSettings(**{name: chosen[name] for name in OF_THE_DEVICE})
    options = dict(chosen["driver_options"])
    if chosen["rq"] is not None:
        options["rq"] = chosen["rq"]
    packets = _trace(chosen, folder) if chosen["trace"] is not None else _generated(chosen)
    rate = str(chosen["rate"])
    if rate == "recorded" and chosen["trace"] is None:
        raise UsageError("generated packets have no recorded times: rate is max or packets per second")
    result = netemu.replay(
        packets,
        options=options,
        settings=settings,
        streams=chosen["streams"] or 1,
        rate=rate,
        progress=lambda *_: stopped(),
        **arguments,
    )
    if result.error is not None:
        raise UsageError(result.error)
    return None if result.interrupted else result.to_dict()


def _trace(chosen: Mapping[str, Any], folder: Path) -> str:
    return str(folder / chosen["trace"])


def _generated(chosen: Mapping[str, Any]) -> GeneratedTraffic:
    mix = chosen["mix"] or {str(chosen["packet_size"]): 1}
    streams = chosen["streams"]
    queues = chosen["queues"] or min(chosen["cpus"], load_driver(chosen["driver"]).max_queues)
    return GeneratedTraffic(
        {int(size): weight for size, weight in mix.items()},
        packets=chosen["packets"],
        flows=streams or chosen["flows"],
        in_turn=streams is not None,
        queues=queues if streams else 0,
        seed=chosen["seed"],
    )
