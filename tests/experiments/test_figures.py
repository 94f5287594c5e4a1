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


@pytest.mark.parametrize(
    ("keys", "hits"),
    [
        ('kind = "page_alloc"\norder = 3\nera = "v4.19"', 0),  # every block takes the lock
        ('kind = "page_alloc"\norder = 3\nera = "v6.1"', 100),
        ('kind = "page_pool"\norder = 3\nera = "v4.19"\npath = "release"', 0),
        ('kind = "page_frag"\nburst = 200\nera = "v4.19"', 0),
        ('kind = "traffic"\ndriver = "netsec"\nera = "v4.19"', 0),
        ('kind = "page_alloc"\nburst = 400\npcp_batch = 50\npcp_high = 50\nera = "v4.19"', 98),  # 1 of 50 refills
    ],
)
def test_a_block_hits_the_per_cpu_lists_unless_it_takes_the_lock(keys: str, hits: float) -> None:
    size = "packets = 1000" if "traffic" in keys else "count = 800"
    assert figures(f'{keys}\n{size}\nmetric = "pcp_hit_percent"') == pytest.approx([hits], abs=0.3)


@pytest.mark.parametrize("burst", [1, 64, 129, 1100])
def test_a_pool_that_never_comes_to_its_slow_path_hits_always(burst: int) -> None:
    keys = f'kind = "page_pool"\ncount = 2000\nburst = {burst}\nring_fill = 1024\n'
    hits, *slow = figures(f'{keys}metrics = ["pool_hit_percent", "page_pool.0.alloc-slow"]')
    assert (hits, slow) == (100, [0])


def test_a_pool_that_gets_nothing_back_hits_as_often_as_one_bulk_lasts() -> None:
    keys = (
        'kind = "page_pool"\npath = "release"\ncount = 1280\nwarmup = 0\nring_fill = 0\nmetric = "pool_hit_percent"\n'
    )
    assert figures(f'{keys}sweep = {{ era = ["v5.4", "v6.1"] }}') == [0, pytest.approx(100 * 63 / 64)]


def test_cpus_that_never_run_are_idle() -> None:
    keys = 'kind = "traffic"\npackets = 2000\ncpus = 4\nflows = 1\n'
    busy, share = figures(keys + 'metrics = ["busy_percent", { share = "net_rx_action", of = "time" }]')
    assert busy == pytest.approx(25, abs=0.5)
    assert share is not None
    assert 20 < share < busy


def test_a_default_run_is_so_long_that_the_wait_at_its_end_is_negligible() -> None:
    keys = 'kind = "traffic"\ndriver = "netsec"\nxdp = "drop"\nmetric = "pps"\nsweep = { era = ["v5.4", "v6.6"] }'
    at_once, moderated = figures(keys)
    assert moderated == pytest.approx(at_once, rel=0.01)
