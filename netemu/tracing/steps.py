"""What counts as a step in the life of a page or a packet, and how it reads; in the order of a life."""

from __future__ import annotations

from typing import Any

from ..engine.kernel import REGISTERED
from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm import buddy, page_alloc, page_frag, pcp
from ..mm.layout import PAGE_SIZE
from ..net import (
    cpumap,
    dma,
    driver,
    local,
    page_pool,
    policy,
    ptr_ring,
    qdisc,
    recycle,
    redirect,
    run,
    skb_alloc,
    skb_clone,
    skb_coalesce,
    skb_data,
    skb_release,
    skb_slab,
    stack,
    xdp,
    xdp_frame,
    xdp_tx,
    xsk,
)
from .lives import AFTER, BEFORE, IF_FALSE, IF_TRUE, RESULT, Lives, Rule

ALLOCATOR = [
    Rule(buddy.__rmqueue_smallest, "taken off the buddy lists under zone->lock, order {order}", RESULT),
    Rule(buddy.__free_one_page, "given back to the buddy lists under zone->lock, order {order}", "pfn", when=BEFORE),
    Rule(pcp.pcp_push_tail, "put on the per-CPU list", "pfn"),
    Rule(pcp.pcp_push_head, "put on the per-CPU list, next to be handed out", "pfn"),
    Rule(pcp.pcp_pop_head, "taken off the per-CPU list", RESULT),
    Rule(pcp.pcp_pop_tail, "taken off the per-CPU list, to be given back", RESULT),
    Rule(page_alloc.prep_new_page, "allocated, order {order}: refcount {refs}", "pfn"),
    Rule(page_alloc.page_ref_add, "refcount +{n}: {refs}", "pfn"),
    Rule(page_alloc.page_ref_sub_and_test, "refcount -{n}: {refs}", "pfn"),
    Rule(page_alloc.free_pages_prepare, "freed, order {order}", "pfn", when=BEFORE),
    Rule(page_frag.take_bias, "becomes the page of a fragment cache: refcount {refs}", "pfn"),
    Rule(page_frag.page_frag_alloc, "a fragment of {size} bytes is cut off", f"address:{RESULT}"),
    Rule(page_frag.page_frag_alloc_1k, "a slice of 1024 bytes is cut off", f"address:{RESULT}"),
]

POOL = [
    Rule(page_pool.adopt_page, "joins page_pool {pool_id}{hold}", "pfn", when=IF_TRUE),
    Rule(page_pool.page_pool_dma_map, "", "pfn"),
    Rule(dma.dma_map_page_attrs, "mapped for DMA", "pfn", when=IF_TRUE),
    Rule(dma.dma_map_page_attrs, "cannot be mapped for DMA", "pfn", when=IF_FALSE),
    Rule(dma.dma_sync_single_range_for_device, "{size} bytes synced for the device", when=BEFORE),
    Rule(dma.dma_sync_single_range_for_cpu, "{size} bytes synced for the CPU", "received", when=BEFORE),
    Rule(dma.dma_unmap_page_attrs, "unmapped", "pfn"),
    Rule(page_pool.push_cache, "into the alloc cache of page_pool {pool_id}, {cached} pages there", "pfn"),
    Rule(page_pool.pop_cache, "out of the alloc cache of page_pool {pool_id}, {cached} pages left", RESULT),
    Rule(ptr_ring.ring_produce, "into the ring of page_pool {pool_id}", "pfn", when=IF_TRUE),
    Rule(ptr_ring.ring_produce, "the ring of page_pool {pool_id} is full", "pfn", when=IF_FALSE),
    Rule(ptr_ring.ring_consume, "out of the ring of page_pool {pool_id}", RESULT),
    Rule(page_pool.page_pool_alloc_pages, "handed out by page_pool {pool_id}", RESULT),
    Rule(page_pool.page_pool_fragment_page, "split: shares {count}", "pfn"),
    Rule(page_pool.page_pool_defrag_page, "shares -{count}: {result}", "pfn"),
    Rule(skb_coalesce.page_pool_ref_page, "shares +1: {shares}", "pfn"),
    Rule(page_pool.__page_pool_put_page, "offered to page_pool {pool_id}: refcount {refs}", "pfn", when=BEFORE),
    Rule(page_pool.page_pool_release_page, "leaves page_pool {pool_id}{release}", "pfn"),
    Rule(xdp_frame.collect_page, "collected, to be returned in bulk", "pfn", when=BEFORE),
    Rule(policy.policy_put, "the recycle policy decides: {policy_says}", "pfn"),
    Rule(policy.policy_get, "reused as the recycle policy chooses", RESULT),
    Rule(recycle.park_page, "kept for its driver: this recycle attempt is to succeed", "pfn"),
    Rule(recycle.unpark_page, "handed out to its driver again", RESULT),
    Rule(recycle.refuse_page, "this recycle attempt is to fail", "pfn"),
]

RECEIVE = [
    Rule(
        driver.dma_frame, "the NIC writes {count} bytes of the frame at offset {offset_in_page}", "address", "arriving"
    ),
    Rule(driver.post_completion, "the NIC reports the frame on receive queue {rxq}", packet="arriving"),
    Rule(skb_alloc.skb_init, "sk_buff {skb} is made"),
    Rule(skb_alloc.skb_set_page_head, "becomes the head of sk_buff {skb}, at offset {offset}", "pfn", "skb"),
    Rule(
        skb_data.skb_fill_page_desc,
        "becomes fragment {n} of sk_buff {skb}: {size} bytes at offset {offset}",
        "pfn",
        "skb",
    ),
    Rule(skb_alloc.skb_mark_for_recycle, "sk_buff {skb} is marked for recycling", packet="skb"),
    Rule(driver.deliver, "handed to the stack as sk_buff {skb}, {length} bytes", packet="packet", when=BEFORE),
]

XDP = [
    Rule(xdp.xdp_verdict, "XDP verdict: {verdict_name}", packet="xdp"),
    Rule(xdp_frame.xdp_convert_buff_to_frame, "becomes XDP frame {result}", packet="xdp"),
    Rule(redirect.xdp_do_redirect, "redirect returns {result}", packet="xdp"),
    Rule(xsk.xsk_rcv, "copied to socket {socket}: {result}", packet="xdp"),
    Rule(cpumap.cpu_map_bq_enqueue, "collected for the kthread of cpumap entry {entry}", packet="frame"),
    Rule(cpumap.cpu_map_build_skb, "the kthread makes sk_buff {result} of it", packet="frame"),
    Rule(xdp_frame.xdp_return_frame, "freed through {function}", packet="frame", when=BEFORE),
    Rule(xdp_frame.xdp_return_frame_rx_napi, "freed through {function}", packet="frame", when=BEFORE),
    Rule(xdp_frame.xdp_return_frame_bulk, "freed through {function}", packet="frame", when=BEFORE),
    Rule(xdp_frame.xdp_return_buff, "freed through {function}", packet="xdp", when=BEFORE),
]

TRANSMIT = [
    Rule(qdisc.dev_queue_xmit, "to be sent by eth{dev}", packet="skb", when=BEFORE),
    Rule(qdisc.qdisc_enqueue, "waits in the qdisc of transmit queue {txq}", packet="skb", when=BEFORE),
    Rule(qdisc.qdisc_requeue, "the driver has no room: back to the qdisc of transmit queue {txq}", packet="skb"),
    Rule(qdisc.sch_direct_xmit, "", packet="skb"),
    Rule(xdp_tx.xdp_post, "", packet="frame"),
    Rule(stack.tx_post, "posted on transmit queue {txq}, {length} bytes", packet="skb"),
    Rule(driver.take_transmitted, "transmitted: completion on transmit queue {txq}", packet="transmission:txq"),
    Rule(local.ip_local_deliver, "queued for its consumer", packet="skb", when=BEFORE),
]

FREE = [
    *(
        Rule(function, "{drops} through {function}", packet="skb", when=BEFORE)
        for function in (
            skb_release.kfree_skb,
            skb_release.consume_skb,
            skb_release.napi_consume_skb,
            skb_release.kfree_skb_defer,
            skb_release.dev_kfree_skb_irq,
            skb_release.dev_kfree_skb_any,
        )
    ),
    Rule(skb_release.skb_attempt_defer_free, "left to the CPU that allocated it", packet="skb", when=BEFORE),
    Rule(skb_release.skb_release_data, "", packet="skb"),
    Rule(skb_release.skb_free_head, "dropped as the head of sk_buff {skb}", "head:skb", "skb", BEFORE),
    Rule(skb_release.__skb_frag_unref, "dropped as a fragment of its sk_buff", "pfn", when=BEFORE),
    Rule(skb_slab.napi_skb_cache_put, "its struct {skb} goes to the NAPI cache", packet="skb"),
    Rule(skb_slab.kmem_cache_free, "its struct {skb} goes to the slab", packet="skb"),
]

OF_DRIVERS = {
    "mlx5e_rx_cache_put": ("kept in the driver's RX cache", "pfn", IF_TRUE),
    "mlx5e_rx_cache_get": ("out of the driver's RX cache", RESULT, AFTER),
    "mlx5e_page_release": ("released by the driver", "pfn", BEFORE),
}
"""Functions of drivers that are steps of pages, by name."""


def follow(lives: Lives, watch: Watch) -> None:
    """Put every rule in force, those about drivers that are loaded by now too."""
    lives.follow([*ALLOCATOR, *POOL, *RECEIVE, *XDP, *TRANSMIT, *FREE])
    for function in REGISTERED:
        if function.name in OF_DRIVERS:
            text, page, when = OF_DRIVERS[function.name]
            lives.follow([Rule(function, text, page, when=when)])
    _follow_structs(lives, watch)


def follow_operations(lives: Lives, rx_poll_one: Any, tx_poll_one: Any) -> None:
    """Two operations of the driver: what happens in them is about the packet that is next on their queue."""
    for operation, text, kind in (
        (rx_poll_one, "the poll takes it off its receive queue", "completion"),
        (tx_poll_one, "", "transmission"),
    ):
        code = operation.function.__code__
        queue = code.co_varnames[2]
        lives.follow([Rule(operation, text, packet=f"{kind}:{queue}", when=BEFORE)])


def _follow_structs(lives: Lives, watch: Watch) -> None:
    """Which packet each sk_buff belongs to, where the NIC puts frames, and those that it does not take."""

    def skb_init(body: Body, k: Kernel, cpu: int, skb: int, size: int) -> None:
        lives.own(skb)
        body(k, cpu, skb, size)

    def deliver(body: Body, k: Kernel, cpu: int, rxq: int, skb: int, packet: int, length: int) -> None:
        lives.own(skb, packet)  # a driver can have made it in advance
        body(k, cpu, rxq, skb, packet, length)

    def clone(body: Body, k: Kernel, made: int, skb: int) -> Any:
        lives.own(made, lives.owner(skb))
        return body(k, made, skb)

    def dma_frame(body: Body, k: Kernel, address: int, start: int, count: int) -> None:
        lives.received(int(k.run[0].arrived), address // PAGE_SIZE)
        body(k, address, start, count)

    def wire_step(body: Body, k: Kernel, dev: int) -> None:
        packet, q = int(k.run[0].arrived), k.rxq[k.wire[dev].rxq - 1]
        before = q.out_of_buffer, q.oversize
        body(k, dev)
        if q.out_of_buffer != before[0]:
            lives.lost(packet, "no receive buffer was posted")
        elif q.oversize != before[1]:
            lives.lost(packet, "longer than the NIC takes")

    hooks: list[tuple[Any, Any]] = [
        (skb_alloc.skb_init, skb_init),
        (driver.deliver, deliver),
        (skb_clone.__skb_clone, clone),
        (driver.dma_frame, dma_frame),
        (run.wire_step, wire_step),
    ]
    for function, hook in hooks:
        watch.wrap(function, hook)
