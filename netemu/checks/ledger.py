"""Who holds each page: a shadow of its reference count, in which every reference has a holder and a kind.

A page of the allocator has *plain* references.  A page of a pool has one of the pool's (``base``), and *shares*: one
for the whole page, or one for each fragment that is out.  A page fragment cache holds its many references as ``bias``.
So at any time: refcount = plain + base + bias.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engine.layout import Kernel
from ..mm.layout import PG_TAIL
from .history import LONGEST, Event, Recorder

if TYPE_CHECKING:
    from .checker import Checker

PLAIN = "page reference"
SHARE = "share of the pool's page"
CALLER = ""
"""Holder of a reference that no packet has: the driver, the script, a cache."""


@dataclass(slots=True, eq=False)
class Ref:
    """One reference: its kind, who has it, when it was taken.

    ``certain``: the kernel took it for its holder; otherwise two references of the same owner can stand for each
    other.  ``at``: the byte address of the fragment that it is for, -1: it is for the page.
    """

    kind: str
    taken: Event
    holder: str = CALLER
    certain: bool = False
    at: int = -1

    def __str__(self) -> str:
        way = f" by {' -> '.join(self.taken.path)}" if self.taken.path else ""
        site = f" at {self.taken.site}" if self.taken.site else ""
        return f"{self.kind}, held by {self.holder or 'the caller'}, taken{way}{site} (CPU {self.taken.cpu})"


@dataclass(slots=True, eq=False)
class PageShadow:
    """What is known of a page.

    ``place``: cache or ring of its pool while it is there; ``life``: hand-outs so far; ``doubtful``: a breach that
    changed the count has been reported already.
    """

    pfn: int
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=LONGEST))
    plain: list[Ref] = field(default_factory=list)
    shares: list[Ref] = field(default_factory=list)
    pool: int | None = None
    base: bool = False
    bias: int = 0
    place: str = ""
    free: bool = True
    mapped: bool = False
    life: int = 0
    doubtful: bool = False

    @property
    def expected(self) -> int:
        """The reference count that the holders add up to."""
        return len(self.plain) + self.base + self.bias

    def ring(self) -> str:
        """The descriptor that alone holds the page; empty: there is none, or others have references too."""
        refs = [*self.shares, *self.plain]
        alone = len(refs) == 1 and refs[0].holder.startswith(("receive", "transmit"))
        return refs[0].holder if alone else ""

    def holders(self) -> list[str]:
        """One line for each reference, those taken together on one."""
        lines = []
        if self.place:
            lines.append(f"kept in {self.place}")
        if self.bias:
            lines.append(f"{self.bias} references taken in advance, for fragments or packets to come")
        counted: dict[str, int] = {}
        for ref in [*self.shares, *self.plain]:
            counted[str(ref)] = counted.get(str(ref), 0) + 1
        return lines + [text if n == 1 else f"{n} x {text}" for text, n in counted.items()]


@dataclass
class Notes:
    """What the followers of one thread of emulated code have to remember until the call they are in returns.

    ``hint``: the reference that the next drop is about; ``taken``: references taken meanwhile, while somebody wants
    to know; ``advance``: taking references in advance for a recycle policy, which are bias too; ``in_cache``: inside
    a page fragment cache, whose references are its bias; ``quiet``: inside a pool function that says itself what it
    hands out; ``recycling``: inside a return; ``counted``: inside one that has counted the fragment already;
    ``releasing``: data being released, and how many of its fragments are gone; ``copied_to``, ``appended``: shared
    infos that the next step is about; ``stolen_from``: the data whose head is being taken.
    """

    hint: Ref | None = None
    taken: list[Ref] | None = None
    in_cache: int = 0
    advance: int = 0
    quiet: int = 0
    recycling: int = 0
    counted: int = 0
    releasing: list[tuple[Any, int]] = field(default_factory=list)
    copied_to: int = -1
    appended: tuple[int, int, int] | None = None
    stolen_from: int | None = None


class Ledger:
    """The shadows of all pages that were ever handed out."""

    def __init__(self, checker: Checker, k: Kernel, recorder: Recorder) -> None:
        self.k = k
        self.checker = checker
        self.recorder = recorder
        self.pages: dict[int, PageShadow] = {}
        self.touched: set[int] = set()
        """Pages that changed since the counts were compared last."""

    @property
    def notes(self) -> Notes:
        """Those of the thread that runs."""
        assert self.k.watch is not None
        notes: Notes = self.k.watch.now.notes
        return notes

    def head(self, pfn: int) -> int:
        """The head of the block that ``pfn`` is in."""
        p = self.k.pages[pfn]
        head: int = p.head if p.flags & PG_TAIL else pfn
        return head

    def of(self, pfn: int) -> PageShadow:
        """The shadow of a page (of the head, for a tail)."""
        pfn = self.head(pfn)
        shadow = self.pages.get(pfn)
        if shadow is None:
            shadow = self.pages[pfn] = PageShadow(pfn)
        self.touched.add(pfn)
        return shadow

    def compare(self) -> None:
        """Reference counts against holders, for every page that something happened to (MM-02)."""
        touched, self.touched = self.touched, set()
        for pfn in touched:
            shadow = self.pages[pfn]
            count = self.k.pages[pfn].refcount
            if not shadow.free and count != shadow.expected and not shadow.doubtful:
                shadow.doubtful = True
                self.report("MM-02", f"page {pfn} has {count} references, but {shadow.expected} holders", shadow)

    def note(self, shadow: PageShadow, what: str) -> Event:
        """Add a step to a page's history."""
        event = self.recorder.now(what)
        shadow.history.append(event)
        return event

    def state(self, shadow: PageShadow) -> list[str]:
        """What there is to say of a page now."""
        p = self.k.pages[shadow.pfn]
        lines = [
            f"refcount {p.refcount}, order {p.order}" + (f", pp_frag_count {p.frag_count}" if p.frag_count else "")
        ]
        if shadow.pool is not None:
            lines.append(f"a page of page_pool {shadow.pool}" + (", DMA mapped" if p.dma_addr else ""))
        return lines + (["free"] if shadow.free else []) + shadow.holders()

    def report(self, rule: str, what: str, shadow: PageShadow) -> None:
        """A page breaks a rule."""
        self.checker.report(rule, what, f"page {shadow.pfn}", self.state(shadow), list(shadow.history))
        shadow.doubtful = True

    # -- references ------------------------------------------------------------------------------------------------

    def born(self, pfn: int, order: int) -> None:
        """The allocator hands a page out."""
        shadow = self.of(pfn)
        if not shadow.free:
            self.report("MM-08", f"page {pfn} is handed out while it is in use", shadow)
        event = self.note(shadow, f"allocated, order {order}")
        shadow.plain = [Ref(PLAIN, event)]
        shadow.shares = []
        shadow.pool, shadow.base, shadow.bias, shadow.place = None, False, 0, ""
        shadow.free = shadow.doubtful = False
        shadow.life += 1

    def split_off(self, pfn: int) -> None:
        """A block behind the first page of a larger one stands for itself, without references."""
        shadow = self.of(pfn)
        self.note(shadow, "split off the block that it was part of")
        shadow.free, shadow.plain = False, []

    def take(self, shadow: PageShadow, count: int) -> None:
        """``count`` plain references more."""
        if shadow.free:
            self.report("MM-01", f"page {shadow.pfn}: reference taken, but the page is free", shadow)
            return
        event = self.note(shadow, f"{count} page reference{'s' if count > 1 else ''} taken")
        refs = [Ref(PLAIN, event) for _ in range(count)]
        shadow.plain += refs
        if self.notes.taken is not None:
            self.notes.taken += refs

    def drop(self, shadow: PageShadow, count: int) -> None:
        """``count`` plain references less."""
        hint, self.notes.hint = self.notes.hint, None
        if shadow.free:
            self.report("MM-01", f"page {shadow.pfn}: reference dropped, but the page is free", shadow)
            return
        for _ in range(count):
            self._drop_one(shadow, hint)
            hint = None
        whose = f" of {hint.holder}" if hint is not None and hint.holder else ""
        self.note(shadow, f"{count} page reference{'s' if count > 1 else ''}{whose} dropped")

    def _drop_one(self, shadow: PageShadow, hint: Ref | None) -> None:
        if hint is not None and hint in shadow.plain:
            shadow.plain.remove(hint)
            return
        if hint is not None and hint in shadow.shares:  # taken as a share, dropped as a page reference
            other = self._standing_in(shadow.plain, hint)
            if other is not None:
                other.holder, hint.holder = hint.holder, other.holder
                shadow.plain.remove(other)
                return
            self._share_dropped_as_page(shadow, hint)
            return
        ref = self._callers(shadow.plain)
        if ref is not None:
            shadow.plain.remove(ref)
        elif shadow.base and shadow.shares and self._callers(shadow.shares) is not None:
            ref = self._callers(shadow.shares)
            assert ref is not None
            self._share_dropped_as_page(shadow, ref)
        elif shadow.plain:
            self.report(
                "MM-01",
                f"page {shadow.pfn}: reference dropped by somebody who has none; all belong to others",
                shadow,
            )
            shadow.plain.pop()
        elif shadow.base:
            self.report(
                "PP-02" if not shadow.place else "PP-04",
                f"page {shadow.pfn}: the reference of page_pool {shadow.pool} is dropped behind its back",
                shadow,
            )
            shadow.base = False
        else:
            self.report("MM-01", f"page {shadow.pfn}: reference dropped, but nobody holds one", shadow)

    def _share_dropped_as_page(self, shadow: PageShadow, ref: Ref) -> None:
        if self.counted():
            kind = "pool fragment" if self.is_split(shadow) else "page of a pool"
            self.report(
                "SK-06",
                f"page {shadow.pfn}: reference taken as {kind}, dropped as page: page_pool {shadow.pool} "
                "waits for it for ever",
                shadow,
            )
        shadow.shares.remove(ref)
        shadow.base = False

    def is_split(self, shadow: PageShadow) -> bool:
        """Do fragments of the page come back one by one?"""
        count: int = self.k.pages[shadow.pfn].frag_count
        return count > 1 or len(shadow.shares) > 1

    def counted(self) -> bool:
        """Do pools of this kernel keep books of pages in flight (v5.3)?"""
        return bool(self.k.era[0].pool_accounting)

    @staticmethod
    def _callers(refs: list[Ref]) -> Ref | None:
        """The newest reference that no packet has."""
        return next((ref for ref in reversed(refs) if ref.holder == CALLER), None)

    def _standing_in(self, refs: list[Ref], ref: Ref) -> Ref | None:
        """A reference that its owner can mean as well as ``ref``."""
        if ref.certain:
            return None
        return next((other for other in reversed(refs) if not other.certain), None)

    def claim(self, pfn: int, holder: str, at: int = -1) -> Ref | None:
        """Somebody hands its newest reference of a page, or that of the fragment at ``at``, on to ``holder``."""
        shadow = self.of(pfn)
        found = [ref for ref in [*shadow.shares, *shadow.plain] if ref.holder == CALLER]
        if not found:
            self.report("SK-06", f"page {shadow.pfn} is given to {holder} by somebody who holds no reference", shadow)
            return None
        ref = max(found, key=lambda ref: (ref.at == at >= 0, ref.taken.serial))
        ref.holder = holder
        self.note(shadow, f"given to {holder}")
        return ref

    # -- shares of pool pages --------------------------------------------------------------------------------------

    def adopted(self, pool: int, pfn: int) -> None:
        """A pool signs a page."""
        shadow = self.of(pfn)
        shadow.pool, shadow.base = pool, True
        if shadow.plain:
            shadow.plain.pop()
        self.note(shadow, f"taken by page_pool {pool}")

    def share_out(self, pfn: int, what: str) -> None:
        """The pool hands a page or a fragment to its consumer."""
        shadow = self.of(pfn)
        event = self.note(shadow, what)
        if not shadow.shares:  # not one more fragment of a page that is out already
            shadow.life += 1
        if shadow.base:
            ref = Ref(SHARE, event)
            shadow.shares.append(ref)
            if self.notes.taken is not None:
                self.notes.taken.append(ref)
        else:
            self.report("PP-03", f"page_pool hands out page {pfn}, which is not one of its pages any more", shadow)

    def split(self, pfn: int, count: int) -> None:
        """The consumer splits its page."""
        shadow = self.of(pfn)
        event = self.note(shadow, f"split into {count} fragments")
        shadow.shares += [Ref(SHARE, event) for _ in range(count - len(shadow.shares))]

    def share_back(self, shadow: PageShadow) -> None:
        """A page or a fragment comes back to its pool."""
        hint, self.notes.hint = self.notes.hint, None
        whose = f" of {hint.holder}" if hint is not None and hint.holder else ""
        self.note(shadow, f"share{whose} returned to page_pool {shadow.pool}")
        if hint is not None and hint in shadow.shares:
            shadow.shares.remove(hint)
            return
        if hint is not None and hint in shadow.plain:  # taken as a page reference, dropped as a share
            other = self._standing_in(shadow.shares, hint)
            if other is not None:
                other.holder, hint.holder = hint.holder, other.holder
                shadow.shares.remove(other)
                return
            if self.k.pages[shadow.pfn].frag_count > 0:
                self.report(
                    "SK-06",
                    f"page {shadow.pfn}: reference taken as page, dropped as pool fragment: the pool takes the page "
                    "back while others use it",
                    shadow,
                )
            elif hint.certain:
                self.report(
                    "SK-11",
                    f"page {shadow.pfn}: a marked packet returns it to page_pool {shadow.pool}, but has a page "
                    "reference of it, not the pool's: two returns race",
                    shadow,
                )
            if shadow.shares:
                shadow.shares.pop()
            hint.holder = CALLER
            return
        ref = self._callers(shadow.shares)
        if ref is not None:
            shadow.shares.remove(ref)
        elif len(shadow.shares) == 1 and (own := self._callers(shadow.plain)) is not None and not self.is_split(shadow):
            shadow.plain.remove(own)  # the page is whole: the other holder's reference is a plain one from now on
            shadow.plain.append(shadow.shares[0])
            shadow.shares = []
        elif shadow.place:
            self.report("PP-03", f"page {shadow.pfn} is put into page_pool {shadow.pool}, but is there already", shadow)
        elif shadow.shares:
            holder = shadow.shares[-1].holder
            rule = "PP-16" if self.k.pages[shadow.pfn].frag_count else "PP-07"
            rule = {"transmit": "XD-02", "receive": "DR-01"}.get(holder.partition(" ")[0], rule)
            self.report(rule, f"page {shadow.pfn} is put by somebody who does not hold it: {holder} does", shadow)
            shadow.shares.pop()
        elif self.k.pages[shadow.pfn].frag_count:
            self.report("PP-16", f"page {shadow.pfn}: more fragments put than were taken", shadow)
        else:
            self.report("PP-07", f"page {shadow.pfn} is put, but nobody holds it", shadow)

    def disconnected(self, pool: int, pfn: int) -> None:
        """A page leaves its pool; the pool's reference is the caller's from now on."""
        shadow = self.of(pfn)
        if shadow.pool != pool:
            said = "no pool's" if shadow.pool is None else f"page_pool {shadow.pool}'s"
            self.report("PP-07", f"page {pfn} is released by page_pool {pool}, but it is {said}", shadow)
        event = self.note(shadow, f"leaves page_pool {pool}")
        if len(shadow.shares) > 1:
            self.report("PP-16", f"page {pfn} leaves page_pool {pool} with fragments still out", shadow)
        if shadow.base:
            ref = shadow.shares[0] if shadow.shares else Ref(PLAIN, event)
            ref.kind = PLAIN
            shadow.plain.append(ref)
        shadow.shares = []
        shadow.pool, shadow.base, shadow.place = None, False, ""

    def freed(self, pfn: int, order: int) -> None:
        """The page goes back to the allocator."""
        shadow = self.of(pfn)
        if shadow.free:
            self.report("MM-11", f"page {pfn} is freed, but it is free already", shadow)
            return
        p = self.k.pages[pfn]
        if p.order != order:
            self.report("MM-12", f"page {pfn} of order {p.order} is freed with order {order}", shadow)
        if shadow.pool is not None and self.counted() and p.pp:
            self.report("PP-02", f"page_pool leak: page {pfn} is freed, but page_pool {shadow.pool} counts it", shadow)
        if shadow.mapped:
            self.report("DM-01", f"page {pfn} is freed while it is mapped for DMA", shadow)
            shadow.mapped = False
        held = [*shadow.shares, *shadow.plain]
        if held:
            self.report("MM-03", f"page {pfn} is freed, but {len(held)} references are held", shadow)
        self.note(shadow, f"freed, order {order}")
        shadow.free = True
        shadow.plain, shadow.shares, shadow.bias = [], [], 0
        shadow.pool, shadow.base, shadow.place = None, False, ""
