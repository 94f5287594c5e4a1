"""What an administrator sets has the effect that it has on a machine: interrupts, queues, consumers, nodes, windows."""

from __future__ import annotations

from typing import Any

import pytest

from netemu import DeviceSettings, UsageError
from tests.replay.runs import DNS, FLOOD, HTTP, IMIX, run


def calls(data: dict[str, Any], name: str) -> int:
    return sum(row["calls"] for row in data["callgraph"] if row["path"][-1] == name)


def share(data: dict[str, Any], name: str) -> float:
    return sum(row["percent"] for row in data["callgraph"] if row["path"][-1] == name)


# -- interrupt moderation --------------------------------------------------------------------------------------------


def test_an_interrupt_for_each_packet_when_nothing_is_moderated() -> None:
    settings = DeviceSettings(rx_usecs=0, rx_frames=1, tx_usecs=0, tx_frames=1)
    data = run(DNS, rate=1000, settings=settings)
    assert data["ethtool"]["ch_events"] == 2 * data["packets"]["offered"]


def test_frames_limit_interrupts_when_packets_come_fast() -> None:
    def events(frames: int) -> int:
        settings = DeviceSettings(rx_usecs=10_000, rx_frames=frames, tx_usecs=0, tx_frames=1)
        count: int = run(DNS, rate=100_000, action="drop", settings=settings)["ethtool"]["ch_events"]
        return count

    assert events(10) == pytest.approx(800 / 10, abs=2)
    assert events(40) == pytest.approx(800 / 40, abs=2)


def test_the_timer_limits_interrupts_when_packets_come_slowly() -> None:
    settings = DeviceSettings(rx_usecs=1000, rx_frames=1000)
    data = run(DNS, rate=10_000, action="drop", settings=settings)  # 10 packets in 1 ms
    assert data["ethtool"]["ch_events"] == pytest.approx(800 / 11, rel=0.05)
    assert data["virtual_ns"] == pytest.approx(800 * 100_000, rel=0.03)


def test_moderation_batches_transmit_completions() -> None:
    def polls(usecs: float, frames: int) -> int:
        settings = DeviceSettings(rx_usecs=0, rx_frames=1, tx_usecs=usecs, tx_frames=frames)
        count: int = run(DNS, rate=100_000, settings=settings)["ethtool"]["ch_poll"]
        return count

    assert polls(0, 1) > 1.8 * polls(10_000, 1000)


@pytest.mark.parametrize(
    "bad",
    [
        {"rx_usecs": -1.0},
        {"tx_frames": 0},
        {"xps": "shift:x"},
        {"irq_affinity": [0, 5]},
        {"irq_affinity": []},
        {"link_gbps": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        run(DNS, settings=DeviceSettings(**bad))


@pytest.mark.parametrize(
    ("bad", "what_to_do"),
    [
        ({"nodes": 5, "cpus": 2}, "raise cpus or lower nodes"),
        ({"repeat": 2, "packets": 5}, "give one of them"),
        ({"pcp_batch": 0}, "pcp_batch is 1 to"),
    ],
)
def test_values_that_would_be_ignored_are_refused(bad: dict[str, Any], what_to_do: str) -> None:
    with pytest.raises(UsageError, match=what_to_do):
        run(DNS, **bad)


# -- queues and CPUs -------------------------------------------------------------------------------------------------


def busy_by_cpu(result: Any) -> list[int]:
    cpu = result.machine.k.arrays["cpu"]
    return [int(x) for x in cpu["clock"] - cpu["idle"]]


def test_interrupts_go_where_they_are_sent() -> None:
    import netemu

    result = netemu.replay(IMIX, cpus=4, queues=2, settings=DeviceSettings(irq_affinity=[3, 1]))
    busy = busy_by_cpu(result)
    assert busy[0] == busy[2] == 0
    assert busy[1] > 0 < busy[3]


def test_completions_on_another_cpu_cost_lines_that_have_to_come_over() -> None:
    same = run(FLOOD, cpus=2, repeat=4, action="forward")
    other = run(FLOOD, cpus=2, repeat=4, action="forward", settings=DeviceSettings(xps="shift:1"))
    assert other["packets"] == same["packets"]
    per_packet = (other["busy_ns"] - same["busy_ns"]) / other["packets"]["received"]
    assert per_packet > 3 * 19  # sk_buff, shared info and page at least
    assert other["leaks"] == []


def test_by_receive_queue_all_packets_of_a_queue_leave_through_the_queue_of_that_number() -> None:
    data = run(IMIX, cpus=2, queues=2, settings=DeviceSettings(xps="rxq", irq_affinity=[0, 0]))
    for queue in range(2):
        assert data["ethtool"][f"tx{queue}_packets"] == data["ethtool"][f"rx{queue}_packets"] > 0


def test_a_slower_link_holds_packets_longer() -> None:
    fast, slow = (run(FLOOD, settings=DeviceSettings(link_gbps=gbps)) for gbps in (100.0, 0.5))
    assert slow["pps"] == pytest.approx(0.5e9 / (8 * (60 + 24)), rel=0.05)
    assert fast["pps"] > 1e6


def test_a_full_transmit_ring_makes_packets_wait_in_the_qdisc_and_a_full_qdisc_drops() -> None:
    data = run(FLOOD, repeat=2, platform="xeon-e5-1650v4", rate="max", settings=DeviceSettings(bql=False))
    assert data["packets"]["dropped"] == {}
    assert calls(data, "__qdisc_run") == 0


def test_byte_limits_let_nearly_all_packets_pass_the_qdisc_by_once_they_have_grown() -> None:
    data = run(FLOOD, repeat=8)
    assert data["packets"]["forwarded"] == data["packets"]["offered"]
    assert 0 < calls(data, "__qdisc_run") < 0.1 * data["packets"]["offered"]


def softirq(field: str, **options: Any) -> int:
    """A counter of net_rx_action, over all CPUs, after a flood of 64-byte packets."""
    import netemu

    result = netemu.replay(FLOOD, repeat=2, **options)
    return int(result.machine.k.arrays["softirq"][field].sum())  # type: ignore[union-attr]


def test_a_budget_of_one_poll_is_used_up_by_it() -> None:
    assert softirq("time_squeeze", netdev_budget=64) == 6000 // 64
    assert softirq("time_squeeze", netdev_budget=300) == 0


def test_a_busy_queue_is_polled_once_in_each_action() -> None:
    data = run(FLOOD, repeat=2, action="drop")
    polls = data["ethtool"]["ch_poll"]
    assert softirq("runs", action="drop") == polls > data["packets"]["offered"] / 64


def test_a_single_queue_does_not_care_for_a_budget_above_one_poll() -> None:
    def callgraph(budget: int) -> Any:
        return run(FLOOD, action="local", netdev_budget=budget)["callgraph"]

    assert callgraph(65) == callgraph(300) == callgraph(6400)


def test_of_several_busy_queues_a_small_budget_leaves_some_to_the_next_action() -> None:
    shared = {"cpus": 1, "queues": 8, "action": "drop"}
    assert softirq("time_squeeze", netdev_budget=128, **shared) > softirq("time_squeeze", netdev_budget=600, **shared)


@pytest.mark.parametrize("era", ["v6.6", "v6.12"])
def test_pages_that_come_back_to_an_idle_queue_go_to_the_ring(era: str) -> None:
    consumer = {
        "consumer_cpu": "shift:1",
        "hold_us": 5000,
        "rate": 300_000,
    }  # longer than the driver keeps its own hold
    options = {"rq": "legacy"}
    data = run(FLOOD, era=era, action="local", cpus=2, queues=1, options=options, packets=20_000, **consumer)
    (pool,) = data["page_pool"]
    assert pool["recycle-ring"] > 2 * pool["recycle-cached"]


# -- consumers -------------------------------------------------------------------------------------------------------


def test_a_consumer_on_another_cpu_leaves_packets_to_their_allocator_from_v5_19_on() -> None:
    old, new = (
        run(HTTP, cpus=2, queues=1, action="local", hold_us=5, consumer_cpu="shift:1", era=era, repeat=4)
        for era in ("v5.15", "v6.1")
    )
    for data in (old, new):
        assert data["packets"]["delivered"] == data["packets"]["offered"]
        assert data["leaks"] == []
    assert calls(old, "skb_defer_free_flush") == 0 < calls(new, "skb_defer_free_flush")
    assert calls(new, "skb_attempt_defer_free") == new["packets"]["offered"]


def test_without_a_shift_packets_are_freed_where_they_were_received() -> None:
    data = run(HTTP, cpus=2, action="local", hold_us=5)
    assert calls(data, "skb_attempt_defer_free") == 0


def test_a_window_bounds_what_is_on_its_way() -> None:
    free, narrow = (run(HTTP, action="local", hold_us=50, window=window, streams=4) for window in (0, 2))
    assert narrow["packets"]["delivered"] == narrow["packets"]["offered"]
    assert narrow["packets"]["dropped"] == {}
    # 8 packets in a hold time and a moderation time at the most
    assert narrow["pps"] < 8 / 50e-6
    assert free["pps"] > 4 * narrow["pps"]


# -- memory ----------------------------------------------------------------------------------------------------------


def test_each_node_has_its_own_lock() -> None:
    one, two = (run(FLOOD, cpus=8, nodes=nodes, repeat=4, era="v4.19", recycle=0) for nodes in (1, 2))
    assert two["zone_lock"]["wait_ns"] < 0.7 * one["zone_lock"]["wait_ns"]


def test_a_larger_batch_takes_the_lock_less_often() -> None:
    small, large = (run(FLOOD, repeat=4, recycle=0, pcp_batch=batch, pcp_high=6 * batch) for batch in (16, 64))
    assert small["zone_lock"]["acquisitions"] > 3 * large["zone_lock"]["acquisitions"]


def test_cpus_without_a_queue_are_idle_from_beginning_to_end() -> None:
    data = run(FLOOD, cpus=8, queues=1)
    assert data["busy_ns"] + data["idle_ns"] == pytest.approx(8 * data["virtual_ns"])
    assert data["busy_ns"] <= data["virtual_ns"]
