"""What a run shows, in plain words: each finding is one sentence derived from the result's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netemu.report.callgraph import inclusive_percent, self_times
from netemu.report.quantities import count, duration, percent, ratio

Result = Mapping[str, Any]

# Functions through which drivers and the stack give a page back; the widest one in a graph names the share.
_PAGE_RETURNS = (
    "page_frag_free",
    "put_page",
    "__page_frag_cache_drain",
    "page_pool_return_page",
    "__free_pages",
    "__free_pages_ok",
    "free_unref_page",
)
_ALONE = 0.95
"""From this many zone->lock acquisitions per page freed on, pages are freed one by one."""
_LOCK_WAIT_WORTH_SAYING = 1.0
"""Percent of busy time."""


def findings(result: Result) -> list[str]:
    """The sentences that hold for ``result``, the most important first."""
    found = (finding(result) for finding in _FINDINGS)
    return [sentence for sentence in found if sentence]


def recycled_percent(pools: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of page_pool allocations that recycled pages served, as the kernel's ``page-pool`` sample counts it."""
    allocated: int = sum(pool["alloc-fast"] + pool["alloc-slow"] for pool in pools)
    if not allocated:
        return None
    recycled: int = sum(pool["recycle-ring"] + pool["recycle-cached"] for pool in pools)
    return 100.0 * recycled / allocated


def _nothing_arrived(result: Result) -> str | None:
    if result["packets"]["received"]:
        return None
    return "No packet reached the driver."


def leaks_found(result: Result) -> int:
    """How many leaks there are: the result lists the first of them."""
    found: int = result.get("leaks_found", len(result["leaks"]))
    return found


def _leaks(result: Result) -> str | None:
    found = leaks_found(result)
    if not found:
        return None
    rules = " or broken rules" if result["options"].get("check", "off") != "off" else ""
    return f"The run ended with {count(found)} leak{'s' if found > 1 or rules else ''}{rules}; see Pages."


def _drops(result: Result) -> str | None:
    packets = result["packets"]
    dropped = sum(packets["dropped"].values())
    if not dropped:
        return None
    reason, most = max(packets["dropped"].items(), key=lambda item: item[1])
    share = percent(100.0 * ratio(dropped, packets["offered"]))
    if most == dropped:
        return f"{share} of the offered packets were dropped, all by {reason}."
    return f"{share} of the offered packets were dropped, most by {reason} ({count(most)} of {count(dropped)})."


def _frees_under_the_zone_lock(result: Result) -> str | None:
    freed = result["pages"]["freed"]
    if not freed:
        if not result["pages"]["allocated"]:
            return None
        return "No page went back to the page allocator: every page was kept or recycled."
    share = _share_below_page_returns(result)
    lock = result["zone_lock"]
    if not lock["acquisitions_free"]:
        return f"{count(freed)} pages were freed to per-CPU lists without taking zone->lock{share}."
    per_page = ratio(lock["acquisitions_free"], lock["pages_freed"])
    if per_page >= _ALONE:
        return f"Every freed page took zone->lock by itself: {per_page:.2f} acquisitions per page freed{share}."
    return f"Freed pages shared zone->lock: {per_page:.3f} acquisitions per page freed{share}."


def _share_below_page_returns(result: Result) -> str:
    shares = [(inclusive_percent(result["callgraph"], name), name) for name in _PAGE_RETURNS]
    widest, name = max(shares, key=lambda share: share[0])
    return f", {percent(widest)} of busy time in {name} and below" if widest else ""


def _lock_wait(result: Result) -> str | None:
    lock = result["zone_lock"]
    share = 100.0 * ratio(lock["wait_ns"], result["busy_ns"])
    if share < _LOCK_WAIT_WORTH_SAYING:
        return None
    return f"CPUs waited {duration(lock['wait_ns'])} for zone->lock, {percent(share)} of busy time."


def _recycling(result: Result) -> str | None:
    share = recycled_percent(result["page_pool"])
    if share is None:
        return None
    sentence = f"page_pool served {percent(share)} of its allocations with recycled pages"
    refused = sum(pool["recycle-released-refcnt"] for pool in result["page_pool"])
    if refused:
        sentence += f"; {count(refused)} pages were let go because someone else still held them"
    return sentence + "."


def _driver_cache(result: Result) -> str | None:
    """What kept the driver's own cache from handing out pages."""
    full, busy = (result["ethtool"].get(f"rx_cache_{why}", 0) for why in ("full", "busy"))
    reasons = []
    if full:
        reasons.append(f"had no room for a page {count(full)} times")
    if busy:
        reasons.append(f"gave none {count(busy)} times because its oldest page was still held")
    return f"The driver's page cache {' and '.join(reasons)}." if reasons else None


def _policy(result: Result) -> str | None:
    policy = result.get("policy")
    if policy is None:
        return None
    verdicts = policy["verdicts"]
    asked = sum(verdicts.values())
    if not asked:
        return f"The recycle policy {policy['name']} was never asked: this driver keeps no pages in this kernel."
    share = percent(100.0 * ratio(policy["reused"], policy["reused"] + policy["passed"]))
    kept = percent(100.0 * verdicts["keep"] / asked)
    return (
        f"The recycle policy {policy['name']} kept {kept} of the pages that it was asked about, and had one to give "
        f"for {share} of the requests."
    )


def _dearest_function(result: Result) -> str | None:
    times = self_times(result["callgraph"])
    if not times or not result["busy_ns"]:
        return None
    name = max(times, key=lambda function: (times[function], function))
    return f"The dearest single function is {name}: {percent(100.0 * times[name] / result['busy_ns'])} of busy time."


_FINDINGS: tuple[Callable[[Result], str | None], ...] = (
    _nothing_arrived,
    _leaks,
    _frees_under_the_zone_lock,
    _lock_wait,
    _drops,
    _recycling,
    _driver_cache,
    _policy,
    _dearest_function,
)
