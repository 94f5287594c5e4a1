"""How netsec receives and transmits: a replacement first, 256 descriptors, buffers that changed with the eras."""

from __future__ import annotations

import pytest

from netemu import Machine
from netemu.drivers.netsec.layout import DESC, RING
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.mm.page_alloc import compound_head
from netemu.net.device_layout import ACTION_FORWARD, NO_DESCRIPTOR, OVERSIZE, RECEIVED
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV
from netemu.netdevice import DeviceSettings
from netemu.profiles.eras import era_names
from tests.drivers.stepping import Stepper, refcounts
from tests.drivers.xdp_stepping import Xdp

ERAS = era_names()
WITH_POOL = ERAS[2:]


@pytest.mark.parametrize("era", ERAS)
def test_the_ring_has_256_descriptors(era: str) -> None:
    nic = Stepper("netsec", era)
    assert [nic.arrive(60) for _ in range(257)] == [RECEIVED] * 256 + [NO_DESCRIPTOR]
    assert nic.poll() == 1
    assert [nic.arrive(60) for _ in range(2)] == [RECEIVED, NO_DESCRIPTOR]


def test_without_a_replacement_the_packet_of_v4_19_is_dropped_and_its_skb_received_into_again() -> None:
    nic = Stepper("netsec", "v4.19")
    posted = nic.device.nic.private(DESC)["where"].tolist()
    for _ in range(4):
        assert nic.arrive(60) == RECEIVED
    nic.machine.inject("skb", nth=2)
    assert nic.polls() == [(0, 4)]
    assert [nic.k.skb_packet[skb.number] for skb in nic.held()] == [0, 2, 3]
    assert nic.device.nic.private(DESC)["where"][1] == posted[1]
    assert (nic.k.run[0].dropped_no_skb, RING(nic.k, 0, 0).alloc_failed) == (1, 1)
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ERAS[1:])
def test_without_a_replacement_the_packet_waits_in_its_descriptor(era: str) -> None:
    nic = Stepper("netsec", era, memory_mb=8)
    taken = nic.exhaust_memory()
    ring, queue = RING(nic.k, 0, 0), nic.k.rxq[nic.rxq]
    for _ in range(256):
        assert nic.arrive(60) == RECEIVED
    while ring.alloc_failed == 0:
        nic.poll()
    processed = len(nic.held())
    assert processed < 256
    waiting = queue.cq_tail - queue.cq_head
    assert waiting == 256 - processed
    again = 1 if era == "v5.0" else 0
    assert (nic.poll(), nic.poll()) == (again, again)
    assert ring.alloc_failed == 3
    assert queue.cq_tail - queue.cq_head == waiting
    assert len(nic.held()) == processed
    nic.free(taken)
    while queue.cq_head != queue.cq_tail:
        assert nic.poll() == 1
    assert [nic.k.skb_packet[skb.number] for skb in nic.held()] == list(range(256))
    assert nic.leaks() == []


def test_a_processed_descriptor_always_has_a_buffer_again() -> None:
    nic = Stepper("netsec", "v6.1")
    posted = set(nic.device.pages_held())
    page = nic.head_page(nic.receive(60))
    now = set(nic.device.pages_held())
    assert len(posted) == len(now) == 256
    assert posted - now == {page}


@pytest.mark.parametrize(
    ("era", "truesize", "blocks", "order"),
    [("v4.19", 2176, 0, 3), ("v5.0", 2176, 16, 3), ("v5.4", 4352, 256, 0), ("v6.1", 4352, 256, 0)],
)
def test_what_a_receive_buffer_is_by_era(era: str, truesize: int, blocks: int, order: int) -> None:
    """Until v5.0, 17 buffers of 1920 bytes are cut from a block of 32 KiB; in v4.19 they are skbs already."""
    nic = Stepper("netsec", era)
    held = {compound_head.interpreted()(nic.k, page) for page in nic.device.pages_held()}
    assert len(held) == blocks
    skb = nic.receive(1514)
    assert (skb.len, skb.truesize) == (1514, truesize)
    assert nic.k.pages[compound_head.interpreted()(nic.k, nic.head_page(skb))].order == order
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ["v4.19", "v5.0"])
def test_there_is_no_pool_before_v5_3(era: str) -> None:
    nic = Stepper("netsec", era)
    assert nic.k.rxq[nic.rxq].pool == NONE
    assert nic.k.pools[0].count == 0


@pytest.mark.parametrize("era", WITH_POOL)
def test_the_pool_syncs_from_v5_5_on(era: str) -> None:
    p = Stepper("netsec", era).pool
    if era == "v5.4":
        assert (p.flags, p.max_len, p.offset) == (PP_FLAG_DMA_MAP, 0, 0)
    else:
        assert (p.flags, p.max_len, p.offset) == (PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, 3520, 256)


@pytest.mark.parametrize("era", WITH_POOL)
def test_receive_pages_of_v5_4_are_of_the_node_of_cpu_0_and_later_of_the_polling_cpu(era: str) -> None:
    machine = Machine(era=era, cpus=2, nodes=2, memory_mb=32)
    nic = machine.netdev("netsec", settings=DeviceSettings(irq_affinity=[1]))
    assert {machine.k.pages[page].nid for page in nic.pages_held()} == {0 if era == "v5.4" else 1}


@pytest.mark.parametrize("era", WITH_POOL)
def test_xdp_frames_are_in_the_byte_queue_limits_from_v5_5_on(era: str) -> None:
    nic = Xdp("netsec", era, "tx")
    for _ in range(20):
        nic.process(1000)
    assert nic.polls() == [(20, 0)]
    limits, sent = nic.k.dql[nic.txq], nic.k.netdev[0]
    counted = 0 if era == "v5.4" else 20_000
    assert (limits.num_queued, limits.num_completed) == (counted, counted)
    assert (sent.tx_packets, sent.tx_bytes) == (20, counted)


@pytest.mark.parametrize("era", WITH_POOL)
def test_a_page_leaves_the_pool_with_its_skb_or_comes_back_with_its_end(era: str) -> None:
    nic = Stepper("netsec", era)
    page = nic.head_page(nic.receive(60))
    marked = era in ("v6.1", "v6.6", "v6.12")
    assert nic.pool.release_cnt == (0 if marked else 1)
    assert refcounts(nic, [page]) == [1]
    nic.consume()
    assert nic.pool.recycle_ring == (1 if marked else 0)
    assert refcounts(nic, [page]) == [1 if marked else 0]
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ERAS)
def test_255_transmissions_fit_and_the_next_stops_the_queue(era: str) -> None:
    nic = Stepper("netsec", era)
    for _ in range(255):
        assert nic.transmit(nic.machine.alloc_skb(60)) == 0
    refused = nic.machine.alloc_skb(60)
    assert nic.transmit(refused) == 1
    assert refused.users == 1
    assert nic.k.txq[nic.txq].stopped == 1
    with nic.machine.softirq():
        nic.driver.tx_poll_one(nic.k, 0, nic.txq, 64)
    assert nic.transmit(refused) == 0


def test_frames_are_at_most_1514_bytes_without_their_check_sequence() -> None:
    nic = Stepper("netsec")
    assert (nic.arrive(1514), nic.arrive(1515)) == (RECEIVED, OVERSIZE)


@pytest.mark.parametrize("era", ERAS)
def test_a_frame_arrives_as_it_was_sent(era: str) -> None:
    nic = Stepper("netsec", era, contents=True)
    frame = bytes(i & 0xFF for i in range(1514))
    assert nic.frame_of(nic.receive(frame)) == frame


def test_transmissions_count_in_the_poll_of_v4_19_and_both_are_looked_for_until_none_is_left() -> None:
    nic = Stepper("netsec", "v4.19")
    for _ in range(100):
        nic.transmit(nic.machine.alloc_skb(60))
        nic.arrive(60)
    assert nic.polls() == [(64, 0), (36, 28), (0, 64), (0, 8)]
    assert nic.leaks() == []


def test_what_is_sent_while_the_poll_of_v4_19_receives_is_cleaned_in_its_next_round() -> None:
    nic = Stepper("netsec", "v4.19")
    nic.k.run[0].action = ACTION_FORWARD
    for _ in range(20):
        nic.arrive(60)
    nic.k.netdev[0].ps_per_byte = nic.k.netdev[0].bql = 0
    assert nic.polls() == [(20, 20)]


@pytest.mark.parametrize("era", ERAS[1:])
def test_transmissions_do_not_count_in_the_poll_from_v5_0_on(era: str) -> None:
    nic = Stepper("netsec", era)
    for _ in range(100):
        nic.transmit(nic.machine.alloc_skb(60))
        nic.arrive(60)
    assert nic.polls() == [(100, 64), (0, 36)]
    assert nic.leaks() == []


def test_without_a_struct_the_packet_of_v5_0_waits_and_its_new_buffer_is_freed() -> None:
    nic = Stepper("netsec", "v5.0")
    posted = (nic.device.nic.private(DESC)["where"] // PAGE_SIZE).tolist()
    for _ in range(3):
        assert nic.arrive(60) == RECEIVED
    nic.machine.inject("skb", nth=2)
    assert nic.polls() == [(0, 4)]
    assert [nic.k.skb_packet[skb.number] for skb in nic.held()] == [0, 1, 2]
    assert [nic.head_page(skb) for skb in nic.held()] == posted[:3]
    assert nic.k.run[0].dropped_no_skb == 0
    assert nic.leaks() == []


def test_a_poll_of_v5_0_that_gets_no_struct_uses_up_its_budget_and_is_called_again() -> None:
    nic = Stepper("netsec", "v5.0")
    nic.arrive(60)
    nic.k.slab[0].skb_limit = 1
    assert nic.polls(steps=2) == [(0, 64), (0, 64)]
    nic.k.slab[0].skb_limit = 0
    assert nic.polls() == [(0, 1)]
    assert len(nic.held()) == 1
    assert nic.leaks() == []


def test_no_struct_for_a_packet_drops_it_and_gives_its_buffer_back() -> None:
    nic = Stepper("netsec", "v6.1")
    nic.k.slab[0].skb_limit = 1
    assert nic.arrive(60) == RECEIVED
    assert nic.poll() == 1
    assert nic.held() == []
    assert nic.k.run[0].dropped_no_skb == 1
    nic.k.slab[0].skb_limit = 0
    assert nic.receive(60).len == 60
    assert nic.leaks() == []
