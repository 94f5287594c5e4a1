"""Pairing: whatever is missing, changed or moved, every packet is in exactly one pair."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.diff import by_content, by_order
from netemu.diff.comparison import Asked
from netemu.diff.packets import CapturedPacket

KEY = Asked().key
FEW = st.lists(st.integers(0, 5), max_size=30)
WINDOWS = st.integers(1, 40)


def packets(values: list[int]) -> Iterator[CapturedPacket]:
    for number, value in enumerate(values, start=1):
        data = value.to_bytes(4, "big") * 15
        yield CapturedPacket(number, number, len(data), data, "eth0")


def values_of(pairs: list[tuple[CapturedPacket | None, CapturedPacket | None]]) -> list[tuple[int | None, int | None]]:
    return [tuple(None if p is None else int.from_bytes(p.data[:4], "big") for p in pair) for pair in pairs]  # type: ignore[misc]


@pytest.mark.parametrize("pairing", [by_order, by_content])
@given(a=FEW, b=FEW, window=WINDOWS)
def test_every_packet_is_in_one_pair(pairing, a, b, window):
    pairs = list(pairing(packets(a), packets(b), KEY, window))
    assert sorted(p.number for p, _ in pairs if p is not None) == list(range(1, len(a) + 1))
    assert sorted(p.number for _, p in pairs if p is not None) == list(range(1, len(b) + 1))
    assert all(left is not None or right is not None for left, right in pairs)


@given(a=FEW, b=FEW, window=WINDOWS)
def test_by_order_no_two_pairs_cross(a, b, window):
    pairs = list(by_order(packets(a), packets(b), KEY, window))
    for side in (0, 1):
        numbers = [pair[side].number for pair in pairs if pair[side] is not None]
        assert numbers == sorted(numbers)


@given(a=FEW, b=FEW)
def test_by_content_only_packets_alike_are_paired_and_as_many_as_there_are(a, b):
    pairs = values_of(list(by_content(packets(a), packets(b), KEY, 1000)))
    both = [pair for pair in pairs if None not in pair]
    assert all(left == right for left, right in both)
    assert len(both) == (Counter(a) & Counter(b)).total()


GONE = st.sets(st.integers(0, 99), max_size=20)


@given(GONE, GONE)
def test_by_content_packets_missing_on_either_side_are_all_that_is_found(gone_from_a, gone_from_b):
    a = [n for n in range(100) if n not in gone_from_a]
    b = [n for n in range(100) if n not in gone_from_b - gone_from_a]
    pairs = values_of(list(by_content(packets(a), packets(b), KEY, 50)))
    assert {right for left, right in pairs if left is None} == gone_from_a
    assert {left for left, right in pairs if right is None} == gone_from_b - gone_from_a


@given(GONE)
def test_by_order_packets_missing_on_one_side_are_all_that_is_found(gone):
    b = [n for n in range(100) if n not in gone]
    pairs = values_of(list(by_order(packets(list(range(100))), packets(b), KEY, 50)))
    assert pairs == [(n, None if n in gone else n) for n in range(100)]


def test_a_changed_packet_is_paired_with_what_it_was() -> None:
    a = list(range(50))
    b = [1000 + n if n in (10, 11, 30) else n for n in a if n != 20]
    pairs = values_of(list(by_order(packets(a), packets(b), KEY, 100)))
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(10, 1010), (11, 1011), (20, None), (30, 1030)]


def test_moved_packets_are_found_by_content() -> None:
    a = list(range(500))
    b = a.copy()
    draw = random.Random(1)
    for at in range(0, 480, 20):
        part = b[at : at + 20]
        draw.shuffle(part)
        b[at : at + 20] = part
    assert all(left == right for left, right in values_of(list(by_content(packets(a), packets(b), KEY, 20))))


@pytest.mark.parametrize("pairing", [by_order, by_content])
def test_no_more_than_the_window_is_held(pairing) -> None:
    read = [0]

    def counted(values: range) -> Iterator[CapturedPacket]:
        for packet in packets(list(values)):
            read[0] += 1
            yield packet

    pairs = pairing(counted(range(3000)), counted(range(5000, 8000)), KEY, 64)
    for given_out, _ in enumerate(pairs, start=1):
        assert read[0] - 2 * given_out <= 2 * 64 + 2
