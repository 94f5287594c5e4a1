"""Random correct work, for as long as one likes, breaks no rule.

``NETEMU_RANDOM_SECONDS=3600`` makes it an hour of wall time instead of a moment, ``NETEMU_RANDOM_SEED=2`` another
hour (several can run side by side).  Each round is a machine of its own, made from its number alone.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import netemu
from netemu.profiles.eras import era_names
from netemu.testing.strategies import OPERATIONS, Operation, Script, udp_frame

SECONDS = float(os.environ.get("NETEMU_RANDOM_SECONDS", "3"))
SEED = int(os.environ.get("NETEMU_RANDOM_SEED", "1"))


def script_of(chance: random.Random, length: int) -> list[Operation]:
    return [Operation(chance.choice(OPERATIONS), chance.randrange(8), chance.randrange(4096)) for _ in range(length)]


def two_cpus(chance: random.Random) -> int:
    """Two scripts side by side, which pass packets to each other; how many operations."""
    machine = netemu.Machine(
        era=chance.choice(era_names()), cpus=2, nodes=chance.choice((1, 2)), memory_mb=16, skbs=1 << 10, check="every"
    )
    mailbox: list[netemu.SkBuff] = []
    work = [Script(machine, cpu, mailbox) for cpu in range(2)]
    scripts = [script_of(chance, chance.randrange(10, 120)) for _ in work]
    schedule = [int(chance.random() < 0.1) for _ in range(chance.choice((0, 400, 4000)))]

    def run(cpu: int) -> None:
        for operation in scripts[cpu]:
            work[cpu].perform(operation)

    machine.interleave((0, lambda: run(0)), (1, lambda: run(1)), schedule=schedule)
    machine.quiesce()
    for script in work:
        script.close()
    machine.wind_up()
    machine.assert_clean()
    return sum(map(len, scripts))


def through_a_device(chance: random.Random) -> int:
    """Traffic through a driver, whatever becomes of it; how many packets."""
    frames = [
        udp_frame(chance.randrange(256), chance.randrange(4), chance.randrange(60, 1515))
        for _ in range(chance.randrange(1, 120))
    ]
    driver, era = chance.choice(("netsec", "mlx5")), chance.choice(era_names())
    options: dict[str, Any] = {"action": chance.choice(("forward", "local")), "hold_us": chance.choice((0, 40))}
    if driver == "mlx5":
        options["options"] = {"rx_ring": "128", "rq": chance.choice(("striding", "legacy"))}
        options["cpus"] = chance.choice((1, 1, 2))
    if chance.random() < 0.4 and (driver == "mlx5" or era not in ("v4.19", "v5.0")):
        options["xdp"] = chance.choice(("drop", "pass", "tx", "redirect", "aborted"))
    if chance.random() < 0.4:
        options["inject"] = [chance.choice(("page=5%", "skb=5%", "data=5%", "dma=5%", "ring=10%", "tx=5%", "down=30"))]
    result = netemu.replay(frames, driver=driver, era=era, memory_mb=32, check="every", **options)
    assert result["leaks"] == [], result["leaks"][0]
    return len(frames)


def test_random_correct_traffic_breaks_no_rule() -> None:
    done: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    number = 0
    while number < 4 or time.monotonic() < end:
        chance = random.Random(f"{SEED}.{number}")
        kind = chance.choice((two_cpus, through_a_device))
        try:
            done[kind.__name__] += kind(chance)
        except Exception as error:
            error.add_note(f"round {number} of seed {SEED}: {kind.__name__}")
            raise
        done["rounds"] += 1
        number += 1
    print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
