"""The rules that a checked machine holds emulated code to: what each one says, how bad a breach is, what usually
causes it.

Identifiers are grouped by subject: MM pages and buddy lists, PC per-CPU page lists, PF page fragment caches, PP
page_pool, SK sk_buff, XD XDP, DR drivers, BQL byte queue limits, NAPI polls, DM DMA, CTX
contexts.
"""

from __future__ import annotations

from dataclasses import dataclass

FATAL, ERROR, WARNING = "fatal", "error", "warning"


@dataclass(frozen=True)
class Rule:
    """One invariant.  ``cause``: what usually breaks it, for the reader of a report."""

    id: str
    severity: str
    statement: str
    cause: str


RULES: dict[str, Rule] = {}


def _rule(id: str, severity: str, statement: str, cause: str) -> None:
    RULES[id] = Rule(id, severity, statement, cause)


# -- pages and the buddy allocator -----------------------------------------------------------------------------------
_rule(
    "MM-01",
    FATAL,
    "a reference is dropped by somebody who holds one; the count never falls below zero",
    "an error path that frees what the caller frees too, or a reference that was never taken",
)
_rule(
    "MM-02",
    FATAL,
    "a page is in exactly one place, and its reference count is the number of its holders",
    "a page put away (cache, ring, free list) while something still points to it",
)
_rule(
    "MM-03",
    FATAL,
    "a page on a free list has no references and no marks",
    "a page freed while somebody still holds it",
)
_rule(
    "MM-04",
    FATAL,
    "a free block starts at a multiple of its size and is marked with its order",
    "a block freed with another order than it was allocated with",
)
_rule("MM-05", ERROR, "two free buddies of one order have been merged", "a free list changed without zone->lock")
_rule("MM-06", ERROR, "nr_free is the length of its free list", "a free list changed without zone->lock")
_rule("MM-07", ERROR, "a zone's free pages are the sum over its free lists", "a free list changed without zone->lock")
_rule("MM-08", FATAL, "no page is handed out while it is in use or free twice", "a page freed twice, earlier")
_rule("MM-09", ERROR, "managed = buddy + per-CPU lists + in use: no page is lost", "a page that nobody freed")
_rule(
    "MM-10",
    ERROR,
    "a page comes from the allocator, and goes back to it, without the mark of a page_pool",
    "a pool page freed with put_page while the pool still counts it",
)
_rule(
    "MM-11",
    FATAL,
    "what is freed is in use, and is the head of its block",
    "a double free, or an address inside a compound page passed as the page",
)
_rule(
    "MM-12", ERROR, "a block has an order of 0 to 10 and is freed with it", "the order kept beside the page went stale"
)

# -- per-CPU page lists ----------------------------------------------------------------------------------------------
_rule("PC-01", FATAL, "a per-CPU list's count is what is on it", "the list used on another CPU or by an interrupt")
_rule("PC-02", ERROR, "after a free a per-CPU list is below its high mark", "a bulk free that freed too little")
_rule(
    "PC-04", ERROR, "a bulk free moves as many pages as it is asked to, or all", "a count that forgets a block's order"
)
_rule(
    "PC-05",
    ERROR,
    "a refill moves at most a batch, as the kernel scales it, under one hold of zone->lock",
    "a refill sized by what is wanted instead of the batch",
)
_rule("PC-03", ERROR, "pages on a per-CPU list belong to its zone", "a page freed to the wrong zone's list")
_rule(
    "PC-06",
    WARNING,
    "one hold of zone->lock moves at most 32 batches",
    "a per-CPU list emptied in one go: everybody else waits for the lock meanwhile",
)

# -- page fragment caches --------------------------------------------------------------------------------------------
_rule(
    "PF-01",
    ERROR,
    "references - bias of a cache's current page = its live fragments; the page lives as long as it is current",
    "more fragments cut from the page than it has references",
)
_rule("PF-02", FATAL, "the bias is positive and the offset inside the page", "one-byte fragments: more than the bias")
_rule(
    "PF-03",
    ERROR,
    "a fragment lies inside its page and overlaps no live one",
    "a fragment larger than the page that the cache fell back to",
)
_rule("PF-04", ERROR, "a cache's new page is nobody else's, and as large as the cache believes", "a page used twice")
_rule("PF-05", ERROR, "what is freed as a page fragment is one, once", "a fragment freed twice, or given away before")
_rule(
    "PF-06",
    WARNING,
    "an emergency page is not used again by a page fragment cache",
    "memory pressure that is long over: every packet of this CPU is still marked pfmemalloc and dropped",
)

# -- page_pool -------------------------------------------------------------------------------------------------------
_rule("PP-01", ERROR, "hold - release is not negative", "a page returned to a pool that did not hand it out")
_rule(
    "PP-02",
    ERROR,
    "hold - release = pages in cache, in ring, and outside: no page leaves a pool uncounted",
    "an skb on pool pages without skb_mark_for_recycle, or a page dropped with put_page",
)
_rule("PP-03", FATAL, "a page is once in one pool's cache or ring", "a page returned twice")
_rule(
    "PP-04",
    ERROR,
    "pages in cache and ring have one reference, are no emergency pages, and carry the pool's signature",
    "a reference dropped after the page went back, or an emergency page recycled",
)
_rule("PP-06", ERROR, "a page of a DMA_MAP pool is mapped as long as the pool counts it", "the driver unmapped it too")
_rule(
    "PP-07",
    ERROR,
    "what is put into a pool was taken from it, and is not touched afterwards",
    "a page put into the pool of another queue, put twice, or read after it was put",
)
_rule(
    "PP-08",
    ERROR,
    "a direct return comes from the pool's consumer, in softirq",
    "allow_direct passed from another CPU, from process context, or after the NAPI is gone",
)
_rule(
    "PP-09",
    ERROR,
    "the alloc cache is used by one context at a time",
    "a work queue, a control path or another CPU allocates from the pool of a running NAPI",
)
_rule("PP-10", ERROR, "a pool is not used in hard interrupts or with interrupts off", "a free in an interrupt handler")
_rule(
    "PP-11",
    WARNING,
    "a sync for the device covers what was touched, and lies inside the page",
    "max_len or offset of the pool are wrong",
)
_rule(
    "PP-12",
    ERROR,
    "a pool is not allocated from after its destruction, and freed when its last page is back and its last user gone",
    "NAPI still enabled at page_pool_destroy, pages kept past it, or one page_pool_destroy too many",
)
_rule("PP-13", ERROR, "a destroyed pool ends with empty cache and ring and nothing in flight", "a leak of pool pages")
_rule("PP-14", ERROR, "a page that has left its pool has no signature, no pool and no mapping", "a bypassed return")
_rule(
    "PP-15",
    WARNING,
    "every page handed out, and every final put, is counted once: cached, ring, ring_full or released",
    "a skipped counter",
)
_rule(
    "PP-16",
    ERROR,
    "the fragment count of a page is the number of its fragments that are out",
    "a fragment dropped as a whole page, or one dropped twice",
)
_rule("PP-17", WARNING, "a page comes from the node that the pool prefers", "the CPU's node taken for the pool's")

# -- sk_buff ---------------------------------------------------------------------------------------------------------
_rule("SK-01", FATAL, "an sk_buff is not used after its last user is gone", "a stale pointer kept by driver or queue")
_rule(
    "SK-02",
    ERROR,
    "dataref counts the structs that share the data; a packet, or data, that others use too is not changed",
    "a struct freed past skb_release_data, or a clone changed without skb_unclone",
)
_rule("SK-03", ERROR, "len = linear + fragments; head <= data <= tail <= end", "lengths changed beside the fragments")
_rule(
    "SK-04",
    ERROR,
    "at most 17 fragments, the tail inside the buffer, and buffers and fragments inside their pages",
    "a fragment more than there is room for, or a frag_size that forgets the offset",
)
_rule(
    "SK-05",
    WARNING,
    "truesize covers the memory that the packet pins",
    "a small fragment of a large page accounted with its own size",
)
_rule(
    "SK-06",
    ERROR,
    "each reference of a packet is dropped once, the way it was taken: as a page, or as a share of a pool page",
    "a reference taken with get_page and dropped through the recycle mark, or the other way round",
)
_rule("SK-07", ERROR, "frag_size 0 is for slab memory", "build_skb around a page without frag_size")
_rule("SK-08", ERROR, "coalescing keeps lengths and moves each reference once", "a stolen head freed as well")
_rule(
    "SK-09",
    ERROR,
    "per-CPU caches of NAPI are used in softirq, or with bottom halves off",
    "napi_consume_skb or napi_alloc_skb with a budget from process context or netpoll",
)
_rule("SK-10", ERROR, "a packet is not freed in a hard interrupt", "kfree_skb where dev_kfree_skb_any belongs")
_rule(
    "SK-11",
    ERROR,
    "a packet marked for recycling holds pool pages, and is merged with its like",
    "receive offload or a driver mixes pages of a pool with others",
)
_rule(
    "SK-12",
    FATAL,
    "a packet on a transmit ring is freed after its completion, once, and not changed before",
    "a stale skb pointer",
)

# -- XDP, drivers, DMA -----------------------------------------------------------------------------------------------
_rule("XD-01", ERROR, "a program's packet stays inside its buffer", "adjust_head or adjust_tail beyond the bounds")
_rule(
    "XD-02",
    ERROR,
    "each received buffer has one fate: an skb, release, or transfer to TX or redirect",
    "a page released after it was handed on",
)
_rule(
    "XD-03",
    ERROR,
    "a redirected page has no other users, unless the driver counts its fragments",
    "several packets in one page",
)
_rule("XD-04", ERROR, "a transmitted frame's page is in no skb and no receive ring", "a page posted while it is sent")
_rule("XD-05", ERROR, "each transmitted frame is completed and returned once", "completions that forget their frames")
_rule(
    "DR-01", ERROR, "a page is posted to one receive descriptor at a time", "a descriptor not cleared on an error path"
)
_rule("DR-02", ERROR, "a page in a driver's receive cache is held and mapped", "a page cached after it was released")
_rule("DR-03", ERROR, "a driver's receive cache holds at most its size", "head or tail past the end")
_rule(
    "DR-04",
    ERROR,
    "a receive cache reuses its oldest page exactly when nobody else has it, and counts each look once",
    "a reference count read too early, or a page that is skipped",
)
_rule(
    "DR-05",
    ERROR,
    "a multi-packet descriptor has no more strides used than it has, and its pages are released once",
    "flush and close both release",
)
_rule(
    "DR-06",
    ERROR,
    "a device that is down holds no pages and no pools, its transmit rings are empty, its byte queue limits are reset",
    "a ring not walked at stop, or a missing page_pool_destroy",
)
_rule("DR-07", WARNING, "the ring of a driver agrees with its head and tail", "descriptors changed without the lock")
_rule(
    "BQL-01",
    ERROR,
    "no more is completed than was queued, and all that was queued once the ring is empty",
    "a completion reported twice, or a packet that was counted at one end only",
)
_rule(
    "NAPI-01",
    ERROR,
    "a poll runs once at a time, when it is scheduled, within its budget, and completes exactly if it did less",
    "napi_complete_done with the budget used up, twice, or from netpoll",
)
_rule(
    "DM-01",
    FATAL,
    "each mapping is unmapped once, before the page is freed, and not while the device may use it",
    "unmapped by driver and pool both, or before the completion",
)
_rule(
    "DM-02", WARNING, "a mapping is not touched after its device is gone", "pages kept past the removal of the device"
)
_rule(
    "DM-03", ERROR, "a page that is posted is the device's until its descriptor is taken back", "a read without a sync"
)
_rule("CTX-01", ERROR, "what may sleep is not called in softirq or interrupts", "teardown from the wrong context")
_rule("MSG-01", WARNING, "the kernel does not complain", "see the message")
_rule(
    "BOOK-01",
    ERROR,
    "received = built + dropped; counters agree with what happened",
    "a counter bumped on the wrong path",
)
_rule("SK-BOOKS", ERROR, "built - freed = live: every packet is freed", "an error path that forgets the packet")
