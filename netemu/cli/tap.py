"""``netemu tap``: emulated network cards as interfaces of this host."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import values
from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu import NetDevice
    from netemu.pipeline import Pipeline, Tap

_AT_LEAST_ONE = click.IntRange(min=1)


@click.command("tap", short_help="Make emulated NICs interfaces of this host (needs root).")
@click.argument("names", nargs=-1, required=True, metavar="INTERFACE [INTERFACE]")
@click.option("--driver", default="mlx5", show_default=True, metavar="mlx5|netsec|FILE.py", help="Emulated NIC driver.")
@click.option("--era", default="v6.1", show_default=True, metavar="VERSION", help="Kernel to emulate, v4.19 to v6.12.")
@click.option(
    "--set",
    "switches",
    multiple=True,
    metavar="SWITCH=VALUE",
    callback=values.assignments,
    help="Change one mechanism of the era; may be repeated.",
)
@click.option("--cpus", type=_AT_LEAST_ONE, default=1, show_default=True, help="Emulated CPUs.")
@click.option("--queues", type=_AT_LEAST_ONE, default=1, show_default=True, help="RX/TX queue pairs of each NIC.")
@click.option("--xdp", metavar="FILE.py[:NAME]|drop|pass|tx|aborted", help="XDP program on every NIC.")
@click.option("--mtu", type=click.IntRange(min=68, max=65535), default=1500, show_default=True, help="MTU in bytes.")
@click.option("--out", metavar="FILE.pcapng", help="Write what happens to every packet to this capture.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End by itself after so long.")
@click.option("--json", "as_json", is_flag=True, help="At the end, print JSON instead of a table.")
def command(
    names: tuple[str, ...],
    driver: str,
    queues: int,
    xdp: str | None,
    mtu: int,
    out: str | None,
    seconds: float | None,
    as_json: bool,
    **machine_options: Any,
) -> None:
    """Make each INTERFACE a TAP interface with an emulated NIC behind it, in real time, until Ctrl-C or SIGTERM.

    What programs send on the interface arrives at the NIC, goes through its emulated driver, and is forwarded: with
    two interfaces to the other one, with one back to where it came from. The interfaces may be moved to network
    namespaces. They are gone when the command ends.
    """
    if len(names) > 2:
        raise click.UsageError("Name one or two interfaces.")
    import trio

    import netemu
    from netemu.cli.progress import compile_if_needed
    from netemu.pipeline import Pipeline, Tap
    from netemu.warm import warm_up

    taps = [Tap(name, mtu=mtu) for name in names]
    compile_if_needed()
    warm_up()  # loads what is compiled, so that the first packets do not wait for it
    machine = netemu.Machine(**machine_options)
    devices = [machine.netdev(driver, queues=queues, mtu=mtu, xdp=xdp) for _ in names]
    pipeline = Pipeline(machine, realtime=True, grace=1.0, journal=out)
    for device, tap, other in zip(devices, taps, reversed(devices), strict=True):
        pipeline.plug(device, source=tap, sinks=tap).route(device, other)
    there = f"{' and '.join(tap.name for tap in taps)} {'is' if len(taps) == 1 else 'are'} there"
    click.echo(f"netemu: {there}; Ctrl-C ends it", err=True)
    trio.run(_until_told, pipeline, seconds)
    _print([_counts(pipeline, tap, device) for tap, device in zip(taps, devices, strict=True)], as_json)


async def _until_told(pipeline: Pipeline, seconds: float | None) -> None:
    """Run until SIGINT, SIGTERM or the time."""
    import trio

    async def wait_for_signal() -> None:
        async for _ in signals:
            nursery.cancel_scope.cancel()

    failure: Exception | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            if seconds is not None:
                nursery.cancel_scope.deadline = trio.current_time() + seconds
            try:
                await pipeline.run()
            except Exception as error:  # outside of the nursery it is raised as it is
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _counts(pipeline: Pipeline, tap: Tap, device: NetDevice) -> dict[str, Any]:
    """What went through one port."""
    verdicts = {f"xdp_{name}": count for name, count in device.xdp_verdicts().items()}
    traffic = asdict(pipeline.traffic(device))
    del traffic["cable_drops"]  # there are no cables here
    return {"interface": tap.name, **traffic, **verdicts, "unsent": tap.unsent}


def _print(ports: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ports": ports}, indent=2))
        return
    rows = [
        [name.replace("_", " "), *(f"{port[name]:,}" for port in ports)] for name in ports[0] if name != "interface"
    ]
    print_table(["packets", *(port["interface"] for port in ports)], rows)
