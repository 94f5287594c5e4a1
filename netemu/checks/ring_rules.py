"""Rings of scripted drivers under watch: what is posted belongs to the hardware, and comes back once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ledger import CALLER, Ledger, Ref

if TYPE_CHECKING:
    from .checker import Checker


class RingRules:
    """Follows what is posted.  ``transmit``: the transmit rings."""

    def __init__(self, checker: Checker, ledger: Ledger) -> None:
        self.checker = checker
        self.ledger = ledger
        self.transmit: list[Any] = []

    def posted(self, pfn: int, holder: str) -> Ref | None:
        """A page goes to the hardware, with the newest reference that the driver has of it."""
        shadow = self.ledger.of(pfn)
        refs = [ref for ref in [*shadow.shares, *shadow.plain] if ref.holder == CALLER]
        if not refs:
            others = {ref.holder for ref in [*shadow.shares, *shadow.plain]}
            receiving = holder.startswith("receive")
            in_place = (
                f" is in {shadow.place}" if shadow.place else f" belongs to {', '.join(sorted(others)) or 'nobody'}"
            )
            self.ledger.report(
                "DR-01" if receiving else "XD-04", f"{holder}: page {pfn} is posted, but{in_place}", shadow
            )
            return None
        ref = max(refs, key=lambda ref: ref.taken.serial)
        ref.holder = holder
        self.ledger.note(shadow, f"posted to {holder}")
        return ref

    def posted_skb(self, skb: int, where: str) -> None:
        """A packet goes to the hardware."""
        shadow = self.checker.skbs.of(skb)
        self.checker.skbs.usable(skb, f"a post to {where}")
        if shadow.on_ring:
            self.checker.skbs.report("SK-12", f"sk_buff {skb} is posted to {where}, but is on {shadow.on_ring}", skb)
        shadow.on_ring = where
        self.checker.skbs.note(skb, f"posted to {where}")

    def leaks(self) -> None:
        """What is on transmit rings at the end, or was completed and never returned (XD-05); missing bytes (BQL-01)."""
        for ring in self.transmit:
            if ring.head == ring.tail and ring.bytes_queued:
                self.checker.report("BQL-01", f"{ring.name} is empty, but {ring.bytes_queued} bytes were not completed")
            for slot, item in enumerate(ring.slots):
                if item is not None:
                    self.checker.report("XD-05", f"{item!r} is left on {ring.name}, descriptor {slot}: never completed")
            for page, ref in ring.owed:
                shadow = self.ledger.of(page.pfn)
                if ref in shadow.shares or ref in shadow.plain:
                    self.ledger.report(
                        "XD-05", f"page {page.pfn} was sent from {ring.name}, but never returned", shadow
                    )
