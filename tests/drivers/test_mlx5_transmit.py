"""How mlx5 transmits: what of its send queue a packet takes, when it stops, and what it counts."""

from __future__ import annotations

import pytest

from netemu.drivers.mlx5.layout import LOG_SQ_SIZE, SQ, SQ_STOP_ROOM
from tests.drivers.stepping import Stepper


def test_a_full_send_queue_stops_and_each_stop_is_counted_under_its_own_names() -> None:
    nic = Stepper("mlx5", memory_mb=32)
    while nic.transmit(nic.machine.alloc_skb(100)) == 0:
        assert nic.device.ethtool()["tx0_stopped"] == 0
    counted = nic.device.ethtool()
    assert (1 << LOG_SQ_SIZE) - counted["tx_packets"] == SQ_STOP_ROOM - 1  # the first packet that leaves too little
    assert [counted[name] for name in ("tx_queue_stopped", "tx0_stopped")] == [1, 1]
    assert "tx_stopped" not in counted
    assert "tx0_queue_stopped" not in counted


def test_counters_have_the_names_of_the_driver_for_a_queue_and_for_the_device() -> None:
    counted = Stepper("mlx5", "v6.1").device.ethtool()
    sums = {name for name in counted if not any(c.isdigit() for c in name)}
    assert {"tx_queue_wake", "tx_cqe_err", "tx_xdp_cqes", "rx_xdp_tx_cqe", "rx_congst_umr", "ch_aff_change"} < sums
    assert {"tx0_wake", "tx0_cqe_err", "tx0_xdp_cqes", "rx0_xdp_tx_cqes", "rx0_congst_umr", "ch0_aff_change"} < set(
        counted
    )


@pytest.mark.parametrize(
    ("era", "length", "frags", "entries"),
    [
        ("v6.1", 60, 0, 1),
        ("v6.1", 2000, 1, 1),  # control, Ethernet, linear part and a fragment: 64 bytes
        ("v6.1", 5000, 2, 2),
        ("v6.1", 9000, 3, 2),
        ("v5.15", 9000, 4, 2),
    ],
)
def test_a_packet_takes_send_queue_entries_by_its_fragments(era: str, length: int, frags: int, entries: int) -> None:
    """A segment of 16 bytes for the linear part and each fragment, two for the WQE: four in an entry."""
    nic = Stepper("mlx5", era, mtu=9000, memory_mb=32, options={"rq": "legacy"})
    skb = nic.receive(length)
    assert len(nic.frags(skb)) == frags
    assert nic.transmit(skb) == 0
    q = nic.k.txq[nic.txq]
    assert q.tail - q.head + q.more == SQ(nic.k, 0, 0).pc == entries
    clean(nic)
    assert (q.tail - q.head, q.more) == (0, 0)


def test_an_entry_of_several_parts_starts_a_page_of_the_queue_when_it_has_no_room_on_one() -> None:
    """64 entries are on a page; what is left of one is filled with no-ops, which go when that packet is cleaned."""
    nic = Stepper("mlx5", "v6.1", mtu=9000, memory_mb=32, options={"rq": "legacy"})
    for length in [60] * 63 + [9000]:
        assert nic.transmit(nic.receive(length)) == 0
    q, sq = nic.k.txq[nic.txq], SQ(nic.k, 0, 0)
    assert (q.more, sq.pc, sq.nop) == (2, 66, 1)
    assert nic.device.ethtool()["tx0_nop"] == 1
    clean(nic)
    assert q.more == 0


def test_a_queue_of_large_packets_stops_earlier() -> None:
    nic = Stepper("mlx5", "v6.1", mtu=9000, memory_mb=64, options={"rq": "legacy"})
    while nic.transmit(nic.receive(9000)) == 0:
        nic.refill()
    assert nic.k.txq[nic.txq].tail == ((1 << LOG_SQ_SIZE) - SQ_STOP_ROOM + 1) // 2


def clean(nic: Stepper) -> None:
    """Everything that is on the ring has been sent."""
    q = nic.k.txq[nic.txq]
    nic.k.softirq[0].held_head = nic.k.softirq[0].held_tail  # they are the ring's
    with nic.machine.softirq():
        while q.head != q.tail:
            nic.driver.tx_poll_one(nic.k, 0, nic.txq, 64)
    nic.machine.check()
