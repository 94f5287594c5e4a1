"""Running one traffic experiment: a trace or generated packets through the replayer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import netemu
from netemu.errors import UsageError
from netemu.net.plugin_loader import load_driver
from netemu.pcap import Batch
from netemu.pipeline.sources import Source, open_source
from netemu.traffic import FCS, GeneratedTraffic

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


def driver_options(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Options of the driver; ``rq`` is one of them."""
    return {**chosen["driver_options"], **({} if chosen["rq"] is None else {"rq": chosen["rq"]})}


def device_settings(chosen: Mapping[str, Any]) -> netemu.DeviceSettings:
    """What an administrator sets at the device."""
    return netemu.DeviceSettings(**{name: chosen[name] for name in OF_THE_DEVICE})


def run_traffic(chosen: Mapping[str, Any], folder: Path, stopped: Callable[[], bool]) -> dict[str, Any] | None:
    """The result of one traffic experiment, None when ``stopped`` says so before it is over.

    A trace is looked for in ``folder``.  Raises UsageError, CaptureError, KernelBug.
    """
    arguments = {name: chosen[name] for name in PASSED_ON}
    longest = load_driver(chosen["driver"]).largest_frame(chosen["mtu"]) - FCS
    packets = Weighed(open_source(str(folder / chosen["trace"]) if chosen["trace"] else _generated(chosen)), longest)
    result = netemu.replay(
        packets,
        options=driver_options(chosen),
        settings=device_settings(chosen),
        streams=chosen["streams"] or 1,
        rate=str(chosen["rate"]),
        progress=lambda *_: stopped(),
        **arguments,
    )
    if result.error is not None:
        raise UsageError(result.error)
    return None if result.interrupted else {**result.to_dict(), "received_bytes": _received_bytes(result, packets)}


class Weighed:
    """A source that notes how many frames of ``longest`` bytes at most it has given, and how many bytes these are."""

    def __init__(self, source: Source, longest: int) -> None:
        self.size = source.size
        self.packets = 0
        self.bytes = 0
        self._source = source
        self._longest = longest

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._source.offset

    def read_into(self, batch: Batch) -> int:
        """Fill the batch; 0 at the end."""
        count = self._source.read_into(batch)
        lengths = batch.records["wirelen"][:count]
        taken = lengths[lengths <= self._longest]
        self.packets += len(taken)
        self.bytes += int(taken.sum())
        return count

    def rewind(self) -> None:
        """Start again with the first packet."""
        self._source.rewind()

    def close(self) -> None:
        """No more will be read."""
        self._source.close()


def _received_bytes(result: netemu.ReplayResult, offered: Weighed) -> float:
    """Bytes of the received packets, as the device counted them.

    A driver may count no packet that its XDP program has kept from the stack.  Then packets are as long as those on
    offer that the device takes, on average.
    """
    received: int = result["packets"]["received"]
    assert result.machine is not None
    device = result.machine.k.netdev[0]
    if device.rx_packets == received:
        return float(device.rx_bytes)
    return received * offered.bytes / max(offered.packets, 1)


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
