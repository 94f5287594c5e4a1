"""sk_buffs under watch: who uses each struct, which references each head and fragment holds, and how they go."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm.layout import NONE, PAGE_SIZE
from ..net import skb_alloc, skb_clone, skb_coalesce, skb_copy, skb_data, skb_release, skb_slab
from ..net.skb_layout import MAX_SKB_FRAGS, SHARED_INFO_SIZE, SK_BUFF_SIZE, SKB_DATAREF_MASK, SKB_LIVE
from .history import LONGEST, Event
from .ledger import Ledger, Ref

if TYPE_CHECKING:
    from .checker import Checker

SKB_CLONE = skb_clone.__skb_clone  # a class body would read these names as its own
FRAG_UNREF = skb_release.__skb_frag_unref

USES: tuple[Any, ...] = (
    skb_clone.skb_get,
    skb_clone.skb_clone,
    skb_clone.skb_frag_ref,
    skb_clone.skb_morph,
    skb_copy.pskb_expand_head,
    skb_copy.skb_unclone,
    skb_copy.skb_unclone_keeptruesize,
    skb_copy.skb_copy,
    skb_copy.pskb_copy,
    skb_copy.skb_copy_expand,
    skb_copy.skb_realloc_headroom,
    skb_data.skb_pull,
    skb_data.skb_push,
    skb_data.skb_add_rx_frag,
    skb_data.skb_frag_unref,
    skb_data.skb_append_list,
    skb_data.pskb_pull_tail,
    skb_data.skb_linearize,
    skb_data.pskb_trim,
    skb_coalesce.skb_try_coalesce,
    skb_coalesce.kfree_skb_partial,
    skb_coalesce.skb_gro_receive,
    skb_coalesce.napi_skb_finish,
    skb_release.kfree_skb,
    skb_release.consume_skb,
    skb_release.kfree_skb_defer,
    skb_release.napi_consume_skb,
    skb_release.dev_kfree_skb_irq,
    skb_release.dev_kfree_skb_any,
    skb_release.skb_attempt_defer_free,
    skb_alloc.skb_mark_for_recycle,
)
"""Operations on a packet that somebody still uses; the packet is the third argument."""
TWO_PACKETS: tuple[Any, ...] = (
    skb_coalesce.skb_try_coalesce,
    skb_coalesce.skb_gro_receive,
    skb_clone.skb_morph,
    skb_data.skb_append_list,
)
"""Those of them whose fourth argument is a packet too."""
EMPTIES: tuple[Any, ...] = (skb_coalesce.skb_try_coalesce, skb_coalesce.skb_gro_receive, skb_data.skb_append_list)
"""Those of them that take over what the second packet has."""
CHANGES: tuple[Any, ...] = (
    skb_data.skb_add_rx_frag,
    skb_data.skb_append_list,
    skb_data.pskb_pull_tail,
    skb_data.skb_linearize,
    skb_data.pskb_trim,
    skb_copy.pskb_expand_head,
    skb_coalesce.skb_try_coalesce,
)
"""Operations that only the packet's one user may do: they change lengths, head or fragments."""
IN_PLACE: tuple[Any, ...] = (skb_data.skb_add_rx_frag, skb_data.skb_append_list)
"""Those of them that write to the data as it is, which nobody else may be looking at."""

WORST_RATIO = 32
"""How many times the bytes that a packet is accounted with it may pin by itself."""


@dataclass(slots=True, eq=False)
class DataShadow:
    """A head with its shared info: the reference of the head's page, one for each fragment, and the structs on it."""

    head: Ref | None = None
    slots: list[Ref | None] = field(default_factory=list)
    structs: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class SkbShadow:
    """A struct: its history, and which of its lives this is.  ``left_to``: the CPU that is to free it, -1: none."""

    number: int
    life: int = 0
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=LONGEST))
    on_ring: str = ""
    left_to: int = -1


class SkbRules:
    """Follows packets."""

    def __init__(self, checker: Checker, ledger: Ledger, watch: Watch) -> None:
        self.checker = checker
        self.ledger = ledger
        self.k = checker.k
        self.data: dict[int, DataShadow] = {}
        self.skbs: dict[int, SkbShadow] = {}
        inside_its_use: Any = skb_release.skb_attempt_defer_free
        watch.wrap(inside_its_use, self.attempt_defer_free)
        for function in USES:
            watch.wrap(function, self._use(function))
        hooks: list[tuple[Any, Any]] = [
            (skb_slab.shinfo_take, self.shinfo_take),
            (skb_slab.shinfo_give, self.shinfo_give),
            (skb_slab.shinfo_copy, self.shinfo_copy),
            (skb_alloc.skb_init, self.skb_init),
            (skb_alloc.skb_set_page_head, self.set_page_head),
            (skb_alloc.skb_set_object_head, self.set_object_head),
            (SKB_CLONE, self.clone),
            (skb_copy.skb_share_frags, self.share_frags),
            (skb_copy.pskb_expand_head, self.expand_head),
            (skb_data.skb_fill_page_desc, self.fill_page_desc),
            (skb_data.skb_add_rx_frag, self.add_rx_frag),
            (skb_data.skb_frag_unref, self.frag_unref),
            (skb_data.eat_frags, self.eat_frags),
            (skb_data.trim_frags, self.trim_frags),
            (skb_coalesce.append_frags, self.append_frags),
            (skb_coalesce.share_moved_frags, self.share_moved_frags),
            (skb_coalesce.skb_try_coalesce, self.try_coalesce),
            (skb_coalesce.skb_gro_receive, self.gro_receive),
            (skb_coalesce.gro_steal_head, self.gro_steal_head),
            (skb_release.skb_release_data, self.release_data),
            (skb_release.skb_release_head_state, self.release_head_state),
            (FRAG_UNREF, self.unref),
            (skb_release.skb_free_head, self.free_head),
            (skb_release.abandon_head, self.abandon_head),
            (skb_release.take_deferred, self.take_deferred),
            (skb_release.skb_unref, self.skb_unref),
            (skb_release.napi_consume_skb, self.napi_consume_skb),
            (skb_slab.napi_skb_cache_get, self.struct_cache),
            (skb_slab.napi_skb_cache_put, self.struct_cache),
        ]
        for function, hook in hooks:
            watch.wrap(function, hook)

    # -- shadows ---------------------------------------------------------------------------------------------------

    def of(self, skb: int) -> SkbShadow:
        """The shadow of a struct."""
        shadow = self.skbs.get(skb)
        if shadow is None:
            shadow = self.skbs[skb] = SkbShadow(skb)
        return shadow

    def data_of(self, skb: int) -> DataShadow:
        """The shadow of the data that a struct looks at."""
        return self.data.setdefault(self.k.skb[skb].shinfo, DataShadow())

    def note(self, skb: int, what: str) -> None:
        """Add a step to a packet's history."""
        self.of(skb).history.append(self.ledger.recorder.now(what))

    def report(self, rule: str, what: str, skb: int) -> None:
        """A packet breaks a rule."""
        r = self.k.skb[skb]
        info = self.k.shinfo[r.shinfo]
        state = [
            f"users {r.users}, dataref {info.dataref & 0xFFFF}, len {r.len} ({r.data_len} in {info.nr_frags} fragments)"
            f", truesize {r.truesize}" + (", pp_recycle" if r.pp_recycle else "") + (", cloned" if r.cloned else "")
        ]
        if r.state != SKB_LIVE:
            state = ["freed"]
        self.checker.report(rule, what, f"sk_buff {skb}", state, list(self.of(skb).history))

    def _use(self, function: Any) -> Any:
        two = function in TWO_PACKETS

        def used(body: Body, k: Kernel, cpu: int, *arguments: int) -> Any:
            for packet in arguments[:2] if two else arguments[:1]:
                if not self.usable(packet, function.name):
                    return NONE if function is skb_clone.skb_clone else 0
            if function in CHANGES:
                self.may_change(arguments[0], function.name, in_place=function in IN_PLACE)
            if function in EMPTIES:
                self.not_on_ring(arguments[1], function.name)
            return body(k, cpu, *arguments)

        return used

    def usable(self, skb: int, what: str) -> bool:
        """Is the packet somebody's?  Otherwise ``what`` must not be done with it (SK-01)."""
        row = self.k.skb[skb]
        if row.state != SKB_LIVE:
            self.report("SK-01", f"{what} of sk_buff {skb}, which has been freed", skb)
        elif row.users <= 0:
            self.report("SK-01", f"{what} of sk_buff {skb}, whose last user is gone: net_tx_action will free it", skb)
        elif self.of(skb).left_to >= 0:
            self.report("SK-01", f"{what} of sk_buff {skb}, which is left to CPU {self.of(skb).left_to} to free", skb)
        else:
            return True
        return False

    def may_change(self, skb: int, what: str, *, in_place: bool = True) -> None:
        """Nobody changes a packet that others use, or (``in_place``) data that other structs look at (SK-02)."""
        self.not_on_ring(skb, what)
        row = self.k.skb[skb]
        sharing = self.k.shinfo[row.shinfo].dataref & SKB_DATAREF_MASK
        if row.users > 1:
            self.report("SK-02", f"{what}: sk_buff {skb} has {row.users} users, so nobody may change it", skb)
        elif in_place and row.cloned and sharing > 1:
            self.report(
                "SK-02", f"{what}: {sharing} structs look at the data of sk_buff {skb}: nobody may change it", skb
            )

    def not_on_ring(self, skb: int, what: str) -> None:
        """A packet that the device may be reading stays as it is (SK-12)."""
        if self.of(skb).on_ring:
            self.report("SK-12", f"{what} of sk_buff {skb}, which is on {self.of(skb).on_ring}", skb)

    # -- making ----------------------------------------------------------------------------------------------------

    def shinfo_take(self, body: Body, k: Kernel, cpu: int) -> int:
        row: int = body(k, cpu)
        self.data[row] = DataShadow()
        return row

    def shinfo_give(self, body: Body, k: Kernel, row: int) -> None:
        left = [ref for ref in self.data.get(row, DataShadow()).slots if ref is not None]
        if left and not self.ledger.notes.releasing:
            self.checker.report("SK-06", f"{len(left)} references of fragments are forgotten: {left[0]}")
        body(k, row)

    def skb_init(self, body: Body, k: Kernel, cpu: int, skb: int, size: int) -> None:
        body(k, cpu, skb, size)
        shadow = self.of(skb)
        shadow.life += 1
        shadow.on_ring, shadow.left_to = "", -1
        self.data_of(skb).structs = {skb}
        self.note(skb, f"made, head of {size} bytes")

    def set_page_head(self, body: Body, k: Kernel, skb: int, pfn: int, offset: int) -> None:
        body(k, skb, pfn, offset)
        at = pfn * PAGE_SIZE + offset
        self.data_of(skb).head = self.ledger.claim(pfn, f"sk_buff {skb} (head)", at)
        self._head_fits(skb, at)

    def _head_fits(self, skb: int, at: int) -> None:
        """SK-07, SK-04: a head on pages has a size, and lies inside its block."""
        size = self.k.skb[skb].end + SHARED_INFO_SIZE
        head = self.ledger.head(at // PAGE_SIZE)
        whole = PAGE_SIZE << self.k.pages[head].order
        if size <= SHARED_INFO_SIZE:
            self.report("SK-07", f"build_skb around page {head} with a frag_size of {size}", skb)
        elif at + size > head * PAGE_SIZE + whole:
            over = at + size - head * PAGE_SIZE - whole
            self.report(
                "SK-04", f"the head of sk_buff {skb} ends {over} bytes behind page {head}, of {whole} bytes", skb
            )

    def set_object_head(self, body: Body, k: Kernel, skb: int, made: int) -> None:
        body(k, skb, made)
        self.data_of(skb).head = None

    def fill_page_desc(self, body: Body, k: Kernel, skb: int, n: int, pfn: int, offset: int, size: int) -> None:
        body(k, skb, n, pfn, offset, size)
        data = self.data_of(skb)
        if self.ledger.notes.stolen_from is not None:
            ref, self.data[self.ledger.notes.stolen_from].head = self.data[self.ledger.notes.stolen_from].head, None
        else:
            ref = self.ledger.claim(pfn, f"sk_buff {skb} (fragment {n})")
        del data.slots[n:]
        data.slots.append(ref)

    def add_rx_frag(
        self, body: Body, k: Kernel, cpu: int, skb: int, pfn: int, offset: int, size: int, truesize: int
    ) -> None:
        body(k, cpu, skb, pfn, offset, size, truesize)
        self.note(skb, f"fragment of {size} bytes in page {pfn}")
        whole = PAGE_SIZE << k.pages[self.ledger.head(pfn)].order
        at = (pfn - self.ledger.head(pfn)) * PAGE_SIZE + offset
        if at + size > whole:
            self.report("SK-04", f"a fragment of {size} bytes at {at} reaches past the {whole} bytes of its page", skb)
        if truesize < size:
            self.report("SK-05", f"a fragment of {size} bytes is accounted with {truesize}", skb)

    # -- sharing ---------------------------------------------------------------------------------------------------

    def clone(self, body: Body, k: Kernel, made: int, skb: int) -> int:
        result: int = body(k, made, skb)
        shadow = self.of(made)
        shadow.life += 1
        shadow.on_ring, shadow.left_to = "", -1
        self.data_of(made).structs.add(made)
        self.note(made, f"made, a clone of sk_buff {skb}")
        self.note(skb, f"cloned to sk_buff {made}")
        self._dataref(skb)
        return result

    def _dataref(self, skb: int) -> None:
        r = self.k.skb[skb]
        info = self.k.shinfo[r.shinfo]
        structs = self.data_of(skb).structs
        if r.cloned and info.dataref & 0xFFFF != len(structs):
            self.report("SK-02", f"dataref is {info.dataref & 0xFFFF}, but {len(structs)} structs share the data", skb)

    def shinfo_copy(self, body: Body, k: Kernel, source: int, target: int) -> None:
        body(k, source, target)
        self.ledger.notes.copied_to = target

    def share_frags(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        before, self.ledger.notes.taken = self.ledger.notes.taken, []
        try:
            body(k, cpu, skb)
            refs = self.ledger.notes.taken
        finally:
            self.ledger.notes.taken = before
        for n, ref in enumerate(refs):
            ref.holder, ref.certain = f"sk_buff {skb} (fragment {n})", True
        self.data[self.ledger.notes.copied_to].slots = list(refs)

    def expand_head(self, body: Body, k: Kernel, cpu: int, skb: int, nhead: int, ntail: int) -> int:
        old = self.data_of(skb)
        result: int = body(k, cpu, skb, nhead, ntail)
        if result == 0:
            old.structs.discard(skb)
            self.data_of(skb).structs = {skb}
            self.note(skb, "given a private head")
        return result

    # -- merging ---------------------------------------------------------------------------------------------------

    def append_frags(self, body: Body, k: Kernel, source: int, target: int) -> None:
        body(k, source, target)
        a, b = self.data[source], self.data[target]
        self.ledger.notes.appended = (source, target, len(b.slots))
        b.slots += a.slots
        a.slots = []
        if k.shinfo[target].nr_frags > MAX_SKB_FRAGS:
            self.checker.report("SK-04", f"{k.shinfo[target].nr_frags} fragments after a merge")

    def share_moved_frags(self, body: Body, k: Kernel, cpu: int, source: int) -> None:
        assert self.ledger.notes.appended is not None
        row, target, base = self.ledger.notes.appended
        before, self.ledger.notes.taken = self.ledger.notes.taken, []
        try:
            body(k, cpu, source)
            taken = self.ledger.notes.taken
        finally:
            self.ledger.notes.taken = before
        moved = self.data[target].slots[base:]
        self.data[row].slots = list(moved)
        for ref in taken:
            ref.certain, ref.holder = True, f"coalesced fragment of sk_buff {source}"
        self.data[target].slots[base:] = list(taken)

    def try_coalesce(self, body: Body, k: Kernel, cpu: int, to: int, source: int) -> int:
        row = k.skb[source].shinfo
        total = k.skb[to].len + k.skb[source].len
        before, self.ledger.notes.stolen_from = self.ledger.notes.stolen_from, row
        try:
            merged: int = body(k, cpu, to, source)
        finally:
            self.ledger.notes.stolen_from = before
        if merged:
            self.note(to, f"sk_buff {source} coalesced into it" + (", head stolen" if k.coalesced[0].stolen else ""))
            self.note(source, f"coalesced into sk_buff {to}")
            if k.skb[to].len != total:
                self.report("SK-08", f"coalescing made {total} bytes {k.skb[to].len}", to)
        return merged

    def gro_receive(self, body: Body, k: Kernel, cpu: int, p: int, skb: int, offset: int) -> int:
        mixed = k.skb[p].pp_recycle != k.skb[skb].pp_recycle
        result: int = body(k, cpu, p, skb, offset)
        if result == 0:
            self.note(p, f"sk_buff {skb} merged into it by receive offload")
            self.note(skb, f"merged into sk_buff {p} by receive offload")
            on_list = k.gro_cb[skb].free == 0
            if mixed and not on_list:
                self.report(
                    "SK-11",
                    f"receive offload moves fragments of sk_buff {skb} (pp_recycle {k.skb[skb].pp_recycle}) into "
                    f"sk_buff {p} (pp_recycle {k.skb[p].pp_recycle}), whose mark decides how they are freed",
                    p,
                )
        return result

    def gro_steal_head(self, body: Body, k: Kernel, last: int, skb: int, offset: int) -> int:
        data = self.data_of(skb)
        self.data_of(last).slots.append(data.head)
        data.head = None
        return int(body(k, last, skb, offset))

    # -- fragments that go early -------------------------------------------------------------------------------------

    def frag_unref(self, body: Body, k: Kernel, cpu: int, skb: int, n: int) -> None:
        inside = k.watch is not None and k.watch.depth > 1  # a slot goes; a script pairs it with its own frag_ref
        slots = self.data_of(skb).slots
        self.ledger.notes.hint = slots[n] if inside and n < len(slots) else None
        body(k, cpu, skb, n)

    def eat_frags(self, body: Body, k: Kernel, cpu: int, skb: int, eat: int) -> None:
        info = k.shinfo[k.skb[skb].shinfo]
        body(k, cpu, skb, eat)
        data = self.data_of(skb)
        data.slots = data.slots[len(data.slots) - info.nr_frags :] if info.nr_frags else []

    def trim_frags(self, body: Body, k: Kernel, cpu: int, skb: int, length: int) -> bool:
        cut: bool = body(k, cpu, skb, length)
        data = self.data_of(skb)
        del data.slots[k.shinfo[k.skb[skb].shinfo].nr_frags :]
        return cut

    # -- freeing ---------------------------------------------------------------------------------------------------

    def skb_unref(self, body: Body, k: Kernel, cpu: int, skb: int) -> bool:
        last: bool = body(k, cpu, skb)
        self.note(skb, "last user gone" if last else "one user less")
        if k.skb[skb].users < 0:
            self.report("SK-01", f"sk_buff {skb}: two CPUs drop the same user", skb)
        if last and self.of(skb).on_ring:
            self.report("SK-12", f"sk_buff {skb} is freed while it is on {self.of(skb).on_ring}", skb)
        return last

    def release_head_state(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        if k.cpu[cpu].hardirq:
            self.report("SK-10", f"sk_buff {skb} is freed with interrupts off or in a hard interrupt", skb)
        body(k, cpu, skb)

    def release_data(self, body: Body, k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
        data = self.data_of(skb)
        self.ledger.notes.releasing.append((data, 0))
        try:
            body(k, cpu, skb, napi_safe)
        finally:
            _, dropped = self.ledger.notes.releasing.pop()
        data.structs.discard(skb)
        if not data.structs:
            if dropped < len(data.slots):
                self.report("SK-06", f"{len(data.slots) - dropped} references of fragments are never dropped", skb)
            data.slots = []
        elif k.shinfo[k.skb[skb].shinfo].dataref == 0:
            self.report("SK-02", f"the data is freed, but {len(data.structs)} structs still look at it", skb)

    def unref(self, body: Body, k: Kernel, cpu: int, pfn: int, recycle: int, napi_safe: int) -> None:
        if self.ledger.notes.releasing:
            data, n = self.ledger.notes.releasing[-1]
            if n < len(data.slots):
                self.ledger.notes.hint = data.slots[n]
            self.ledger.notes.releasing[-1] = (data, n + 1)
        body(k, cpu, pfn, recycle, napi_safe)
        self.ledger.notes.hint = None

    def free_head(self, body: Body, k: Kernel, cpu: int, skb: int, napi_safe: int) -> None:
        data = self.data_of(skb)
        self.ledger.notes.hint, data.head = data.head, None
        body(k, cpu, skb, napi_safe)
        self.ledger.notes.hint = None

    def abandon_head(self, body: Body, k: Kernel, skb: int) -> None:
        data = self.data_of(skb)
        if data.head is not None or k.skb[skb].head_object:
            self.report("SK-08", f"sk_buff {skb} is freed without its head, which nobody has taken over", skb)
        data.structs.discard(skb)
        body(k, skb)

    # -- left to another CPU ---------------------------------------------------------------------------------------

    def attempt_defer_free(self, body: Body, k: Kernel, cpu: int, skb: int) -> None:
        owner, life = k.skb[skb].alloc_cpu, self.of(skb).life
        body(k, cpu, skb)
        if k.skb[skb].state == SKB_LIVE and self.of(skb).life == life:
            self.of(skb).left_to = owner
            self.note(skb, f"left to CPU {owner} to free")

    def take_deferred(self, body: Body, k: Kernel, cpu: int) -> int:
        first: int = body(k, cpu)
        skb = first
        while skb != NONE:
            self.of(skb).left_to = -1
            skb = k.skb[skb].next - 1
        return first

    # -- contexts --------------------------------------------------------------------------------------------------

    def napi_consume_skb(self, body: Body, k: Kernel, cpu: int, skb: int, budget: int) -> None:
        c = k.cpu[cpu]
        if budget and c.hardirq:
            self.report("SK-09", f"napi_consume_skb with budget {budget} with interrupts off (netpoll passes 0)", skb)
        body(k, cpu, skb, budget)

    def struct_cache(self, body: Body, k: Kernel, cpu: int, *rest: int) -> Any:
        c = k.cpu[cpu]
        if self.checker.contexts and (not (c.serving_softirq or c.bh_disabled) or c.hardirq):
            context = "with interrupts off" if c.hardirq else "in process context"
            self.checker.report("SK-09", f"the NAPI cache of sk_buff structs of CPU {cpu} is used {context}")
        return body(k, cpu, *rest)

    # -- at rest ---------------------------------------------------------------------------------------------------

    def quiesce(self) -> None:
        """Lengths, window, users and accounting of every live packet (SK-02, SK-03, SK-04, SK-05)."""
        for number, shadow in self.skbs.items():
            if self.k.skb[number].state == SKB_LIVE and shadow.life:
                self._shape(number)

    def _shape(self, skb: int) -> None:
        r = self.k.skb[skb]
        info = self.k.shinfo[r.shinfo]
        if r.users < 0 or not 0 <= r.data <= r.tail <= r.end:
            self.report("SK-03", f"data {r.data}, tail {r.tail}, end {r.end}, users {r.users}", skb)
        total = sum(self.k.frags[r.shinfo].size[: min(info.nr_frags, MAX_SKB_FRAGS)])
        entry = info.frag_list - 1
        while entry != NONE:
            total += self.k.skb[entry].len
            entry = self.k.skb[entry].next - 1
        if total != r.data_len and not self.k.gro_cb[skb].count:
            self.report("SK-03", f"data_len is {r.data_len}, but the fragments hold {total} bytes", skb)
        self._dataref(skb)
        self._accounted(skb)

    def _accounted(self, skb: int) -> None:
        """SK-05: what the head pins alone, against what the packet is charged with."""
        head = self.data_of(skb).head
        page = self.k.skb[skb].head_page
        if head is None or page == NONE:
            return
        shadow = self.ledger.of(page)
        order = self.k.pages[shadow.pfn].order
        alone = shadow.plain == [head] and not shadow.base and not shadow.bias
        pinned = PAGE_SIZE << order
        if alone and pinned >= WORST_RATIO * (self.k.skb[skb].truesize - SK_BUFF_SIZE):
            self.report("SK-05", f"it pins {pinned} bytes, but is accounted with {self.k.skb[skb].truesize}", skb)
