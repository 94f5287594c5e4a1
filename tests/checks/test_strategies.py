"""Random correct work breaks no rule; a driver that races is caught by a schedule, and the schedule shrinks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netemu
from netemu.testing.factory import SkbFactory, SkbShape
from netemu.testing.strategies import Operation, Run, eras, interleaved, operations, packets, perform, skb_shapes


def checked(era: str) -> netemu.Machine:
    return netemu.Machine(era=era, memory_mb=16, skbs=1 << 10, check="every")


@given(era=eras(), script=operations())
@settings(max_examples=25)
def test_correct_scripts_break_no_rule_in_any_era(era: str, script: list[Operation]) -> None:
    machine = checked(era)
    perform(machine, script)
    machine.wind_up()
    machine.assert_clean()


@given(era=eras(), shape=skb_shapes())
@settings(max_examples=15)
def test_every_shape_of_packet_can_be_made_and_freed(era: str, shape: SkbShape) -> None:
    machine = checked(era)
    if machine.switches["pool_skb_recycle"] == "no":
        shape = SkbShape(shape.linear, shape.frags)
    skb = SkbFactory(machine).make(shape)
    assert skb.len == shape.linear + sum(shape.frags)
    machine.consume_skb(skb)
    machine.wind_up()
    machine.assert_clean()


@given(frames=packets(max_size=8), driver=st.sampled_from(["netsec", "mlx5"]))
@settings(max_examples=3)
def test_frames_can_be_replayed(frames: list[bytes], driver: str) -> None:
    result = netemu.replay(frames, driver=driver, memory_mb=16)
    assert result["packets"]["received"] == len(frames)
    assert result["leaks"] == []


def test_an_interleaving_in_which_a_driver_races_is_found_and_shrunk() -> None:
    seen: list[str] = []

    @settings(max_examples=100, database=None)
    @interleaved()
    def shared_pool(machine: netemu.Machine, run: Run) -> None:
        pool = machine.page_pool()

        def consumer() -> None:
            with machine.napi(0):
                pool.put_page(pool.alloc_pages())

        def destroyer() -> None:
            with machine.process(1):
                pool.destroy(cpu=1)

        try:
            run((0, consumer), (1, destroyer))
        except netemu.KernelBug as bug:
            seen.append(bug.code)
            raise

    with pytest.raises(netemu.KernelBug, match="PP-12"):
        shared_pool()
    assert "PP-12" in seen


def test_a_driver_that_stops_its_poll_first_has_no_such_interleaving() -> None:
    @settings(max_examples=30, database=None)
    @interleaved()
    def freed_elsewhere(machine: netemu.Machine, run: Run) -> None:
        pool = machine.page_pool()
        packets = [machine.napi_build_skb(pool.alloc_pages()).mark_for_recycle() for _ in range(3)]

        def receive() -> None:
            for _ in range(3):
                pool.put_page(pool.alloc_pages())

        def consume() -> None:
            for skb in packets:
                machine.consume_skb(skb)

        run((0, receive), (1, consume))

    freed_elsewhere()
