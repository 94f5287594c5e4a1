"""The lives of pages and packets: complete, in order, told of the right one, and no different from a plain replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu.errors import UsageError
from netemu.net.xdp_layout import VERDICTS
from netemu.report.lives import lives
from tests.drivers.authoring import TEMPLATE
from tests.replay.runs import DNS, FLOOD, IMIX, run

LEGACY = {"rq": "legacy"}


def told(page: int | None = None, packet: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """The steps of one page or one packet in a short replay."""
    asked = {"trace_pages": [page]} if page is not None else {"trace_packets": [packet]}
    result = netemu.replay(options.pop("trace", IMIX), **{"packets": 250, **asked, **options})
    assert result["leaks"] == []
    steps: list[dict[str, Any]] = result["lives"]["steps"]
    return steps


def words(steps: list[dict[str, Any]]) -> list[str]:
    return [step["what"] for step in steps]


def in_this_order(found: list[str], *expected: str) -> bool:
    """Do steps that begin like that come in this order, whatever is between them?"""
    left = iter(found)
    return all(any(what.startswith(start) for what in left) for start in expected)


def test_a_forwarded_packet_is_followed_from_the_wire_to_its_free() -> None:
    steps = told(packet=100, era="v6.6")
    assert in_this_order(
        words(steps),
        "the NIC writes",
        "the NIC reports the frame on receive queue 0",
        "the poll takes it off",
        "448 bytes synced for the CPU",
        "sk_buff",
        "becomes the head of",
        "handed to the stack",
        "to be sent by eth0",
        "posted on transmit queue 0, 60 bytes",
        "transmitted",
        "freed through napi_consume_skb",
        "dropped as the head of",
        "shares -1",
    )
    assert {step["packet"] for step in steps} == {100}
    assert steps[0]["cpu"] is None
    assert steps[-1]["path"][:3] == ["net_rx_action", "mlx5e_napi_poll", "mlx5e_poll_tx_cq"]


def test_a_page_is_followed_from_the_buddy_lists_back_to_them() -> None:
    steps = told(page=13, era="v6.6", packets=600)
    assert in_this_order(
        words(steps),
        "taken off the buddy lists",
        "put on the per-CPU list",
        "taken off the per-CPU list",
        "allocated, order 0: refcount 1",
        "mapped for DMA",
        "joins page_pool 1: hold 14",
        "out of the alloc cache of page_pool 1",
        "handed out by page_pool 1",
        "the NIC writes",
        "becomes the head of",
        "offered to page_pool 1",
        "into the alloc cache",
        "out of the alloc cache",
        "unmapped",
        "leaves page_pool 1",
        "refcount -1: 0",
        "freed, order 0",
    )
    assert all(step["page"] <= 13 < step["page"] + step["pages"] for step in steps)
    assert steps[0]["time_ns"] < 0  # the device was opened before the first packet


def test_the_report_of_2018_is_seen_on_one_page() -> None:
    steps = told(page=50, era="v4.19", options=LEGACY, recycle=0, packets=1400)
    freed = next(step for step in steps if step["what"] == "freed, order 0")
    assert freed["path"][-2:] == ["page_frag_free", "__free_pages_ok"]
    after = words(steps)[steps.index(freed) + 1]
    assert after == "given back to the buddy lists under zone->lock, order 0"
    assert references(steps[: steps.index(freed)]) == 0


def references(steps: list[dict[str, Any]]) -> int:
    """The references on a page after steps of its first life, each of which has to add up."""
    refs = 1
    for what in words(steps):
        if what.startswith("refcount "):
            change, now = what.removeprefix("refcount ").split(": ")
            refs += int(change)
            assert refs == int(now)
    return refs


def test_a_tail_shares_the_life_of_its_block_and_has_the_fragments_on_it_to_itself() -> None:
    data = run(DNS, driver="netsec", era="v4.19", packets=200, trace_pages=[11])
    steps = data["lives"]["steps"]
    blocks = {(step["page"], step["pages"]) for step in steps if step["what"].startswith(("allocated", "refcount"))}
    assert blocks == {(8, 8)}
    cut = [step for step in steps if step["what"].startswith("a fragment of 1920 bytes")]
    assert len(cut) >= 3  # 4096 bytes of fragments, two of which lie on neighbours too
    assert all(step["page"] <= 11 < step["page"] + step["pages"] <= step["page"] + 2 for step in cut)


@pytest.mark.parametrize("verdict", ["drop", "pass", "tx", "redirect", "aborted"])
def test_a_packet_says_what_became_of_it_in_xdp(verdict: str) -> None:
    what = words(told(packet=30, era="v6.1", xdp=verdict))
    assert f"XDP verdict: {verdict.upper()}" in what
    ways = {
        "pass": ("sk_buff", "handed to the stack", "freed through napi_consume_skb"),
        "tx": ("becomes XDP frame", "posted on", "transmitted", "released by the driver"),
        "redirect": ("becomes XDP frame", "posted on", "transmitted", "freed through xdp_return_frame_bulk"),
    }
    assert in_this_order(what, "XDP verdict", *ways.get(verdict, ()))
    assert set(ways) | {"drop", "aborted"} == set(VERDICTS)


def test_a_packet_that_finds_no_buffer_says_so() -> None:
    data = run(FLOOD, era="v4.19", rate="recorded", packets=3000, trace_packets=range(3000), action="local")
    lost = [step for step in data["lives"]["steps"] if step["what"].startswith("lost")]
    assert len(lost) == data["packets"]["dropped"]["rx_out_of_buffer"] > 0
    assert {step["what"] for step in lost} == {"lost: no receive buffer was posted"}


def test_a_packet_left_to_its_allocator_is_freed_there() -> None:
    steps = told(packet=70, era="v6.12", cpus=2, action="local", consumer_cpu="shift:1")
    deferred = next(step for step in steps if step["what"] == "left to the CPU that allocated it")
    freed = next(step for step in steps if step["what"] == "freed through napi_consume_skb")
    assert (deferred["cpu"], freed["cpu"]) == (1, 0)
    assert steps.index(deferred) < steps.index(freed)


def test_a_policy_is_seen_deciding() -> None:
    steps = told(page=50, era="v4.19", options=LEGACY, recycle="mlx5_rx_cache", packets=1500)
    assert in_this_order(words(steps), "the recycle policy decides: keep", "reused as the recycle policy chooses")


def test_any_driver_can_be_followed() -> None:
    what = words(told(packet=9, driver=str(TEMPLATE), era="v6.1"))
    assert in_this_order(what, "the NIC writes", "the poll takes it off", "handed to the stack", "transmitted")


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
def test_a_followed_replay_gives_the_report_of_a_plain_one(driver: str, cpus: int) -> None:
    options = {"driver": driver, "era": "v6.1", "cpus": cpus if driver == "mlx5" else 1, "packets": 250}
    followed = run(IMIX, **options, trace_packets=[3], trace_pages=[7], tracepoints=True)
    del followed["lives"], followed["tracepoints"]
    assert followed | {"wall_s": None} == run(IMIX, **options) | {"wall_s": None}


def test_a_program_of_an_object_file_is_followed_too() -> None:
    program = Path(__file__).parents[1] / "bpf" / "programs" / "dns_filter.o"
    what = words(told(packet=30, trace=DNS, xdp=str(program), packets=60))
    assert any(said.startswith("XDP verdict: ") for said in what)


def test_checks_and_lives_go_together() -> None:
    assert words(told(packet=20, check="every")) == words(told(packet=20))


def test_text_says_each_step_with_time_cpu_and_path() -> None:
    data = run(IMIX, packets=250, era="v6.6", trace_packets=[100], trace_pages=[13])
    text = list(lives(data))
    assert [line for line in text if line.startswith(("page", "packet"))] == ["page 13 (pfn 0xd)", "packet 100"]
    assert any("us  CPU 0    freed through napi_consume_skb" in line for line in text)
    assert any(line.strip() == "in net_rx_action > mlx5e_napi_poll > mlx5e_poll_tx_cq" for line in text)


def test_a_page_that_nothing_happens_to_says_so() -> None:
    data = run(IMIX, packets=50, trace_pages=[250_000])
    assert data["lives"]["steps"] == []
    assert any("nothing happened to it" in line for line in lives(data))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"trace_pages": [262_144]}, "page 262144 is not in this machine, which has pages 0 to 262143"),
        ({"trace_pages": [-1]}, "page -1 is not in this machine"),
        ({"trace_packets": [250]}, "packet 250 is not in the trace: 250 packets came, 0 to 249"),
        ({"trace_packets": [-3]}, "there is no packet -3"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        netemu.replay(IMIX, packets=250, **asked)
