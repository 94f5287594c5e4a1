"""Recycle policies: what a policy file imports, and the ones that come with netemu, a file each.

A policy file has a function ``put``, perhaps a function ``get``, and perhaps ``STATE``, ``PARTS`` and ``BIAS``;
docs/policies.md says what they mean.  ``netemu policies`` lists the files here.
"""

from ..mm.layout import NONE
from ..net.policy import (
    CACHE,
    KEEP,
    PAGE_ALLOCATOR,
    RING,
    cache_room,
    draw,
    is_local,
    is_reserve,
    kept,
    kept_page,
    now,
    others,
    ring_room,
)
from ..net.policy_loader import policy_state

__all__ = [
    "CACHE",
    "KEEP",
    "NONE",
    "PAGE_ALLOCATOR",
    "RING",
    "cache_room",
    "draw",
    "is_local",
    "is_reserve",
    "kept",
    "kept_page",
    "now",
    "others",
    "policy_state",
    "ring_room",
]
