"""netsec: the Socionext Ethernet driver, 1 Gbit/s, one queue pair."""

from __future__ import annotations

from collections.abc import Iterator

from netemu.errors import UsageError
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net.page_pool_shutdown import page_pool_destroy
from netemu.net.plugin import Driver, Nic, path_name
from netemu.net.pool_layout import DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV
from netemu.net.xdp_layout import MEM_TYPE_PAGE_POOL

from . import rx, tx, xdp
from .layout import DESC, DESC_NUM, RING, RX_BUF_SIZE, RXBUF_HEADROOM, TX_ROOM


class Netsec(Driver):
    """No options, and no ``ethtool -S`` statistics: its pool and the netdev counters tell what happens."""

    name = "netsec"
    link_gbps = 1.0
    max_mtu = 1500
    max_queues = 1
    splits_pages = True
    tx_cq_budget = DESC_NUM
    rx_usecs = tx_usecs = 500.0
    rx_frames = tx_frames = 8

    poll = path_name("netsec_napi_poll")
    poll_tx = path_name("netsec_clean_tx_dring")
    poll_rx = path_name("netsec_process_rx")
    refill = path_name("netsec_setup_rx_dring")

    hw_receive = rx.hw_receive
    rx_poll_one = rx.rx_poll_one
    rx_refill = rx.rx_refill
    xmit = tx.xmit
    tx_poll_one = tx.tx_poll_one
    xdp_xmit = xdp.xdp_xmit

    def check_xdp(self, nic: Nic) -> None:
        """There is XDP since the receive buffers are pages of a pool (v5.3)."""
        if nic.k.era[0].netsec_rx != rx.BUFFER_PAGE:
            raise UsageError("netsec has no XDP in this kernel: it came with page_pool (v5.3, netsec_rx=page_pool)")

    def open(self, nic: Nic) -> None:
        if nic.page_parts > 1 and rx.part_size(nic.mtu) > PAGE_SIZE // nic.page_parts:
            raise UsageError(f"the recycle policy cuts pages into {nic.page_parts} parts: frames of netsec do not fit")
        nic.k.netdev[nic.dev].tx_in_budget = int(nic.k.era[0].netsec_poll == rx.POLL_SHARED)
        nic.add_private(RING, 1)
        nic.add_private(DESC, DESC_NUM)
        nic.add_completion_ring(0, DESC_NUM)
        nic.add_tx_ring(0, DESC_NUM, DESC_NUM - TX_ROOM + 1)
        if nic.k.era[0].netsec_rx == rx.BUFFER_PAGE:
            direction = DMA_BIDIRECTIONAL if nic.xdp else DMA_FROM_DEVICE
            named = int(nic.k.era[0].pool_direct == 2)  # netsec does so in v6.12
            pool = nic.create_page_pool(0, names_napi=named, size=DESC_NUM, dma_dir=direction, **self._pool(nic))
            nic.register_xdp(0, MEM_TYPE_PAGE_POOL, pool)

    @staticmethod
    def _pool(nic: Nic) -> dict[str, int]:
        """The pool maps; from v5.5 it syncs too, and has pages of any node."""
        nid = NONE if nic.k.era[0].netsec_pool_node != 0 else int(nic.k.cpu[0].numa_node)
        if nic.k.era[0].netsec_pool_sync == 0:
            return {"flags": PP_FLAG_DMA_MAP, "nid": nid}
        if nic.k.era[0].pool_dma_sync == 0:
            raise UsageError("netsec_pool_sync=pool needs a pool that can sync: set pool_dma_sync=yes too")
        flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV
        return {"flags": flags, "nid": nid, "max_len": RX_BUF_SIZE, "offset": RXBUF_HEADROOM}

    def stop(self, nic: Nic) -> None:
        tx.free_frames(nic.k, nic.cpu(0), nic.txq(0), 0)
        rx.close_ring(nic.k, nic.cpu(0), nic.rxq(0), 0)
        if nic.k.era[0].netsec_rx == rx.BUFFER_PAGE:
            nic.unregister_xdp(0)
            page_pool_destroy(nic.k, nic.cpu(0), nic.k.rxq[nic.rxq(0)].pool)

    def breaches(self, nic: Nic) -> Iterator[tuple[str, str]]:
        """DR-07: the NIC owns what is between head and tail; DR-01: no page is in two descriptors."""
        ring, rows = nic.private(RING)[0], nic.private(DESC)
        done = (int(ring["hw"]) - int(ring["tail"])) % DESC_NUM
        for index, row in enumerate(rows):
            owned = (index - int(ring["tail"])) % DESC_NUM >= done
            waiting = nic.k.rxq[nic.rxq(0)].cq_tail - nic.k.rxq[nic.rxq(0)].cq_head
            if bool(row["own"]) != (owned if waiting < DESC_NUM else False):
                yield "DR-07", f"descriptor {index}: OWN is {row['own']}, head {ring['hw']}, tail {ring['tail']}"
        if nic.k.era[0].netsec_rx == rx.BUFFER_PAGE and nic.page_parts == 1:
            pages = [int(row["where"]) // PAGE_SIZE for row in rows if row["used"]]
            for pfn in {pfn for pfn in pages if pages.count(pfn) > 1}:
                yield "DR-01", f"page {pfn} is in several descriptors"

    def pages_held(self, nic: Nic) -> Iterator[int]:
        if nic.k.era[0].netsec_rx == rx.BUFFER_SKB:
            return
        rows = nic.private(DESC)
        yield from {int(where) // PAGE_SIZE for where, used in zip(rows["where"], rows["used"], strict=True) if used}


DRIVER = Netsec()
"""The driver as netemu's plug-in loader finds it."""

__all__ = ["DRIVER", "Netsec"]
