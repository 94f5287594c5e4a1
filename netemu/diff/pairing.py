"""Which packet of one capture is which of the other, when some may be missing, changed or in another order.

Both ways are streams over two captures that yield pairs, with None in place of a packet that the other side does not
have.  They look at most ``window`` packets ahead.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from itertools import islice

from .packets import CapturedPacket

Pair = tuple[CapturedPacket | None, CapturedPacket | None]
Key = Callable[[CapturedPacket], Hashable]
Pairing = Callable[[Iterator[CapturedPacket], Iterator[CapturedPacket], Key, int], Iterator[Pair]]


def by_order(a: Iterator[CapturedPacket], b: Iterator[CapturedPacket], key: Key, window: int) -> Iterator[Pair]:
    """Packets keep their order: where the captures differ, the shortest way to packets that are alike again is taken.

    When there is none within the window, the two packets at hand are one that was changed.
    """
    left, right = _Ahead(a, key, window), _Ahead(b, key, window)
    while True:
        mine, other = left.first(), right.first()
        if mine is None or other is None:
            break
        if mine == other:
            yield left.take(), right.take()
            continue
        skipped_left, skipped_right = 1, 1
        if left.has(other) or right.has(mine):
            skipped_left, skipped_right = _resume(left, right)
        for _ in range(min(skipped_left, skipped_right)):
            yield left.take(), right.take()
        for _ in range(skipped_left - skipped_right):
            yield left.take(), None
        for _ in range(skipped_right - skipped_left):
            yield None, right.take()
    while left.first() is not None:
        yield left.take(), None
    while right.first() is not None:
        yield None, right.take()


def by_content(a: Iterator[CapturedPacket], b: Iterator[CapturedPacket], key: Key, window: int) -> Iterator[Pair]:
    """Packets that are alike belong together wherever they are; one waits for its like for so many packets."""
    waiting_left: OrderedDict[int, tuple[Hashable, CapturedPacket]] = OrderedDict()
    waiting_right: OrderedDict[int, tuple[Hashable, CapturedPacket]] = OrderedDict()
    places_left: dict[Hashable, deque[int]] = {}
    places_right: dict[Hashable, deque[int]] = {}
    turn = 0
    sides: list[Iterator[CapturedPacket] | None] = [a, b]
    while any(sides):
        for side in (0, 1):
            source = sides[side]
            packet = next(source, None) if source is not None else None
            if packet is None:
                sides[side] = None
                continue
            mine, others = (waiting_left, waiting_right) if side == 0 else (waiting_right, waiting_left)
            my_places, places = (places_left, places_right) if side == 0 else (places_right, places_left)
            wanted = key(packet)
            found = places.get(wanted)
            if found:
                place = found.popleft()
                if not found:
                    del places[wanted]
                _, other = others.pop(place)
                yield (packet, other) if side == 0 else (other, packet)
                continue
            turn += 1
            mine[turn] = (wanted, packet)
            my_places.setdefault(wanted, deque()).append(turn)
            if len(mine) > window:
                place, (oldest, given_up) = mine.popitem(last=False)
                my_places[oldest].popleft()
                if not my_places[oldest]:
                    del my_places[oldest]
                yield (given_up, None) if side == 0 else (None, given_up)
    for _, packet in waiting_left.values():
        yield packet, None
    for _, packet in waiting_right.values():
        yield None, packet


class _Ahead:
    """A stream of packets with their keys, some of them looked at ahead of time."""

    def __init__(self, packets: Iterator[CapturedPacket], key: Key, window: int) -> None:
        self._packets = packets
        self._key = key
        self._window = window
        self._seen: deque[tuple[Hashable, CapturedPacket]] = deque()
        self._counts: Counter[Hashable] = Counter()

    def first(self) -> Hashable | None:
        """The key of the next packet; None at the end."""
        self._look(1)
        return self._seen[0][0] if self._seen else None

    def take(self) -> CapturedPacket:
        """The next packet."""
        key, packet = self._seen.popleft()
        self._counts[key] -= 1
        if self._counts[key] == 0:
            del self._counts[key]
        return packet

    def has(self, key: Hashable) -> bool:
        """Is there such a packet within the window?"""
        self._look(self._window)
        return key in self._counts

    def keys(self) -> list[Hashable]:
        """Of the packets seen so far."""
        return [key for key, _ in self._seen]

    def _look(self, count: int) -> None:
        for packet in islice(self._packets, max(count - len(self._seen), 0)):
            key = self._key(packet)
            self._seen.append((key, packet))
            self._counts[key] += 1


def _resume(left: _Ahead, right: _Ahead) -> tuple[int, int]:
    """How many packets to pass over on each side until both are alike again: the fewest."""
    mine, others = left.keys(), right.keys()
    first: dict[Hashable, int] = {}
    for place, key in enumerate(others):
        first.setdefault(key, place)
    best = len(mine), len(others)
    for place, key in enumerate(mine):
        if place >= sum(best):
            break
        other = first.get(key)
        if other is not None and place + other < sum(best):
            best = place, other
    return best
