"""What can be told beforehand is told before anything runs, of whatever experiment and point."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from netemu.experiments.checks import check_experiments
from netemu.experiments.files import ExperimentError, load_experiments, read_experiments, shipped_files
from netemu.experiments.run import run_experiments

FINE = '[fine]\nkind = "page_alloc"\nmetric = "ns_per_op"\n'
LOOP = 'kind = "page_alloc"\nmetric = "ns_per_op"\n'
TRAFFIC = 'kind = "traffic"\nmetric = "pps"\n'


class Nobody:
    """Follows, and fails when a run begins."""

    def begin(self, name: str, done: int, total: int) -> None:
        pytest.fail(f"{name} runs")

    def stopped(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (LOOP + 'platform = "x86"', "unknown platform 'x86'"),
        (LOOP + "sweep = { bulk = [0, 4], order = [0, 1] }", "order has to be 0"),
        (LOOP + 'era = "v5.10"\nbulk = 16', "there is no __alloc_pages_bulk before v5.13"),
        (
            'kind = "skb"\nmetric = "ns_per_op"\nera = "v5.10"\nbuild = "napi_build_skb"',
            "no napi_build_skb before v5.12",
        ),
        ('kind = "spinlock"\nmetric = "ns_per_op"\nsweep = { cpus = [1, 2] }', "say with hold_ns for how long"),
        (
            LOOP.replace('"ns_per_op"', '{ share = "kfree_skbb" }'),
            "kfree_skbb is no function .*; did you mean kfree_skb",
        ),
        (LOOP.replace('"ns_per_op"', '{ calls_of = "put_page", below = "x" }'), "x is no function"),
        (LOOP.replace('"ns_per_op"', '{ share = "put_page", of = "x" }'), "x is no function"),
        (TRAFFIC + 'driver = "e1000"', "unknown driver 'e1000'"),
        (TRAFFIC + 'sweep = { driver = ["mlx5", "e1000"] }', "unknown driver 'e1000'"),
        (TRAFFIC + 'test = { platform = "x86" }', "unknown platform 'x86'"),
        (TRAFFIC + 'driver_options = { rxring = "256" }', "driver mlx5 has no option 'rxring'; it has: rq"),
        (TRAFFIC + "sweep = { driver_options = { rx_ring = [256, 257] } }", "option rx_ring is one of .*, not '257'"),
        (TRAFFIC + 'driver = "netsec"\nrq = "legacy"', "driver netsec has no option 'rq'"),
        (TRAFFIC + 'driver = "netsec"\nqueues = 2', "queues of driver netsec is a whole number from 1 to 1, not 2"),
        (TRAFFIC + "sweep = { mtu = [1500, 60000] }", "mtu of driver mlx5 is a whole number from 68 to .*, not 60000"),
        (TRAFFIC + 'driver = "netsec"\nxdp = "drop"\nsweep = { era = ["v5.4", "v4.19"] }', "netsec has no XDP in this"),
        (TRAFFIC + 'xps = "shift:"', "xps is cpu, rxq or shift:N, not 'shift:'"),
        (TRAFFIC + "cpus = 4\nirq_affinity = [7]", "irq_affinity names CPU 7; the machine has CPUs 0 to 3"),
        (TRAFFIC + 'recycle = "half_flop"', "unknown recycle policy 'half_flop'"),
        (TRAFFIC + 'recycle = "lifo:x=1"', "policy lifo has no parameter 'x'"),
        (TRAFFIC + 'trace = "nope.pcap"', "nope.pcap: no such file"),
        (TRAFFIC + 'rate = "recorded"', "generated packets have no recorded times"),
    ],
)
def test_a_mistake_in_any_point_ends_before_the_first_run(keys: str, said: str) -> None:
    experiments = read_experiments("x.toml", tomllib.loads(f"{FINE}[bad]\n{keys}")).experiments
    for keep_going in (False, True):
        with pytest.raises(ExperimentError, match=f"x.toml: experiment 'bad': .*{said}"):
            next(run_experiments(experiments, Nobody(), keep_going=keep_going))


def test_a_switch_that_is_swept_takes_its_values_only() -> None:
    with pytest.raises(
        ExperimentError, match=r"sweep.switches is a table of switches: .* one of buddy, pcp, not 'pcpp'"
    ):
        read_experiments("x.toml", tomllib.loads(f'{FINE}sweep = {{ switches = {{ page_frag_free = ["pcpp"] }} }}'))


@pytest.mark.parametrize("name", shipped_files())
def test_files_that_come_with_netemu_have_no_mistakes(name: str) -> None:
    check_experiments(load_experiments(name).experiments)


def test_a_pipe_is_left_for_the_run_to_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x.toml").write_text(f'[a]\n{TRAFFIC}trace = "pipe"\n')
    check_experiments(load_experiments(str(tmp_path / "x.toml")).experiments)
