"""The world of the packet buffer scripts: that of the pools, with packets, slabs and fragment caches added.

Scripts call a packet ``S<n>`` (n-th struct of the ordinary slab), ``F<n>`` or ``F<n>c`` (a pair of the fast clone
slab); a head ``K<n>`` (n-th small object ever made) or ``P<block>+<offset>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netemu.engine.events import heard, listen
from netemu.mm.layout import NAPI_FRAGS, NAPI_SLICES, NONE, NR_FRAG_CACHES, PAGE_SIZE
from netemu.mm.page_alloc import alloc_pages_node
from netemu.mm.page_frag import PAGE_FRAG_CACHE_MAX_SIZE
from netemu.net import skbuff
from netemu.net.page_pool import FRAGMENTS_LEFT, INTO_CACHE, INTO_RING, LET_GO, NO_SIGNATURE
from netemu.net.skb_layout import (
    MAX_SKB_FRAGS,
    NAPI_SKB_CACHE_SIZE,
    NET_IP_ALIGN,
    NET_SKB_PAD,
    SHARED_INFO_SIZE,
    SK_BUFF_SIZE,
    SKB_ALLOC_FCLONE,
    SKB_LIVE,
    SMP_CACHE_BYTES,
)
from netemu.packets import SkBuff
from netemu.testing.world import CPU, NOTHING, Done, WordsError, World, number_in

SIZEOF_SK_BUFF = 232
SIZEOF_FCLONES = 472
CONSTANTS = [
    SIZEOF_SK_BUFF,
    SK_BUFF_SIZE,
    SHARED_INFO_SIZE,
    SHARED_INFO_SIZE,
    SIZEOF_FCLONES,
    NET_SKB_PAD,
    NET_IP_ALIGN,
    MAX_SKB_FRAGS,
    SMP_CACHE_BYTES,
    PAGE_FRAG_CACHE_MAX_SIZE,
]

_POOL_FATES = {
    NO_SIGNATURE: "refused",
    FRAGMENTS_LEFT: "frag",
    INTO_CACHE: "cache",
    INTO_RING: "ring",
    LET_GO: "released",
}
_COUNTERS = (
    "head_allocs",
    "head_frees",
    "head_bulk_allocs",
    "head_bulk_frees",
    "pair_allocs",
    "pair_frees",
    "objects_made",
    "objects_freed",
    "frag_frees",
    "consumed",
    "dropped",
)


@dataclass(slots=True)
class SkbDone(Done):
    """What an operation on packets answered.  ``name``: the packet that it returned; ``shown``: other fields."""

    name: str | None = None
    shown: dict[str, Any] | None = None


class SkbWorld(World):
    """A fresh world with packets: four CPUs are online, all is done on the first, one queue serves deferred frees."""

    cpus = 4
    skbs = 1 << 14

    def __init__(self, check: str = "off") -> None:
        super().__init__(check)
        for cpu in range(self.cpus):
            self.k.softnet[cpu].defer_queue = CPU
        skbuff.connect_skb_calls(self.k)
        listen(self.k)

    # -- names -----------------------------------------------------------------------------------------------------

    def skb_name(self, skb: int) -> str:
        """How scripts call a packet."""
        if skb < self.skbs:
            return f"S{skb}"
        pair, companion = divmod(skb - self.skbs, 2)
        return f"F{pair}{'c' if companion else ''}"

    def skb_named(self, word: str) -> int:
        """The packet that a script names."""
        number = number_in(word[1:].removesuffix("c"))
        skb = number if word[0] == "S" else self.skbs + 2 * number + word.endswith("c")
        if number < 0 or word[0] not in "SF" or skb >= len(self.k.skb) or self.k.skb[skb].state != SKB_LIVE:
            raise WordsError(f"there is no packet {word}")
        return skb

    def _made(self, skb: int) -> SkbDone:
        return SkbDone(answers=True, name=None if skb == NONE else self.skb_name(skb))

    def _handle(self, word: str) -> SkBuff:
        return SkBuff(self.machine, self.skb_named(word))

    # -- making ----------------------------------------------------------------------------------------------------

    def op_consts(self, words: list[str]) -> Done:
        return SkbDone(shown={"consts": CONSTANTS})

    def op_alloc_page(self, words: list[str]) -> Done:
        pfn = alloc_pages_node(self.k, CPU, NONE, number_in(words[1]), 1)
        return Done(answers=True, ret=self.block(pfn))

    def op_alloc_skb(self, words: list[str]) -> Done:
        flags = SKB_ALLOC_FCLONE if "fclone=1" in words[2:] else 0
        return self._made(skbuff.alloc_skb(self.k, CPU, number_in(words[1]), flags))

    def op_napi_alloc_skb(self, words: list[str]) -> Done:
        return self._made(skbuff.napi_alloc_skb(self.k, CPU, number_in(words[1])))

    def op_netdev_alloc_skb(self, words: list[str]) -> Done:
        return self._made(skbuff.netdev_alloc_skb(self.k, CPU, number_in(words[1])))

    def op_build_skb(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        return self._made(skbuff.build_skb(self.k, CPU, pfn, number_in(words[2]), number_in(words[3])))

    def op_napi_build_skb(self, words: list[str]) -> Done:
        pfn = self.page_named(words[1])
        return self._made(skbuff.napi_build_skb(self.k, CPU, pfn, number_in(words[2]), number_in(words[3])))

    def op_build_skb_kmalloc(self, words: list[str]) -> Done:
        return self._made(skbuff.build_skb_kmalloc(self.k, CPU, number_in(words[1])))

    def _piece(self, where: int) -> Done:
        if where == NONE:
            return Done(answers=True)
        page = self.k.pages[where // PAGE_SIZE]
        start = self.k.source_block[page.serial] * PAGE_SIZE
        return Done(answers=True, ret=page.serial, offset=where - start)

    def op_napi_alloc_frag(self, words: list[str]) -> Done:
        return self._piece(skbuff.napi_alloc_frag(self.k, CPU, number_in(words[1])))

    def op_netdev_alloc_frag(self, words: list[str]) -> Done:
        return self._piece(skbuff.netdev_alloc_frag(self.k, CPU, number_in(words[1])))

    def op_page_frag_free(self, words: list[str]) -> Done:
        skbuff.free_fragment(self.k, CPU, self.page_named(words[1]))
        return NOTHING

    # -- the data of one packet ------------------------------------------------------------------------------------

    def op_mark_recycle(self, words: list[str]) -> Done:
        skb = self.skb_named(words[1])
        if len(words) > 2 and number_in(words[2]) == 0:
            self.k.skb[skb].pp_recycle = 0
        else:
            skbuff.skb_mark_for_recycle(self.k, CPU, skb)
        return NOTHING

    def op_reserve(self, words: list[str]) -> Done:
        self._handle(words[1]).reserve(number_in(words[2]))
        return NOTHING

    def op_skb_put(self, words: list[str]) -> Done:
        self._handle(words[1]).put(number_in(words[2]))
        return NOTHING

    def op_skb_pull(self, words: list[str]) -> Done:
        if skbuff.skb_pull(self.k, CPU, self.skb_named(words[1]), number_in(words[2])) == NONE:
            raise WordsError("there is less linear data than that")
        return NOTHING

    def op_skb_push(self, words: list[str]) -> Done:
        if skbuff.skb_push(self.k, CPU, self.skb_named(words[1]), number_in(words[2])) == NONE:
            raise WordsError("there is less headroom than that")
        return NOTHING

    def op_add_rx_frag(self, words: list[str]) -> Done:
        skb, pfn = self.skb_named(words[1]), self.page_named(words[2])
        skbuff.skb_add_rx_frag(self.k, CPU, skb, pfn, *map(number_in, words[3:6]))
        return NOTHING

    def op_frag_ref(self, words: list[str]) -> Done:
        skbuff.skb_frag_ref(self.k, CPU, self.skb_named(words[1]), number_in(words[2]))
        return NOTHING

    def op_frag_unref(self, words: list[str]) -> Done:
        skbuff.skb_frag_unref(self.k, CPU, self.skb_named(words[1]), number_in(words[2]))
        return NOTHING

    def _answer(self, ret: int) -> Done:
        return Done(answers=True, ret=ret)

    def op_expand_head(self, words: list[str]) -> Done:
        skb, nhead, ntail = self.skb_named(words[1]), number_in(words[2]), number_in(words[3])
        return self._answer(skbuff.pskb_expand_head(self.k, CPU, skb, nhead, ntail))

    def op_unclone(self, words: list[str]) -> Done:
        return self._answer(skbuff.skb_unclone(self.k, CPU, self.skb_named(words[1])))

    def op_unclone_keep(self, words: list[str]) -> Done:
        return self._answer(skbuff.skb_unclone_keeptruesize(self.k, CPU, self.skb_named(words[1])))

    def op_pull_tail(self, words: list[str]) -> Done:
        return self._answer(skbuff.pskb_pull_tail(self.k, CPU, self.skb_named(words[1]), number_in(words[2])))

    def op_linearize(self, words: list[str]) -> Done:
        return self._answer(skbuff.skb_linearize(self.k, CPU, self.skb_named(words[1])))

    def op_trim(self, words: list[str]) -> Done:
        return self._answer(skbuff.pskb_trim(self.k, CPU, self.skb_named(words[1]), number_in(words[2])))

    # -- sharing and copying ---------------------------------------------------------------------------------------

    def op_clone(self, words: list[str]) -> Done:
        return self._made(skbuff.skb_clone(self.k, CPU, self.skb_named(words[1])))

    def op_copy(self, words: list[str]) -> Done:
        return self._made(skbuff.skb_copy(self.k, CPU, self.skb_named(words[1])))

    def op_pskb_copy(self, words: list[str]) -> Done:
        return self._made(skbuff.pskb_copy(self.k, CPU, self.skb_named(words[1])))

    def op_copy_expand(self, words: list[str]) -> Done:
        skb, headroom, tailroom = self.skb_named(words[1]), number_in(words[2]), number_in(words[3])
        return self._made(skbuff.skb_copy_expand(self.k, CPU, skb, headroom, tailroom))

    def op_realloc_headroom(self, words: list[str]) -> Done:
        return self._made(skbuff.skb_realloc_headroom(self.k, CPU, self.skb_named(words[1]), number_in(words[2])))

    def op_skb_get(self, words: list[str]) -> Done:
        skbuff.skb_get(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_morph(self, words: list[str]) -> Done:
        skbuff.skb_morph(self.k, CPU, self.skb_named(words[1]), self.skb_named(words[2]))
        return NOTHING

    # -- freeing ---------------------------------------------------------------------------------------------------

    def op_kfree_skb(self, words: list[str]) -> Done:
        skbuff.kfree_skb(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_consume_skb(self, words: list[str]) -> Done:
        skbuff.consume_skb(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_napi_consume_skb(self, words: list[str]) -> Done:
        skbuff.napi_consume_skb(self.k, CPU, self.skb_named(words[1]), number_in(words[2]))
        return NOTHING

    def op_kfree_skb_defer(self, words: list[str]) -> Done:
        skbuff.kfree_skb_defer(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_kfree_skb_partial(self, words: list[str]) -> Done:
        skbuff.kfree_skb_partial(self.k, CPU, self.skb_named(words[1]), number_in(words[2]))
        return NOTHING

    def op_set_alloc_cpu(self, words: list[str]) -> Done:
        cpu = number_in(words[2])
        if not 0 <= cpu < self.cpus:
            raise WordsError(f"there is no CPU {cpu}; CPUs are 0 to {self.cpus - 1}")
        self.k.skb[self.skb_named(words[1])].alloc_cpu = cpu
        return NOTHING

    def op_defer_free(self, words: list[str]) -> Done:
        skbuff.skb_attempt_defer_free(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_defer_flush(self, words: list[str]) -> Done:
        skbuff.skb_defer_free_flush(self.k, CPU)
        return NOTHING

    # -- merging ---------------------------------------------------------------------------------------------------

    def op_try_coalesce(self, words: list[str]) -> Done:
        ret = skbuff.skb_try_coalesce(self.k, CPU, self.skb_named(words[1]), self.skb_named(words[2]))
        report = self.k.coalesced[0]
        return SkbDone(answers=True, ret=ret, shown={"stolen": report.stolen, "delta": report.delta})

    def op_frag_list_add(self, words: list[str]) -> Done:
        skbuff.skb_append_list(self.k, CPU, self.skb_named(words[1]), self.skb_named(words[2]))
        return NOTHING

    def op_gro_first(self, words: list[str]) -> Done:
        skbuff.gro_start(self.k, CPU, self.skb_named(words[1]))
        return NOTHING

    def op_gro_receive(self, words: list[str]) -> Done:
        first, skb = self.skb_named(words[1]), self.skb_named(words[2])
        skbuff.gro_start(self.k, CPU, skb)
        return self._answer(skbuff.skb_gro_receive(self.k, CPU, first, skb, 0))

    def op_gro_finish(self, words: list[str]) -> Done:
        return self._answer(skbuff.napi_skb_finish(self.k, CPU, self.skb_named(words[1])))

    # -- limits and caches -----------------------------------------------------------------------------------------

    def op_set_kmalloc_limit(self, words: list[str]) -> Done:
        self.k.slab[0].object_limit = max(number_in(words[1]), NONE) + 1
        return NOTHING

    def op_set_slab_limit(self, words: list[str]) -> Done:
        self.k.slab[0].skb_limit = max(number_in(words[1]), NONE) + 1
        return NOTHING

    def op_napi_cache(self, words: list[str]) -> Done:
        first = CPU * NAPI_SKB_CACHE_SIZE
        heads = self.k.arrays["napi_skb_cache"][first : first + self.napi_cached()].tolist()
        return SkbDone(shown={"napi_cache": [self.skb_name(skb) for skb in heads]})

    def op_frag_cache(self, words: list[str]) -> Done:
        large = self.k.page_frag_cache[CPU * NR_FRAG_CACHES + NAPI_FRAGS]
        small = self.k.page_frag_cache[CPU * NR_FRAG_CACHES + NAPI_SLICES]
        shown: list[int | None] = [-1, 0, 0, 0, 0, -1, 0, 0]
        if large.page:
            shown[:5] = [self.block(large.page - 1), large.offset, large.bias, large.pfmemalloc, large.size]
        if small.page:
            shown[5:] = [self.block(small.page - 1), small.offset, small.pfmemalloc]
        return SkbDone(shown={"frag_cache": shown})

    # -- what there is to see --------------------------------------------------------------------------------------

    def napi_cached(self) -> int:
        """Structs in the NAPI cache."""
        count: int = self.k.softnet[CPU].skb_count
        return count

    def skb_counters(self) -> list[int]:
        """Allocations and frees since the start, in the order of the ``ctr`` field."""
        slab = self.k.slab[0]
        return [getattr(slab, name) for name in _COUNTERS]

    def skb_state(self, skb: int) -> list[Any]:
        """The state of a live packet, in the order of the ``skbs`` field."""
        r = self.k.skb[skb]
        info = self.k.shinfo[r.shinfo]
        if r.head_object:
            head = f"K{self.k.object[r.head_object - 1].serial}"
        else:
            head = self._place(r.head_page, r.head_offset)
        f = self.k.frags[r.shinfo]
        frags = [[self.block(f.page[n]), f.offset[n], f.size[n]] for n in range(info.nr_frags)]
        return [
            self.skb_name(skb),
            r.users,
            r.cloned,
            r.nohdr,
            r.fclone,
            info.dataref,
            head,
            r.head_frag,
            r.pp_recycle,
            r.pfmemalloc,
            r.data,
            r.len,
            r.data_len,
            r.end,
            r.truesize,
            frags,
            self._list_names(info.frag_list - 1),
            r.alloc_cpu,
        ]

    def _list_names(self, skb: int) -> list[str]:
        names = []
        while skb != NONE:
            names.append(self.skb_name(skb))
            skb = self.k.skb[skb].next - 1
        return names

    def _place(self, pfn: int, offset: int) -> str:
        block = self.k.pages[pfn].serial
        return f"P{block}+{(pfn - self.k.source_block[block]) * PAGE_SIZE + offset}"

    def events(self) -> list[str]:
        """What happened since the last call, in the words of the ``ev`` field."""
        told: list[str] = []
        for kind, a, b in heard(self.k):
            if kind in ("head_bulk_alloc", "head_bulk_free"):
                if b == 0:
                    told.append(f"headbulk{'+' if kind == 'head_bulk_alloc' else '-'}:{a}")
                else:
                    told[-1] += f",{a}"
            else:
                told.append(self._told(kind, a, b))
        return told

    def _told(self, kind: str, a: int, b: int) -> str:
        match kind:
            case "head_alloc":
                return f"head+{self.skb_name(a)}"
            case "head_free":
                return f"head-{self.skb_name(a)}"
            case "pair_alloc":
                return f"fcl+F{a}"
            case "pair_free":
                return f"fcl-F{a}"
            case "kmalloc":
                return f"kmalloc:K{a}:{b}"
            case "kfree":
                return f"kfree:K{a}"
            case "fragment_free":
                return f"fragfree:P{self.block(a)}"
            case "pool_offered":
                return f"pp:P{self.block(a)}:{_POOL_FATES[b]}"
            case "page_released":
                return f"unpool:P{self.block(a)}"
            case "pool_freed":
                return f"pool_free:{self.slots[a]}"
            case "consume" | "drop":
                return f"{kind}:{self.skb_name(a)}"
            case "defer_ipi":
                return f"ipi:{a}"
        raise AssertionError(f"no words for the event {kind}")
