"""Options of ``netemu replay`` that set up the emulated machine and its device beyond the usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_DEVICE = {
    "rx_usecs": (float, "US", "Interrupt so long after the first received frame.  [default: the driver's]"),
    "rx_frames": (int, "N", "Interrupt after so many received frames.  [default: the driver's]"),
    "tx_usecs": (float, "US", "Interrupt so long after the first sent frame.  [default: the driver's]"),
    "tx_frames": (int, "N", "Interrupt after so many sent frames.  [default: the driver's]"),
    "xps": (str, "cpu|shift:N|rxq", "Transmit queue: of the CPU, of the CPU N further, of the receive queue."),
    "irq_affinity": (str, "CPU,CPU,...", "CPUs that take the queues' interrupts.  [default: one after the other]"),
    "link_gbps": (float, "GBPS", "Speed of the link.  [default: the driver's]"),
}
_MACHINE = {
    "nodes": (int, "N", "Memory nodes that the CPUs belong to, in blocks."),
    "pcp_batch": (int, "PAGES", "Pages moved at once to and from per-CPU lists."),
    "pcp_high": (int, "PAGES", "Longest per-CPU list."),
    "netdev_budget": (int, "PACKETS", "Packets of one net_rx_action."),
    "consumer_cpu": (str, "same|shift:N", "CPU that reads locally delivered packets."),
    "window": (int, "PACKETS", "Packets that a stream may have unread; then its sender waits."),
    "streams": (int, "N", "Streams that the packets belong to in turn."),
}


def machine_options(command: F) -> F:
    """Add the options; :func:`taken` sorts their values."""
    for name, (kind, metavar, text) in reversed((_DEVICE | _MACHINE).items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, type=kind, metavar=metavar, help=text)(command)
    return click.option("--no-bql", is_flag=True, help="No byte queue limits.")(command)


def taken(values: dict[str, Any]) -> dict[str, Any]:
    """Replay parameters from all option values: what was not given is left out, the device's go into its settings."""
    from netemu import DeviceSettings

    given = {name: value for name, value in values.items() if value is not None}
    device = {name: given.pop(name) for name in _DEVICE if name in given}
    if "irq_affinity" in device:
        device["irq_affinity"] = _cpus(device["irq_affinity"])
    return given | {"settings": DeviceSettings(bql=not given.pop("no_bql", False), **device)}


def _cpus(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of CPU numbers.", param_hint="'--irq-affinity'") from None
