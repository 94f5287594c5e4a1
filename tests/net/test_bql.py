"""Byte queue limits do what a plain model of the dynamic queue limit does."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from netemu import Machine
from netemu.net.bql import SLACK_HOLD_PS, netdev_tx_completed_queue, netdev_tx_sent_queue
from netemu.net.device_layout import XOFF_STACK

U32 = 1 << 32
TXQ = 3


def posdiff(a: int, b: int) -> int:
    """a - b of wrapping 32-bit counters if positive, else 0."""
    distance = (a - b) % U32
    return distance if 0 < distance < U32 // 2 else 0


@dataclass
class Model:
    """The state and the two operations, with counters that wrap as the kernel's do."""

    queued: int = 0
    completed: int = 0
    last: int = 0
    limit: int = 0
    adj: int = 0
    prev_over: int = 0
    prev_queued: int = 0
    prev_last: int = 0
    lowest: int = U32 - 1
    since: int = 0

    def send(self, n: int) -> bool:
        self.last = n
        self.queued = (self.queued + n) % U32
        return self.has_room()

    def has_room(self) -> bool:
        return (self.adj - self.queued) % U32 < U32 // 2

    def complete(self, n: int, now: int) -> bool:
        done = (self.completed + n) % U32
        over = posdiff((self.queued - self.completed) % U32, self.limit)
        left = (self.queued - done) % U32
        left_before = (self.prev_queued - self.completed) % U32
        all_before = posdiff(self.prev_queued, done) == 0
        limit = self.limit
        if (over and left == 0) or (self.prev_over and all_before):
            limit += posdiff(done, self.prev_queued) + self.prev_over
            self.since, self.lowest = now, U32 - 1
        elif left and left_before and not all_before:
            slack = posdiff(limit + self.prev_over, 2 * n)
            last = posdiff(self.prev_last, self.prev_over) if self.prev_over else 0
            self.lowest = min(self.lowest, max(slack, last))
            if now > self.since + SLACK_HOLD_PS:
                limit = posdiff(limit, self.lowest)
                self.since, self.lowest = now, U32 - 1
        if limit != self.limit:
            self.limit, over = limit, 0
        self.adj = (limit + done) % U32
        self.prev_over, self.prev_last = over, self.last
        self.completed, self.prev_queued = done, self.queued
        return self.has_room()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(60, 1514)),
        st.tuples(st.just("complete"), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(1, 2 * SLACK_HOLD_PS)),
    ),
    max_size=80,
)


@given(steps=steps)
def test_limit_and_stops_follow_the_model(steps: list[tuple[str, int]]) -> None:
    k, model = Machine(memory_mb=4, skbs=16).k, Model()
    sent, completed = netdev_tx_sent_queue.interpreted(), netdev_tx_completed_queue.interpreted()
    waiting: list[int] = []
    for what, n in steps:
        room = not k.txq[TXQ].xoff & XOFF_STACK
        if what == "wait":
            k.cpu[0].clock += n
            continue
        if what == "send" and room:
            waiting.append(n)
            sent(k, TXQ, n)
            expected = model.send(n)
        elif what == "complete" and waiting:
            count = sum(waiting[:n])
            del waiting[:n]
            completed(k, 0, TXQ, count)
            expected = model.complete(count, k.cpu[0].clock)
        else:
            continue
        assert (k.txq[TXQ].xoff == 0) == expected
        assert k.dql[TXQ].limit == model.limit


def test_the_first_packet_stops_the_queue_until_it_is_sent() -> None:
    k = Machine(memory_mb=4, skbs=16).k
    netdev_tx_sent_queue.interpreted()(k, TXQ, 100)
    assert k.txq[TXQ].xoff == XOFF_STACK
    netdev_tx_completed_queue.interpreted()(k, 0, TXQ, 100)
    assert k.txq[TXQ].xoff == 0
    assert k.dql[TXQ].limit == 100
