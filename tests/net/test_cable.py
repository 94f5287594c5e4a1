"""The ring that a cable is: frames come out whole and in order, and what finds no room is counted."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netemu import Machine, UsageError
from netemu.engine.kernel import kernel_function
from netemu.engine.layout import Kernel
from netemu.net import cable_setup
from netemu.net.cable import enter_cable
from netemu.net.cable_setup import Room, plug_in, pull_out
from netemu.net.device_layout import WIRE_OVERHEAD
from netemu.net.run import wire_consume
from netemu.netdevice import DeviceSettings
from netemu.pcap import PACKET

LEFT, RIGHT = 0, 1


@kernel_function(traced=False, entry=True)
def arrive(k: Kernel, _cpu: int, dev: int) -> None:
    """The next frame has come in."""
    wire_consume(k, dev)


def cabled(room: Room, delay_ns: float = 0.0, **options: Any) -> Machine:
    """Two devices with a cable, with this room for what is under way to the right."""
    machine = Machine(memory_mb=16, skbs=1 << 12, **options)
    machine.cable(machine.netdev("netsec"), machine.netdev("netsec"), delay_ns=delay_ns)
    k = machine.k
    k.replace("out", np.zeros(1, PACKET))
    k.replace("out_data", np.zeros(4096, np.uint8))
    k.replace("feed", np.zeros(5 + room.rows, PACKET))  # not the first rows, and not the first bytes
    k.replace("feed_data", np.zeros(7 + room.bytes, np.uint8))
    k.replace("cable_arrival", np.zeros(5 + room.rows, np.int64))
    plug_in(k, room, 5, 7)
    return machine


def send(machine: Machine, frame: bytes, when: int) -> bool:
    """Transmit a frame on the left; is it on its way?"""
    k = machine.k
    k.arrays["out_data"][: len(frame)] = np.frombuffer(frame, np.uint8)
    k.out[0].caplen = k.out[0].wirelen = len(frame)
    before = k.cable[RIGHT].drops
    enter_cable(k, RIGHT, when)
    return bool(k.cable[RIGHT].drops == before)


def take(machine: Machine) -> tuple[bytes, int]:
    """The oldest frame under way arrives on the right: its bytes, and when (ps)."""
    k = machine.k
    w = k.wire[RIGHT]
    f = k.feed[w.next]
    came = k.arrays["feed_data"][f.offset : f.offset + f.caplen].tobytes(), int(k.cable_arrival[w.next])
    arrive(k, 0, RIGHT)
    return came


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(2, 9),
    size=st.integers(1, 400),
    steps=st.lists(st.one_of(st.none(), st.integers(0, 150)), max_size=60),
)
@example(rows=5, size=400, steps=[0, 10, 0, 10])
def test_frames_come_out_whole_and_in_order(rows: int, size: int, steps: list[int | None]) -> None:
    """None: the oldest frame arrives; a number: a frame of that length is sent."""
    machine = cabled(Room(RIGHT, rows, size), delay_ns=3.25)
    underway: deque[tuple[bytes, int]] = deque()
    lost = 0
    for n, step in enumerate(steps):
        if step is None:
            if underway:
                assert take(machine) == underway.popleft()
            continue
        frame = bytes((n + i) % 251 for i in range(step))
        if send(machine, frame, 1000 * n):
            underway.append((frame, 1000 * n + 3250))
            assert len(underway) < rows
            assert sum(len(data) for data, _ in underway) < size
        else:
            lost += 1
            assert len(underway) == rows - 1 or sum(len(data) for data, _ in underway) + 2 * step + 150 >= size
    while underway:
        assert take(machine) == underway.popleft()
    w = machine.k.wire[RIGHT]
    assert w.next == w.end
    assert machine.k.cable[RIGHT].drops == lost


@settings(max_examples=30, deadline=None)
@given(most=st.integers(1, 5), lengths=st.lists(st.integers(0, 150), max_size=60), data=st.data())
def test_two_frames_more_than_can_be_under_way_is_room_enough(
    most: int, lengths: list[int], data: st.DataObject
) -> None:
    machine = cabled(Room(RIGHT, most + 2, (most + 2) * 150))
    underway = 0
    for length in lengths:
        if underway == most or (underway and data.draw(st.booleans())):
            take(machine)
            underway -= 1
        assert send(machine, bytes(length), 1)
        underway += 1


def test_a_cable_that_is_pulled_out_loses_what_is_under_way_and_what_is_sent() -> None:
    machine = cabled(Room(RIGHT, 9, 4000))
    for _ in range(3):
        assert send(machine, bytes(60), 5)
    pull_out(machine.k, RIGHT)
    assert machine.k.wire[RIGHT].next == machine.k.wire[RIGHT].end
    assert not send(machine, bytes(60), 6)
    pull_out(machine.k, RIGHT)
    assert machine.k.cable[RIGHT].drops == 4


def test_a_device_that_is_down_has_no_link() -> None:
    machine = cabled(Room(RIGHT, 9, 4000))
    machine.devices[RIGHT].stop()
    assert not send(machine, bytes(60), 5)
    assert machine.k.cable[RIGHT].drops == 1


def test_room_is_for_the_rings_of_the_sender_and_for_the_delay() -> None:
    rooms = []
    for cpus, delay_ns in ((1, 0), (3, 0), (3, 100_000)):
        machine = Machine(memory_mb=64, skbs=1 << 12, cpus=cpus)
        small, large = machine.netdev("netsec"), machine.netdev("mlx5", mtu=3000)
        assert cable_setup.rooms(machine.k) == []
        machine.cable(small, large, delay_ns=delay_ns)
        rooms.append(cable_setup.rooms(machine.k))
    posted = [cable_setup.posted_at_most(machine.k, device.number) for device in (large, small)]
    assert posted[0] > 1024 > posted[1] >= 255
    bytes_under_way = 100_000 * 1000 // machine.k.netdev[0].ps_per_byte
    for most, alone, several, far in zip(posted, *rooms, strict=True):
        assert alone.rows > most
        assert alone.bytes > most * 3018
        assert several.rows == alone.rows + 2
        assert far.rows == several.rows + bytes_under_way // WIRE_OVERHEAD
        assert far.bytes == several.bytes + bytes_under_way
    assert [room.dev for room in rooms[0]] == [small.number, large.number]


def test_the_link_has_the_speed_that_both_ends_have() -> None:
    machine = Machine(memory_mb=64, skbs=1 << 12)
    slow = machine.netdev("mlx5", settings=DeviceSettings(link_gbps=1))
    fast = machine.netdev("mlx5", settings=DeviceSettings(link_gbps=100))
    assert (slow.peer, fast.peer) == (None, None)
    machine.cable(fast, slow)
    assert [machine.k.netdev[n].ps_per_byte for n in (0, 1)] == [8000, 8000]
    assert (slow.peer, fast.peer) == (fast, slow)


def test_what_cannot_be_cabled_is_one_line() -> None:
    machine = Machine(memory_mb=64, skbs=1 << 12)
    a, b, c = (machine.netdev("netsec") for _ in range(3))
    other = Machine(memory_mb=16, skbs=1 << 12).netdev("netsec")
    machine.cable(a, b)
    for left, right, delay in ((a, c, 0), (c, b, 0), (c, c, 0), (c, other, 0)):
        with pytest.raises(UsageError) as refused:
            machine.cable(left, right, delay_ns=delay)
        assert "\n" not in str(refused.value)
    d = machine.netdev("netsec")
    for wrong in (-1, float("nan"), float("inf"), 10**10):
        with pytest.raises(UsageError, match="delay of a cable is 0 to"):
            machine.cable(c, d, delay_ns=wrong)
    fast = [machine.netdev("mlx5", settings=DeviceSettings(link_gbps=400)) for _ in range(2)]
    with pytest.raises(UsageError, match="1024 MiB under way"):
        machine.cable(*fast, delay_ns=5 * 10**9)
    assert fast[0].peer is None
