"""How mlx5 transmits: what of its send queue a packet takes, when it stops, and what it counts."""

from __future__ import annotations

from netemu.drivers.mlx5.layout import LOG_SQ_SIZE, SQ_STOP_ROOM
from tests.drivers.stepping import Stepper


def test_a_full_send_queue_stops_and_each_stop_is_counted_under_its_own_names() -> None:
    nic = Stepper("mlx5", memory_mb=32)
    while nic.transmit(nic.machine.alloc_skb(100)) == 0:
        assert nic.device.ethtool()["tx0_stopped"] == 0
    counted = nic.device.ethtool()
    assert counted["tx_packets"] == (1 << LOG_SQ_SIZE) - SQ_STOP_ROOM
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
