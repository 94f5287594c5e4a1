"""Each switch can be set alone: a driver then runs without a leak, or says in a line what else it needs."""

from __future__ import annotations

import pytest

from netemu import KernelBug, UsageError
from netemu.engine.era import SWITCHES
from netemu.profiles.eras import era_switches
from tests.drivers.stepping import Stepper

ERAS = ["v4.19", "v5.10", "v6.1", "v6.12"]
QUEUES = [("mlx5", {"rq": "legacy"}), ("mlx5", {"rq": "striding"}), ("netsec", None)]
FRAMES = 140
"""More than two multi-packet WQEs of 64 pages hold, and half a ring of netsec."""


def outcome(driver: str, options: dict[str, str] | None, era: str, switch: str, value: str) -> str:
    """What becomes of a device that receives for a while and is taken down: ``clean``, or what is wrong."""
    try:
        nic = Stepper(driver, era, options=options, switches={switch: value})
        for number in range(FRAMES):
            nic.receive(60 + number)
            if number % 8 == 0:
                nic.consume()
            nic.refill()
        return ", ".join(nic.leaks()) or "clean"
    except UsageError as refused:
        return str(refused)
    except KernelBug as bug:
        return bug.code


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("driver", "options"), QUEUES, ids=["mlx5 legacy", "mlx5 striding", "netsec"])
def test_a_device_is_clean_or_refused_with_any_switch_set_alone(
    driver: str, options: dict[str, str] | None, era: str
) -> None:
    own = era_switches(era)
    alone = [(name, value) for name, switch in SWITCHES.items() for value in switch.values if value != own[name]]
    outcomes = {(name, value): outcome(driver, options, era, name, value) for name, value in alone}
    unclean = {changed: end for changed, end in outcomes.items() if end != "clean"}
    if driver == "mlx5" and own["mlx5_page_drop"] == "put_page":  # its last pages are lost, which is now looked for
        assert unclean.pop(("page_signature", "checked")) == "MM-10"
    for end in unclean.values():
        assert end.startswith(("mlx5_rx_cache=none", "netsec_pool_sync=pool"))
        assert end.endswith("=yes too")
