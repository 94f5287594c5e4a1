"""mlx5e: the NVIDIA ConnectX Ethernet driver, 100 Gbit/s, legacy and striding receive queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from netemu.engine.watch import Watch
from netemu.errors import UsageError
from netemu.mm.layout import PAGE_SIZE
from netemu.net.device_layout import XOFF_DRIVER
from netemu.net.page_pool_shutdown import page_pool_destroy
from netemu.net.plugin import Driver, Nic, page_column, path_name
from netemu.net.pool_layout import PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_PAGE_FRAG
from netemu.net.xdp_layout import MEM_TYPE_PAGE_POOL
from netemu.net.xdp_setup import XDP_QUEUES

from . import checks, rx, tx, xdp
from .close import close_rq
from .layout import (
    CACHE,
    CACHE_SIZE,
    ETH_OVERHEAD,
    FRAG,
    LARGEST_XDP_MTU,
    LOG_SQ_SIZE,
    MPWQE,
    MPWQE_PAGE,
    PAGES_PER_MPWQE,
    RQ,
    RX_RING_SIZES,
    SQ,
    SQ_STOP_ROOM,
    TX_CQ_POLL_BUDGET,
    Geometry,
    geometry,
    linear_frag_size,
)

_TOTALS = {
    "tx_stopped": "tx_queue_stopped",
    "tx_wake": "tx_queue_wake",
    "rx_xdp_tx_cqes": "rx_xdp_tx_cqe",
}
"""Counters of queues whose sum over the device goes by another name (en_stats.c)."""
_RQ_COUNTERS = (
    "cache_reuse",
    "cache_full",
    "cache_empty",
    "cache_busy",
    "cache_waive",
    "buff_alloc_err",
    "oversize_pkts_sw_drop",
    "mpwqe_filler_cqes",
    "mpwqe_filler_strides",
)

_NEVER_COUNTED = ("wqe_err", "cqe_compress_blks", "cqe_compress_pkts", "congst_umr", "arfs_err", "recover")
"""Counters of what does not happen here: errors of the device, compressed completions, a full internal queue."""


class Mlx5(Driver):
    """Options: ``rq``, striding (the default on hardware that has it) or legacy; ``page_per_packet``, as under XDP;
    ``rx_ring``, the size of receive queues in frames.
    """

    name = "mlx5"
    link_gbps = 100.0
    max_mtu = 9978
    max_queues = 64
    splits_pages = True
    tx_cq_budget = TX_CQ_POLL_BUDGET
    rx_usecs = tx_usecs = 16.0
    rx_frames = tx_frames = 32
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "rq": ("striding", "legacy"),
        "page_per_packet": ("no", "yes"),
        "rx_ring": RX_RING_SIZES,
    }

    poll = path_name("mlx5e_napi_poll")
    poll_tx = path_name("mlx5e_poll_tx_cq")
    poll_rx = path_name("mlx5e_poll_rx_cq")
    refill = path_name("mlx5e_post_rx_wqes")

    hw_receive = rx.hw_receive
    rx_poll_one = rx.rx_poll_one
    rx_refill = rx.rx_refill
    xmit = tx.xmit
    tx_poll_one = tx.tx_poll_one
    xdp_xmit = xdp.xdp_xmit
    xdp_gathers = True
    poll_xdpsq = path_name("mlx5e_poll_xdpsq_cq")

    def largest_frame(self, mtu: int) -> int:
        return mtu + ETH_OVERHEAD

    def geometry(self, nic: Nic) -> Geometry:
        """Buffers of each receive queue of this device."""
        return geometry(
            nic.mtu,
            xdp=nic.xdp or nic.options["page_per_packet"] == "yes",
            striding=nic.options["rq"] == "striding",
            frames=int(nic.options["rx_ring"]),
            parts=nic.page_parts,
            in_place=nic.xdp or nic.k.era[0].mlx5_jumbo_skb != 0,
            refill=nic.k.era[0].mlx5_refill,
        )

    def check_xdp(self, nic: Nic) -> None:
        """A packet has to fit one page; or several: from v5.18 in a legacy queue, from v6.4 in a striding one.

        Source: en_main.c, mlx5e_params_validate_xdp.
        """
        striding = nic.options["rq"] == "striding"
        if geometry(nic.mtu, xdp=True, striding=striding).linear:
            return
        limit = f"{LARGEST_XDP_MTU} is the most that fits one page"
        too_large = f"mlx5: an MTU of {nic.mtu} is too large for an XDP program: {limit}"
        if nic.k.era[0].xdp_multi_buffer == 0:
            raise UsageError(f"{too_large}, and this kernel has no packets of several (xdp_multi_buffer=no)")
        if striding and nic.k.era[0].mlx5_rx_cache == 0:
            raise UsageError(
                f"{too_large}; a legacy receive queue takes more (option rq=legacy), a striding one from v6.4 on"
            )

    def _check_parts(self, nic: Nic) -> None:
        """Can this device post a part of a page at a time, as the recycle policy wants?"""
        size = linear_frag_size(nic.mtu, nic.options["page_per_packet"] == "yes")
        if nic.options["rq"] == "striding" or nic.k.era[0].mlx5_rx_cache != 0 or size > PAGE_SIZE // nic.page_parts:
            raise UsageError(
                f"the recycle policy cuts pages into {nic.page_parts} buffers: mlx5 can do that before v6.4, with "
                f"rq=legacy, page_per_packet=no and frames of which {nic.page_parts} fit into a page"
            )

    def open(self, nic: Nic) -> None:
        if nic.page_parts > 1:
            self._check_parts(nic)
        g = self.geometry(nic)
        striding = nic.options["rq"] == "striding"
        frags = max(len(g.frag_sizes), 1)
        queues = nic.queues
        rqs = nic.add_private(RQ, queues)
        frag_rows = nic.add_private(FRAG, 1 if striding else queues * g.wqes * frags)
        nic.add_private(CACHE, queues * CACHE_SIZE)
        nic.add_private(SQ, queues)
        nic.add_private(MPWQE, queues * g.wqes if striding else 1)
        nic.add_private(MPWQE_PAGE, queues * g.wqes * PAGES_PER_MPWQE if striding else 1)
        rqs["striding"] = striding
        rqs["linear"] = g.linear
        rqs["wqes"] = g.wqes
        rqs["bulk"] = g.bulk
        rqs["unit"] = g.unit
        rqs["index_mask"] = g.index_mask
        rqs["frags"] = frags
        rqs["headroom"] = g.headroom
        rqs["stride_log"] = g.stride_log
        rqs["strides"] = g.strides
        for i, (size, stride) in enumerate(zip(g.frag_sizes, g.frag_strides, strict=True)):
            rqs["frag_size"][:, i] = size
            rqs["frag_stride"][:, i] = stride
        if not striding:
            _partition(frag_rows, g, queues)
        for index in range(queues):
            nic.add_completion_ring(index, g.wqes * max(g.strides, 1) + g.wqes)
            nic.add_tx_ring(index, 1 << LOG_SQ_SIZE, (1 << LOG_SQ_SIZE) - SQ_STOP_ROOM + 1)
            pool = nic.create_page_pool(
                index, size=g.pool_size, nid=nic.k.cpu[nic.cpu(index)].numa_node, **self._pool(nic)
            )
            frag_size = PAGE_SIZE if nic.xdp and frags > 1 else 0
            nic.register_xdp(index, MEM_TYPE_PAGE_POOL, pool, frag_size)
            for which in XDP_QUEUES:
                nic.add_xdp_queue(index, which, 1 << LOG_SQ_SIZE, 1 << LOG_SQ_SIZE, self.poll_xdpsq)

    @staticmethod
    def _pool(nic: Nic) -> dict[str, int]:
        """Until v6.4 the driver maps its pages itself and the pool's flags are 0."""
        era = nic.k.era[0]
        if era.mlx5_rx_cache == 0:
            return {}
        if era.pool_frag == 0 or era.pool_skb_recycle == 0 or era.pool_dma_sync == 0:
            raise UsageError(
                "mlx5_rx_cache=none leaves all to the pool, which this kernel's cannot do: set pool_frag=frag_count, "
                "pool_skb_recycle=yes and pool_dma_sync=yes too"
            )
        flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV
        if era.pool_frag == 1:
            flags |= PP_FLAG_PAGE_FRAG
        return {"flags": flags, "max_len": PAGE_SIZE}

    def stop(self, nic: Nic) -> None:
        for index in range(nic.queues):
            for which in XDP_QUEUES:
                sq = getattr(nic.k.txq[nic.txq(index)], which) - 1
                xdp.free_xdpsq_descs(nic.k, nic.cpu(index), sq, 0)
            close_rq(nic.k, nic.cpu(index), nic.rxq(index), 0)
            nic.unregister_xdp(index)
            page_pool_destroy(nic.k, nic.cpu(index), nic.k.rxq[nic.rxq(index)].pool)

    def statistics(self, nic: Nic) -> dict[str, int]:
        rqs, sqs = nic.private(RQ), nic.private(SQ)
        sums: dict[str, int] = {}
        k = nic.k
        for i in range(nic.queues):
            rxq, txq = k.rxq[nic.rxq(i)], k.txq[nic.txq(i)]
            napi = k.napi[nic.rxq(i)]
            own = {"packets": rxq.packets, "bytes": rxq.bytes}
            own |= {name: int(rqs[name][i]) for name in _RQ_COUNTERS if not self._is_gone(nic, name)}
            own |= self._xdp_counters(nic, i, rqs) | dict.fromkeys(_NEVER_COUNTED, 0)
            _count(sums, "rx", i, own)
            wakes = txq.stopped - (1 if txq.xoff & XOFF_DRIVER else 0)
            tx_own = {"packets": txq.packets, "bytes": txq.bytes, "stopped": txq.stopped, "wake": wakes}
            tx_own |= {"nop": int(sqs["nop"][i]), "cqes": txq.cqes, "cqe_err": 0, "recover": 0}
            sq = k.txq[txq.xdp_redirect - 1]
            tx_own |= {"xdp_xmit": sq.packets, "xdp_full": sq.full, "xdp_err": 0, "xdp_cqes": sq.cqes}
            _count(sums, "tx", i, tx_own)
            channel = {"events": napi.events, "poll": napi.polls, "arm": napi.arms, "aff_change": 0, "eq_rearm": 0}
            _count(sums, "ch", i, channel)
        sums["rx_out_of_buffer"] = sum(k.rxq[nic.rxq(i)].out_of_buffer for i in range(nic.queues))
        return sums

    @staticmethod
    def _xdp_counters(nic: Nic, index: int, rqs: np.ndarray) -> dict[str, int]:
        """What the program and the XDP_TX queue of a channel did, without their prefix."""
        sq = nic.k.txq[nic.k.txq[nic.txq(index)].xdp_tx - 1]
        own = {name: int(rqs[name][index]) for name in ("xdp_drop", "xdp_redirect")}
        return own | {"xdp_tx_xmit": sq.packets, "xdp_tx_full": sq.full, "xdp_tx_err": 0, "xdp_tx_cqes": sq.cqes}

    @staticmethod
    def _is_gone(nic: Nic, name: str) -> bool:
        return name.startswith("cache_") and nic.k.era[0].mlx5_rx_cache != 0

    def breaches(self, nic: Nic) -> Iterator[tuple[str, str]]:
        yield from checks.cache_breaches(nic)
        yield from checks.stride_breaches(nic)

    def follow(self, watch: Watch, report: Callable[[str, str], None]) -> None:
        checks.follow_cache(watch, report)

    def pages_held(self, nic: Nic) -> Iterator[int]:
        rqs = nic.private(RQ)
        held: set[int] = set(page_column(nic.private(FRAG)))
        cache = nic.private(CACHE)["page"].reshape(nic.queues, CACHE_SIZE)
        for i, rq in enumerate(rqs):
            held.update(checks.cached_pages(rq, cache[i]))
            if rq["striding"]:
                pages = nic.private(MPWQE_PAGE)["page"].reshape(nic.queues, -1, PAGES_PER_MPWQE)
                for wqe in range(int(rq["ci"]), int(rq["pi"])):
                    held.update(int(p) for p in pages[i, wqe % int(rq["wqes"])] if p >= 0)
                filled = int(rq["filling"])
                held.update(int(p) for p in pages[i, int(rq["pi"]) % int(rq["wqes"]), :filled])
        yield from held


def _count(counters: dict[str, int], prefix: str, index: int, own: Mapping[str, int]) -> None:
    """Add what queue or channel ``index`` has counted: under its own name, and to that of the device."""
    for name, value in own.items():
        total = f"{prefix}_{name}"
        total = _TOTALS.get(total, total)
        counters[total] = counters.get(total, 0) + value
        counters[f"{prefix}{index}_{name}"] = value


def _partition(rows: np.ndarray, g: Geometry, queues: int) -> None:
    """Cut pages into fragments, WQE after WQE (mlx5e_init_frags_partition); one that does not fit starts a page."""
    per_queue = g.wqes * len(g.frag_sizes)
    for queue in range(queues):
        first = queue * per_queue
        offset = 0
        for i in range(per_queue):
            row = queue * per_queue + i
            stride = g.frag_strides[i % len(g.frag_strides)]
            if offset + stride > PAGE_SIZE:
                rows["last_in_page"][row - 1] = 1
                first, offset = row, 0
            rows["first"][row] = first
            rows["offset"][row] = offset
            offset += stride
        rows["last_in_page"][(queue + 1) * per_queue - 1] = 1


DRIVER = Mlx5()
"""The driver as netemu's plug-in loader finds it."""

__all__ = ["DRIVER", "Mlx5", "geometry"]
