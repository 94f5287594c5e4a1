"""XDP in both drivers, in the shape of the kernel's own driver tests: native mode, single and multi buffer."""

from __future__ import annotations

from typing import Any

import pytest

from netemu import UsageError
from netemu.mm.layout import PAGE_SIZE
from netemu.net.skb_layout import SHARED_INFO_SIZE
from netemu.net.xdp_layout import XDP_PACKET_HEADROOM
from netemu.profiles.eras import era_names
from tests.drivers.stepping import Stepper
from tests.drivers.xdp_stepping import (
    Program,
    Xdp,
    asking,
    frame_of,
    head_pass,
    head_tx,
    meta_pass,
    seven,
    tail_drop,
    tail_pass,
    tail_tx,
    to_device,
    to_map,
    to_map_or_pass,
)

ERAS = era_names()
DEVICES = {
    "mlx5 legacy": ("mlx5", {"rq": "legacy"}),
    "mlx5 striding": ("mlx5", {"rq": "striding"}),
    "netsec": ("netsec", {}),
}
SINGLE = [
    ("mlx5 legacy", "v4.19"),
    ("mlx5 striding", "v5.15"),
    ("mlx5 striding", "v6.12"),
    ("netsec", "v5.4"),
    ("netsec", "v6.1"),
]
"""Each driver and each kind of receive queue, in eras without and with packets of several buffers."""
MULTI = [("mlx5 legacy", "v6.1"), ("mlx5 legacy", "v6.12"), ("mlx5 striding", "v6.6")]
LENGTH, JUMBO = 1000, 9000
AROUND = 140
"""Packets after which rings and caches have come round; more than two multi-packet WQEs of 64 pages."""

single_buffer = pytest.mark.parametrize(("name", "era"), SINGLE)
multi_buffer = pytest.mark.parametrize(("name", "era"), MULTI)


def single(name: str, era: str, program: Any) -> Xdp:
    driver, options = DEVICES[name]
    return Xdp(driver, era, program, options=options)


def multi(name: str, era: str, program: Any) -> Xdp:
    driver, options = DEVICES[name]
    return Xdp(driver, era, program, options=options | {"rx_ring": "256"}, mtu=JUMBO, memory_mb=32)


def grows(era: str) -> bool:
    return ERAS.index(era) >= ERAS.index("v5.10")


def has_several_buffers(era: str) -> bool:
    return ERAS.index(era) >= ERAS.index("v6.1")


def finish(nic: Xdp) -> None:
    nic.complete()
    nic.consume()
    nic.assert_balance()
    assert nic.leaks() == []


# -- verdicts --------------------------------------------------------------------------------------------------------


@single_buffer
def test_xdp_native_pass_sb(name: str, era: str) -> None:
    nic = single(name, era, "pass")
    for number in range(AROUND):
        frame = frame_of(60 + number)
        nic.process(frame)
        assert nic.frame_of(nic.held()[-1]) == frame
        nic.consume()
    assert nic.verdicts() == {"pass": AROUND}
    finish(nic)


@multi_buffer
def test_xdp_native_pass_mb(name: str, era: str) -> None:
    """Legacy: the head of an skb is the first buffer.  Striding: it is 256 bytes pulled out of the pages behind it."""
    fragments = {60: 0, 256: 0, 257: 1, 3520: 1, 3521: 1, 4096: 1, 4097: 2, 8000: 2, JUMBO: 3}
    if name == "mlx5 legacy":
        fragments = {60: 0, 3520: 0, 3521: 1, 7616: 1, 7617: 2, JUMBO: 2}
    nic = multi(name, era, "pass")
    for length, count in fragments.items():
        nic.process(frame_of(length))
        skb = nic.held()[-1]
        assert nic.frame_of(skb) == frame_of(length)
        assert len(nic.frags(skb)) == count
    finish(nic)


@single_buffer
def test_xdp_native_drop_sb(name: str, era: str) -> None:
    nic = single(name, era, "drop")
    for _ in range(AROUND):
        nic.process(LENGTH)
    before = nic.pages_allocated()
    for _ in range(AROUND):
        nic.process(LENGTH)
    assert nic.pages_allocated() == before
    assert nic.held() == []
    assert nic.verdicts() == {"drop": 2 * AROUND}
    finish(nic)


@multi_buffer
def test_xdp_native_drop_mb(name: str, era: str) -> None:
    nic = multi(name, era, "drop")
    for _ in range(30):
        nic.process(JUMBO)
    before = nic.pages_allocated()
    for _ in range(60):
        nic.process(JUMBO)
    assert nic.pages_allocated() == before
    finish(nic)


@single_buffer
def test_xdp_native_tx_sb(name: str, era: str) -> None:
    nic = single(name, era, "tx")
    for number in range(2 * AROUND):
        if number == AROUND:
            before = nic.pages_allocated()
        frame = frame_of(60 + number)
        nic.process(frame)
        assert nic.posted() == [frame]
        assert nic.complete() == 1
    assert nic.pages_allocated() == before
    assert nic.verdicts() == {"tx": 2 * AROUND}
    assert nic.k.xdp[0].live == 0
    finish(nic)


@multi_buffer
def test_xdp_native_tx_mb(name: str, era: str) -> None:
    nic = multi(name, era, "tx")
    for number in range(60):
        if number == 30:
            before = nic.pages_allocated()
        nic.process(frame_of(JUMBO))
        assert nic.posted() == [frame_of(JUMBO)]
        assert nic.complete() == 1
    assert nic.pages_allocated() == before
    finish(nic)


@single_buffer
def test_a_transmitted_page_is_in_nobody_elses_hands_until_its_completion(name: str, era: str) -> None:
    nic = single(name, era, "tx")
    for _ in range(AROUND):
        nic.process(LENGTH)
    nic.assert_balance()
    assert len(nic.posted()) == AROUND
    assert nic.complete() == AROUND
    finish(nic)


@single_buffer
def test_frames_still_on_a_ring_are_freed_when_the_device_stops(name: str, era: str) -> None:
    nic = single(name, era, "tx")
    for _ in range(AROUND):
        nic.process(LENGTH)
    assert nic.leaks() == []
    assert nic.k.xdp[0].live == 0


@single_buffer
def test_without_room_on_the_ring_the_packet_is_dropped_and_its_page_recycled(name: str, era: str) -> None:
    nic = single(name, era, "tx")
    ring = nic.rings()[-1] if nic.driver.name == "netsec" else nic.k.txq[nic.txq].xdp_tx - 1
    limit = nic.k.txq[ring].limit
    nic.k.txq[ring].limit = 10
    for _ in range(15):
        nic.process(LENGTH)
    nic.assert_balance()
    assert len(nic.posted()) == 10
    assert nic.k.txq[ring].full == nic.k.xdp_rxq[nic.rxq].tx_full == 5
    nic.k.txq[ring].limit = limit
    finish(nic)


@single_buffer
def test_aborted_and_unknown_verdicts_drop_and_an_unknown_one_warns_once(name: str, era: str) -> None:
    nic = single(name, era, "aborted")
    nic.process(LENGTH)
    nic.device.attach_xdp(Program(seven))
    nic.process(LENGTH)
    nic.process(LENGTH)
    assert nic.verdicts() == {"aborted": 3}
    assert nic.k.xdp[0].exceptions == 3
    assert nic.machine.messages() == ["Illegal XDP return value 7, expect packet loss!"]
    assert nic.held() == []
    finish(nic)


# -- moving the bounds -----------------------------------------------------------------------------------------------


@single_buffer
def test_xdp_native_adjst_head_shrnk_data(name: str, era: str) -> None:
    offsets = [4, 14, 100, 986]
    nic = single(name, era, Program(head_pass))
    for offset in offsets:
        nic.process(asking(LENGTH, offset))
        assert nic.frame_of(nic.held()[-1]) == asking(LENGTH, offset)[offset:]
    nic.device.attach_xdp(Program(head_tx))
    for offset in offsets:
        nic.process(asking(LENGTH, offset))
    assert nic.posted() == [asking(LENGTH, offset)[offset:] for offset in offsets]
    finish(nic)


@single_buffer
def test_xdp_native_adjst_head_grow_data(name: str, era: str) -> None:
    """216 bytes are what 256 bytes of headroom leave beside the frame struct in every era."""
    offsets = [4, 14, 216]
    nic = single(name, era, Program(head_pass))
    for offset in offsets:
        nic.process(asking(LENGTH, -offset))
        frame = nic.frame_of(nic.held()[-1])
        assert (len(frame), frame[offset:]) == (LENGTH + offset, asking(LENGTH, -offset))
    nic.device.attach_xdp(Program(head_tx))
    for offset in offsets:
        nic.process(asking(LENGTH, -offset))
    sent = [frame[offset:] for frame, offset in zip(nic.posted(), offsets, strict=True)]
    assert sent == [asking(LENGTH, -offset) for offset in offsets]
    finish(nic)


@single_buffer
def test_the_head_stays_behind_the_frame_struct_and_before_the_last_header(name: str, era: str) -> None:
    most = XDP_PACKET_HEADROOM - (40 if has_several_buffers(era) else 32)
    nic = single(name, era, Program(head_pass))
    for offset in (-most - 1, LENGTH - 13, -most, LENGTH - 14):
        nic.process(asking(LENGTH, offset))
    assert nic.verdicts() == {"aborted": 2, "pass": 2}
    finish(nic)


@single_buffer
def test_xdp_native_adjst_tail_shrnk_data(name: str, era: str) -> None:
    offsets = [1, 500, 986]
    nic = single(name, era, Program(tail_pass))
    for offset in offsets:
        nic.process(asking(LENGTH, -offset))
        assert nic.frame_of(nic.held()[-1]) == asking(LENGTH, -offset)[:-offset]
    nic.device.attach_xdp(Program(tail_tx))
    for offset in offsets:
        nic.process(asking(LENGTH, -offset))
    assert nic.posted() == [asking(LENGTH, -offset)[:-offset] for offset in offsets]
    finish(nic)


@single_buffer
def test_xdp_native_adjst_tail_grow_data(name: str, era: str) -> None:
    """From v5.8 up to the shared info behind the buffer, with zeros; before that not at all."""
    most = PAGE_SIZE - XDP_PACKET_HEADROOM - SHARED_INFO_SIZE - LENGTH
    nic = single(name, era, Program(tail_pass))
    nic.process(frame_of(1500))  # leaves something behind for the zeros to cover
    nic.consume()
    for offset in (1, most, most + 1):
        nic.process(asking(LENGTH, offset))
    if grows(era):
        frames = [nic.frame_of(skb) for skb in nic.held()]
        assert frames == [asking(LENGTH, offset) + bytes(offset) for offset in (1, most)]
        nic.device.attach_xdp(Program(tail_tx))
        nic.process(asking(LENGTH, most))
        assert nic.posted() == [asking(LENGTH, most) + bytes(most)]
    else:
        assert nic.held() == []
    finish(nic)


@single_buffer
def test_a_packet_keeps_its_ethernet_header(name: str, era: str) -> None:
    nic = single(name, era, Program(tail_pass))
    nic.process(asking(LENGTH, 13 - LENGTH))
    nic.process(asking(LENGTH, 14 - LENGTH))
    assert nic.verdicts() == {"aborted": 1, "pass": 1}
    finish(nic)


@multi_buffer
def test_xdp_native_adjst_tail_shrnk_data_mb(name: str, era: str) -> None:
    """Legacy: 9000 bytes lie in 3520, 4096 and 1384; striding: in none, 4096, 4096 and 808.  Empty buffers go back."""
    offsets = [1, 808, 809, 1384, 1385, 4904, 4905, 5480, 5481, 8900]
    nic = multi(name, era, Program(tail_pass))
    for offset in offsets:
        nic.process(asking(JUMBO, -offset))
        assert nic.frame_of(nic.held()[-1]) == asking(JUMBO, -offset)[:-offset]
    nic.assert_balance()
    nic.device.attach_xdp(Program(tail_tx))
    for offset in offsets:
        nic.process(asking(JUMBO, -offset))
    assert nic.posted() == [asking(JUMBO, -offset)[:-offset] for offset in offsets]
    nic.device.attach_xdp(Program(tail_drop))
    for offset in offsets:
        nic.process(asking(JUMBO, -offset))
    finish(nic)


@multi_buffer
def test_xdp_native_adjst_tail_grow_data_mb(name: str, era: str) -> None:
    """Legacy: the last buffer grows to the end of its page.  Striding: the driver does not say how far it could."""
    most = PAGE_SIZE - (JUMBO - 3520 - PAGE_SIZE)
    nic = multi(name, era, Program(tail_pass))
    for offset in (most, most + 1):
        nic.process(asking(JUMBO, offset))
    if name == "mlx5 legacy":
        assert [nic.frame_of(skb) for skb in nic.held()] == [asking(JUMBO, most) + bytes(most)]
        assert nic.verdicts() == {"aborted": 1, "pass": 1}
    else:
        assert nic.verdicts() == {"aborted": 2}
    finish(nic)


@multi_buffer
def test_xdp_native_adjst_head_shrnk_and_grow_data_mb(name: str, era: str) -> None:
    """The first buffer moves its start; the others stay as they are.  One that is empty cannot shrink, and has to get
    room for a whole Ethernet header.
    """
    offsets = [100, -100] if name == "mlx5 legacy" else [-14, -100, -216]
    nic = multi(name, era, Program(head_pass))
    for program in (head_pass, head_tx):
        nic.device.attach_xdp(Program(program))
        for offset in offsets:
            nic.process(asking(JUMBO, offset))
        frames = [nic.frame_of(skb) for skb in nic.held()] if program is head_pass else nic.posted()
        assert [len(frame) for frame in frames] == [JUMBO - offset for offset in offsets]
        for frame, offset in zip(frames, offsets, strict=True):
            assert frame[max(-offset, 0) :] == asking(JUMBO, offset)[max(offset, 0) :]
    if name == "mlx5 striding":
        for offset in (4, -13):
            nic.process(asking(JUMBO, offset))
        assert nic.verdicts()["aborted"] == 2
    finish(nic)


@multi_buffer
def test_without_room_on_the_ring_all_buffers_of_a_packet_are_recycled(name: str, era: str) -> None:
    nic = multi(name, era, "tx")
    ring = nic.k.txq[nic.k.txq[nic.txq].xdp_tx - 1]
    limit, ring.limit = ring.limit, 3
    for _ in range(5):
        nic.process(JUMBO)
    nic.assert_balance()
    assert (len(nic.posted()), nic.k.xdp_rxq[nic.rxq].tx_full) == (3, 2)
    ring.limit = limit
    finish(nic)


def test_without_memory_for_the_empty_first_buffer_a_packet_is_dropped() -> None:
    """It is not on the ring, as the others are, but allocated when the packet is looked at."""
    nic = multi("mlx5 striding", "v6.6", "pass")
    taken = nic.exhaust_memory()
    assert nic.arrive(JUMBO) == 0
    nic.poll()
    assert (nic.held(), nic.verdicts()) == ([], {})
    assert nic.k.run[0].dropped_no_skb == nic.device.ethtool()["rx_buff_alloc_err"] == 1
    nic.free(taken)
    nic.assert_balance()
    nic.process(JUMBO)
    assert len(nic.held()) == 1
    finish(nic)


@single_buffer
def test_metadata_is_a_multiple_of_four_of_at_most_32_bytes_where_the_driver_has_it(name: str, era: str) -> None:
    nic = single(name, era, Program(meta_pass))
    for offset in (-32, -4, 0, -36, -3, 4):
        nic.process(asking(LENGTH, offset))
    with_metadata = name != "netsec" and has_several_buffers(era)
    assert nic.verdicts() == ({"aborted": 3, "pass": 3} if with_metadata else {"aborted": 6})
    finish(nic)


# -- where a program can be attached ---------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["v4.19", "v5.0"])
def test_netsec_has_no_xdp_before_its_page_pool(era: str) -> None:
    with pytest.raises(UsageError, match="netsec has no XDP in this kernel"):
        Xdp("netsec", era, "drop")


@pytest.mark.parametrize(
    ("era", "rq", "several"),
    [
        ("v4.19", "legacy", False),
        ("v6.1", "legacy", True),
        ("v6.1", "striding", False),
        ("v6.6", "striding", True),
    ],
)
def test_an_mtu_over_one_page_needs_packets_of_several_buffers(era: str, rq: str, several: bool) -> None:
    Xdp("mlx5", era, "drop", options={"rq": rq}, mtu=3498)
    if several:
        Xdp("mlx5", era, "drop", options={"rq": rq}, mtu=3499, memory_mb=32)
        return
    with pytest.raises(UsageError, match="an MTU of 3499 is too large for an XDP program: 3498 is the most"):
        Xdp("mlx5", era, "drop", options={"rq": rq}, mtu=3499)


@single_buffer
def test_attaching_and_detaching_reopen_the_device_and_lose_no_page(name: str, era: str) -> None:
    driver, options = DEVICES[name]
    nic = Stepper(driver, era, options=options, contents=True)
    for _ in range(2):
        nic.receive(LENGTH)
        nic.consume()
        nic.device.attach_xdp("drop")
        assert nic.arrive(LENGTH) == 0
        nic.poll()
        assert nic.held() == []
        nic.refill()
        nic.device.detach_xdp()
    assert nic.receive(LENGTH).len == LENGTH
    assert nic.leaks() == []


# -- redirect --------------------------------------------------------------------------------------------------------


@single_buffer
def test_xdp_native_redirect_sb(name: str, era: str) -> None:
    """Out of a second device; the page comes home to the pool of the first."""
    nic = single(name, era, Program(to_device))
    other = nic.machine.netdev("mlx5", options={"rq": "legacy"})
    for number in range(AROUND):
        frame = frame_of(60 + number)
        nic.process(frame)
        assert nic.posted(other) == [frame]
        assert nic.complete(other) == 1
    nic.assert_balance()
    before = nic.pages_allocated()
    for _ in range(AROUND):
        nic.process(LENGTH)
        nic.complete(other)
    if nic.k.era[0].pool_alloc:  # before v5.4 a pool takes pages from the allocator while its ring is short
        assert nic.pages_allocated() == before
    assert nic.verdicts() == {"redirect": 2 * AROUND}
    other.stop()
    finish(nic)


@pytest.mark.parametrize(("name", "era"), MULTI[1:])
def test_xdp_native_redirect_mb(name: str, era: str) -> None:
    nic = multi(name, era, Program(to_device))
    other = nic.machine.netdev("mlx5", options={"rq": "legacy"}, mtu=JUMBO)
    for _ in range(40):
        nic.process(frame_of(JUMBO))
        assert nic.posted(other) == [frame_of(JUMBO)]
        nic.complete(other)
    other.stop()
    finish(nic)


def test_packets_of_several_buffers_do_not_go_where_they_cannot() -> None:
    """To no device in v6.1, and to none that does not gather later."""
    for (name, era), driver in ((MULTI[0], "mlx5"), (MULTI[2], "netsec")):
        nic = multi(name, era, Program(to_device))
        nic.machine.netdev(driver, mtu=1500)
        nic.process(frame_of(JUMBO))
        assert nic.k.xdp_rxq[nic.rxq].redirect_err == 1
        nic.assert_balance()


@single_buffer
def test_a_devmap_sends_sixteen_at_a_time(name: str, era: str) -> None:
    nic = single(name, era, Program(to_map))
    other = nic.machine.netdev("mlx5", options={"rq": "legacy"})
    nic.machine.devmap(4)[1] = other
    for number in range(17):
        assert nic.arrive(60 + number) == 0
        nic.poll()
    assert len(nic.posted(other)) == 16
    nic.process(90)
    assert [len(frame) for frame in nic.posted(other)] == [*range(60, 77), 90]
    nic.complete(other)
    other.stop()
    finish(nic)


@single_buffer
def test_a_missing_map_entry_is_the_verdict_of_the_flags_or_a_drop(name: str, era: str) -> None:
    nic = single(name, era, Program(to_map_or_pass))
    nic.machine.devmap(4)
    nic.process(LENGTH)
    assert nic.verdicts() == ({"aborted": 1} if era == "v4.19" else {"pass": 1})
    nic.device.attach_xdp(Program(to_map))
    nic.process(LENGTH)
    nic.consume()
    assert nic.k.xdp_rxq[nic.rxq].redirect_err == (1 if era == "v4.19" else 0)
    finish(nic)


@pytest.mark.parametrize(
    ("name", "era", "target"),
    [(*SINGLE[0], "mlx5"), (*SINGLE[2], "netsec"), (*SINGLE[3], "netsec"), (*SINGLE[4], "mlx5")],
)
def test_what_the_other_device_has_no_room_for_is_dropped_once(name: str, era: str, target: str) -> None:
    nic = single(name, era, Program(to_map))
    other = nic.machine.netdev(target)
    nic.machine.devmap(4)[1] = other
    ring = nic.rings(other)[0] if target == "netsec" else nic.k.txq[other.nic.txq(0)].xdp_redirect - 1
    limit = nic.k.txq[ring].limit
    nic.k.txq[ring].limit = 10
    for _ in range(16):
        assert nic.arrive(LENGTH) == 0
        nic.poll()
    nic.process(LENGTH)
    assert len(nic.posted(other)) == 10
    assert nic.k.xdp[0].xmit_drops == 7
    assert nic.k.xdp[0].live == 10
    nic.assert_balance()
    nic.k.txq[ring].limit = limit
    nic.complete(other)
    other.stop()
    finish(nic)


@single_buffer
def test_a_stopped_device_takes_no_frames(name: str, era: str) -> None:
    nic = single(name, era, Program(to_device))
    nic.machine.netdev("mlx5").stop()
    nic.process(LENGTH)
    assert nic.k.xdp_rxq[nic.rxq].redirect_err == 1
    nic.assert_balance()
    finish(nic)


@single_buffer
def test_the_pages_of_a_stopped_receiver_come_home_late(name: str, era: str) -> None:
    """Frames wait on the other device while the one that received them goes away, pool and all."""
    nic = single(name, era, Program(to_device))
    other = nic.machine.netdev("mlx5", options={"rq": "legacy"})
    for _ in range(10):
        nic.process(LENGTH)
    nic.device.stop()
    nic.assert_balance()
    if nic.k.era[0].xdp_mem_lookup != 1:
        nic.complete(other)
        assert nic.k.xdp[0].live == 0


@single_buffer
def test_a_socket_gets_a_copy_and_the_page_goes_back_at_once(name: str, era: str) -> None:
    nic = single(name, era, Program(to_map))
    socket = nic.machine.xskmap(4).add(1, slots=4)
    for number in range(6):
        nic.process(frame_of(60 + number))
    nic.machine.drain_sockets()
    assert [(r.packet, r.data) for r in socket.received] == [(n, frame_of(60 + n)) for n in range(4)]
    assert socket.drops == 2
    assert nic.k.xdp_rxq[nic.rxq].redirect_err == 2
    finish(nic)
