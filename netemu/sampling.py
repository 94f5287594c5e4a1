"""Reading a run's gauges over virtual time: where pages are, how full rings are, what was counted so far.

The run loop hands over when a reading is due.  When there are too many readings, every other one is dropped and the
interval doubled: a run of any length leaves 512 to 1024 of them, and a short one is read finely.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine.kernel import NAMES, REGISTERED
from .engine.path import costs_by_cpu
from .machine import Machine
from .mm.layout import NAPI_SLICES, NR_FRAG_CACHES, PG_TAIL
from .net.device_layout import TX_SKB
from .net.skb_layout import SKB_LIVE
from .net.timeline import SPAN_ROWS
from .netdevice import NetDevice
from .results import recycling

MOST_READINGS = 1024
FIRST_INTERVAL_PS = 2_000_000
"""2 us: finer than a poll."""

PLACES = ("buddy", "pcp", "pool_cache", "pool_ring", "page_frag_cache", "skb", "tx", "driver")


class Sampler:
    """Readings of one machine with one device, taken when :meth:`read` is called."""

    def __init__(self, machine: Machine, nic: NetDevice) -> None:
        self.machine = machine
        self.nic = nic
        self.interval = FIRST_INTERVAL_PS
        self.times: list[int] = []
        self.readings: list[dict[str, int]] = []
        self._waits_in_mm = {f.number for f in REGISTERED if f.traced and f.__module__.startswith("netemu.mm.")}
        k = machine.k
        k.replace("span", np.zeros(SPAN_ROWS, k.arrays["span"].dtype))
        k.timeline[0].sampling = 1
        k.timeline[0].recording = 1
        k.timeline[0].next_sample = 0

    def read(self) -> None:
        """Take one reading, and say when the next is due."""
        now = int(self.machine.k.horizon[0])
        self._take(now)
        if len(self.times) == MOST_READINGS:
            del self.times[1::2], self.readings[1::2]
            self.interval *= 2
        self.machine.k.timeline[0].next_sample = (now // self.interval + 1) * self.interval

    def _take(self, now: int) -> None:
        self.times.append(now)
        self.readings.append(self.places() | self.counters())

    def report(self) -> dict[str, Any]:
        """Times in ns and each gauge as a list beside them, after a last reading now; and what ran when."""
        self._take(int(self.machine.k.arrays["cpu"]["clock"].max()))
        return {
            "interval_ns": self.interval / 1000,
            "times_ns": [time / 1000 for time in self.times],
            "gauges": {name: [reading[name] for reading in self.readings] for name in self.readings[-1]},
            "spans": self._spans(),
        }

    def _spans(self) -> dict[str, Any]:
        """Each poll, and each softirq (``napi`` -1: net_tx_action, -2: net_rx_action), with its CPU; times in ns."""
        k = self.machine.k
        rows = k.arrays["span"][: k.timeline[0].spans]
        columns: dict[str, Any] = {name: rows[name].tolist() for name in ("cpu", "napi", "work", "tx_work")}
        columns["start_ns"] = [start / 1000 for start in rows["start"].tolist()]
        columns["end_ns"] = [end / 1000 for end in rows["end"].tolist()]
        columns["lost"] = int(k.timeline[0].lost)
        return columns

    # -- gauges ------------------------------------------------------------------------------------------------------

    def places(self) -> dict[str, int]:
        """Base pages by place; "driver" is what no other place holds: receive buffers and the driver's own cache."""
        k = self.machine.k
        free = int(k.arrays["zone"]["free"].sum())
        listed = int(k.arrays["pcp"]["count"].sum())
        pools = k.arrays["pool"][: k.pools[0].count]
        cached = int((pools["cache_count"].astype(np.int64) << pools["order"]).sum())
        ringed = sum(self._ringed(number) for number in range(len(pools)))
        carved = self._fragment_caches()
        transmitted = np.setdiff1d(self._skb_pages(sent=True), carved)
        received = np.setdiff1d(self._skb_pages(sent=False), np.union1d(transmitted, carved))
        managed = int(k.arrays["zone"]["managed"].sum())
        counts = [free, listed, cached, ringed, *(self._size(pages) for pages in (carved, received, transmitted))]
        return dict(zip(PLACES, [*counts, managed - sum(counts)], strict=True))

    def _ringed(self, number: int) -> int:
        k = self.machine.k
        p = k.pool[number]
        filled: int = (p.producer - p.consumer_head) % p.ring_size
        if filled == 0 and k.pool_ring[p.ring_base + p.consumer_head] != 0:
            filled = p.ring_size
        return filled << int(p.order)

    def _fragment_caches(self) -> Any:
        """Blocks that page_frag caches cut pieces from, by their heads."""
        k = self.machine.k
        caches = k.arrays["page_frag_cache"][: k.machine[0].cpus * NR_FRAG_CACHES]
        spent = (np.arange(caches.size) % NR_FRAG_CACHES == NAPI_SLICES) & (caches["offset"] == 0)
        pages = caches["page"][~spent]
        return self._heads(pages[pages > 0] - 1)

    def _skb_pages(self, *, sent: bool) -> Any:
        """Blocks of the skbs on transmit rings, or of all others, by their heads."""
        k = self.machine.k
        rows = k.arrays["skb"][: k.slab[0].skb_made]
        live = rows["state"] == SKB_LIVE
        posted = np.zeros(rows.size, bool)
        for index in range(self.nic.nic.queues):
            q = k.txq[self.nic.nic.txq(index)]
            ring = k.arrays["txd"][q.base + (np.arange(q.head, q.tail) & q.mask)]
            posted[ring["skb"][ring["kind"] == TX_SKB]] = True
        rows = rows[live & (posted == sent)]
        frags = k.arrays["frags"]["page"][rows["shinfo"]]
        frags = frags[np.arange(frags.shape[1]) < k.arrays["shinfo"]["nr_frags"][rows["shinfo"]][:, None]]
        pages = np.concatenate([rows["head_page"], frags])
        return self._heads(pages[pages >= 0])

    def _heads(self, pages: Any) -> Any:
        table = self.machine.k.arrays["pages"]
        return np.unique(np.where(table["flags"][pages] & PG_TAIL, table["head"][pages], pages))

    def _size(self, heads: Any) -> int:
        """Base pages in blocks."""
        return int((1 << self.machine.k.arrays["pages"]["order"][heads].astype(np.int64)).sum())

    def counters(self) -> dict[str, int]:
        """What was counted since the start, and how full rings are."""
        k = self.machine.k
        nic = self.nic.nic
        rxqs = k.arrays["rxq"][nic.rxq(0) : nic.rxq(0) + nic.queues]
        txqs = k.arrays["txq"][nic.txq(0) : nic.txq(0) + nic.queues]
        zones = k.arrays["zone"]
        run = k.run[0]
        recycled = recycling(k, self.nic)
        lost = int(rxqs["out_of_buffer"].sum() + rxqs["oversize"].sum())
        reading = {
            "rx_backlog": int((rxqs["cq_tail"] - rxqs["cq_head"]).sum()),
            "tx_posted": int((txqs["tail"] - txqs["head"]).sum()),
            "received": int(rxqs["packets"].sum()),
            "dropped": lost + run.dropped_no_skb + run.dropped_by_qdisc + run.dropped_by_consumer,
            "pages_allocated": int(zones["allocated"].sum()),
            "pages_freed": int(zones["freed"].sum()),
            "pages_wanted": recycled["pages_wanted"],
            "pages_from_allocator": recycled["pages_from_allocator"],
            "zone_lock_wait_ns": int(k.arrays["lock"]["wait"][: self.machine.nodes].sum()) // 1000,
        }
        for cpu, wait in enumerate(self._waits()):
            reading[f"zone_lock_wait_ns_cpu{cpu}"] = int(wait) // 1000
        for cpu in range(self.machine.cpus):
            reading[f"pcp_cpu{cpu}"] = int(k.arrays["pcp"]["count"][cpu :: self.machine.cpus].sum())
        return reading

    def _waits(self) -> Any:
        """Per CPU: time waited for zone->lock (ps), which is what functions of the page allocator have waited."""
        k = self.machine.k
        nodes = k.tree[0].nodes + 1
        functions = k.arrays["node"]["function"][:nodes]
        parents = k.arrays["node"]["parent"][:nodes]
        waiting = np.flatnonzero(functions == NAMES.index("queued_spin_lock_slowpath"))
        below = [node for node in waiting if int(functions[parents[node]]) in self._waits_in_mm]
        return costs_by_cpu(k)["extra"][:, below].sum(axis=1)
