"""sk_buff: everything that packets can do, under the kernel's names.

One module per mechanism: :mod:`~netemu.net.skb_slab` (structs, heads), :mod:`~netemu.net.skb_alloc` (making),
:mod:`~netemu.net.skb_release` (freeing), :mod:`~netemu.net.skb_clone` (sharing), :mod:`~netemu.net.skb_copy` (new
heads), :mod:`~netemu.net.skb_data` (fragments and bytes), :mod:`~netemu.net.skb_coalesce` (merging).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.layout import Kernel
from .skb_alloc import (
    alloc_skb,
    build_skb,
    build_skb_kmalloc,
    napi_alloc_frag,
    napi_alloc_skb,
    napi_build_skb,
    netdev_alloc_frag,
    netdev_alloc_skb,
    skb_data_align,
    skb_mark_for_recycle,
    skb_put,
    skb_reserve,
)
from .skb_clone import skb_clone, skb_frag_ref, skb_get, skb_morph
from .skb_coalesce import (
    gro_start,
    kfree_skb_partial,
    napi_skb_finish,
    skb_gro_receive,
    skb_try_coalesce,
)
from .skb_copy import (
    pskb_copy,
    pskb_expand_head,
    skb_copy,
    skb_copy_expand,
    skb_realloc_headroom,
    skb_unclone,
    skb_unclone_keeptruesize,
)
from .skb_data import (
    pskb_pull_tail,
    pskb_trim,
    skb_add_rx_frag,
    skb_append_list,
    skb_frag_unref,
    skb_linearize,
    skb_pull,
    skb_push,
)
from .skb_layout import SKBS_PER_PAIR
from .skb_release import (
    consume_skb,
    dev_kfree_skb_any,
    dev_kfree_skb_irq,
    free_completion_queue,
    free_fragment,
    kfree_skb,
    kfree_skb_defer,
    kfree_skb_list,
    napi_consume_skb,
    skb_attempt_defer_free,
    skb_defer_free_flush,
    take_deferred,
)
from .skb_slab import __kfree_skb_flush

_CALLED_INSIDE: dict[str, Any] = {
    "kfree_skb_list": kfree_skb_list,
    "pskb_pull_tail": pskb_pull_tail,
    "pskb_trim": pskb_trim,
}
"""Functions that come back to themselves through a packet's fragment list, by field of ``k.skb_calls``."""


def connect_skb_calls(k: Kernel) -> None:
    """Let these functions call themselves by their addresses: before the first packet gets a fragment list."""
    for field, function in _CALLED_INSIDE.items():
        setattr(k.skb_calls[0], field, function.address(k))


def table_lengths(skbs: int) -> dict[str, int]:
    """Rows of the tables of packets for ``skbs`` structs of the ordinary slab; pairs are fewer."""
    pairs = skbs // SKBS_PER_PAIR
    structs, heads = skbs + 2 * pairs, skbs + pairs
    return {
        "skb": structs,
        "skb_packet": structs,
        "skb_until": structs,
        "gro_cb": structs,
        "fclones": pairs,
        "shinfo": heads,
        "frags": heads,
        "object": heads,
    }


def set_up(k: Kernel) -> None:
    """Give packets a fresh machine, whose size is known."""
    skbs = k.machine[0].skbs
    k.slab[0].pair_rows = skbs // SKBS_PER_PAIR
    k.slab[0].head_rows = skbs + k.slab[0].pair_rows
    k.arrays["softnet"]["defer_queue"] = np.arange(len(k.softnet))


__all__ = [
    "__kfree_skb_flush",
    "alloc_skb",
    "build_skb",
    "build_skb_kmalloc",
    "connect_skb_calls",
    "consume_skb",
    "dev_kfree_skb_any",
    "dev_kfree_skb_irq",
    "free_completion_queue",
    "free_fragment",
    "gro_start",
    "kfree_skb",
    "kfree_skb_defer",
    "kfree_skb_list",
    "kfree_skb_partial",
    "napi_alloc_frag",
    "napi_alloc_skb",
    "napi_build_skb",
    "napi_consume_skb",
    "napi_skb_finish",
    "netdev_alloc_frag",
    "netdev_alloc_skb",
    "pskb_copy",
    "pskb_expand_head",
    "pskb_pull_tail",
    "pskb_trim",
    "set_up",
    "skb_add_rx_frag",
    "skb_append_list",
    "skb_attempt_defer_free",
    "skb_clone",
    "skb_copy",
    "skb_copy_expand",
    "skb_data_align",
    "skb_defer_free_flush",
    "skb_frag_ref",
    "skb_frag_unref",
    "skb_get",
    "skb_gro_receive",
    "skb_linearize",
    "skb_mark_for_recycle",
    "skb_morph",
    "skb_pull",
    "skb_push",
    "skb_put",
    "skb_realloc_headroom",
    "skb_reserve",
    "skb_try_coalesce",
    "skb_unclone",
    "skb_unclone_keeptruesize",
    "table_lengths",
    "take_deferred",
]
