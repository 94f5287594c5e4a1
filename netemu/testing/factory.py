"""Packets of all shapes, for tests."""

from __future__ import annotations

from dataclasses import dataclass

from netemu.handles import PagePool
from netemu.machine import Machine
from netemu.net.skb_layout import NET_SKB_PAD
from netemu.packets import SkBuff


@dataclass(frozen=True)
class SkbShape:
    """A packet to be made: ``linear`` bytes in its head, then fragments of these sizes.

    ``pool``: head and fragments on pages of a page_pool, marked for recycling where the kernel can.
    """

    linear: int = 128
    frags: tuple[int, ...] = ()
    pool: bool = False


class SkbFactory:
    """Makes packets on a machine; ``pool`` is made when a shape asks for one first."""

    def __init__(self, machine: Machine, pool: PagePool | None = None) -> None:
        self.machine = machine
        self._pool = pool

    @property
    def pool(self) -> PagePool:
        """The pool that packets lie on."""
        if self._pool is None:
            self._pool = self.machine.page_pool(ring_size=256)
        return self._pool

    def __call__(self, linear: int = 128, *, frags: tuple[int, ...] = (), pool: bool = False) -> SkBuff:
        """A packet with ``linear`` bytes in its head and fragments of these sizes, each on a page of its own."""
        return self.make(SkbShape(linear, frags, pool))

    def make(self, shape: SkbShape) -> SkBuff:
        """A packet of this shape."""
        m = self.machine
        if shape.pool:
            skb = m.napi_build_skb(self.pool.alloc_pages())
            skb.reserve(NET_SKB_PAD)
        else:
            skb = m.napi_alloc_skb(shape.linear)
        skb.put(shape.linear)
        for size in shape.frags:
            page = self.pool.alloc_pages() if shape.pool else m.alloc_pages()
            if page is None:
                raise MemoryError("no memory for a fragment")
            skb.add_rx_frag(page, size=size, truesize=4096)
        if shape.pool and m.switches["pool_skb_recycle"] == "yes":
            skb.mark_for_recycle()
        return skb
