"""Packet buffers of a machine: :class:`SkBuff`, and the operations that make and free them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .contexts import Contexts
from .errors import UsageError
from .handles import Page
from .mm.layout import NONE, PAGE_SIZE
from .net import skbuff
from .net.skb_layout import SKB_ALLOC_FCLONE

if TYPE_CHECKING:
    from .checks.checker import Checker
    from .machine import Machine


@dataclass(frozen=True)
class Coalesced:
    """What ``skb_try_coalesce`` answers: whether it merged, whether the head was taken, what the true size grew by."""

    merged: bool
    stolen: bool
    delta: int

    def __bool__(self) -> bool:
        return self.merged


@dataclass(frozen=True)
class Frag:
    """One fragment of a packet: ``size`` bytes at ``offset`` in ``page``."""

    page: Page
    offset: int
    size: int


class SkBuff:
    """A packet buffer of a machine.  Methods have the kernel's names without the prefix ``skb_``."""

    __slots__ = ("life", "machine", "number")

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine = machine
        self.number = number
        self.life = 0 if machine.checker is None else machine.checker.skb_life(number)

    def __repr__(self) -> str:
        return f"<SkBuff {self.number} users={self.users} len={self.len}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SkBuff) and (self.machine, self.number) == (other.machine, other.number)

    def __hash__(self) -> int:
        return hash((id(self.machine), self.number))

    def _row(self) -> Any:
        return self.machine.k.skb[self.number]

    def _info(self) -> Any:
        return self.machine.k.shinfo[self._row().shinfo]

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def users(self) -> int:
        """Users of the struct."""
        users: int = self._row().users
        return users

    @property
    def len(self) -> int:
        """Bytes of the packet."""
        length: int = self._row().len
        return length

    @property
    def data_len(self) -> int:
        """Bytes of the packet that lie in fragments."""
        length: int = self._row().data_len
        return length

    @property
    def truesize(self) -> int:
        """Bytes of memory accounted to the packet."""
        size: int = self._row().truesize
        return size

    @property
    def dataref(self) -> int:
        """Raw reference count of the data (header-only references in the upper 16 bits)."""
        count: int = self._info().dataref
        return count

    @property
    def cloned(self) -> bool:
        """``skb_cloned``: do other structs look at the same data?"""
        return bool(self._row().cloned) and self.dataref & 0xFFFF != 1

    @property
    def pp_recycle(self) -> bool:
        """Does freeing the packet offer its pages to their pools?"""
        return bool(self._row().pp_recycle)

    @property
    def headroom(self) -> int:
        """Bytes in front of the data."""
        room: int = self._row().data
        return room

    @property
    def head(self) -> Page | None:
        """The page that the head lies in; None for a small object."""
        pfn = self._row().head_page
        return None if pfn == NONE else Page(self.machine, pfn)

    @property
    def frags(self) -> list[Frag]:
        """The fragments, in order."""
        f = self.machine.k.frags[self._row().shinfo]
        return [Frag(Page(self.machine, f.page[n]), f.offset[n], f.size[n]) for n in range(self._info().nr_frags)]

    @property
    def frag_list(self) -> list[SkBuff]:
        """The packets on the fragment list, in order."""
        found = []
        entry = self._info().frag_list - 1
        while entry != NONE:
            found.append(SkBuff(self.machine, entry))
            entry = self.machine.k.skb[entry].next - 1
        return found

    # -- the data window and fragments -----------------------------------------------------------------------------

    def mark_for_recycle(self, on: bool = True) -> SkBuff:
        """``skb_mark_for_recycle``: freeing returns pages to their pools (eras from v5.14).  ``on=False`` takes it
        off.
        """
        if on:
            self.call(skbuff.skb_mark_for_recycle)
        else:
            self._row().pp_recycle = 0
        return self

    def reserve(self, n: int) -> SkBuff:
        """``skb_reserve``: headroom for an empty buffer."""
        self._changed("skb_reserve")
        row = self._row()
        if row.tail + n > row.end:
            raise UsageError(f"skb_reserve({n}): the buffer ends {row.end - row.tail} bytes ahead")
        row.data += n
        row.tail += n
        return self

    def put(self, n: int) -> SkBuff:
        """``skb_put``: ``n`` more bytes of linear data."""
        self._changed("skb_put")
        row = self._row()
        if row.tail + n > row.end:
            raise UsageError(f"skb_put({n}): {row.end - row.tail} bytes of tailroom")
        row.tail += n
        row.len += n
        return self

    def pull(self, n: int) -> SkBuff:
        """``skb_pull``: drop ``n`` bytes of linear data in front."""
        if self.call(skbuff.skb_pull, n) == NONE:
            raise UsageError(f"skb_pull({n}): {self.len - self.data_len} bytes of linear data")
        return self

    def push(self, n: int) -> SkBuff:
        """``skb_push``: ``n`` more bytes of linear data in front."""
        if self.call(skbuff.skb_push, n) == NONE:
            raise UsageError(f"skb_push({n}): {self.headroom} bytes of headroom")
        return self

    def add_rx_frag(self, page: Page, *, offset: int = 0, size: int, truesize: int) -> SkBuff:
        """``skb_add_rx_frag``: append a fragment; takes over one reference of ``page``."""
        self.call(skbuff.skb_add_rx_frag, page.pfn, offset, size, truesize)
        return self

    def frag_ref(self, index: int) -> SkBuff:
        """``skb_frag_ref``: one more reference on the page of a fragment, as a plain page reference."""
        self.call(skbuff.skb_frag_ref, index)
        return self

    def frag_unref(self, index: int) -> SkBuff:
        """``skb_frag_unref``: drop a reference on a fragment as freeing the packet would."""
        self.call(skbuff.skb_frag_unref, index)
        return self

    def pull_tail(self, n: int) -> bool:
        """``__pskb_pull_tail``: move ``n`` bytes behind the linear data into it; False: no memory."""
        self.machine.use_frag_lists()
        return bool(self.call(skbuff.pskb_pull_tail, n))

    def linearize(self) -> bool:
        """``skb_linearize``: make all data linear; False: no memory."""
        self.machine.use_frag_lists()
        return self.call(skbuff.skb_linearize) == 0

    def trim(self, length: int) -> bool:
        """``pskb_trim``: cut the packet down to ``length`` bytes; False: no memory."""
        self.machine.use_frag_lists()
        return self.call(skbuff.pskb_trim, length) == 0

    def frag_list_add(self, other: SkBuff) -> SkBuff:
        """Hang ``other`` at the end of the fragment list, which takes over its user."""
        self.machine.use_frag_lists()
        self.call(skbuff.skb_append_list, other.number)
        return self

    # -- sharing, copying, new heads -------------------------------------------------------------------------------

    def get(self) -> SkBuff:
        """``skb_get``: one more user."""
        self.call(skbuff.skb_get)
        return self

    def clone(self, *, cpu: int | None = None) -> SkBuff:
        """``skb_clone``: a second struct on the same data."""
        return self._made(skbuff.skb_clone, cpu=cpu)

    def copy(self, *, cpu: int | None = None) -> SkBuff:
        """``skb_copy``: a linear copy."""
        return self._made(skbuff.skb_copy, cpu=cpu)

    def pskb_copy(self, *, cpu: int | None = None) -> SkBuff:
        """``pskb_copy``: a copy of the linear data, the fragments shared."""
        return self._made(skbuff.pskb_copy, cpu=cpu)

    def copy_expand(self, headroom: int, tailroom: int, *, cpu: int | None = None) -> SkBuff:
        """``skb_copy_expand``: a linear copy with room of its own."""
        return self._made(skbuff.skb_copy_expand, headroom, tailroom, cpu=cpu)

    def realloc_headroom(self, headroom: int, *, cpu: int | None = None) -> SkBuff:
        """``skb_realloc_headroom``: a packet with a private head and at least so much headroom."""
        return self._made(skbuff.skb_realloc_headroom, headroom, cpu=cpu)

    def expand_head(self, nhead: int = 0, ntail: int = 0, *, cpu: int | None = None) -> bool:
        """``pskb_expand_head``: a private head with more room; False: no memory, and no change."""
        return self.call(skbuff.pskb_expand_head, nhead, ntail, cpu=cpu) == 0

    def unclone(self, *, cpu: int | None = None) -> bool:
        """``skb_unclone``: a private head, if it is shared; False: no memory."""
        return self.call(skbuff.skb_unclone, cpu=cpu) == 0

    def morph(self, source: SkBuff, *, cpu: int | None = None) -> SkBuff:
        """``skb_morph``: drop what this struct has and make it a clone of ``source``."""
        self.machine.use_frag_lists()
        self.call(skbuff.skb_morph, source.number, cpu=cpu)
        if self.machine.checker is not None:
            self.life = self.machine.checker.skb_life(self.number)
        return self

    # -- merging ---------------------------------------------------------------------------------------------------

    def try_coalesce(self, source: SkBuff, *, cpu: int | None = None) -> Coalesced:
        """``skb_try_coalesce``: append ``source``, which is freed with ``machine.kfree_skb_partial`` afterwards."""
        merged = self.call(skbuff.skb_try_coalesce, source.number, cpu=cpu)
        report = self.machine.k.coalesced[0]
        return Coalesced(bool(merged), bool(report.stolen), report.delta)

    def gro_start(self) -> SkBuff:
        """The packet is the first of a merge in receive offload."""
        self.call(skbuff.gro_start)
        return self

    def gro_receive(self, other: SkBuff, offset: int = 0, *, cpu: int | None = None) -> bool:
        """``skb_gro_receive``: merge ``other``, past ``offset`` header bytes, into this one; False: refused.

        :meth:`gro_finish` of ``other`` follows a merge.
        """
        self.machine.use_frag_lists()
        other.gro_start()
        return self.call(skbuff.skb_gro_receive, other.number, offset, cpu=cpu) == 0

    def gro_finish(self, *, cpu: int | None = None) -> bool:
        """``napi_skb_finish`` of a merged packet; False: it hangs on the first one's list and lives on."""
        where = self.machine.where(cpu)
        with self.machine.usually_in_softirq(where):
            return bool(self.call(skbuff.napi_skb_finish, cpu=where))

    # ----------------------------------------------------------------------------------------------------------------

    def _checked_life(self) -> None:
        """Report when a checked machine has made another packet of the struct since this handle was made."""
        checker = self.machine.checker
        if checker is not None and checker.skb_life(self.number) != self.life:
            checker.stale_skb(self.number)
            self.machine.check()

    def _changed(self, what: str) -> None:
        """Report when a checked machine's packet is written to and is not its writer's alone."""
        self._checked_life()
        checker = self.machine.checker
        if checker is not None and checker.skbs.usable(self.number, what):
            checker.skbs.may_change(self.number, what)
        self.machine.check()

    def call(self, function: Any, *arguments: int, cpu: int | None = None) -> int:
        """Kernel function ``function`` of this packet, on the CPU asked for, or that of the context."""
        self._checked_life()
        result: int = function(self.machine.k, self.machine.where(cpu), self.number, *arguments)
        self.machine.check()
        return result

    def _made(self, function: Any, *arguments: int, cpu: int | None) -> SkBuff:
        return self.machine.skb(self.call(function, *arguments, cpu=cpu))


class PacketOperations(Contexts):
    """Making and freeing packet buffers: mixed into :class:`netemu.Machine`."""

    checker: Checker | None

    def check(self) -> None:
        """Raise what emulated code has noted."""
        raise NotImplementedError

    def skb(self, number: int) -> SkBuff:
        """The handle of an sk_buff that was just made.  Raises MemoryError for NONE."""
        self.check()
        if number == NONE:
            raise MemoryError("no memory for an sk_buff")
        return SkBuff(self, number)  # type: ignore[arg-type]  # the mixin's only user is Machine

    def use_frag_lists(self) -> None:
        """Packets may have fragment lists from now on."""
        if not self.k.skb_calls[0].kfree_skb_list:
            skbuff.connect_skb_calls(self.k)

    # -- making ----------------------------------------------------------------------------------------------------

    def build_skb(self, page: Page, *, frag_size: int = PAGE_SIZE, offset: int = 0, cpu: int | None = None) -> SkBuff:
        """``build_skb``: takes over one reference of ``page``; ``frag_size`` includes the shared info (320 bytes)."""
        return self.skb(skbuff.build_skb(self.k, self.where(cpu), page.pfn, offset, frag_size))

    def napi_build_skb(
        self, page: Page, *, frag_size: int = PAGE_SIZE, offset: int = 0, cpu: int | None = None
    ) -> SkBuff:
        """``napi_build_skb``: as :meth:`build_skb`, the struct from the napi cache of the CPU."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            return self.skb(skbuff.napi_build_skb(self.k, where, page.pfn, offset, frag_size))

    def alloc_skb(self, size: int, *, fclone: bool = False, cpu: int | None = None) -> SkBuff:
        """``alloc_skb``: the head is a small object; ``fclone``: the struct is one of a pair for fast clones."""
        return self.skb(skbuff.alloc_skb(self.k, self.where(cpu), size, SKB_ALLOC_FCLONE if fclone else 0))

    def napi_alloc_skb(self, length: int, *, cpu: int | None = None) -> SkBuff:
        """``napi_alloc_skb``: a receive buffer with 64 bytes of headroom."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            return self.skb(skbuff.napi_alloc_skb(self.k, where, length))

    def netdev_alloc_skb(self, length: int, *, cpu: int | None = None) -> SkBuff:
        """``netdev_alloc_skb``: the same from any context."""
        return self.skb(skbuff.netdev_alloc_skb(self.k, self.where(cpu), length))

    # -- freeing ---------------------------------------------------------------------------------------------------

    def kfree_skb(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """Drop one user of a packet that is dropped."""
        skb.call(skbuff.kfree_skb, cpu=cpu)

    def consume_skb(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """Drop one user of a delivered packet."""
        skb.call(skbuff.consume_skb, cpu=cpu)

    def napi_consume_skb(self, skb: SkBuff, budget: int = 64, *, cpu: int | None = None) -> None:
        """Free from a poll loop (in softirq, outside every context); budget 0: from anywhere."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            skb.call(skbuff.napi_consume_skb, budget, cpu=where)

    def kfree_skb_defer(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """``__kfree_skb_defer``: free from a poll loop without looking at the users."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            skb.call(skbuff.kfree_skb_defer, cpu=where)

    def kfree_skb_partial(self, skb: SkBuff, stolen: bool, *, cpu: int | None = None) -> None:
        """Free what :meth:`SkBuff.try_coalesce` has left of its source."""
        skb.call(skbuff.kfree_skb_partial, int(stolen), cpu=cpu)

    def attempt_defer_free(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """``skb_attempt_defer_free``: leave the packet, whose last user is gone, to the CPU that allocated it."""
        skb.call(skbuff.skb_attempt_defer_free, cpu=cpu)

    def defer_free_flush(self, *, cpu: int | None = None) -> None:
        """``skb_defer_free_flush``: free what other CPUs have left to this one."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            skbuff.skb_defer_free_flush(self.k, where)
        self.check()

    def dev_kfree_skb_any(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """``dev_kfree_skb_any``: now, or from net_tx_action when interrupts are off."""
        skb.call(skbuff.dev_kfree_skb_any, cpu=cpu)

    def dev_kfree_skb_irq(self, skb: SkBuff, *, cpu: int | None = None) -> None:
        """``dev_kfree_skb_irq``: drop one user; the last leaves the packet to net_tx_action of this CPU."""
        skb.call(skbuff.dev_kfree_skb_irq, cpu=cpu)

    def net_tx_action(self, *, cpu: int | None = None) -> None:
        """``net_tx_action``: free what interrupt handlers have left on the completion queue of the CPU."""
        where = self.where(cpu)
        with self.usually_in_softirq(where):
            skbuff.free_completion_queue(self.k, where)
        self.check()
