"""The checker of a machine: it follows every operation, keeps what it found, and says it in the end or at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..engine.faults import raise_fault
from ..engine.layout import Kernel
from ..engine.log import messages_since
from ..engine.watch import Watch
from ..errors import KernelBug
from ..net.skb_layout import SKB_LIVE
from .conservation import take_stock
from .device_rules import Device, DeviceRules, device_breaches, receive_books
from .history import Event, Recorder
from .ledger import Ledger, Notes, PageShadow
from .list_rules import ListRules
from .memory_rules import MemoryRules
from .pool_rules import PoolRules
from .reports import Report, rule
from .ring_rules import RingRules
from .skb_rules import SkbRules
from .structure import Breach, breaches

if TYPE_CHECKING:
    from ..net.plugin import Driver

SHOWN_IN_FULL = 5
SHOWN_IN_SHORT = 20
"""Reports of one failure that are shown with their history, and by a line."""
LEAK_RULES = ("MM-09", "PP-02", "PP-13")
"""Rules that a page breaks which nobody gives back."""
COMPLAINTS = {
    "negative_inflight": "PP-01",
    "ring_refcnt_violation": "PP-04",
    "stalled_shutdown": "PP-12",
    "frag_count_negative": "PP-16",
    "alloc_frag_args": "MSG-01",
    "create_failed": "MSG-01",
}
"""Messages of the kernel by which it complains itself, and the rule that they are about."""


class Checker:
    """Follows a machine whose state is ``k``, from before anything has run on it.

    ``collect``: reports are only kept in ``reports``; otherwise the operation that breaks a rule raises
    :class:`netemu.KernelBug` once it is over.
    """

    def __init__(self, k: Kernel, *, collect: bool = False) -> None:
        self.k = k
        self.collect = collect
        self.contexts = True
        """False for scripts that say nothing of contexts or of what a driver touches: NAPI's per-CPU caches may then be
        used from anywhere, and a length to be synced means nothing."""
        self.reports: list[Report] = []
        watch = k.watch = Watch(Notes)
        self.recorder = Recorder(k)
        self.ledger = Ledger(self, k, self.recorder)
        self.memory = MemoryRules(self, self.ledger, watch)
        self.lists = ListRules(self, watch)
        self.pools = PoolRules(self, self.ledger, watch)
        self.skbs = SkbRules(self, self.ledger, watch)
        self.rings = RingRules(self, self.ledger)
        self.devices = DeviceRules(self, self.ledger, watch)
        self.followed: set[str] = set()
        """Drivers whose own functions are followed."""
        self._logged = 0

    # -- reporting -------------------------------------------------------------------------------------------------

    def report(
        self, id: str, what: str, subject: str = "", state: Sequence[str] = (), history: Sequence[Event] = ()
    ) -> None:
        """A rule is broken, here and now."""
        self.reports.append(Report(rule(id), what, subject, self.recorder.now("found"), state, history))

    def deliver(self) -> None:
        """After an operation: compare counts, take what the kernel itself has noted, raise what was found."""
        self.ledger.compare()
        self._kernel_messages()
        self._kernel_fault()
        if not self.collect:
            raise_reports(self.fresh())

    def fresh(self) -> list[Report]:
        """Reports that nobody has been told of; they count as told from now on."""
        found = [report for report in self.reports if not report.delivered]
        for report in found:
            report.delivered = True
        return found

    def follow(self, driver: Driver) -> None:
        """The driver's own rules are checked too."""
        if driver.name not in self.followed and self.k.watch is not None:
            self.followed.add(driver.name)
            driver.follow(self.k.watch, self.report)

    def _kernel_messages(self) -> None:
        if self.k.log_count[0] == self._logged:
            return
        for name, _a, _b, text in messages_since(self.k, self._logged):
            if name in COMPLAINTS:
                self.report(COMPLAINTS[name], text)
        self._logged = self.k.log_count[0]

    def _kernel_fault(self) -> None:
        if not self.k.error[0].code:
            return
        about = self.k.error[0].a
        try:
            raise_fault(self.k)
        except KernelBug as bug:
            if bug.code in ("emulator", "page-source"):
                raise
            if bug.code == "SK-09" and not self.contexts:
                return
            if any(not report.delivered for report in self.reports):
                return  # the same, seen from above
            history: Sequence[Event] = ()
            if bug.code.startswith("MM") and about in self.ledger.pages:
                history = list(self.ledger.pages[about].history)
            self.report(bug.code, str(bug).removeprefix(f"{bug.code}: "), history=history)

    def page_life(self, pfn: int) -> int:
        """How often a page has been handed out."""
        return self.ledger.of(pfn).life

    def skb_life(self, skb: int) -> int:
        """How often a struct has been."""
        return self.skbs.of(skb).life

    def stale_page(self, pfn: int) -> None:
        """A page is used through a handle from before it was given back and handed out again."""
        shadow = self.ledger.of(pfn)
        self.ledger.report("PP-07", f"page {pfn} is used after it was given back; it belongs to others now", shadow)

    def stale_skb(self, skb: int) -> None:
        """The same for a packet."""
        self.skbs.report("SK-01", f"sk_buff {skb} is used after it was freed; the struct is another packet's now", skb)

    def touched(self, pfn: int, device: bool) -> None:
        """The CPU or the device reads or writes a page."""
        shadow = self.ledger.of(pfn)
        who = "the device" if device else "the CPU"
        if shadow.free or shadow.place:
            where = "has been freed" if shadow.free else f"is in {shadow.place}"
            self.ledger.report("PP-07" if shadow.place else "MM-11", f"{who} touches page {pfn}, which {where}", shadow)
        elif not device and shadow.ring().startswith("receive"):
            self.ledger.report("DM-03", f"the CPU touches page {pfn}, which is posted to {shadow.ring()}", shadow)
        elif device and not shadow.mapped:
            self.ledger.report("DM-01", f"the device touches page {pfn}, which is not mapped", shadow)

    # -- at rest ---------------------------------------------------------------------------------------------------

    def quiesce(self, devices: Sequence[Device] = ()) -> None:
        """Look at everything: nothing is in the middle of anything."""
        for id, what in found_at_rest(self.k, devices):
            self.report(id, what)
        self.pools.quiesce()
        self.skbs.quiesce()

    def leaks(self, driver_pages: Iterable[int]) -> None:
        """Report what somebody still holds and nobody will give back: packets, and pages outside all places."""
        self.rings.leaks()
        self.pools.leaks()
        self.devices.leaks()
        held: set[int] = set()
        for number, packet in self.skbs.skbs.items():
            row = self.k.skb[number]
            if row.state == SKB_LIVE and packet.life and row.users > 0:
                self.skbs.report("SK-BOOKS", f"sk_buff {number} is never freed", number)
        for data in self.skbs.data.values():
            held |= {id(ref) for ref in [data.head, *data.slots] if ref is not None and data.structs}
        known = {self.ledger.head(pfn) for pfn in driver_pages}
        parked = set((self.k.arrays["pages"]["where"] == 1).nonzero()[0].tolist())
        for shadow in list(self.ledger.pages.values()):
            if not shadow.free and shadow.pfn not in known | parked:
                self._leak(shadow, held)

    def _leak(self, shadow: PageShadow, held: set[int]) -> None:
        ours = [ref for ref in [*shadow.shares, *shadow.plain] if id(ref) not in held]
        if not ours or (shadow.place and not shadow.plain):
            return
        if shadow.pool is not None:
            destroyed = self.k.pool[shadow.pool].users <= 0
            what = f"page {shadow.pfn} of page_pool {shadow.pool} is never returned ({len(ours)} out)"
            self.ledger.report(
                "PP-13" if destroyed else "PP-02",
                f"page_pool leak: {what}" + (": the destroyed pool waits for it for ever" if destroyed else ""),
                shadow,
            )
        else:
            self.ledger.report("MM-09", f"page {shadow.pfn} is never freed ({len(ours)} references left)", shadow)


def raise_reports(reports: Sequence[Report]) -> None:
    """Raise KernelBug with these reports as its text, if there are any."""
    if reports:
        shown = [str(report) for report in reports[:SHOWN_IN_FULL]]
        shown += [f"{report.id}: {report.what}" for report in reports[SHOWN_IN_FULL:]][:SHOWN_IN_SHORT]
        left = len(reports) - len(shown)
        text = "\n\n".join(shown) + (f"\n\nand {left} more" if left > 0 else "")
        raise KernelBug(text, code=reports[0].id, where=reports[0].found.path, reports=tuple(reports))


def found_at_rest(k: Kernel, devices: Sequence[Device]) -> Iterator[Breach]:
    """Breaches that the machine's tables show, without history."""
    yield from breaches(k)
    for device in devices:
        yield from device_breaches(device)
    yield from receive_books(k, devices)


def stock_reports(
    k: Kernel, recorder: Recorder, devices: Sequence[Device], driver_pages: Iterable[int], *, leaks: bool
) -> list[Report]:
    """What an unwatched machine shows at rest: breaches of structure and, if asked for, pages that nobody holds."""
    found = [Report(rule(id), what, "", recorder.now("found at rest")) for id, what in found_at_rest(k, devices)]
    books = take_stock(k, driver_pages)
    for line in books.errors:
        id, _, what = line.partition(" ")
        found.append(Report(rule(id), what, "", recorder.now("found at rest")))
    if leaks:
        found += [Report(rule("MM-09"), line, "", recorder.now("found at rest")) for line in books.leaks]
        live = int(k.slab[0].live)
        if live:
            found.append(
                Report(rule("SK-BOOKS"), f"{live} sk_buffs are never freed", "", recorder.now("found at rest"))
            )
    return found
