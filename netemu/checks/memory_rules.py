"""The page allocator under watch: allocation, references, freeing, page fragment caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm import page_alloc, page_frag, page_source
from ..mm.layout import NAPI_FRAGS, NAPI_SLICES, NONE, NR_FRAG_CACHES, PAGE_SIZE
from ..net import skb_alloc
from .ledger import Ledger, Ref

if TYPE_CHECKING:
    from .checker import Checker

FRAG_REFILL = page_frag.__page_frag_cache_refill  # a class body would read the name as one of its own


class MemoryRules:
    """Follows pages from the allocator and back."""

    def __init__(self, checker: Checker, ledger: Ledger, watch: Watch) -> None:
        self.checker = checker
        self.ledger = ledger
        self.any_context = 0
        """Inside functions that take care of the context themselves before they use the NAPI caches."""
        hooks: list[tuple[Any, Any]] = [
            (page_alloc.prep_new_page, self.prep_new_page),
            (page_alloc.page_ref_add, self.page_ref_add),
            (page_alloc.page_ref_sub_and_test, self.page_ref_sub_and_test),
            (page_alloc.free_pages_prepare, self.free_pages_prepare),
            (page_source.source_free, self.source_free),
            (page_alloc.leave_first_page, self.leave_first_page),
            (FRAG_REFILL, self.frag_refill),
            (page_frag.take_bias, self.take_bias),
            (page_frag.page_frag_alloc, self.page_frag_alloc),
            (page_frag.page_frag_alloc_1k, self.page_frag_alloc_1k),
            (page_frag.page_frag_cache_drain, self.page_frag_cache_drain),
            (skb_alloc.netdev_alloc_frag, self.from_any_context),
            (skb_alloc.netdev_alloc_skb, self.from_any_context),
        ]
        for function, hook in hooks:
            watch.wrap(function, hook)

    # -- pages -----------------------------------------------------------------------------------------------------

    def prep_new_page(self, body: Body, k: Kernel, cpu: int, pfn: int, order: int, comp: int) -> None:
        body(k, cpu, pfn, order, comp)
        self.ledger.born(pfn, order)

    def page_ref_add(self, body: Body, k: Kernel, cpu: int, pfn: int, n: int) -> None:
        if self.ledger.notes.advance:
            self.ledger.of(pfn).bias += n
        else:
            self.ledger.take(self.ledger.of(pfn), n)
        body(k, cpu, pfn, n)

    def page_ref_sub_and_test(self, body: Body, k: Kernel, cpu: int, pfn: int, n: int) -> bool:
        shadow = self.ledger.of(pfn)
        if self.ledger.notes.in_cache and not shadow.free:
            self.ledger.note(shadow, f"the page fragment cache drops its {n} references")
            shadow.bias -= n
        else:
            self.ledger.drop(shadow, n)
        last: bool = body(k, cpu, pfn, n)
        return last

    def free_pages_prepare(self, body: Body, k: Kernel, cpu: int, pfn: int, order: int) -> bool:
        current = self.current_cache(pfn)
        if current is not None and not self.ledger.notes.in_cache:
            self.ledger.report(
                "PF-01", f"page {pfn} is freed, but a page fragment cache of CPU {current} still cuts from it",
                self.ledger.of(pfn),
            )  # fmt: skip
        self.ledger.freed(pfn, order)
        good: bool = body(k, cpu, pfn, order)
        return good

    def source_free(self, body: Body, k: Kernel, pfn: int) -> None:
        self.ledger.freed(pfn, k.pages[pfn].order)
        body(k, pfn)

    def leave_first_page(self, body: Body, k: Kernel, cpu: int, pfn: int, order: int) -> None:
        for upper in range(order) if k.era[0].free_pages_tails else ():
            self.ledger.split_off(pfn + (1 << upper))
        body(k, cpu, pfn, order)
        if k.era[0].free_pages_tails == 0:
            self.ledger.report(
                "MM-09", f"{(1 << order) - 1} pages behind page {pfn} are lost: nobody can free them any more",
                self.ledger.of(pfn),
            )  # fmt: skip

    # -- page fragment caches --------------------------------------------------------------------------------------

    def current_cache(self, pfn: int) -> int | None:
        """The CPU that has ``pfn`` as the current page of a fragment cache; None: nobody has."""
        k = self.checker.k
        for row in range(k.machine[0].cpus * NR_FRAG_CACHES):
            nc = k.page_frag_cache[row]
            if nc.page == pfn + 1 and not (row % NR_FRAG_CACHES == NAPI_SLICES and nc.offset == 0):
                return row // NR_FRAG_CACHES
        return None

    def take_bias(self, body: Body, k: Kernel, row: int, pfn: int) -> None:
        shadow = self.ledger.of(pfn)
        cut = [ref for ref in shadow.plain if ref.at >= 0]
        again = not shadow.plain or bool(cut)
        body(k, row, pfn)
        nc = k.page_frag_cache[row]
        if cut:
            self.ledger.report("PF-03", f"page {pfn} is cut anew while {len(cut)} of its fragments are in use", shadow)
        shadow.plain = []
        shadow.bias = nc.bias
        self.ledger.note(shadow, f"page fragment cache: {nc.bias} references" + (", used again" if again else ""))
        if again and nc.pfmemalloc:
            self.ledger.report("PF-06", f"page {pfn} from the emergency reserve is used again", shadow)

    def frag_refill(self, body: Body, k: Kernel, cpu: int, row: int) -> int:
        pfn: int = body(k, cpu, row)
        if pfn != NONE:
            page, size = k.pages[pfn], k.page_frag_cache[row].size
            if page.refcount != 1 or PAGE_SIZE << page.order != size:
                self.ledger.report(
                    "PF-04",
                    f"page {pfn} of order {page.order} with {page.refcount} references becomes a cache of {size} bytes",
                    self.ledger.of(pfn),
                )
        return pfn

    def from_any_context(self, body: Body, k: Kernel, *arguments: int) -> Any:
        self.any_context += 1
        try:
            return body(k, *arguments)
        finally:
            self.any_context -= 1

    def _softirq_only(self, cpu: int) -> None:
        """SK-09: NAPI's page fragment cache belongs to the softirq of its CPU."""
        c = self.checker.k.cpu[cpu]
        if self.checker.contexts and not self.any_context and (c.hardirq or not (c.serving_softirq or c.bh_disabled)):
            context = "with interrupts off" if c.hardirq else "in process context"
            self.checker.report("SK-09", f"the NAPI page fragment cache of CPU {cpu} is used {context}")

    def page_frag_alloc(self, body: Body, k: Kernel, cpu: int, which: int, size: int) -> int:
        if which == NAPI_FRAGS:
            self._softirq_only(cpu)
        self.ledger.notes.in_cache += 1
        try:
            at: int = body(k, cpu, which, size)
        finally:
            self.ledger.notes.in_cache -= 1
        if at == NONE:
            return at
        nc = k.page_frag_cache[cpu * NR_FRAG_CACHES + which]
        pfn = nc.page - 1
        shadow = self.ledger.of(pfn)
        if not shadow.free:
            shadow.bias -= 1
        self._cut(at, size, pfn, nc.size)
        if nc.bias <= 0:
            self.ledger.report("PF-02", f"page {pfn}: the cache has given away its last reference", shadow)
        return at

    def _cut(self, at: int, size: int, pfn: int, whole: int) -> None:
        """A fragment is handed out."""
        shadow = self.ledger.of(pfn)
        event = self.ledger.note(shadow, f"fragment of {size} bytes at offset {at - pfn * PAGE_SIZE}")
        ref = Ref("fragment", event, at=at)
        shadow.plain.append(ref)
        if not 0 <= at - pfn * PAGE_SIZE <= whole - size:
            self.ledger.report(
                "PF-03", f"page {pfn}: a fragment of {size} bytes reaches past its {whole} bytes", shadow
            )

    def fragment(self, at: int) -> Ref | None:
        """The reference of the fragment that was cut last at byte address ``at``."""
        refs = self.ledger.of(at // PAGE_SIZE).plain
        return next((ref for ref in reversed(refs) if ref.at == at), None)

    def fragment_freed(self, pfn: int, ref: Ref) -> None:
        """The fragment of ``ref`` is about to be freed by the script: it has to be in use, and the script's (PF-05)."""
        shadow = self.ledger.of(pfn)
        if shadow.free or ref not in shadow.plain:
            self.ledger.report("PF-05", f"a fragment of page {pfn} is freed, but is free already", shadow)
        elif ref.holder:
            self.ledger.report("PF-05", f"a fragment of page {pfn} is freed, but {ref.holder} has it", shadow)
        self.ledger.notes.hint = ref

    def fragment_touched(self, pfn: int, ref: Ref) -> None:
        """Somebody reads or writes the fragment of ``ref``."""
        shadow = self.ledger.of(pfn)
        if not shadow.free and ref not in shadow.plain:
            self.ledger.report("PF-05", f"a fragment of page {pfn} is used after it was freed", shadow)

    def page_frag_alloc_1k(self, body: Body, k: Kernel, cpu: int) -> int:
        self.ledger.notes.taken = []
        try:
            at: int = body(k, cpu)
        finally:
            self.ledger.notes.taken = None
        if at != NONE:
            shadow = self.ledger.of(at // PAGE_SIZE)
            slices = PAGE_SIZE // page_frag.SLICE
            if k.page_frag_cache[cpu * NR_FRAG_CACHES + NAPI_SLICES].offset == PAGE_SIZE - page_frag.SLICE:
                shadow.plain = []  # a fresh page: the cache has a reference for each slice
                shadow.bias = slices
            shadow.bias -= 1
            event = self.ledger.note(shadow, f"slice of {page_frag.SLICE} bytes at offset {at % PAGE_SIZE}")
            shadow.plain.append(Ref("slice", event, at=at))
        return at

    def page_frag_cache_drain(self, body: Body, k: Kernel, cpu: int, which: int) -> None:
        self.ledger.notes.in_cache += 1
        try:
            body(k, cpu, which)
        finally:
            self.ledger.notes.in_cache -= 1
