"""Redirect to another CPU: a ring in between, a kthread behind it, and pages that end where the era says."""

from __future__ import annotations

import pytest

import netemu
from netemu.engine.kernel import kernel_function
from netemu.engine.layout import Kernel
from netemu.net.cpumap import cpu_map_kthread_step
from netemu.net.redirect import bpf_redirect_map, xdp_do_flush
from tests.drivers.xdp_stepping import Program, Xdp, frame_of, to_map

FRAMES = [frame_of(60 + n % 1400) for n in range(600)]


@kernel_function(traced=False, entry=True)
def to_other_cpu(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Redirect by map 0, key 0."""
    return bpf_redirect_map(k, cpu, 0, 0, 0)


class ToCpu(Program):
    """Redirects everything to a kthread on ``cpu``."""

    def __init__(self, cpu: int, queue_size: int = 192) -> None:
        super().__init__(to_other_cpu)
        self.cpu, self.queue_size = cpu, queue_size

    def attach(self, device: netemu.NetDevice) -> tuple[int, bool]:
        self.map = device.machine.cpumap(2)
        self.map.add(0, cpu=self.cpu, queue_size=self.queue_size)
        return super().attach(device)


def replayed(era: str, program: ToCpu, **options: object) -> netemu.ReplayResult:
    return netemu.replay(FRAMES, era=era, xdp=program, memory_mb=32, **{"queues": 1, "cpus": 2, **options})


@pytest.mark.parametrize(
    ("driver", "era"), [("mlx5", "v4.19"), ("netsec", "v5.4"), ("mlx5", "v5.15"), ("netsec", "v6.1"), ("mlx5", "v6.12")]
)
def test_every_frame_is_forwarded_by_the_other_cpu_and_no_page_is_lost(driver: str, era: str) -> None:
    program = ToCpu(1, queue_size=1024)
    result = replayed(era, program, driver=driver)
    assert result["xdp"]["redirect"] == len(FRAMES)
    assert program.map.statistics(0) == (len(FRAMES), 0, len(FRAMES))
    assert result["packets"]["forwarded"] == len(FRAMES)
    assert result["leaks"] == []
    assert result.machine is not None
    assert all(row["clock"] > row["idle"] for row in result.machine.k.arrays["cpu"])
    paths = {node["path"][0] for node in result["callgraph"]}
    assert "cpu_map_kthread_run" in paths


@pytest.mark.parametrize("rq", ["legacy", "striding"])
def test_packets_of_several_buffers_go_to_other_cpus(rq: str) -> None:
    jumbo = [frame_of(60 + n * 80) for n in range(110)]
    options = {"rq": rq, "rx_ring": "256"}
    result = netemu.replay(
        jumbo, era="v6.6", xdp=ToCpu(1, 1024), cpus=2, queues=1, mtu=9000, memory_mb=64, options=options
    )
    assert result["packets"]["forwarded"] == result["xdp"]["redirect"] == len(jumbo)
    assert result["leaks"] == []


@pytest.mark.parametrize("era", ["v4.19", "v5.15", "v6.12"])
def test_a_ring_that_is_full_drops_and_gives_the_pages_back(era: str) -> None:
    program = ToCpu(1, queue_size=16)
    result = replayed(era, program, action="local", hold_us=1.0)
    enqueued, drops, processed = program.map.statistics(0)
    assert drops > 0
    assert enqueued == processed == len(FRAMES) - drops == result["packets"]["delivered"]
    assert result["packets"]["dropped"] == {"xdp_cpumap": drops}
    assert result["leaks"] == []


def test_the_receiving_cpu_can_have_the_kthread_too() -> None:
    program = ToCpu(0)
    result = replayed("v6.1", program, cpus=1)
    assert result["packets"]["forwarded"] + program.map.statistics(0).drops == len(FRAMES)
    assert result["leaks"] == []


@pytest.mark.parametrize(("era", "recycled"), [("v4.19", False), ("v5.4", False), ("v6.12", True)])
def test_a_page_comes_back_from_the_other_cpu_or_does_not(era: str, recycled: bool) -> None:
    result = replayed(era, ToCpu(1, queue_size=1024))
    (pool,) = result["page_pool"]
    assert (pool["recycle-ring"] > 0) == recycled
    assert (result["pages"]["freed"] == 0) == recycled


@pytest.mark.parametrize(("era", "bulk"), [("v4.19", False), ("v5.0", False), ("v5.4", True), ("v6.12", True)])
def test_structs_come_up_to_8_at_a_time_from_v5_2_on(era: str, bulk: bool) -> None:
    result = replayed(era, ToCpu(1, queue_size=1024), action="drop")
    assert result.machine is not None
    slab = result.machine.k.slab[0]
    assert slab.head_allocs == (0 if bulk else len(FRAMES))
    if bulk:
        assert len(FRAMES) / 8 <= slab.head_bulk_allocs < len(FRAMES)
        calls = {row["path"][-1]: row["path"] for row in result["callgraph"]}
        assert calls["kmem_cache_alloc_bulk"][0] == "cpu_map_kthread_run"
        assert calls["build_skb_around"][-2] == "cpu_map_build_skb"


@pytest.mark.parametrize(("era", "dropped"), [("v5.0", 1), ("v5.4", 5), ("v6.1", 5)])
def test_without_memory_for_all_structs_of_a_round_all_its_frames_are_dropped(era: str, dropped: int) -> None:
    nic = Xdp("mlx5", era, Program(to_map), options={"rq": "legacy"})
    cpumap = nic.machine.cpumap(2)
    cpumap.add(1, cpu=0, queue_size=16)
    for _ in range(5):
        nic.arrive(1000)
        nic.poll()
    with nic.machine.softirq():
        xdp_do_flush(nic.k, 0)
    nic.machine.inject("skb", nth=1)
    entry = nic.k.cpumap_entry[0]
    while entry.head != entry.tail:
        cpu_map_kthread_step.interpreted()(nic.k, 0)
    assert len(nic.held()) == 5 - dropped
    assert nic.k.xdp[0].cpumap_drops == dropped
    assert nic.leaks() == []


def test_an_entry_has_a_cpu_of_the_machine_and_a_ring_of_at_most_16384() -> None:
    machine = netemu.Machine(cpus=2, memory_mb=32)
    with pytest.raises(netemu.UsageError, match="1 to 16384 frames"):
        machine.cpumap(1).add(0, cpu=1, queue_size=16385)
    with pytest.raises(netemu.UsageError, match="CPUs 0 to 1"):
        machine.cpumap(1).add(0, cpu=2)
