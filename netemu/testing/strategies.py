"""hypothesis strategies for what netemu tests are about: shapes, traces, operations, and who runs when.

Everything is plain data, so it shrinks: a schedule of zeros is one CPU after the other, and every number that is not 0
is one switch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netemu import kernel as _kernel  # noqa: F401  first: one order of declarations
from netemu.engine.era import SWITCHES
from netemu.handles import Page, PagePool
from netemu.machine import Machine
from netemu.net.pool_layout import PP_FLAG_PAGE_FRAG
from netemu.packets import SkBuff
from netemu.profiles.eras import era_names
from netemu.testing.factory import SkbFactory, SkbShape

OPERATIONS = (
    "alloc_page",
    "make",
    "make_pool",
    "get_page",
    "put_page",
    "return_page",
    "clone",
    "copy",
    "pskb_copy",
    "expand_head",
    "coalesce",
    "linearize",
    "trim",
    "consume",
    "kfree",
    "napi_consume",
    "cut_fragment",
    "free_fragment",
    "alloc_piece",
    "put_piece",
    "return_pages",
    "netdev_alloc",
    "unclone",
    "pull_tail",
    "morph",
    "leave",
    "free_in_interrupt",
    "netpoll",
    "transmit",
    "complete",
    "hand_over",
    "take_over",
)


def eras() -> st.SearchStrategy[str]:
    """A kernel release."""
    return st.sampled_from(era_names())


def drivers() -> st.SearchStrategy[str]:
    """A driver that comes with netemu."""
    return st.sampled_from(["netsec", "mlx5"])


def skb_shapes(max_linear: int = 1500, max_frags: int = 4) -> st.SearchStrategy[SkbShape]:
    """The shape of a packet, for :class:`netemu.testing.factory.SkbFactory`."""
    return st.builds(
        SkbShape,
        linear=st.integers(0, max_linear),
        frags=st.lists(st.integers(1, 4096), max_size=max_frags).map(tuple),
        pool=st.booleans(),
    )


def packets(max_size: int = 50, max_length: int = 1514) -> st.SearchStrategy[list[bytes]]:
    """Ethernet frames for :func:`netemu.replay`: IPv4 UDP with varying flows and lengths."""
    return st.lists(
        st.builds(udp_frame, st.integers(0, 255), st.integers(0, 255), st.integers(60, max_length)),
        min_size=1,
        max_size=max_size,
    )


def udp_frame(source: int, target: int, length: int) -> bytes:
    """One such frame of ``length`` bytes, from 10.0.0.``source`` to port 53 of 10.0.1.``target``."""
    payload = length - 42
    ip = bytes([0x45, 0]) + (28 + payload).to_bytes(2, "big") + bytes(4) + bytes([64, 17, 0, 0])
    ip += bytes([10, 0, 0, source, 10, 0, 1, target])
    udp = (1024 + source).to_bytes(2, "big") + (53).to_bytes(2, "big") + (8 + payload).to_bytes(2, "big") + bytes(2)
    return bytes(12) + b"\x08\x00" + ip + udp + bytes(payload)


def schedules(max_size: int = 60, tasks: int = 2) -> st.SearchStrategy[list[int]]:
    """Who goes on after each step, for :meth:`netemu.Machine.interleave`."""
    return st.lists(st.integers(0, tasks - 1), max_size=max_size)


@dataclass(frozen=True)
class Operation:
    """One step of a random script: what is done, and two numbers that choose to what."""

    name: str
    first: int
    second: int


def operations(max_size: int = 40) -> st.SearchStrategy[list[Operation]]:
    """A script of correct operations, for :func:`perform`: nobody gives away what he does not hold."""
    step = st.builds(Operation, st.sampled_from(OPERATIONS), st.integers(0, 7), st.integers(0, 4095))
    return st.lists(step, max_size=max_size)


class Script:
    """Performs operations on a machine, keeping track of what it holds; :meth:`close` gives all of it back."""

    def __init__(self, machine: Machine, cpu: int = 0, mailbox: list[SkBuff] | None = None) -> None:
        self.machine = machine
        self.cpu = cpu
        self.mailbox: list[SkBuff] = [] if mailbox is None else mailbox
        """Packets on their way from one CPU to another."""
        self.pool = machine.page_pool(ring_size=64, cpu=cpu)
        self.make = SkbFactory(machine, self.pool)
        self.plain: list[Page] = []
        self.pooled: list[Page] = []
        self.skbs: list[SkBuff] = []
        self.fragments: list[Page] = []
        self.pieces: list[Page] = []
        self.piece_pool = self._piece_pool()
        self.ring = machine.tx_ring(16)

    def _piece_pool(self) -> PagePool | None:
        """A pool that hands out pieces of pages, where the kernel has such."""
        kind = self.machine.switches["pool_frag"]
        if kind == SWITCHES["pool_frag"].values[0]:
            return None
        flags = PP_FLAG_PAGE_FRAG if kind == SWITCHES["pool_frag"].values[1] else 0
        return self.machine.page_pool(ring_size=64, cpu=self.cpu, flags=flags)

    def perform(self, operation: Operation) -> None:
        """One operation; nothing when it needs something that there is none of."""
        getattr(self, f"_{operation.name}")(operation.first, operation.second)

    def close(self) -> None:
        """Give everything back and end the pool."""
        while self.ring.head != self.ring.tail:
            self._complete(0, 0)
        while self.mailbox:
            self._take_over(0, 0)
        while self.skbs:
            self.machine.consume_skb(self.skbs.pop(), cpu=self.cpu)
        while self.fragments:
            self.fragments.pop().frag_free(cpu=self.cpu)
        while self.pieces:
            self._put_piece(0, 0)
        while self.plain:
            self.plain.pop().put(cpu=self.cpu)
        while self.pooled:
            self.pool.put_page(self.pooled.pop(), cpu=self.cpu)

    def _skb(self, n: int) -> SkBuff | None:
        return self.skbs[n % len(self.skbs)] if self.skbs else None

    def _alloc_page(self, n: int, m: int) -> None:
        self.pooled.append(self.pool.alloc_pages(cpu=self.cpu))

    def _make(self, n: int, m: int) -> None:
        self.skbs.append(self.make(m % 1400, frags=(1000,) * (n % 4)))

    def _make_pool(self, n: int, m: int) -> None:
        self.skbs.append(self.make(m % 1400, frags=(1000,) * (n % 4), pool=self._recycles()))

    def _recycles(self) -> bool:
        return self.machine.switches["pool_skb_recycle"] == "yes"

    def _get_page(self, n: int, m: int) -> None:
        if self.pooled:
            self.plain.append(self.pooled[n % len(self.pooled)].get(cpu=self.cpu))

    def _put_page(self, n: int, m: int) -> None:
        if self.plain:
            self.plain.pop(n % len(self.plain)).put(cpu=self.cpu)

    def _return_page(self, n: int, m: int) -> None:
        if self.pooled:
            self.pool.put_page(self.pooled.pop(n % len(self.pooled)), direct=bool(m & 1), cpu=self.cpu)

    def _derived(self, n: int, how: Callable[[SkBuff], SkBuff]) -> None:
        skb = self._skb(n)
        if skb is not None:
            self.skbs.append(how(skb))

    def _clone(self, n: int, m: int) -> None:
        self._derived(n, lambda skb: skb.clone(cpu=self.cpu))

    def _copy(self, n: int, m: int) -> None:
        self._derived(n, lambda skb: skb.copy(cpu=self.cpu))

    def _pskb_copy(self, n: int, m: int) -> None:
        self._derived(n, lambda skb: skb.pskb_copy(cpu=self.cpu))

    def _expand_head(self, n: int, m: int) -> None:
        skb = self._skb(n)
        if skb is not None:
            skb.expand_head(m % 256, cpu=self.cpu)

    def _coalesce(self, n: int, m: int) -> None:
        to, source = self._skb(n), self._skb(m)
        if to is None or source is None or to == source:
            return
        merged = to.try_coalesce(source, cpu=self.cpu)
        if merged:
            self.skbs.remove(source)
            self.machine.kfree_skb_partial(source, merged.stolen, cpu=self.cpu)

    def _linearize(self, n: int, m: int) -> None:
        skb = self._skb(n)
        if skb is not None:
            skb.linearize()

    def _trim(self, n: int, m: int) -> None:
        skb = self._skb(n)
        if skb is not None:
            skb.trim(m % (skb.len + 1))

    def _gone(self, n: int) -> SkBuff | None:
        return self.skbs.pop(n % len(self.skbs)) if self.skbs else None

    def _consume(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            self.machine.consume_skb(skb, cpu=self.cpu)

    def _kfree(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            self.machine.kfree_skb(skb, cpu=self.cpu)

    def _napi_consume(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            self.machine.napi_consume_skb(skb, cpu=self.cpu)

    # -- fragments ---------------------------------------------------------------------------------------------------

    def _cut_fragment(self, n: int, m: int) -> None:
        self.fragments.append(self.machine.page_frag_alloc(1 + m, cpu=self.cpu))

    def _free_fragment(self, n: int, m: int) -> None:
        if self.fragments:
            self.fragments.pop(n % len(self.fragments)).touch().frag_free(cpu=self.cpu)

    def _alloc_piece(self, n: int, m: int) -> None:
        if self.piece_pool is not None:
            self.pieces.append(self.piece_pool.alloc_frag(1 + m % 4096, cpu=self.cpu))

    def _put_piece(self, n: int, m: int) -> None:
        if self.piece_pool is not None and self.pieces:
            self.piece_pool.put_page(self.pieces.pop(n % len(self.pieces)), direct=bool(m & 1), cpu=self.cpu)

    def _return_pages(self, n: int, m: int) -> None:
        some, self.pooled = self.pooled[:n], self.pooled[n:]
        if some:
            self.pool.put_page_bulk(some, cpu=self.cpu)

    # -- packets in all contexts, and on their way -------------------------------------------------------------------

    def _netdev_alloc(self, n: int, m: int) -> None:
        with self.machine.process(self.cpu):
            self.skbs.append(self.machine.netdev_alloc_skb(m % 1600))

    def _unclone(self, n: int, m: int) -> None:
        skb = self._skb(n)
        if skb is not None:
            skb.unclone(cpu=self.cpu)

    def _pull_tail(self, n: int, m: int) -> None:
        skb = self._skb(n)
        if skb is not None and skb.data_len:
            skb.pull_tail(m % skb.data_len)

    def _morph(self, n: int, m: int) -> None:
        to, source = self._skb(n), self._skb(m)
        if to is not None and source is not None and to != source:
            to.morph(source, cpu=self.cpu)

    def _leave(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            self.machine.attempt_defer_free(skb, cpu=self.cpu)

    def _free_in_interrupt(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            with self.machine.hardirq(self.cpu):
                self.machine.dev_kfree_skb_irq(skb)

    def _netpoll(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            with self.machine.napi(self.cpu, budget=0):
                self.machine.napi_consume_skb(skb, 0)

    def _transmit(self, n: int, m: int) -> None:
        skb = self._gone(n) if self.ring.tail - self.ring.head < len(self.ring.slots) else None
        if skb is not None:
            self.ring.post(skb)
            self.ring.sent_queue(skb.len)

    def _complete(self, n: int, m: int) -> None:
        skb = self.ring.complete() if self.ring.head != self.ring.tail else None
        if isinstance(skb, SkBuff):
            self.ring.completed_queue(skb.len)
            self.machine.napi_consume_skb(skb, cpu=self.cpu)

    def _hand_over(self, n: int, m: int) -> None:
        skb = self._gone(n)
        if skb is not None:
            self.mailbox.append(skb)

    def _take_over(self, n: int, m: int) -> None:
        if self.mailbox:
            self.skbs.append(self.mailbox.pop(0))


def perform(machine: Machine, script: Sequence[Operation], *, cpu: int = 0) -> None:
    """Perform a script, give everything back, and check the machine."""
    work = Script(machine, cpu)
    for operation in script:
        work.perform(operation)
    work.close()


Run = Callable[..., list[object]]


def interleaved(*, tasks: int = 2, max_switches: int = 60, **settings: Any) -> Callable[[Any], Any]:
    """Find an interleaving that breaks a rule: decorates a test that takes ``machine`` and ``run``.

    The test sets its objects up on ``machine`` (made afresh with ``settings`` for each example) and calls
    ``run((cpu, function), (cpu, function), ...)`` once; the functions are interleaved by the schedule that hypothesis
    draws, and the machine has to be clean afterwards.  A failure shows the shortest schedule that was found.
    """

    def decorate(test: Any) -> Any:
        wanted = [name for name in inspect.signature(test).parameters if name not in ("machine", "run")]
        if wanted:
            raise TypeError(f"{test.__name__} takes machine and run, not {', '.join(wanted)}")

        def tried(schedule: list[int]) -> None:
            machine = Machine(check="every", **{"cpus": 2, "memory_mb": 16, "skbs": 1 << 10, **settings})

            def run(*work: tuple[int, Callable[[], object]]) -> list[object]:
                return machine.interleave(*work, schedule=schedule)

            test(machine=machine, run=run)
            machine.wind_up()
            machine.assert_clean()

        for name in ("__module__", "__name__", "__qualname__", "__doc__"):  # not the parameters: they are no fixtures
            setattr(tried, name, getattr(test, name))
        return given(schedule=schedules(max_switches, tasks))(tried)

    return decorate


__all__ = [
    "Operation",
    "Run",
    "Script",
    "drivers",
    "eras",
    "interleaved",
    "operations",
    "packets",
    "perform",
    "schedules",
    "skb_shapes",
    "udp_frame",
]
