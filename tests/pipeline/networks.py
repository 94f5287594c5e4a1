"""Small machines for pipeline tests, and ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

from netemu import Machine, NetDevice
from netemu.checks.conservation import take_stock
from netemu.mm.layout import NR_FRAG_CACHES
from netemu.mm.page_frag import page_frag_cache_drain
from netemu.pipeline import Packet, Pipeline

MEMORY_MB = 32
T = TypeVar("T")


def router(driver: str = "mlx5", era: str = "v6.1", **options: Any) -> tuple[Machine, NetDevice, NetDevice]:
    """A machine with two network cards."""
    machine = Machine(era=era, memory_mb=MEMORY_MB, skbs=1 << 14, **options)
    return machine, machine.netdev(driver), machine.netdev(driver)


def forward(source: Any, **options: Any) -> list[Packet]:
    """What comes out on the right of a router when ``source`` comes in on the left."""
    machine, left, right = router()
    got: list[Packet] = []
    pipeline = Pipeline(machine).plug(left, source=source, **options).plug(right, sinks=got.append)
    trio.run(pipeline.route(left, right).run)
    assert leaks(machine) == []
    return got


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on a clock that jumps to whatever is waited for."""
    return trio.run(main, clock=MockClock(autojump_threshold=0))


def leaks(machine: Machine) -> list[str]:
    """Stop every device and look for pages that nobody holds."""
    for device in machine.devices:
        device.stop()
    for cpu in range(machine.cpus):
        for which in range(NR_FRAG_CACHES):
            page_frag_cache_drain(machine.k, cpu, which)
    machine.check()
    books = take_stock(machine.k)
    return [*books.leaks, *books.errors]


def numbered(count: int, length: int = 60) -> list[bytes]:
    """Frames that can be told apart: each ends with its number."""
    return [bytes(length - 4) + n.to_bytes(4, "big") for n in range(count)]


def numbers(packets: list[Packet]) -> list[int]:
    """The numbers of numbered frames."""
    return [int.from_bytes(packet.data[-4:], "big") for packet in packets]
