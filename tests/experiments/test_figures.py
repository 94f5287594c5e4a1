"""Figures of small runs whose value is known beforehand."""

from __future__ import annotations

import tomllib

import pytest

from netemu.experiments.files import read_experiments
from netemu.experiments.run import Entry, run_experiments


def entries(keys: str) -> list[Entry]:
    return list(run_experiments(read_experiments("x.toml", tomllib.loads(f"[a]\nmemory_mb = 64\n{keys}")).experiments))


def figures(keys: str) -> list[float | None]:
    return [entry.value for entry in entries(keys)]


@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
@pytest.mark.parametrize("xdp", ["", 'xdp = "drop"'], ids=["stack", "drop"])
def test_only_bytes_that_were_received_count_as_throughput(driver: str, xdp: str) -> None:
    keys = f'kind = "traffic"\npackets = 400\ndriver = "{driver}"\n{xdp}\nmetrics = ["gbps", "pps"]\n'
    gbps, pps = figures(keys + 'mix = { "64" = 1, "9018" = 1 }')  # the long ones are longer than the MTU
    assert pps
    assert gbps == pytest.approx(pps * 8 * 60 / 1e9)


def test_throughput_is_zero_when_nothing_is_received() -> None:
    assert figures('kind = "traffic"\npackets = 40\npacket_size = 9018\nmetrics = ["gbps", "pps"]') == [0, 0]
