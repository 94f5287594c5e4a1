"""Micro-benchmark loops: what the kernel community's benchmark modules do, run by the engine on every CPU at once.

A loop is a step function, called again and again for each CPU that runs it.  The CPU with the smallest clock takes
the next step, one allocation, one return, one lock at a time, so that CPUs meet at locks as they would.  A step says
how many operations it has completed, or that it has to wait for another CPU.
After the loops of bench_page_pool_simple, bench_page_pool_cross_cpu, page_bench01 and time_bench_sample.
"""

from __future__ import annotations

from ..engine.agenda import NO_CPU_TIME, first_time, first_to_act, set_agenda
from ..engine.faults import fault, fault_code
from ..engine.kernel import cost_point, indirect, inlined, kernel_function
from ..engine.layout import Kernel, table
from ..engine.path import charge, enter, leave, spend
from ..engine.spinlock import lock_class, spin_lock, spin_unlock
from ..mm.layout import NAPI_FRAGS, NONE, PAGE_SHIFT
from ..mm.page_alloc import (
    __alloc_pages,
    __free_pages,
    __free_pages_ok,
    alloc_pages_bulk,
    page_ref_add,
    page_ref_sub_and_test,
    put_page,
)
from ..mm.page_frag import page_frag_alloc, page_frag_free
from .dma import (
    dma_map_page_attrs,
    dma_sync_single_range_for_cpu,
    dma_sync_single_range_for_device,
    dma_unmap_page_attrs,
)
from .page_pool import EVERYTHING, RING_SLOT, page_pool_alloc_pages, page_pool_put_page, page_pool_put_page_bulk
from .skb_slab import kmem_cache_alloc, kmem_cache_alloc_bulk, kmem_cache_free, kmem_cache_free_bulk
from .skbuff import build_skb, consume_skb, kfree_skb, napi_build_skb, napi_consume_skb, skb_mark_for_recycle

DONE = 0
FAULTED = 1
STUCK = 2
PAUSED = 3

HAS_TO_WAIT = -1
"""What a step returns when it can do nothing before another CPU has done something."""

# how blocks are freed
FREE_PAGES = 0
PUT_PAGE = 1
FRAG_FREE = 2
PAST_THE_LISTS = 3

# how pages go back to their pool
TO_CACHE = 0
TO_RING = 1
TO_ALLOCATOR = 2
IN_BULK = 3

# where an skb's page comes from
FROM_ALLOCATOR = 0
FROM_POOL = 1
REUSED = 2

# who frees an skb
BY_NAPI = 0
BY_CONSUMER = 1
BY_DROP = 2

table(
    "loop",  # [cpu]
    [
        ("step", "i8"),  # address of the step function; 0: this CPU runs no loop
        ("target", "i8"),  # what the step works on: a pool, a lock, a function, a way to free
        ("size", "i8"),  # bytes, or blocks of what
        ("order", "i4"),
        ("burst", "i4"),  # items allocated before the first is freed
        ("bulk", "i4"),  # items per bulk call; 0: one by one
        ("variant", "i4"),
        ("filling", "i4"),  # 1: allocating, 0: freeing
        ("held", "i4"),  # items of this CPU in k.loop_item
        ("at", "i4"),  # next of them to free
        ("waits", "i4"),  # 1: for another CPU
        ("head", "i8"),  # queue of pages handed to this CPU, in k.loop_item
        ("tail", "i8"),
        ("think", "i8"),  # private work after each operation, ps
        ("spread", "i8"),  # of it, up or down at random, ps
        ("random", "i8"),
        ("hold", "i8"),  # time under the lock, ps
        ("done", "i8"),  # operations completed
    ],
)
table("loop_item", "i4")  # [cpu * room + i]
table("loop_time", "i8")  # [cpu * room + i]: when the page in that slot of the queue was handed over, ps
table("loop_plan", [("room", "i8"), ("wanted", "i8"), ("done", "i8"), ("returning", "i4")])

MAX_LOOPS = 128
LOOP_LOCKS = lock_class("loop", MAX_LOOPS)
"""Locks of the spinlock loop: the first is shared, or each CPU has its own."""

PRIVATE_WORK = cost_point("private_work")
ATOMIC = cost_point("atomic_read_modify_write")
IRQ_SAVE = cost_point("local_irq_save")

NO_MEMORY = fault_code("loop", "CPU {a} found no memory for its loop, with {b} items held")


# -- pages ------------------------------------------------------------------------------------------------------------


@inlined
def hold_item(k: Kernel, cpu: int, item: int) -> None:
    """Keep an item; the burst is complete when as many are held as the loop wants."""
    mine = k.loop[cpu]
    if item == NONE:
        fault(k, cpu, NO_MEMORY, cpu, mine.held)
        return
    k.loop_item[cpu * k.loop_plan[0].room + mine.held] = item
    mine.held += 1
    if mine.held >= mine.burst:
        mine.filling = 0
        mine.at = 0


@inlined
def let_go(k: Kernel, cpu: int) -> int:
    """The item held longest, which is now the caller's."""
    mine = k.loop[cpu]
    item = k.loop_item[cpu * k.loop_plan[0].room + mine.at]
    mine.at += 1
    if mine.at == mine.held:
        mine.held = 0
        mine.filling = 1
    return item


@inlined
def free_block(k: Kernel, cpu: int, pfn: int, order: int, how: int) -> None:
    """Drop the last reference of a block by one of the functions that drivers and benchmarks use."""
    if how == FREE_PAGES:
        __free_pages(k, cpu, pfn, order)
    elif how == PUT_PAGE:
        put_page(k, cpu, pfn)
    elif how == FRAG_FREE:
        page_frag_free(k, cpu, pfn)
    elif page_ref_sub_and_test(k, cpu, pfn, 1):
        __free_pages_ok(k, cpu, pfn, order)


@kernel_function(traced=False, entry=True, rare=True)
def page_alloc_step(k: Kernel, cpu: int, how: int, unused: int) -> int:
    """Allocate a block (or a bulk of pages) until the burst is complete, then free one block at a time."""
    mine = k.loop[cpu]
    nid = k.cpu[cpu].numa_node
    if not mine.filling:
        free_block(k, cpu, let_go(k, cpu), mine.order, how)
        return 1
    if mine.bulk == 0:
        hold_item(k, cpu, __alloc_pages(k, cpu, nid, mine.order, 1))
        return 0
    got = alloc_pages_bulk(k, cpu, nid, min(mine.bulk, mine.burst - mine.held))
    if got == 0:
        fault(k, cpu, NO_MEMORY, cpu, mine.held)
    for i in range(got):
        hold_item(k, cpu, k.page_array[i])
    return 0


@kernel_function(traced=False, entry=True, rare=True)
def page_frag_step(k: Kernel, cpu: int, unused: int, size: int) -> int:
    """Allocate page fragments of ``size`` bytes until the burst is complete, then free them one at a time."""
    if not k.loop[cpu].filling:
        page_frag_free(k, cpu, let_go(k, cpu))
        return 1
    address = page_frag_alloc(k, cpu, NAPI_FRAGS, size)
    hold_item(k, cpu, address if address == NONE else address >> PAGE_SHIFT)
    return 0


# -- page_pool --------------------------------------------------------------------------------------------------------


@inlined
def return_bulk(k: Kernel, cpu: int, pool: int) -> int:
    """Give back up to a bulk of the pages held; how many."""
    mine = k.loop[cpu]
    count = min(mine.bulk, mine.held - mine.at)
    for i in range(count):
        k.page_array[i] = let_go(k, cpu)
    page_pool_put_page_bulk(k, cpu, pool, count)
    return count


@kernel_function(traced=False, entry=True, rare=True)
def page_pool_step(k: Kernel, cpu: int, pool: int, unused: int) -> int:
    """Allocate from the pool until the burst is complete, then return pages: to cache, ring, allocator or in bulk."""
    mine = k.loop[cpu]
    if mine.filling:
        hold_item(k, cpu, page_pool_alloc_pages(k, cpu, pool))
        return 0
    if mine.variant == IN_BULK:
        return return_bulk(k, cpu, pool)
    pfn = let_go(k, cpu)
    if mine.variant == TO_ALLOCATOR:  # somebody else still holds the page when the pool gets it back
        page_ref_add(k, cpu, pfn, 1)
        page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, 0)
        put_page(k, cpu, pfn)
    else:
        page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, 1 if mine.variant == TO_CACHE else 0)
    return 1


@inlined
def wake(k: Kernel, cpu: int, when: int) -> None:
    """A CPU that waits for another one goes on, not before ``when`` (ps)."""
    if k.loop[cpu].waits:
        k.loop[cpu].waits = 0
        be_idle_until(k, cpu, when)
        set_agenda(k, cpu, k.cpu[cpu].clock)


@inlined
def be_idle_until(k: Kernel, cpu: int, when: int) -> None:
    """Nothing to do before ``when`` (ps)."""
    c = k.cpu[cpu]
    if c.clock < when:
        c.idle += when - c.clock
        c.clock = when


@kernel_function(traced=False, entry=True, rare=True)
def hand_out_step(k: Kernel, cpu: int, pool: int, queue_size: int) -> int:
    """Allocate a page and hand it to the next CPU in turn whose queue has room."""
    plan = k.loop_plan[0]
    mine = k.loop[cpu]
    for i in range(plan.returning):
        turn = (mine.at + i) % plan.returning
        taker = cpu + 1 + turn
        queue = k.loop[taker]
        if queue.tail - queue.head < queue_size:
            pfn = page_pool_alloc_pages(k, cpu, pool)
            if pfn == NONE:
                fault(k, cpu, NO_MEMORY, cpu, 0)
                return 0
            charge(k, cpu, RING_SLOT)
            slot = taker * plan.room + queue.tail % queue_size
            k.loop_item[slot] = pfn
            k.loop_time[slot] = k.cpu[cpu].clock
            queue.tail += 1
            mine.at = (turn + 1) % plan.returning
            wake(k, taker, k.cpu[cpu].clock)
            return 0
    return HAS_TO_WAIT


@kernel_function(traced=False, entry=True, rare=True)
def give_back_step(k: Kernel, cpu: int, pool: int, queue_size: int) -> int:
    """Return the oldest page that was handed to this CPU to its pool, by the ring."""
    mine = k.loop[cpu]
    if mine.head == mine.tail:
        return HAS_TO_WAIT
    slot = cpu * k.loop_plan[0].room + mine.head % queue_size
    be_idle_until(k, cpu, k.loop_time[slot])
    charge(k, cpu, RING_SLOT)
    mine.head += 1
    page_pool_put_page(k, cpu, pool, k.loop_item[slot], EVERYTHING, 0)
    wake(k, 0, k.cpu[cpu].clock)
    return 1


# -- primitives -------------------------------------------------------------------------------------------------------


@inlined
def work_privately(k: Kernel, cpu: int, ps: int) -> None:
    """Time that meets nobody."""
    caller = enter(k, cpu, PRIVATE_WORK)
    spend(k, cpu, ps)
    leave(k, cpu, caller)


@kernel_function(traced=False, entry=True, rare=True)
def spinlock_step(k: Kernel, cpu: int, lock: int, unused: int) -> int:
    """Take a lock, hold it for a while, let go of it."""
    mine = k.loop[cpu]
    if mine.variant:
        charge(k, cpu, IRQ_SAVE)
    spin_lock(k, cpu, lock)
    if mine.hold > 0:
        work_privately(k, cpu, mine.hold)
    spin_unlock(k, cpu, lock)
    return 1


@kernel_function(traced=False, entry=True, rare=True)
def atomic_step(k: Kernel, cpu: int, unused: int, unused_too: int) -> int:
    """One atomic read-modify-write on a line that no other CPU touches."""
    caller = enter(k, cpu, ATOMIC)
    leave(k, cpu, caller)
    return 1


@kernel_function
def empty_function(k: Kernel, cpu: int) -> None:
    """A function that does nothing."""


@kernel_function(entry=True, rare=True)
def empty_function_by_pointer(k: Kernel, cpu: int, unused: int, unused_too: int) -> int:
    """A function that does nothing, called through a pointer."""
    return 0


@kernel_function(traced=False, entry=True, rare=True)
def call_step(k: Kernel, cpu: int, pointer: int, unused: int) -> int:
    """Call a function, directly or through a pointer."""
    if pointer == 0:
        empty_function(k, cpu)
    else:
        indirect(k, pointer, cpu, 0, 0)
    return 1


@kernel_function(traced=False, entry=True, rare=True)
def dma_step(k: Kernel, cpu: int, pfn: int, size: int) -> int:
    """Map a page, sync ``size`` bytes of it for the CPU and for the device, unmap it."""
    dma_map_page_attrs(k, cpu, pfn)
    dma_sync_single_range_for_cpu(k, cpu, size)
    dma_sync_single_range_for_device(k, cpu, size)
    dma_unmap_page_attrs(k, cpu, pfn)
    return 1


# -- packet buffers ---------------------------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True, rare=True)
def skb_struct_step(k: Kernel, cpu: int, unused: int, unused_too: int) -> int:
    """Allocate and free sk_buff structs, one by one or in bulk."""
    mine = k.loop[cpu]
    if mine.bulk > 0:
        got = kmem_cache_alloc_bulk(k, cpu, mine.bulk)
        kmem_cache_free_bulk(k, cpu, 0, got)
        return got
    if mine.filling:
        hold_item(k, cpu, kmem_cache_alloc(k, cpu))
        return 0
    kmem_cache_free(k, cpu, let_go(k, cpu))
    return 1


@inlined
def page_for_skb(k: Kernel, cpu: int, target: int, source: int) -> int:
    """A page with one reference for the skb; ``target``: the pool, or the page that is used over and over."""
    if source == FROM_ALLOCATOR:
        return __alloc_pages(k, cpu, k.cpu[cpu].numa_node, 0, 0)
    if source == FROM_POOL:
        return page_pool_alloc_pages(k, cpu, target)
    page_ref_add(k, cpu, target, 1)
    return target


@kernel_function(traced=False, entry=True, rare=True)
def skb_step(k: Kernel, cpu: int, target: int, size: int) -> int:
    """Build an skb around a page until the burst is complete, then free one at a time."""
    mine = k.loop[cpu]
    if mine.filling:
        pfn = page_for_skb(k, cpu, target, mine.variant & 3)
        skb = NONE
        if pfn != NONE:
            if mine.variant & 4:
                skb = napi_build_skb(k, cpu, pfn, 0, size)
            else:
                skb = build_skb(k, cpu, pfn, 0, size)
        if skb != NONE and mine.variant & 3 == FROM_POOL:
            skb_mark_for_recycle(k, cpu, skb)
        hold_item(k, cpu, skb)
        return 0
    skb = let_go(k, cpu)
    who = mine.variant >> 3
    if who == BY_NAPI:
        napi_consume_skb(k, cpu, skb, 64)
    elif who == BY_CONSUMER:
        consume_skb(k, cpu, skb)
    else:
        kfree_skb(k, cpu, skb)
    return 1


# -- all CPUs at once -------------------------------------------------------------------------------------------------


@inlined
def think(k: Kernel, cpu: int) -> None:
    """Private work after an operation: ``think``, give or take up to ``spread`` at random (xorshift)."""
    mine = k.loop[cpu]
    x = mine.random
    x ^= (x << 13) & 0xFFFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0xFFFFFFFF
    mine.random = x
    work_privately(k, cpu, mine.think - mine.spread + (2 * mine.spread * x >> 32))


@kernel_function(traced=False, entry=True, rare=True)
def start_loops(k: Kernel, cpu: int) -> None:
    """Before the first step: CPUs with a loop can act now, unless they wait; others never."""
    for c in range(k.machine[0].cpus):
        idle = k.loop[c].step == 0 or k.loop[c].waits != 0
        set_agenda(k, c, NO_CPU_TIME if idle else k.cpu[c].clock)


@kernel_function(traced=False, entry=True, rare=True)
def run_loops(k: Kernel, cpu: int, steps: int) -> int:
    """Advance all loops, ``steps`` steps at most, until as many operations are done as the plan wants."""
    plan = k.loop_plan[0]
    while steps > 0:
        steps -= 1
        if k.error[0].code != 0:
            return FAULTED
        if plan.done >= plan.wanted:
            return DONE
        first = first_to_act(k)
        if first_time(k) == NO_CPU_TIME:
            return STUCK
        mine = k.loop[first]
        k.horizon[0] = k.cpu[first].clock
        done = indirect(k, mine.step, first, mine.target, mine.size)
        if done == HAS_TO_WAIT:
            mine.waits = 1
            set_agenda(k, first, NO_CPU_TIME)
            continue
        if done > 0:
            mine.done += done
            plan.done += done
            if mine.think > 0:
                think(k, first)
        set_agenda(k, first, k.cpu[first].clock)
    return PAUSED
