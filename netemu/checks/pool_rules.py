"""page_pools under watch: where their pages are, who uses them from where, their fragments, their end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engine.layout import Kernel
from ..engine.watch import Body, Watch
from ..mm.layout import NONE, PAGE_SIZE, PG_PFMEMALLOC
from ..net import dma, page_pool, page_pool_frag, page_pool_shutdown, policy, ptr_ring, skb_coalesce
from ..net.pool_layout import PP_ALLOC_CACHE_SIZE, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV
from .history import LONGEST, Event, context_of
from .ledger import Ledger, PageShadow

if TYPE_CHECKING:
    from .checker import Checker

SYNC, DIRECT = 3, 4
"""Places of dma_sync_size and allow_direct among the arguments of a return."""
RETURNED = ("recycle_cached", "recycle_ring", "recycle_ring_full", "recycle_released_refcnt")
"""Counters of which every whole page that is returned bumps one."""
HANDED_OUT = ("alloc_fast", "alloc_slow", "alloc_slow_high_order", "alloc_refill")
"""Counters of which every page that is handed out bumps one."""
PUT_PAGE = page_pool.__page_pool_put_page  # a class body would read the name as one of its own


@dataclass(slots=True, eq=False)
class PoolShadow:
    """What is known of a pool beyond its state.

    ``consumer``: the CPU whose softirq it belongs to (-1: nobody said); ``inside``: who is using the alloc cache right
    now, as (CPU, context); ``returning``: CPUs in the middle of a return; ``napi_gone``, ``device_gone``: so they are;
    ``ended``: a user has called page_pool_destroy; ``puts``, ``gets``: whole pages returned (``in_bulk``: by a function
    that counts them itself) and handed out, as the statistics should have them.
    """

    number: int
    consumer: int = -1
    history: list[Event] = field(default_factory=list)
    inside: list[tuple[int, str]] = field(default_factory=list)
    returning: list[int] = field(default_factory=list)
    napi_gone: bool = False
    device_gone: bool = False
    ended: bool = False
    puts: int = 0
    in_bulk: int = 0
    gets: int = 0


class PoolRules:
    """Follows page_pools."""

    def __init__(self, checker: Checker, ledger: Ledger, watch: Watch) -> None:
        self.checker = checker
        self.ledger = ledger
        self.k = checker.k
        self.pools: dict[int, PoolShadow] = {}
        hooks: list[tuple[Any, Any]] = [
            (page_pool.page_pool_alloc_pages, self.alloc_pages),
            (page_pool_frag.page_pool_alloc_frag, self.alloc_frag),
            (policy.policy_get, self.policy_get),
            (policy.hold_for_skb, self.hold_for_skb),
            (policy.settle_references, self.settle_references),
            (page_pool.page_pool_refill_alloc_cache, self.refill),
            (page_pool.page_pool_set_pp_info, self.set_pp_info),
            (page_pool.page_pool_is_last_frag, self.is_last_frag),
            (PUT_PAGE, self.put_page),
            (page_pool.page_pool_put_page, self.whole_put),
            (page_pool.page_pool_put_page_bulk, self.bulk_put),
            (page_pool.page_pool_return_skb_page, self.return_skb_page),
            (page_pool.page_pool_release_page, self.release_page),
            (page_pool.page_pool_fragment_page, self.fragment_page),
            (page_pool.page_pool_defrag_page, self.defrag_page),
            (page_pool_frag.page_pool_drain_frag, self.drain_frag),
            (page_pool_frag.page_pool_free_frag, self.drain_frag),
            (page_pool.page_pool_update_nid, self.update_nid),
            (page_pool.page_pool_recycle_in_cache, self.recycle_in_cache),
            (skb_coalesce.page_pool_ref_page, self.ref_page),
            (page_pool.push_cache, self.push_cache),
            (page_pool.pop_cache, self.pop_cache),
            (ptr_ring.ring_produce, self.ring_produce),
            (ptr_ring.ring_consume, self.ring_consume),
            (page_pool_shutdown.page_pool_destroy, self.destroy),
            (page_pool_shutdown.page_pool_free, self.free),
            (dma.dma_map_page_attrs, self.dma_map),
            (dma.dma_unmap_page_attrs, self.dma_unmap),
        ]
        for function, hook in hooks:
            watch.wrap(function, hook)

    def of(self, pool: int) -> PoolShadow:
        """The shadow of a pool."""
        shadow = self.pools.get(pool)
        if shadow is None:
            shadow = self.pools[pool] = PoolShadow(pool, self.k.pool[pool].napi_cpu - 1)
        return shadow

    def state(self, pool: int) -> list[str]:
        """What there is to say of a pool now."""
        p = self.k.pool[pool]
        life = "alive" if p.alive else "freed"
        if p.alive and p.users <= 0:
            life = "destroyed, waiting for its pages"
        return [
            f"{life}, {p.users} users, consumer: CPU {self.of(pool).consumer}",
            f"hold {p.hold_cnt}, release {p.release_cnt}, cache {p.cache_count}, ring of {p.ring_size}",
        ]

    def report(self, rule: str, what: str, pool: int) -> None:
        """A pool breaks a rule, or is misused."""
        self.checker.report(rule, what, f"page_pool {pool}", self.state(pool), self.of(pool).history[-LONGEST:])

    def note(self, pool: int, what: str) -> None:
        """Add a step to a pool's history."""
        self.of(pool).history.append(self.ledger.recorder.now(what))

    # -- who may use it --------------------------------------------------------------------------------------------

    def _enter(self, pool: int, cpu: int, what: str) -> tuple[int, str]:
        """Somebody uses the alloc cache."""
        shadow = self.of(pool)
        me = (cpu, context_of(self.k.cpu[cpu]))
        p = self.k.pool[pool]
        if (not p.alive or p.users <= 0) and me not in shadow.inside:
            self.report("PP-12", f"{what} of a pool that is destroyed", pool)
        for other in shadow.inside:
            if other != me:
                self.report(
                    "PP-09",
                    f"{what} on CPU {cpu} in {me[1]} while CPU {other[0]} in {other[1]} is using the alloc cache",
                    pool,
                )
                break
        else:
            self._consumer_only(pool, cpu, me[1], what)
        shadow.inside.append(me)
        return me

    def _consumer_only(self, pool: int, cpu: int, context: str, what: str) -> None:
        consumer = self.of(pool).consumer
        if consumer < 0:
            return
        if cpu != consumer:
            self.report("PP-09", f"{what} on CPU {cpu}, but the pool's consumer is the NAPI of CPU {consumer}", pool)
        elif context == "process" and self.k.era[0].pool_alloc == 2:
            self.report("PP-09", f"{what} in process context, where the NAPI of CPU {consumer} can interrupt it", pool)

    def _not_in_hardirq(self, pool: int, cpu: int, what: str) -> None:
        if self.k.cpu[cpu].hardirq:
            self.report("PP-10", f"{what} with interrupts off or in a hard interrupt", pool)

    # -- getting pages ---------------------------------------------------------------------------------------------

    def alloc_pages(self, body: Body, k: Kernel, cpu: int, pool: int) -> int:
        if not self.ledger.notes.quiet:
            self._not_in_hardirq(pool, cpu, "page_pool_alloc_pages")
        me = self._enter(pool, cpu, "page_pool_alloc_pages")
        try:
            pfn: int = body(k, cpu, pool)
        finally:
            self.of(pool).inside.remove(me)
        self.of(pool).gets += pfn != NONE
        if pfn != NONE and not self.ledger.notes.quiet:
            self.ledger.share_out(pfn, f"handed out by page_pool {pool}")
            self._right_node(k, cpu, pool, pfn)
        return pfn

    def _right_node(self, k: Kernel, cpu: int, pool: int, pfn: int) -> None:
        nid = k.pool[pool].nid
        if nid < 0 or k.machine[0].scripted or k.pages[pfn].nid == nid or k.era[0].pool_alloc == 0:
            return
        if nid < k.machine[0].zones and k.zone[nid].free > 0:
            self.ledger.report(
                "PP-17", f"page {pfn} of node {k.pages[pfn].nid} is handed out; page_pool {pool} wants node {nid}",
                self.ledger.of(pfn),
            )  # fmt: skip

    def refill(self, body: Body, k: Kernel, cpu: int, pool: int) -> int:
        pfn: int = body(k, cpu, pool)
        wanted = page_pool.preferred_nid(k, cpu, pool)
        if pfn != NONE and k.pages[pfn].nid != wanted:
            self.ledger.report(
                "PP-17", f"refill hands out page {pfn} of another node than {wanted}", self.ledger.of(pfn)
            )
        return pfn

    def alloc_frag(self, body: Body, k: Kernel, cpu: int, pool: int, size: int) -> int:
        self._not_in_hardirq(pool, cpu, "page_pool_alloc_frag")
        me = self._enter(pool, cpu, "page_pool_alloc_frag")
        self.ledger.notes.quiet += 1
        before = self.of(pool).gets
        try:
            pfn: int = body(k, cpu, pool, size)
        finally:
            self.ledger.notes.quiet -= 1
            self.of(pool).inside.remove(me)
        if pfn != NONE:
            self.of(pool).gets = before + 1  # whether a page was needed for it or not
            where = f"offset {k.pools[0].frag_offset}"
            self.ledger.share_out(pfn, f"fragment of {size} bytes at {where} handed out by page_pool {pool}")
        return pfn

    def policy_get(self, body: Body, k: Kernel, cpu: int, rxq: int) -> int:
        """A page that was kept when it came back to its pool is the driver's again; another one always was."""
        pfn: int = body(k, cpu, rxq)
        if pfn != NONE:
            shadow = self.ledger.of(pfn)
            if shadow.pool is not None and not shadow.shares:
                self.ledger.share_out(pfn, "handed out by the recycle policy")
        return pfn

    def hold_for_skb(self, body: Body, k: Kernel, cpu: int, pfn: int) -> None:
        """A reference for a packet; a policy may have taken it, with many others, in advance."""
        if not k.policy[0].bias:
            body(k, cpu, pfn)
            return
        notes, shadow = self.ledger.notes, self.ledger.of(pfn)
        notes.advance += 1
        try:
            body(k, cpu, pfn)
        finally:
            notes.advance -= 1
        shadow.bias -= 1
        self.ledger.take(shadow, 1)

    def settle_references(self, body: Body, k: Kernel, cpu: int, pfn: int) -> None:
        """What was taken in advance goes back."""
        self.ledger.notes.in_cache += 1
        try:
            body(k, cpu, pfn)
        finally:
            self.ledger.notes.in_cache -= 1

    def set_pp_info(self, body: Body, k: Kernel, pool: int, pfn: int) -> None:
        body(k, pool, pfn)
        self.ledger.adopted(pool, pfn)

    # -- giving pages back -----------------------------------------------------------------------------------------

    def whole_put(self, body: Body, k: Kernel, *arguments: int) -> None:
        cpu, pool = arguments[0], arguments[1]
        self._not_in_hardirq(pool, cpu, "a page is returned")
        if not k.pool[pool].alive:
            self.report("PP-12", "a page is returned to a pool that has been freed", pool)
        if len(arguments) > DIRECT:
            self._synced(pool, arguments[SYNC])
            if arguments[DIRECT] and k.watch is not None and k.watch.depth == 1:
                self._rightly_direct(pool, cpu)
        self.ledger.notes.counted += 1
        returning = self.of(pool).returning
        returning.append(cpu)
        try:
            body(k, *arguments)
        finally:
            returning.remove(cpu)
            self.ledger.notes.counted -= 1

    def bulk_put(self, body: Body, k: Kernel, cpu: int, pool: int, count: int) -> None:
        shadow, before = self.of(pool), self._sum(pool, RETURNED)
        shadow.in_bulk += 1
        try:
            self.whole_put(body, k, cpu, pool, count)
        finally:
            shadow.in_bulk -= 1
        shadow.puts += self._sum(pool, RETURNED) - before  # of those that the ring has no room for one is counted

    def _sum(self, pool: int, counters: tuple[str, ...]) -> int:
        return sum(getattr(self.k.pool[pool], name) for name in counters)

    def _synced(self, pool: int, size: int) -> None:
        """PP-11: what was touched is what the pool gives back to the device."""
        p = self.k.pool[pool]
        if not p.flags & PP_FLAG_DMA_SYNC_DEV or not self.checker.contexts:
            return
        whole = PAGE_SIZE << p.order
        if p.offset + p.max_len > whole:
            self.report(
                "PP-11", f"offset {p.offset} and max_len {p.max_len} reach past the {whole} bytes of a page", pool
            )
        elif p.max_len < size <= whole:  # beyond that it only means: all of it
            self.report("PP-11", f"{size} bytes were touched, but only max_len, {p.max_len}, are synced", pool)

    def _rightly_direct(self, pool: int, cpu: int) -> None:
        """PP-08: a script that asks for a direct return is in softirq.  Kernels that look use the ring instead, and
        drivers of theirs ask at teardown too.
        """
        c = self.k.cpu[cpu]
        if self.checker.contexts and not (c.serving_softirq or c.bh_disabled or c.hardirq):
            self.report("PP-08", f"a direct return is asked for on CPU {cpu} in process context", pool)

    def return_skb_page(self, body: Body, k: Kernel, cpu: int, pfn: int, napi_safe: int) -> int:
        by_script = k.watch is not None and k.watch.depth == 1
        pool = k.pages[self.ledger.head(pfn)].pp - 1
        if napi_safe and by_script and pool >= 0:
            self._rightly_direct(pool, cpu)
        taken: int = body(k, cpu, pfn, napi_safe)
        return taken

    def is_last_frag(self, body: Body, k: Kernel, cpu: int, pool: int, pfn: int) -> bool:
        shadow = self.ledger.of(pfn)
        if shadow.pool is not None and shadow.pool != pool:
            self.ledger.report("PP-07", f"page {pfn} of page_pool {shadow.pool} is put into page_pool {pool}", shadow)
        elif shadow.pool is None and not self._left(shadow):
            self.ledger.report("PP-07", f"page {pfn} is put into page_pool {pool}, which does not own it", shadow)
        if shadow.pool is not None:
            self.ledger.share_back(shadow)
        self.ledger.notes.quiet += 1
        try:
            last: bool = body(k, cpu, pool, pfn)
        finally:
            self.ledger.notes.quiet -= 1
        if last and shadow.shares and shadow.pool == pool:
            self.ledger.report(
                "PP-16",
                f"page {pfn} is taken back by page_pool {pool} while {len(shadow.shares)} others use it",
                shadow,
            )
        return last

    def _left(self, shadow: PageShadow) -> bool:
        """Kernels without books let drivers put what has left the pool; nothing is known about it."""
        return not self.ledger.counted()

    def put_page(self, body: Body, k: Kernel, cpu: int, pool: int, pfn: int, sync: int, direct: int) -> int:
        shadow = self.ledger.of(pfn)
        if (
            not self.ledger.notes.counted
        ):  # page_pool_put_defragged_page by itself: the driver has counted the fragments
            self._not_in_hardirq(pool, cpu, "a page is returned")
            if shadow.pool == pool and shadow.shares:
                self.ledger.share_back(shadow)
                shadow.shares = []
            elif shadow.place:
                self.ledger.report("PP-03", f"page {pfn} is put into page_pool {pool}, but is there already", shadow)
        if not self.of(pool).in_bulk:
            self.of(pool).puts += 1
        self.ledger.notes.recycling += 1
        try:
            return int(body(k, cpu, pool, pfn, sync, direct))
        finally:
            self.ledger.notes.recycling -= 1

    def recycle_in_cache(self, body: Body, k: Kernel, pool: int, pfn: int) -> bool:
        shadow = self.of(pool)
        cpu = k.watch.cpu if k.watch is not None else 0
        me = (cpu, context_of(k.cpu[cpu]))
        said = f"a direct return on CPU {cpu} in {me[1]}"
        for other in shadow.inside:
            if other != me:
                self.report("PP-09", f"{said} while CPU {other[0]} in {other[1]} uses the alloc cache", pool)
        if shadow.napi_gone:
            self.report("PP-08", f"{said} to a pool whose NAPI is gone", pool)
        elif k.pool[pool].users <= 0:
            self.report("PP-08", f"{said} to a pool that is destroyed: nobody empties its cache", pool)
        elif shadow.consumer >= 0 and cpu != shadow.consumer:
            self.report("PP-08", f"{said}, but the pool's consumer is the NAPI of CPU {shadow.consumer}", pool)
        elif me[1] == "process" and shadow.consumer >= 0:
            self.report("PP-08", f"{said}, where the NAPI of CPU {shadow.consumer} can interrupt it", pool)
        kept: bool = body(k, pool, pfn)
        return kept

    def release_page(self, body: Body, k: Kernel, cpu: int, pool: int, pfn: int) -> None:
        self.ledger.disconnected(pool, pfn)
        body(k, cpu, pool, pfn)

    # -- fragments -------------------------------------------------------------------------------------------------

    def fragment_page(self, body: Body, k: Kernel, cpu: int, pfn: int, count: int) -> None:
        body(k, cpu, pfn, count)
        if not self.ledger.notes.quiet:
            self.ledger.split(pfn, count)

    def defrag_page(self, body: Body, k: Kernel, cpu: int, pfn: int, count: int) -> int:
        if not self.ledger.notes.quiet:
            shadow = self.ledger.of(pfn)
            for _ in range(min(count, len(shadow.shares) - 1 if count > len(shadow.shares) else count)):
                self.ledger.share_back(shadow)
        left: int = body(k, cpu, pfn, count)
        if left < 0:
            self.ledger.report("PP-16", f"page {pfn}: the fragment count falls to {left}", self.ledger.of(pfn))
        return left

    def ref_page(self, body: Body, k: Kernel, cpu: int, pfn: int) -> None:
        body(k, cpu, pfn)
        self.ledger.share_out(pfn, "one more share taken")

    def drain_frag(self, body: Body, k: Kernel, *arguments: int) -> Any:
        self.ledger.notes.quiet += 1
        try:
            return body(k, *arguments)
        finally:
            self.ledger.notes.quiet -= 1

    # -- cache and ring --------------------------------------------------------------------------------------------

    def _put_away(self, pool: int, pfn: int, place: str) -> None:
        shadow = self.ledger.of(pfn)
        p = self.k.pages[pfn]
        if shadow.place and shadow.place != place:
            self.ledger.report("PP-03", f"page {pfn} goes to {place}, but is in {shadow.place}", shadow)
        elif shadow.place:
            self.ledger.report("PP-03", f"page {pfn} is twice in {place}", shadow)
        elif p.refcount != 1:
            self.ledger.report("PP-04", f"page {pfn} with {p.refcount} references goes to {place}", shadow)
        elif p.flags & PG_PFMEMALLOC and self.ledger.notes.recycling:
            self.ledger.report("PP-04", f"page {pfn} from the emergency reserve goes to {place}", shadow)
        elif p.pp != pool + 1:
            self.ledger.report("PP-04", f"page {pfn} goes to {place} without the signature of its pool", shadow)
        shadow.place = place

    def push_cache(self, body: Body, k: Kernel, pool: int, pfn: int) -> None:
        if k.pool[pool].cache_count >= PP_ALLOC_CACHE_SIZE:
            self.report("PP-03", "the alloc cache holds more than its 128 pages", pool)
        body(k, pool, pfn)
        self._put_away(pool, pfn, f"the alloc cache of page_pool {pool}")

    def pop_cache(self, body: Body, k: Kernel, pool: int) -> int:
        pfn: int = body(k, pool)
        self.ledger.of(pfn).place = ""
        return pfn

    def ring_produce(self, body: Body, k: Kernel, pool: int, pfn: int) -> bool:
        if not k.pool[pool].alive:
            self.report("PP-12", f"page {pfn} goes to the ring of a pool that has been freed", pool)
        stored: bool = body(k, pool, pfn)
        if stored:
            self.ledger.notes.recycling += 1
            self._put_away(pool, pfn, f"the ring of page_pool {pool}")
            self.ledger.notes.recycling -= 1
        return stored

    def ring_consume(self, body: Body, k: Kernel, pool: int) -> int:
        pfn: int = body(k, pool)
        if pfn != NONE:
            self.ledger.of(pfn).place = ""
        return pfn

    # -- DMA -------------------------------------------------------------------------------------------------------

    def dma_map(self, body: Body, k: Kernel, cpu: int, pfn: int) -> bool:
        shadow = self.ledger.of(pfn)
        if shadow.mapped:
            self.ledger.report("DM-01", f"page {pfn} is mapped for DMA a second time", shadow)
        done: bool = body(k, cpu, pfn)
        if done:
            shadow.mapped = True
            self.ledger.note(shadow, "mapped for DMA")
        return done

    def dma_unmap(self, body: Body, k: Kernel, cpu: int, pfn: int) -> None:
        shadow = self.ledger.of(pfn)
        if not shadow.mapped:
            self.ledger.report("DM-01", f"page {pfn} is unmapped, but it is not mapped", shadow)
        ring = shadow.ring()
        if ring:
            self.ledger.report("DM-01", f"page {pfn} is unmapped, but is posted to {ring}", shadow)
        for pool in self.pools.values():
            if pool.device_gone and k.pages[pfn].pp == pool.number + 1:
                self.ledger.report("DM-02", f"page {pfn} is unmapped from a device that is gone", shadow)
        self.ledger.note(shadow, "unmapped")
        shadow.mapped = False
        body(k, cpu, pfn)

    # -- life ------------------------------------------------------------------------------------------------------

    def update_nid(self, body: Body, k: Kernel, cpu: int, pool: int, nid: int) -> None:
        me = self._enter(pool, cpu, "page_pool_update_nid")
        try:
            body(k, cpu, pool, nid)
        finally:
            self.of(pool).inside.remove(me)

    def destroy(self, body: Body, k: Kernel, cpu: int, pool: int) -> None:
        p = k.pool[pool]
        c = k.cpu[cpu]
        shadow = self.of(pool)
        if not p.alive or p.users <= 0:
            self.report("PP-12", "page_pool_destroy of a pool that is destroyed already", pool)
            self.note(pool, "page_pool_destroy, once more")
            return
        for other in shadow.inside:
            self.report(
                "PP-12", f"page_pool_destroy on CPU {cpu} while CPU {other[0]} in {other[1]} is using the pool", pool
            )
        atomic = c.serving_softirq or c.bh_disabled or c.hardirq
        if p.users == 1 and p.disconnect and atomic and k.era[0].pool_direct == 0:  # 59a931c5b732, v6.0
            self.report("CTX-01", "page_pool_destroy takes a mutex: the memory model has to be removed", pool)
        self.note(pool, "page_pool_destroy")
        shadow.ended = True
        body(k, cpu, pool)

    def free(self, body: Body, k: Kernel, cpu: int, pool: int) -> None:
        p = k.pool[pool]
        self.note(pool, "freed")
        inflight = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
        for other in self.of(pool).returning:
            self.report("PP-12", f"the pool is freed while CPU {other} is in the middle of a return", pool)
        if inflight:
            self.report("PP-12", f"the pool is freed with {inflight} pages in flight", pool)
        self._statistics(pool)
        body(k, cpu, pool)

    def leaks(self) -> None:
        """Pools whose destruction has begun, and whose other users never end (PP-12)."""
        for number, shadow in self.pools.items():
            p = self.k.pool[number]
            if shadow.ended and p.alive and p.users > 0:
                self.report("PP-12", f"page_pool_destroy was called, but {p.users} users are left", number)

    def quiesce(self) -> None:
        """The books of every pool (PP-01, PP-02, PP-13)."""
        outside: dict[int, list[PageShadow]] = {}
        for page in self.ledger.pages.values():
            if page.pool is not None and not page.place and not page.free:
                outside.setdefault(page.pool, []).append(page)
        for number in range(self.k.pools[0].count):
            self._books(number, outside.get(number, []))

    def _statistics(self, pool: int) -> None:
        """PP-15: the counters say how pages came back, and from v5.5 on, how they were handed out."""
        shadow = self.of(pool)
        checks = [(RETURNED, shadow.puts, "returned")]
        checks += [(HANDED_OUT, shadow.gets, "handed out")] if self.k.era[0].pool_alloc == 2 else []
        for counters, seen, what in checks:
            counted = self._sum(pool, counters)
            if counted != seen:
                self.report("PP-15", f"{seen} pages were {what}, but {' + '.join(counters)} is {counted}", pool)

    def _books(self, pool: int, outside: list[PageShadow]) -> None:
        p = self.k.pool[pool]
        if p.alive:
            self._statistics(pool)
        if not self.ledger.counted() or not p.alive:
            return
        inflight = (p.hold_cnt - p.release_cnt) & 0xFFFFFFFF
        if inflight >= 1 << 31:
            self.report("PP-01", f"Negative({inflight - (1 << 32)}) inflight packet-pages", pool)
            return
        ringed = sum(1 for page in self.ledger.pages.values() if page.place == f"the ring of page_pool {pool}")
        known = p.cache_count + ringed + len(outside)
        if known != inflight:
            self.report("PP-02", f"{inflight} pages are in flight, but {known} are in cache, ring or outside", pool)
        if p.flags & PP_FLAG_DMA_MAP:
            for page in outside:
                if not page.mapped:
                    self.ledger.report("PP-06", f"page {page.pfn} of page_pool {pool} is not mapped", page)
