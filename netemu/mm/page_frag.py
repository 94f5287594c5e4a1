"""Page fragments: slices of a larger page that are freed one by one, each by address alone.

``page_frag_free`` is where a recycled-by-nobody receive buffer ends: the function of the 2018 report.
Source: mm/page_alloc.c (page_frag_alloc, __page_frag_cache_drain, page_frag_free), v4.19 to v6.12.
"""

from __future__ import annotations

from ..engine.kernel import kernel_function
from ..engine.layout import Kernel
from .page_alloc import __free_pages_ok, compound_head, free_the_page, page_ref_sub_and_test


@kernel_function
def page_frag_free(k: Kernel, cpu: int, pfn: int) -> None:
    """Drop the reference of one fragment.  Until v5.0 even an order-0 page went past the per-CPU lists."""
    pfn = compound_head(k, pfn)
    if page_ref_sub_and_test(k, cpu, pfn, 1):
        order = k.pages[pfn].order
        if k.era[0].page_frag_free == 0:
            __free_pages_ok(k, cpu, pfn, order)
        else:
            free_the_page(k, cpu, pfn, order)
