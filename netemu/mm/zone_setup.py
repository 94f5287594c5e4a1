"""A fresh zone: its free blocks, and how long its per-CPU lists may get.

Source: mm/page_alloc.c (zone_batchsize, zone_highsize, __setup_per_zone_wmarks), v4.19 to v6.12.
"""

from __future__ import annotations

import math

import numpy as np

from ..engine.layout import Kernel
from .layout import MAX_ORDER, NONE, NR_ORDERS, PAGE_SIZE, PG_BUDDY


def zone_batchsize(pages: int) -> int:
    """Pages moved at once between a zone's buddy lists and a per-CPU list."""
    batch = max(min(pages // 1024, (1 << 20) // PAGE_SIZE) // 4, 1)
    batch += batch // 2
    return (1 << (batch.bit_length() - 1)) - 1


def low_watermark(pages: int, total: int) -> int:
    """WMARK_LOW of a zone of ``pages`` out of ``total`` (min_free_kbytes, watermark_scale_factor 10)."""
    kbytes = min(max(math.isqrt(total * (PAGE_SIZE >> 10) * 16), 128), 65536)
    least = (kbytes >> 2) * pages // total
    return least + max(least // 4, pages * 10 // 10000)


def free_zone(k: Kernel, zone: int, start: int, end: int) -> None:
    """Put a fresh zone's pages on its buddy lists, in the largest aligned blocks, lowest first."""
    z = k.zone[zone]
    z.start, z.end = start, end
    z.free = z.managed = end - start
    page = k.arrays["pages"]
    page["zone"][start:end] = zone
    page["nid"][start:end] = zone
    blocks: dict[int, list[int]] = {}
    at = start
    while at < end:
        order = min(MAX_ORDER, (at & -at).bit_length() - 1 if at else MAX_ORDER)
        while at + (1 << order) > end:
            order -= 1
        blocks.setdefault(order, []).append(at)
        at += 1 << order
    for order, heads in blocks.items():
        pfns = np.array(heads)
        page["flags"][pfns] = PG_BUDDY
        page["order"][pfns] = order
        page["next"][pfns] = [*heads[1:], NONE]
        page["prev"][pfns] = [NONE, *heads[:-1]]
        area = k.free_area[zone * NR_ORDERS + order]
        area.head, area.tail, area.nr_free = heads[0], heads[-1], len(heads)
