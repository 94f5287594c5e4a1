"""How the switches of XDP show: what a program may do, and how redirected pages travel."""

from __future__ import annotations

from typing import Any

from netemu import KernelBug
from netemu.net.cpumap import bq_flush_to_queue, cpu_map_bq_enqueue, cpu_map_kthread_step
from netemu.net.redirect import bpf_redirect_map, xdp_do_flush, xdp_do_redirect
from netemu.net.xdp import bpf_xdp_adjust_head, bpf_xdp_adjust_tail
from netemu.net.xdp_frame import xdp_convert_buff_to_frame, xdp_return_frame
from netemu.net.xdp_layout import TO_CPUMAP, TO_DEVICE, XDP_PASS
from tests.drivers.xdp_stepping import Program, Xdp, to_device, to_map
from tests.eras.packet_signs import PAGES_FROM_A_POOL, WAITING_POOL
from tests.eras.signs import Setting, shows

LEGACY = {"rq": "legacy"}
RX_CACHE = {"mlx5_rx_cache": "fifo256"}


def device(setting: Setting, program: Any = "drop", driver: str = "mlx5") -> Xdp:
    """A device with a program on the kernel to look at, and a packet of 1000 bytes that its program has seen."""
    options = LEGACY if driver == "mlx5" else {}
    nic = Xdp(driver, setting.era, program, switches=setting.switches, options=options)
    nic.process(1000)
    return nic


@shows("xdp_frame_sz", unknown=(-22, True), known=(0, False))
def _growing_at_the_tail_and_a_frame_without_room_for_the_shared_info(setting: Setting) -> tuple[int, bool]:
    nic = device(setting)
    grown = bpf_xdp_adjust_tail.interpreted()(nic.k, 0, 0, 8)
    x = nic.k.xdp_buff[0]
    x.data_end = x.hard_start + 4096 - 319
    return grown, xdp_convert_buff_to_frame.interpreted()(nic.k, 0, 0) >= 0


@shows("xdp_frame_struct", bytes32=224, bytes40=216)
def _how_far_a_packet_can_grow_at_its_head(setting: Setting) -> int:
    nic = device(setting)
    most = 0
    while bpf_xdp_adjust_head.interpreted()(nic.k, 0, 0, -1) == 0:
        most += 1
    return most


@shows("xdp_multi_buffer", no=(-95, -95), cpumap_only=(0, -95), devices=(0, 0))
def _packets_of_two_buffers_that_leave_for_a_cpu_and_for_a_device(setting: Setting) -> tuple[int, int]:
    nic = device(setting)
    nic.machine.netdev("mlx5", options=LEGACY)
    nic.machine.cpumap(1).add(0, cpu=0)
    answers = []
    for kind in (TO_CPUMAP, TO_DEVICE):
        page = nic.machine.alloc_pages()
        assert page is not None
        x = nic.k.xdp_buff[0]
        x.nr_frags = 1
        x.frag_page[0] = page.pfn
        nic.k.xdp_cpu[0].kind = kind
        nic.k.xdp_cpu[0].target = 1 if kind == TO_CPUMAP else 2
        allowed = nic.k.era[0].xdp_multi_buffer > 0  # before, no driver makes such a packet
        answers.append(xdp_do_redirect.interpreted()(nic.k, 0, 0) if allowed else -95)
    return answers[0], answers[1]


@shows("xdp_xmit_failure", driver_frees=3, core_frees=1)
def _frames_that_a_driver_without_room_tries_to_map(setting: Setting) -> int:
    nic = Xdp("mlx5", setting.era, Program(to_device), switches=setting.switches, options=LEGACY)
    other = nic.machine.netdev("mlx5", options=LEGACY)
    nic.k.txq[nic.k.txq[other.nic.txq(0)].xdp_redirect - 1].limit = 0
    nic.k.era[0].xdp_redirect_dev = 1
    for _ in range(2):
        nic.arrive(100)
        nic.poll()
    nic.process(100)
    return int(nic.k.txq[nic.k.txq[other.nic.txq(0)].xdp_redirect - 1].full)


@shows("xdp_return", single=0, bulk=6)
def _pages_collected_before_they_go_back(setting: Setting) -> int:
    nic = Xdp("mlx5", setting.era, Program(to_device), switches=setting.switches, options=LEGACY)
    other = nic.machine.netdev("mlx5", options=LEGACY)
    for _ in range(6):
        nic.process(100)
    ring = nic.k.txq[other.nic.txq(0)].xdp_redirect - 1
    while nic.k.txq[ring].head != nic.k.txq[ring].tail:
        other.driver.tx_poll_one(nic.k, 0, ring, 64)
    return int(nic.k.xdp_cpu[0].returned)


@shows(
    "xdp_mem_lookup",
    WAITING_POOL | RX_CACHE | {"xdp_return": "single", "mlx5_page_drop": "release_page"},
    id_or_put="a plain page",
    id="a crash",
    page="the pool's again",
)
def _a_frame_that_outlives_its_receive_queue(setting: Setting) -> str:
    nic = Xdp("mlx5", setting.era, Program(to_device), switches=setting.switches, options=LEGACY)
    nic.machine.netdev("mlx5", options=LEGACY)
    nic.process(100)
    nic.device.stop()
    returned = nic.pool.recycle_ring + nic.pool.recycle_cached
    xdp_return_frame(nic.k, 0, 0)
    try:
        nic.machine.check()
    except KernelBug as bug:
        return "a crash" if bug.code == "XD-07" else bug.code
    return "the pool's again" if nic.pool.recycle_ring + nic.pool.recycle_cached > returned else "a plain page"


@shows(
    "cpumap_pages",
    PAGES_FROM_A_POOL | {"netsec_skb_recycle": "mark"},
    kept=(True, 0),
    released=(False, 0),
    recycled=(True, 1),
)
def _signature_and_mark_of_a_packet_on_the_other_cpu(setting: Setting) -> tuple[bool, int]:
    nic = device(setting, driver="netsec")
    page = nic.machine.k.xdp_buff[0].hard_start // 4096
    assert nic.k.pages[page].pp != 0
    nic.machine.cpumap(1).add(0, cpu=0)
    frame = xdp_convert_buff_to_frame.interpreted()(nic.k, 0, 0)
    cpu_map_bq_enqueue.interpreted()(nic.k, 0, 0, frame)
    bq_flush_to_queue.interpreted()(nic.k, 0, 0)
    cpu_map_kthread_step.interpreted()(nic.k, 0)
    (skb,) = nic.held()
    return nic.k.pages[page].pp != 0, nic.k.skb[skb.number].pp_recycle


@shows("cpumap_skbs", single=(3, 0), bulk=(0, 1))
def _structs_allocated_alone_and_in_bulk_for_three_frames(setting: Setting) -> tuple[int, int]:
    nic = Xdp("mlx5", setting.era, Program(to_map), switches=setting.switches, options=LEGACY)
    nic.machine.cpumap(2).add(1, cpu=0, queue_size=16)
    slab = nic.k.slab[0]
    before = slab.head_allocs, slab.head_bulk_allocs
    for _ in range(3):
        nic.arrive(1000)
        nic.poll()
    with nic.machine.softirq():
        xdp_do_flush(nic.k, 0)
    for _ in range(3):
        cpu_map_kthread_step.interpreted()(nic.k, 0)
    return slab.head_allocs - before[0], slab.head_bulk_allocs - before[1]


@shows("netsec_xdp_bytes", PAGES_FROM_A_POOL, uncounted=(0, 0, 0), counted=(1000, 1000, 1000))
def _bytes_queued_completed_and_sent_with_an_xdp_frame(setting: Setting) -> tuple[int, int, int]:
    nic = device(setting, "tx", "netsec")
    nic.polls()
    limits = nic.k.dql[nic.txq]
    return limits.num_queued, limits.num_completed, nic.k.netdev[0].tx_bytes


@shows("xdp_redirect_dev", at_once=(1, 0), bulk=(0, 1))
def _frames_sent_and_collected_before_the_poll_ends(setting: Setting) -> tuple[int, int]:
    nic = Xdp("mlx5", setting.era, Program(to_device), switches=setting.switches, options=LEGACY)
    other = nic.machine.netdev("mlx5", options=LEGACY)
    nic.arrive(100)
    nic.poll()
    return len(nic.posted(other)), nic.k.xdp_cpu[0].devices


@shows("xdp_redirect_flags", refused=0, fallback=XDP_PASS)
def _verdict_when_the_map_is_empty_and_the_flags_say_pass(setting: Setting) -> int:
    machine = setting.machine()
    machine.devmap(1)
    verdict: int = bpf_redirect_map.interpreted()(machine.k, 0, 0, 0, XDP_PASS)
    return verdict
