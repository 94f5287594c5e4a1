"""Recycle policies: a function decides what becomes of a receive page, another which kept page is used next.

When a driver is done with a page, or the page comes back to its pool, :func:`policy_put` asks the policy for a
verdict; when the driver needs a page, :func:`policy_get` asks which of the kept ones to take.  Both are reached
through an address in state and have one signature::

    put(k, cpu, rxq, pfn) -> KEEP, CACHE, RING or PAGE_ALLOCATOR
    get(k, cpu, rxq, count) -> place of a kept page, 0 the oldest, or NONE: ask the pool

Kept pages stand on the queue's shelf, oldest first, with the driver's reference on them.  What a policy answers
is checked: a page that somebody still reads is never handed out.  What the functions below the line do is what a
policy may call; :mod:`netemu.net.policy_loader` refuses all else.
"""

from __future__ import annotations

from ..engine.faults import INDEX_OUT_OF_TABLE, fault, fault_code
from ..engine.kernel import indirect, inlined, kernel_function
from ..engine.layout import Kernel, table
from ..mm.buddy import touch_page
from ..mm.layout import NONE, PAGE_SIZE
from ..mm.page_alloc import page_is_pfmemalloc, page_ref_add, page_ref_sub_and_test
from .journey import SHELVED, page_goes
from .pool_layout import PP_ALLOC_CACHE_SIZE
from .recycle import PARKED, uniform_draw

KEEP = 1
"""Onto the queue's shelf."""
CACHE = 2
"""Into the pool's lockless cache if the page is free and the CPU is the pool's, else as RING."""
RING = 3
"""Into the pool's ring; a page that somebody holds, or that finds the ring full, goes to the page allocator."""
PAGE_ALLOCATOR = 4
"""Out of the pool and, once nobody holds it, free."""

SHELF_ROWS = 4096
"""Pages that one queue can keep."""
LONGEST_RUN = 100_000
"""Rounds of loops that one call of a policy may take."""
BIAS = 65535
"""References taken in one go by a policy with BIAS."""
LOST = -(2**31)
"""What a policy's own code returns after a mistake that is noted already."""

table(
    "policy",
    [
        ("active", "i4"),
        ("parts", "i4"),  # buffers that a page is cut into, used in turn; 1: a page is used as a whole
        ("bias", "i4"),  # 1: references for skbs are taken in advance
        ("rounds", "i4"),  # of loops, in the call under way
        ("put", "i8"),  # addresses for indirect()
        ("get", "i8"),
    ],
)
table(
    "shelf",  # one per receive queue
    [
        ("head", "i8"),  # the oldest page's place in k.kept, modulo SHELF_ROWS
        ("count", "i4"),
        ("keep", "i8"),  # verdicts
        ("cache", "i8"),
        ("ring", "i8"),
        ("page_allocator", "i8"),
        ("reused", "i8"),  # pages taken from the shelf again
        ("passed", "i8"),  # requests that went to the pool
    ],
)
table("kept", "i4")  # [rxq * SHELF_ROWS + place] -> page
table(
    "page_share",  # of each page, where a policy cuts pages up or takes references in advance
    [
        ("part", "i4"),  # handed out last
        ("fresh", "i4"),  # parts that nobody has used since the page was whole
        ("settled", "i4"),  # 1: when it was kept, only the skb of the part used last held it
        ("bias", "i4"),  # references held in advance; 0: none were taken
    ],
)

POLICY_VERDICT = fault_code("policy_verdict", "packet {a}: put() of the policy answers {b}, which is no verdict")
POLICY_CHOICE = fault_code("policy_choice", "packet {a}: get() of the policy chooses place {b}, where no page is kept")
POLICY_BUSY = fault_code("policy_busy", "packet {a}: get() of the policy chooses page {b}, which somebody still holds")
POLICY_SHELF = fault_code("policy_shelf", "packet {a}: the policy keeps more than {b} pages")
POLICY_LOOPS = fault_code("policy_loops", "packet {a}: the policy has not come to an end after {b} rounds of its loops")
POLICY_RAISES = fault_code("policy_raises", "packet {a}: the policy raises an error in line {b} of its file")
POLICY_INDEX = fault_code("policy_index", "packet {a}: the policy looks at row {b} of a table that has no such row")


@inlined
def packet_number(k: Kernel) -> int:
    """Packets received so far by all devices: how mistakes of a policy are placed."""
    total = 0
    for dev in range(k.machine[0].devices):
        total += k.netdev[dev].rx_packets
    return total


@inlined
def ask(k: Kernel, cpu: int, address: int, rxq: int, argument: int) -> int:
    """Call one of the policy's functions; a stray index in it is the policy's fault, not netemu's."""
    k.policy[0].rounds = 0
    answer = indirect(k, address, cpu, rxq, argument)
    e = k.error[0]
    if e.code == INDEX_OUT_OF_TABLE:
        e.code = 0
        fault(k, cpu, POLICY_INDEX, packet_number(k), e.b)
    return answer


# -- the shelf -------------------------------------------------------------------------------------------------------


@inlined
def shelf_slot(k: Kernel, rxq: int, place: int) -> int:
    """Row of k.kept for the ``place``-th oldest page of a queue."""
    return rxq * SHELF_ROWS + ((k.shelf[rxq].head + place) & (SHELF_ROWS - 1))


@inlined
def shelve(k: Kernel, cpu: int, rxq: int, pfn: int) -> bool:
    """Keep a page as the youngest; False when there is no place."""
    s = k.shelf[rxq]
    if s.count == SHELF_ROWS:
        fault(k, cpu, POLICY_SHELF, packet_number(k), SHELF_ROWS)
        return False
    k.kept[shelf_slot(k, rxq, s.count)] = pfn
    k.pages[pfn].where = PARKED
    s.count += 1
    return True


@kernel_function(traced=False)
def unshelve(k: Kernel, rxq: int, place: int) -> int:
    """Take the page at ``place`` away; the others keep their order, and the shorter side moves up."""
    s = k.shelf[rxq]
    pfn = k.kept[shelf_slot(k, rxq, place)]
    if place < s.count - place:
        for i in range(place, 0, -1):
            k.kept[shelf_slot(k, rxq, i)] = k.kept[shelf_slot(k, rxq, i - 1)]
        s.head += 1
    else:
        for i in range(place, s.count - 1):
            k.kept[shelf_slot(k, rxq, i)] = k.kept[shelf_slot(k, rxq, i + 1)]
    s.count -= 1
    k.pages[pfn].where = 0
    return pfn


@inlined
def may_be_reused(k: Kernel, cpu: int, pfn: int) -> bool:
    """Would nobody's data be overwritten if the page's next part were handed to the NIC?"""
    if others(k, cpu, pfn) == 0:
        return True
    return k.policy[0].parts > 1 and (k.page_share[pfn].fresh > 0 or k.page_share[pfn].settled != 0)


# -- what drivers call -----------------------------------------------------------------------------------------------


@kernel_function(name="recycle_policy_put")
def policy_put(k: Kernel, cpu: int, rxq: int, pfn: int) -> int:
    """The verdict on a page; with KEEP it is on the shelf already, with another it is one plain page again."""
    s = k.shelf[rxq]
    verdict = ask(k, cpu, k.policy[0].put, rxq, pfn)
    if verdict == KEEP:
        if k.policy[0].parts > 1:
            k.page_share[pfn].settled = 1 if others(k, cpu, pfn) <= 1 else 0
        if shelve(k, cpu, rxq, pfn):
            s.keep += 1
            page_goes(k, pfn, SHELVED)
            return KEEP
        verdict = PAGE_ALLOCATOR
    settle_references(k, cpu, pfn)
    if verdict == CACHE:
        s.cache += 1
    elif verdict == RING:
        s.ring += 1
    else:
        s.page_allocator += 1
        if verdict != PAGE_ALLOCATOR:
            fault(k, cpu, POLICY_VERDICT, packet_number(k), verdict)
    return verdict


@kernel_function(name="recycle_policy_get")
def policy_get(k: Kernel, cpu: int, rxq: int) -> int:
    """A kept page for the NIC, or NONE: ask the pool."""
    s = k.shelf[rxq]
    place = ask(k, cpu, k.policy[0].get, rxq, s.count)
    if place == NONE:
        s.passed += 1
        return NONE
    if place < 0 or place >= s.count:
        fault(k, cpu, POLICY_CHOICE, packet_number(k), place)
        return NONE
    pfn = k.kept[shelf_slot(k, rxq, place)]
    if not may_be_reused(k, cpu, pfn):
        fault(k, cpu, POLICY_BUSY, packet_number(k), pfn)
        return NONE
    s.reused += 1
    return unshelve(k, rxq, place)


@inlined
def next_part(k: Kernel, cpu: int, pfn: int) -> int:
    """Offset, in bytes, of the part of a page that the NIC is to use now; the page came from a pool or the shelf."""
    parts = k.policy[0].parts
    if parts <= 1:
        return 0
    s = k.page_share[pfn]
    if others(k, cpu, pfn) == 0:
        s.fresh = parts
    s.fresh = max(s.fresh - 1, 0)
    s.part = (s.part + 1) % parts
    return s.part * (PAGE_SIZE // parts)


@inlined
def hold_for_skb(k: Kernel, cpu: int, pfn: int) -> None:
    """One more reference, for an skb: counted on the page, or out of those that were taken in advance."""
    if k.policy[0].bias == 0:
        page_ref_add(k, cpu, pfn, 1)
        return
    s = k.page_share[pfn]
    if s.bias <= 1:  # the driver's own is one of them
        taken = BIAS - max(s.bias, 1)
        page_ref_add(k, cpu, pfn, taken)
        s.bias = BIAS
    s.bias -= 1


@inlined
def settle_references(k: Kernel, cpu: int, pfn: int) -> None:
    """Give back what was taken in advance, so that the page counts its holders again."""
    if k.policy[0].bias and k.page_share[pfn].bias > 1:
        page_ref_sub_and_test(k, cpu, pfn, k.page_share[pfn].bias - 1)
        k.page_share[pfn].bias = 0


@inlined
def unshelve_any(k: Kernel, cpu: int, rxq: int) -> int:
    """Teardown: the oldest kept page, whoever else holds it; NONE when there is none."""
    if k.shelf[rxq].count == 0:
        return NONE
    pfn = unshelve(k, rxq, 0)
    settle_references(k, cpu, pfn)
    return pfn


# -- what policies call ----------------------------------------------------------------------------------------------


@inlined
def others(k: Kernel, cpu: int, pfn: int) -> int:
    """Who else holds page ``pfn``: references beyond the driver's own, so 0 means that it can be used again."""
    if pfn < 0 or pfn >= k.machine[0].pages:
        return 2**30
    touch_page(k, cpu, pfn)
    if k.policy[0].bias and k.page_share[pfn].bias > 1:
        return k.pages[pfn].refcount - k.page_share[pfn].bias
    return k.pages[pfn].refcount - 1


@inlined
def kept(k: Kernel, rxq: int) -> int:
    """How many pages the queue keeps."""
    return k.shelf[rxq].count


@inlined
def kept_page(k: Kernel, rxq: int, place: int) -> int:
    """The page at ``place`` of the shelf, 0 the oldest; NONE when there is none."""
    if place < 0 or place >= k.shelf[rxq].count:
        return NONE
    return k.kept[shelf_slot(k, rxq, place)]


@inlined
def is_local(k: Kernel, cpu: int, pfn: int) -> bool:
    """Is page ``pfn`` in the memory node of this CPU?"""
    return 0 <= pfn < k.machine[0].pages and k.pages[pfn].nid == k.cpu[cpu].numa_node


@inlined
def is_reserve(k: Kernel, pfn: int) -> bool:
    """Is page ``pfn`` from the emergency reserve (pfmemalloc)?"""
    return 0 <= pfn < k.machine[0].pages and page_is_pfmemalloc(k, pfn)


@inlined
def cache_room(k: Kernel, rxq: int) -> int:
    """Pages for which the pool's lockless cache has room."""
    pool = k.rxq[rxq].pool
    return 0 if pool < 0 else PP_ALLOC_CACHE_SIZE - k.pool[pool].cache_count


@inlined
def ring_room(k: Kernel, rxq: int) -> int:
    """Pages for which the pool's ring has room."""
    pool = k.rxq[rxq].pool
    if pool < 0:
        return 0
    p = k.pool[pool]
    if k.pool_ring[p.ring_base + p.producer] != 0:
        return 0
    return p.ring_size - (p.producer - p.consumer_head) % p.ring_size


@inlined
def draw(k: Kernel, percent: int) -> bool:
    """True in ``percent`` of 100 calls, by the run's seed."""
    return uniform_draw(k) <= percent * 2**32 // 100


@inlined
def now(k: Kernel, cpu: int) -> int:
    """Virtual time of this CPU, ns."""
    return k.cpu[cpu].clock // 1000


@kernel_function(traced=False, entry=True, rare=True)
def oldest_if_free(k: Kernel, cpu: int, rxq: int, count: int) -> int:
    """The ``get`` of a policy that has none of its own: the oldest kept page, unless somebody holds it."""
    if count > 0 and others(k, cpu, kept_page(k, rxq, 0)) == 0:
        return 0
    return NONE


# -- what the loader puts into a policy's own code -------------------------------------------------------------------


@inlined
def next_round(k: Kernel, cpu: int) -> bool:
    """One more round of a loop; True when that is too many."""
    p = k.policy[0]
    p.rounds += 1
    if p.rounds <= LONGEST_RUN:
        return False
    fault(k, cpu, POLICY_LOOPS, packet_number(k), LONGEST_RUN)
    return True


@inlined
def raised(k: Kernel, cpu: int, line: int) -> int:
    """The policy's code gives up in ``line``."""
    fault(k, cpu, POLICY_RAISES, packet_number(k), line)
    return LOST


@inlined
def divided(k: Kernel, cpu: int, a: int, b: int, line: int) -> int:
    """``a // b``."""
    if b == 0:
        return raised(k, cpu, line)
    return a // b


@inlined
def remainder(k: Kernel, cpu: int, a: int, b: int, line: int) -> int:
    """``a % b``."""
    if b == 0:
        return raised(k, cpu, line)
    return a % b
