"""The DMA API as far as its cost and its books matter: a mapping is an address that is not zero.

Where DMA is not coherent, handing memory over takes time for each cache line (``dma_cache_line``, 0 elsewhere).
"""

from __future__ import annotations

from ..engine.inject import injected, site
from ..engine.kernel import cost_point, inlined, kernel_function
from ..engine.layout import Kernel, table
from ..engine.path import spend
from ..mm.layout import PAGE_SHIFT

DMA_SITE = site("dma")

table(
    "dma",
    [
        ("mappings", "i8"),
        ("unmappings", "i8"),
        ("syncs", "i8"),  # for the device
        ("synced", "i8"),  # bytes
        ("cpu_syncs", "i8"),
        ("fail_after", "i8"),  # mappings that still succeed, + 1; 0: none fails
        ("align", "i8"),  # dma_get_cache_alignment()
    ],
)


CACHE_LINE = cost_point("dma_cache_line")


@inlined
def maintain_lines(k: Kernel, cpu: int, size: int) -> None:
    """Write back or invalidate the cache lines of ``size`` bytes."""
    spend(k, cpu, k.cost[CACHE_LINE] * ((size + 63) >> 6))


@kernel_function(inline=True)
def dma_map_page_attrs(k: Kernel, cpu: int, pfn: int) -> bool:
    """Map a whole page or block, its cache lines left as they are; False when the DMA layer fails."""
    d = k.dma[0]
    if injected(k, DMA_SITE):
        return False
    if d.fail_after != 0:
        if d.fail_after == 1:
            return False
        d.fail_after -= 1
    d.mappings += 1
    k.pages[pfn].dma_addr = (pfn + 1) << PAGE_SHIFT
    return True


@kernel_function(inline=True)
def dma_unmap_page_attrs(k: Kernel, cpu: int, pfn: int) -> None:
    """Unmap what :func:`dma_map_page_attrs` mapped."""
    k.dma[0].unmappings += 1
    k.pages[pfn].dma_addr = 0


@kernel_function(name="dma_map_page", traced=False, entry=True, rare=True)
def map_page(k: Kernel, cpu: int, pfn: int) -> int:
    """:func:`dma_map_page_attrs` for callers outside the kernel: 1, or 0 when the DMA layer fails."""
    return 1 if dma_map_page_attrs(k, cpu, pfn) else 0


@kernel_function(name="dma_unmap_page", traced=False, entry=True, rare=True)
def unmap_page(k: Kernel, cpu: int, pfn: int) -> None:
    """:func:`dma_unmap_page_attrs` for callers outside the kernel."""
    dma_unmap_page_attrs(k, cpu, pfn)


@kernel_function(inline=True)
def dma_sync_single_range_for_device(k: Kernel, cpu: int, size: int) -> None:
    """Hand ``size`` bytes to the device."""
    d = k.dma[0]
    d.syncs += 1
    d.synced += size
    maintain_lines(k, cpu, size)


@kernel_function(inline=True)
def dma_sync_single_range_for_cpu(k: Kernel, cpu: int, size: int) -> None:
    """Hand ``size`` bytes to the CPU."""
    k.dma[0].cpu_syncs += 1
    maintain_lines(k, cpu, size)
