"""The lives of single pages and packets: each step with its virtual time, CPU and call path.

A rule says which call is a step, in whose life, and how it reads; :mod:`netemu.tracing.steps` lists them.  What
happens to pages while a packet is being dealt with is a part of the packet's life too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.kernel import KernelFunction
from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm import page_frag
from ..mm.layout import NONE, PAGE_SIZE, PG_TAIL
from ..net.device_layout import TX_SKB
from ..net.policy import CACHE, KEEP, RING
from ..net.xdp_layout import VERDICTS
from .moment import NIC, Clock, Moment

RESULT = "result"
"""In place of a parameter: what the function answers."""

BEFORE = "before"
AFTER = "after"
IF_TRUE = "if true"
IF_FALSE = "if false"


@dataclass(frozen=True)
class Rule:
    """A call of ``function`` is a step in the life of the page ``page`` and of the packet ``packet``.

    ``page``: the parameter (or RESULT) that is a page number; ``address:X``: X is an address; ``head:X``: the head of
    sk_buff X; ``received``: where the NIC has put the packet; empty: the page at hand.  ``packet``: how the parameter
    of that name, or the one behind the colon, leads to a packet (:data:`PACKET_OF`); empty: the packet that is being
    dealt with.  ``text`` may use parameters, ``result`` and :data:`ABOUT`; empty: no step, but what happens inside is
    about this page and packet.
    """

    function: Any
    text: str
    page: str = ""
    packet: str = ""
    when: str = AFTER


@dataclass(frozen=True, slots=True)
class Step:
    """``pages``: first page and how many, of the block that it is about (0: none); ``packet``: NONE for none."""

    moment: Moment
    what: str
    page: int
    pages: int
    packet: int


def _oldest_completion(k: Kernel, rxq: int) -> int:
    q = k.rxq[rxq]
    return int(k.cqe[q.cq_base + (q.cq_head & q.cq_mask)].packet)


PACKET_OF: dict[str, Callable[[Kernel, int], int]] = {
    "packet": lambda k, packet: packet,
    "xdp": lambda k, row: int(k.xdp_buff[row].packet),
    "frame": lambda k, frame: int(k.xdp_frame[frame].packet),
    "arriving": lambda k, _: int(k.run[0].arrived),
    "completion": _oldest_completion,
}
"""How a rule's ``packet`` leads to the number of a packet.  Beside these: ``skb``, and ``transmission`` of a queue."""

ABOUT: dict[str, Callable[[Kernel, Mapping[str, Any]], Any]] = {
    "refs": lambda k, v: k.pages[v["page"]].refcount,
    "shares": lambda k, v: k.pages[v["page"]].frag_count,
    "pool_id": lambda k, v: v["pool"] + 1,
    "hold": lambda k, v: f": hold {k.pool[v['pool']].hold_cnt}" if k.era[0].pool_accounting else "",
    "release": lambda k, v: f": release {k.pool[v['pool']].release_cnt}" if k.era[0].pool_accounting else "",
    "cached": lambda k, v: k.pool[v["pool"]].cache_count,
    "drops": lambda k, v: "freed" if k.skb[v["skb"]].users <= 1 else f"one of {k.skb[v['skb']].users} users gone",
    "offset_in_page": lambda k, v: v["address"] % PAGE_SIZE,
    "verdict_name": lambda k, v: VERDICTS[v["result"]].upper(),
    "policy_says": lambda k, v: {KEEP: "keep", CACHE: "cache", RING: "ring"}.get(v["result"], "page allocator"),
}
"""What a rule's text can say beyond arguments."""


class _Words(dict[str, Any]):
    """The words of a text: arguments by name, and what :data:`ABOUT` finds out."""

    def __init__(self, k: Kernel, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._k = k

    def __missing__(self, name: str) -> Any:
        return ABOUT[name](self._k, self)


class Lives:
    """Keeps the steps of the ``pages`` and ``packets`` that somebody wants to know of."""

    def __init__(
        self, k: Kernel, watch: Watch, clock: Clock, *, pages: Collection[int] = (), packets: Collection[int] = ()
    ) -> None:
        self.k = k
        self.watch = watch
        self.clock = clock
        self.pages = frozenset(pages)
        self.packets = frozenset(packets)
        self.steps: list[Step] = []
        self._dealing: list[int] = [NONE]  # packets that are being dealt with, the innermost last
        self._at_hand: list[int] = [NONE]  # pages, likewise
        self._owner: dict[int, int] = {}  # packet of each sk_buff
        self._received: dict[int, int] = {}  # first page of each packet

    def follow(self, rules: Iterable[Rule]) -> None:
        """From now on, calls that a rule is about are steps."""
        for rule in rules:
            if isinstance(rule.function, KernelFunction):
                self.watch.wrap(rule.function, self._hook(rule))

    def _hook(self, rule: Rule) -> Callable[..., Any]:
        code = rule.function.function.__code__
        names = code.co_varnames[1 : code.co_argcount]

        def hook(body: Body, k: Kernel, *arguments: Any) -> Any:
            values = dict(zip(names, arguments, strict=True))
            packet = self._packet(rule, values)
            page = self._page(rule, values)
            self._dealing.append(packet)
            self._at_hand.append(page)
            try:
                if rule.when == BEFORE:
                    self._say(rule, values, page, packet)
                result = body(k, *arguments)
            finally:
                self._dealing.pop()
                self._at_hand.pop()
            if rule.when == AFTER or (rule.when in (IF_TRUE, IF_FALSE) and bool(result) == (rule.when == IF_TRUE)):
                values[RESULT] = result
                if rule.packet.endswith(RESULT):
                    packet = self._packet(rule, values)
                self._say(rule, values, self._page(rule, values), packet)
            return result

        return hook

    # -- whose step it is --------------------------------------------------------------------------------------------

    def _packet(self, rule: Rule, values: Mapping[str, Any]) -> int:
        name, _, parameter = rule.packet.partition(":")
        if not name:
            return self._dealing[-1]
        value = values.get(parameter or name, NONE)
        if name == "transmission":
            t = self._oldest_transmission(value)
            name, value = ("skb", t.skb) if t.kind == TX_SKB else ("frame", t.page)
        if name == "skb":
            return self._owner.get(value, self._dealing[-1])
        return PACKET_OF[name](self.k, value)

    def _oldest_transmission(self, txq: int) -> Any:
        q = self.k.txq[txq]
        return self.k.txd[q.base + (q.head & q.mask)]

    def _page(self, rule: Rule, values: Mapping[str, Any]) -> int:
        name, _, parameter = rule.page.partition(":")
        if not name:
            return self._at_hand[-1]
        if name == "received":
            return self._received.get(self._dealing[-1], NONE)
        value = int(values.get(parameter or name, NONE))
        if name == "address" and value != NONE:
            return value // PAGE_SIZE
        if name == "head":
            skb = self.k.skb[value]
            return int(skb.head_page) if skb.head_frag else NONE
        return value

    def _say(self, rule: Rule, values: dict[str, Any], page: int, packet: int) -> None:
        if not rule.text or (rule.page and page == NONE):
            return
        count = self._extent(rule, values, page) if page != NONE else 0
        if packet not in self.packets and not any(page <= wanted < page + count for wanted in self.pages):
            return
        words = _Words(self.k, values | {"page": page, "function": self._name(rule.function)})
        self._keep(rule.text.format_map(words), page, count, packet)

    def _extent(self, rule: Rule, values: Mapping[str, Any], page: int) -> int:
        """How many pages a step is about: those of the block, or those that a piece of memory lies on."""
        kind, _, parameter = rule.page.partition(":")
        if kind == "address":
            at = values[parameter or kind]
            size = values.get("size", values.get("count", page_frag.SLICE))
            return int((at + size - 1) // PAGE_SIZE - page + 1)
        p = self.k.pages[page]
        return 1 if p.flags & PG_TAIL else 1 << int(values.get("order", p.order))

    def _keep(self, what: str, page: int, count: int, packet: int) -> None:
        self.steps.append(Step(self.clock.now(), what, page, count, packet))

    def _name(self, function: KernelFunction) -> str:
        return self.clock.renamed.get(function.name, function.name)

    # -- what rules cannot say ---------------------------------------------------------------------------------------

    def own(self, skb: int, packet: int | None = None) -> None:
        """A struct is the packet's that is being dealt with, or ``packet``'s."""
        self._owner[skb] = self._dealing[-1] if packet is None else packet

    def owner(self, skb: int) -> int:
        """The packet of a struct; NONE: nobody's."""
        return self._owner.get(skb, NONE)

    def received(self, packet: int, page: int) -> None:
        """The NIC has put (a part of) a packet on a page."""
        self._received.setdefault(packet, page)

    def lost(self, packet: int, why: str) -> None:
        """The NIC does not take a packet."""
        if packet in self.packets:
            self._keep(f"lost: {why}", NONE, 0, packet)

    # -- the answer --------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Whose lives they are (``pages``, ``packets``), and their ``steps`` in the order of causes and effects.

        Times of one CPU never decrease; what another CPU does in answer can be stamped a little earlier.  A step has
        ``time_ns`` (below 0: before the first packet could come), ``cpu`` (None: the NIC), ``context``, ``what``, the
        ``page`` (the first of ``pages``; None: no page) and the ``packet`` that it is about, and its call ``path``.
        """
        return {
            "pages": sorted(self.pages),
            "packets": sorted(self.packets),
            "steps": [self._told(step) for step in self.steps],
        }

    def _told(self, step: Step) -> dict[str, Any]:
        return {
            "time_ns": self.clock.time(step.moment) / 1000,
            "cpu": None if step.moment.cpu == NIC else step.moment.cpu,
            "context": step.moment.context,
            "what": step.what,
            "page": step.page if step.pages else None,
            "pages": step.pages,
            "packet": None if step.packet == NONE else step.packet,
            "path": list(step.moment.path),
        }
