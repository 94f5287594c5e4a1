"""What a pipeline asks of devices with cables."""

from __future__ import annotations

from ..errors import UsageError
from ..machine import Machine
from ..net.device_layout import ACTION_FORWARD
from ..netdevice import NetDevice


def check_cabled(device: NetDevice, *, has_source: bool, is_wrapped: bool) -> None:
    """A device with a cable has neither a source nor wrappers.  Raises UsageError."""
    if has_source:
        raise UsageError(f"device {device.number} has a source or a cable, not both: frames arrive by one of them")
    if is_wrapped:
        raise UsageError(
            f"device {device.number} has a cable, so it has no wrappers: its frames stay in the machine; sinks get "
            "what it transmits, and a journal what arrives at it too"
        )


def check_for_loops(machine: Machine) -> None:
    """What is forwarded must not come back by cables for ever, as nothing here counts hops.  Raises UsageError.

    Only a program can tell where its device's packets go.
    """
    if machine.k.run[0].action != ACTION_FORWARD:
        return
    for device in machine.devices:
        seen: list[NetDevice] = []
        here: NetDevice | None = device
        while here is not None and here not in seen and not machine.k.netdev[here.number].xdp_prog:
            seen.append(here)
            here = machine.devices[machine.k.netdev[here.number].egress].peer
        if here in seen:
            ring = ", ".join(str(other.number) for other in seen[seen.index(here) :])
            raise UsageError(
                f"what is forwarded goes round by cables for ever, received by devices {ring}: route it elsewhere at "
                "one of them, or give until_ns"
            )
