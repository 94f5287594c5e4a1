"""How the switches of sk_buffs and drivers show: structs, heads, and what a receive queue does with its pages."""

from __future__ import annotations

from typing import Any

from netemu import Machine, SkBuff
from netemu.drivers.mlx5.layout import PAGE_BIAS, RQ
from netemu.mm.layout import NAPI_FRAGS, NETDEV_FRAGS, NONE
from netemu.mm.page_alloc import compound_head
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV
from netemu.net.skb_coalesce import gro_start, skb_gro_receive, skb_try_coalesce
from netemu.net.skb_release import skb_attempt_defer_free
from netemu.netdevice import DeviceSettings
from tests.drivers.stepping import Stepper
from tests.eras.signs import Setting, shows

POOL_OF_V6_1 = {"pool_frag": "frag_count", "pool_skb_recycle": "yes", "pool_dma_sync": "yes"}
WAITING_POOL = {"pool_accounting": "yes", "pool_shutdown": "patient", "pool_users": "counted"}
PAGES_FROM_A_POOL = {
    "netsec_rx": "page_pool",
    "pool_slow": "single",
    "pool_skb_recycle": "yes",
    "pool_accounting": "yes",
    "pool_dma_sync": "yes",
    "pool_dma_map": "skips_sync",
}


def stepper(setting: Setting, driver: str, **options: Any) -> Stepper:
    """A device of ``driver`` on the kernel to look at."""
    return Stepper(driver, setting.era, switches=setting.switches, **options)


@shows("skb_napi_cache", free_only=(0, 1), reuse=(32, 0))
def _structs_kept_and_taken_from_the_slab(setting: Setting) -> tuple[int, int]:
    """64 packets are freed in NAPI, and one is built there."""
    machine = setting.machine()
    slab = machine.k.slab[0]
    for skb in [machine.alloc_skb(100) for _ in range(64)]:
        machine.napi_consume_skb(skb)
    kept = machine.k.softnet[0].skb_count
    taken = slab.head_allocs
    page = machine.alloc_pages()
    assert page is not None
    machine.napi_build_skb(page)
    return kept, slab.head_allocs - taken


@shows("skb_small_head", page_frag="piece of 32 KiB", kmalloc="object", slices="piece of a page")
def _head_of_a_small_receive_buffer(setting: Setting) -> str:
    machine = setting.machine()
    page = machine.k.skb[machine.napi_alloc_skb(100).number].head_page
    if page == NONE:
        return "object"
    order = machine.k.pages[compound_head.interpreted()(machine.k, page)].order
    return {0: "piece of a page", 3: "piece of 32 KiB"}[order]


@shows("netdev_frag_cache", {"skb_small_head": "page_frag"}, irqs_off=(True, False), by_context=(False, True))
def _which_fragment_cache_serves_process_context(setting: Setting) -> tuple[bool, bool]:
    machine = setting.machine()
    machine.netdev_alloc_skb(1000)
    caches = machine.k.page_frag_cache
    return caches[NETDEV_FRAGS].page != 0, caches[NAPI_FRAGS].page != 0


@shows("mlx5_rx_cache", POOL_OF_V6_1, fifo256=(True, False, 2, False, False), none=(False, True, 1, True, True))
def _who_keeps_maps_and_counts_a_receive_page(setting: Setting) -> tuple[bool, bool, int, bool, bool]:
    """The driver's cache counters; a mapping pool; page references and fragments while a packet is held; its mark."""
    nic = stepper(setting, "mlx5", options={"rq": "legacy"})
    skb = nic.receive(60)
    page = nic.k.pages[nic.head_page(skb)]
    seen = (
        "rx_cache_reuse" in nic.device.ethtool(),
        bool(nic.pool.flags & PP_FLAG_DMA_MAP),
        page.refcount,
        page.frag_count == PAGE_BIAS,
        bool(nic.k.skb[skb.number].pp_recycle),
    )
    assert nic.leaks() == []
    return seen


@shows(
    "mlx5_page_drop",
    WAITING_POOL | {"mlx5_rx_cache": "fifo256", "page_signature": "unchecked"},
    put_page="waits for ever",
    release_page="gone",
)
def _pool_of_a_closed_queue(setting: Setting) -> str:
    nic = stepper(setting, "mlx5", options={"rq": "legacy"})
    nic.device.stop()
    return "waits for ever" if nic.pool.alive else "gone"


@shows("mlx5_refill", bulks=8, partial=12, units=0)
def _work_queue_entries_posted_when_twelve_are_missing(setting: Setting) -> int:
    nic = stepper(setting, "mlx5", options={"rq": "legacy"})
    for _ in range(12):
        nic.receive(60)
    posted: int = RQ(nic.k, 0, 0).pi
    nic.refill()
    return RQ(nic.k, 0, 0).pi - posted


@shows("mlx5_jumbo_skb", copied_head=(256, 2048), in_place=(1664, 2048))
def _linear_part_and_first_fragment_of_a_jumbo_frame(setting: Setting) -> tuple[int, int]:
    nic = stepper(setting, "mlx5", mtu=9000, memory_mb=32, options={"rq": "legacy"})
    skb = nic.receive(9000)
    row = nic.k.skb[skb.number]
    return row.len - row.data_len, nic.frags(skb)[1][2]


@shows("mlx5_skb_build", {"skb_napi_cache": "reuse"}, build_skb=(1, 0), napi_build_skb=(0, 1))
def _structs_taken_for_a_received_frame(setting: Setting) -> tuple[int, int]:
    nic = stepper(setting, "mlx5", options={"rq": "legacy"})
    nic.receive(60)
    return nic.k.slab[0].head_allocs, nic.k.slab[0].head_bulk_allocs


@shows("netsec_rx", netdev_alloc_skb=(0, 2176, 0), napi_alloc_frag=(16, 2176, 0), page_pool=(256, 4352, 1))
def _blocks_behind_the_ring_memory_of_a_packet_and_pools(setting: Setting) -> tuple[int, int, int]:
    nic = stepper(setting, "netsec")
    blocks = {compound_head.interpreted()(nic.k, page) for page in nic.device.pages_held()}
    seen = len(blocks), nic.receive(1514).truesize, nic.k.pools[0].count
    assert nic.leaks() == []
    return seen


@shows("netsec_poll", {"netsec_rx": "napi_alloc_frag"}, shared=(40, 24), repeats=(40, 61), one_pass=(40, 1))
def _transmissions_cleaned_and_work_of_a_poll(setting: Setting) -> tuple[int, int]:
    """40 and 60 of them wait, and there is no struct at first."""
    nic = stepper(setting, "netsec")
    for _ in range(40):
        nic.transmit(nic.machine.alloc_skb(60))
    for _ in range(60):
        nic.arrive(60)
    nic.machine.inject("skb", nth=1)
    return nic.polls()[0]


@shows("netsec_pool_sync", PAGES_FROM_A_POOL | {"netsec_skb_recycle": "mark"}, driver=(False, 257), pool=(True, 258))
def _syncs_until_a_received_page_is_back(setting: Setting) -> tuple[bool, int]:
    """256 buffers and a replacement; a pool that syncs does so at each return too."""
    nic = stepper(setting, "netsec")
    nic.receive(60)
    nic.consume()
    return bool(nic.pool.flags & PP_FLAG_DMA_SYNC_DEV), nic.k.dma[0].syncs


@shows("netsec_pool_node", PAGES_FROM_A_POOL, cpu0=(256, 0), any=(0, 256))
def _receive_pages_of_each_node_for_a_queue_polled_on_the_second(setting: Setting) -> tuple[int, int]:
    machine = setting.machine(cpus=2, nodes=2, memory_mb=32)
    nic = machine.netdev("netsec", settings=DeviceSettings(irq_affinity=[1]))
    pages = [machine.k.pages[page].nid for page in nic.pages_held()]
    return pages.count(0), pages.count(1)


@shows("netsec_skb_recycle", PAGES_FROM_A_POOL, release_page=(1, 0), mark=(0, 1))
def _pages_let_go_and_recycled_after_a_packet(setting: Setting) -> tuple[int, int]:
    nic = stepper(setting, "netsec")
    nic.receive(60)
    nic.consume()
    seen = nic.pool.release_cnt, nic.pool.recycle_ring
    assert nic.leaks() == []
    return seen


def fragment_only(machine: Machine, *, marked: bool) -> SkBuff:
    """A packet whose bytes all lie on one pool page, marked for recycling or not."""
    page = machine.page_pool(ring_size=16).alloc_pages()
    skb = machine.alloc_skb(64).add_rx_frag(page, size=4000, truesize=4096)
    machine.k.skb[skb.number].pp_recycle = marked
    return skb


@shows(
    "skb_coalesce",
    any=(1, 1, 1, 2),
    equal=(0, 1, 0, 2),
    unless_cloned=(0, 0, 1, 1),
    not_cloned=(0, 0, 0, 1),
    pool_refs=(0, 1, 0, 1),
)
def _which_marks_mix_and_who_holds_a_shared_page(setting: Setting) -> tuple[int, int, int, int]:
    """A marked packet into an unmarked one; a cloned one into a marked and an unmarked one; references after that."""
    answers = []
    for to_marked, cloned in ((False, False), (True, True), (False, True)):
        machine = setting.machine()
        target, source = fragment_only(machine, marked=to_marked), fragment_only(machine, marked=True)
        if cloned:
            source.clone()
        answers.append(skb_try_coalesce(machine.k, 0, target.number, source.number))
        if to_marked:
            page = machine.k.frags[machine.k.skb[source.number].shinfo].page[0]
            references = machine.k.pages[page].refcount
    return answers[0], answers[1], answers[2], references


@shows("skb_gro_mark", any=True, equal=False)
def _a_marked_packet_joins_an_unmarked_one_in_receive_offload(setting: Setting) -> bool:
    machine = setting.machine()
    held, arriving = fragment_only(machine, marked=False), fragment_only(machine, marked=True)
    gro_start(machine.k, 0, held.number)
    return bool(skb_gro_receive(machine.k, 0, held.number, arriving.number, 0) == 0)


@shows("skb_defer", never=0, alloc_cpu=1)
def _packets_alive_after_a_free_on_another_cpu(setting: Setting) -> int:
    machine = setting.machine(cpus=2)
    skb = machine.alloc_skb(100, cpu=1)
    skb_attempt_defer_free(machine.k, 0, skb.number)
    alive: int = machine.k.slab[0].live
    return alive
