"""Running one micro-benchmark loop: the machine, the loop on each CPU, warm-up, measurement, result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netemu.engine import jit
from netemu.engine.faults import raise_fault
from netemu.engine.kernel import KernelFunction
from netemu.errors import EmulatorError, UsageError
from netemu.machine import MAX_CPUS, Machine
from netemu.mm.layout import PAGE_SIZE
from netemu.mm.page_alloc import alloc_pages_node, drain_pages_zone, drop_page
from netemu.net import loops
from netemu.net.page_pool import EVERYTHING, page_pool_alloc_pages, page_pool_put_page
from netemu.net.pool_layout import PP_FLAG_DMA_MAP
from netemu.net.pool_setup import create_page_pool
from netemu.replayer import start_books
from netemu.results import callgraph, pool_report, zone_lock_report

STEPS_COMPILED = 1 << 20
STEPS_INTERPRETED = 1 << 8
POOL_KINDS = ("page_pool", "page_pool_cross_cpu")

_FREE = {
    "__free_pages": loops.FREE_PAGES,
    "put_page": loops.PUT_PAGE,
    "page_frag_free": loops.FRAG_FREE,
    "__free_pages_ok": loops.PAST_THE_LISTS,
}
_PATH = {"direct": loops.TO_CACHE, "ring": loops.TO_RING, "release": loops.TO_ALLOCATOR, "bulk": loops.IN_BULK}
_SOURCE = {"page_alloc": loops.FROM_ALLOCATOR, "page_pool": loops.FROM_POOL, "reused": loops.REUSED}
_FREE_SKB = {"napi_consume_skb": loops.BY_NAPI, "consume_skb": loops.BY_CONSUMER, "kfree_skb": loops.BY_DROP}


def burst_of(kind: str, chosen: Mapping[str, Any]) -> int:
    """Items allocated before the first is freed, a bulk at least.  Raises UsageError for keys that exclude others."""
    burst: int = chosen.get("burst", 1)
    bulk: int = chosen["bulk"] if kind == "page_alloc" or chosen.get("path") == "bulk" else 0
    if kind == "page_alloc" and bulk and chosen["order"] > 0:
        raise UsageError("bulk allocates single pages: order has to be 0")
    return max(burst, bulk)


class Loop:
    """The loops of one experiment on their machine; ``chosen`` has every key of its kind."""

    def __init__(self, kind: str, chosen: Mapping[str, Any]) -> None:
        self.kind = kind
        self.chosen = chosen
        cpus = chosen["returning"] + 1 if kind == "page_pool_cross_cpu" else chosen["cpus"]
        self.burst = burst_of(kind, chosen)
        self.room = max(self.burst, chosen.get("queue_size", 1))
        self.machine = Machine(
            era=chosen["era"],
            switches=chosen["switches"],
            cpus=cpus,
            nodes=chosen["nodes"],
            memory_mb=chosen["memory_mb"],
            platform=chosen["platform"],
            seed=chosen["seed"],
            skbs=4096 + cpus * self.burst if kind.startswith("skb") else 16,
            pcp_batch=chosen["pcp_batch"],
            pcp_high=chosen["pcp_high"],
        )
        k = self.machine.k
        k.replace("loop", np.zeros(cpus, k.arrays["loop"].dtype))
        k.replace("loop_item", np.zeros(cpus * self.room, k.arrays["loop_item"].dtype))
        k.replace("loop_time", np.zeros(cpus * self.room, k.arrays["loop_time"].dtype))
        k.loop_plan[0].room = self.room
        if chosen["fragmented"]:
            self._fragment(chosen.get("order", 0))
        for cpu in range(cpus):
            self._set_up(cpu)

    # -- set-up --------------------------------------------------------------------------------------------------

    def _fragment(self, order: int) -> None:
        """Give every node blocks of ``order`` whose buddies are in use, as many as the loops can ever need."""
        m = self.machine
        lists = int(m.k.arrays["pcp"]["high_max"].max() >> order)
        wanted = 2 * (64 + m.cpus * (self.burst + 2 * lists))
        pages = m.k.machine[0].pages // m.nodes
        for node in range(m.nodes):
            blocks = min(wanted, pages >> (order + 2))
            taken = sorted(alloc_pages_node(m.k, 0, node, order, 0) for _ in range(blocks))
            for pfn in taken[::2]:
                drop_page(m.k, 0, pfn)
            drain_pages_zone(m.k, 0, node)
        m.check()

    def _set_up(self, cpu: int) -> None:
        k, chosen = self.machine.k, self.chosen
        row = k.loop[cpu]
        row.filling = 1
        row.burst = self.burst
        row.order = chosen.get("order", 0)
        row.bulk = chosen.get("bulk", 0)
        row.size = chosen.get("size", 0)
        row.think = round(chosen["think_ns"] * 1000)
        row.spread = round(chosen["think_ns"] * 1000 * chosen["think_spread"])
        row.random = ((chosen["seed"] * MAX_CPUS + cpu + 1) * 2654435761) & 0xFFFFFFFF or 1
        if self.kind in (*POOL_KINDS, "skb"):
            k.cpu[cpu].serving_softirq = 1
        step: KernelFunction = getattr(self, f"_{self.kind}")(cpu, row)
        row.step = step.address(k)

    def _page_alloc(self, cpu: int, row: Any) -> Any:
        row.target = _FREE[self.chosen["free"]]
        return loops.page_alloc_step

    def _page_frag(self, cpu: int, row: Any) -> Any:
        return loops.page_frag_step

    def _pool(self, cpu: int) -> int:
        return create_page_pool(
            self.machine.k,
            cpu,
            order=self.chosen.get("order", 0),
            size=self.chosen.get("ring_size", 0),
            flags=PP_FLAG_DMA_MAP if self.chosen.get("dma_map") else 0,
        )

    def _page_pool(self, cpu: int, row: Any) -> Any:
        row.target = pool = self._pool(cpu)
        row.variant = _PATH[self.chosen["path"]]
        k = self.machine.k
        pages = [page_pool_alloc_pages(k, cpu, pool) for _ in range(self.chosen["ring_fill"])]
        for pfn in pages:
            page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, 0)
        return loops.page_pool_step

    def _page_pool_cross_cpu(self, cpu: int, row: Any) -> Any:
        row.size = self.chosen["queue_size"]
        if cpu == 0:
            row.target = self._pool(0)
            self.machine.k.loop_plan[0].returning = self.chosen["returning"]
            return loops.hand_out_step
        return loops.give_back_step  # to pool 0

    def _spinlock(self, cpu: int, row: Any) -> Any:
        row.target = loops.LOOP_LOCKS if self.chosen["shared"] else loops.LOOP_LOCKS + cpu
        row.hold = round(self.chosen["hold_ns"] * 1000)
        row.variant = int(self.chosen["irqsave"])
        return loops.spinlock_step

    def _atomic(self, cpu: int, row: Any) -> Any:
        return loops.atomic_step

    def _call(self, cpu: int, row: Any) -> Any:
        if self.chosen["indirect"]:
            row.target = _function(loops.empty_function_by_pointer).address(self.machine.k)
        return loops.call_step

    def _skb_struct(self, cpu: int, row: Any) -> Any:
        return loops.skb_struct_step

    def _skb(self, cpu: int, row: Any) -> Any:
        source = _SOURCE[self.chosen["pages"]]
        if source == loops.FROM_POOL:
            row.target = self._pool(cpu)
        elif source == loops.REUSED:
            row.target = self._page(cpu)
        builder = 4 if self.chosen["build"] == "napi_build_skb" else 0
        row.variant = source | builder | _FREE_SKB[self.chosen["free"]] << 3
        return loops.skb_step

    def _dma(self, cpu: int, row: Any) -> Any:
        row.target = self._page(cpu)
        return loops.dma_step

    def _page(self, cpu: int) -> int:
        page = self.machine.alloc_pages(cpu=cpu)
        if page is None:
            raise UsageError("the machine has no page for every CPU: give it more memory_mb")
        return page.pfn

    # -- the run -------------------------------------------------------------------------------------------------

    def run(self, stopped: Callable[[], bool]) -> dict[str, Any] | None:
        """Warm up, measure, and say where time and pages went; None when it was stopped before."""
        workers = max(self.machine.cpus - 1, 1) if self.kind == "page_pool_cross_cpu" else self.machine.cpus
        if not self._advance(self._whole_bursts(self.chosen["warmup"]) * workers, stopped):
            return None
        self._forget()
        k = self.machine.k
        pages = k.arrays["zone"]
        before = int(pages["allocated"].sum()), int(pages["freed"].sum())
        if not self._advance(self._whole_bursts(self.chosen["count"]) * workers, stopped):
            return None
        return self._report(workers, int(pages["allocated"].sum()) - before[0], int(pages["freed"].sum()) - before[1])

    def _whole_bursts(self, operations: int) -> int:
        """So many operations of one CPU, or a few more, that everything allocated is freed too."""
        return -(-operations // self.burst) * self.burst

    def _advance(self, operations: int, stopped: Callable[[], bool]) -> bool:
        """Do so many operations more; False when stopped before the last of them."""
        k = self.machine.k
        plan = k.loop_plan[0]
        plan.wanted = plan.done + operations
        loops.start_loops(k, 0)
        steps = STEPS_COMPILED if jit.JIT else STEPS_INTERPRETED
        while not stopped():
            reason = loops.run_loops(k, 0, steps)
            raise_fault(k)
            if reason == loops.DONE:
                return True
            if reason == loops.STUCK:
                raise EmulatorError("netemu itself is wrong: every CPU of a loop waits for another one")
        return False

    def _forget(self) -> None:
        """Start measuring: clocks, costs and counters at zero, pages and lists as the warm-up left them."""
        k = self.machine.k
        start_books(self.machine)
        k.loop_plan[0].done = 0
        k.arrays["loop"]["done"] = 0
        k.arrays["loop_time"][:] = 0
        for name in k.arrays["pool"].dtype.names or ():
            if name.startswith(("alloc_", "recycle_")):
                k.arrays["pool"][name] = 0

    def _report(self, workers: int, allocated: int, freed: int) -> dict[str, Any]:
        machine, chosen = self.machine, self.chosen
        k = machine.k
        graph, busy_ps = callgraph(machine)
        clocks = k.arrays["cpu"]["clock"]
        elapsed = float(clocks[k.arrays["loop"]["waits"] == 0].mean()) / 1000
        operations = int(k.loop_plan[0].done)
        locks = k.arrays["lock"]
        return {
            "operations": operations,
            "virtual_ns": elapsed,
            "busy_ns": busy_ps / 1000,
            "idle_ns": max(machine.cpus * elapsed - busy_ps / 1000, 0.0),
            "ns_per_op": elapsed * workers / operations,
            "ops_per_second": 1e9 * operations / elapsed if elapsed else 0.0,
            "cpus": machine.cpus,
            "era": chosen["era"],
            "platform": chosen["platform"],
            "seed": chosen["seed"],
            "page_pool": [pool_report(k, number) for number in range(k.pools[0].count)],
            "zone_lock": zone_lock_report(machine),
            "locks": {
                "acquisitions": int(locks["acquisitions"].sum()),
                "contended": int(locks["contended"].sum()),
                "wait_ns": int(locks["wait"].sum()) / 1000,
                "hold_ns": int(locks["hold"].sum()) / 1000,
            },
            "pages": {
                "allocated": allocated,
                "freed": freed,
                "bytes": allocated * PAGE_SIZE,
                "order": chosen.get("order", 0),
            },
            "callgraph": graph,
        }


def _function(declared: Any) -> KernelFunction:
    """A kernel function as the object that it is; its type says that it can be called."""
    assert isinstance(declared, KernelFunction)
    return declared


def run_loop(
    kind: str, chosen: Mapping[str, Any], stopped: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    """The result of one loop experiment, None when ``stopped`` says so before it is over.

    Raises UsageError for keys that do not go together, KernelBug when there is not enough memory.
    """
    return Loop(kind, chosen).run(stopped)
