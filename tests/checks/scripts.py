"""Scripts of misuse: what they begin with, and what was found about them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from netemu import KernelBug, Machine, Page, PagePool, SkBuff

Script = Callable[[Machine], object]


def page_of(m: Machine, order: int = 0, *, compound: bool = True) -> Page:
    page = m.alloc_pages(order, compound=compound)
    assert page is not None
    return page


def received(m: Machine, pool: PagePool, frags: int = 1) -> SkBuff:
    """A packet on pool pages, marked for recycling."""
    skb = m.napi_build_skb(pool.alloc_pages()).reserve(64).put(100)
    for _ in range(frags):
        skb.add_rx_frag(pool.alloc_pages(), size=500, truesize=4096)
    return skb.mark_for_recycle()


def machine() -> Machine:
    return Machine(era="v6.1", cpus=2, memory_mb=16, skbs=1 << 10, check="every", collect=True)


def reports_of(m: Machine) -> list[tuple[str, str]]:
    """Rule and text of everything that was found, after a last look."""
    with suppress(KernelBug):
        m.wind_up()
        m.assert_clean()
    return [(report.id, report.what) for report in m.reports]


def name_of(script: Script) -> str:
    return script.__name__
