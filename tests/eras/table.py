"""What the master table of releases says, transcribed by hand: each switch's value in v4.19 and where it changes."""

from __future__ import annotations

COLUMNS = ["v4.19", "v5.0", "v5.4", "v5.10", "v5.15", "v6.1", "v6.6", "v6.12"]

_ROWS = """
page_frag_free        buddy, v5.0 pcp
pcp_orders            order0, v5.15 costly
pcp_high              batch, v5.15 watermark, v6.12 auto
pcp_free              batch, v5.15 factor, v6.1 scale, v6.12 count
pcp_refill            batch, v6.12 scaled
pcp_drain             before_lock, v6.1 under_lock
pcp_empty             fails, v6.1 buddy
page_frag_bias        size, v5.0 max
page_frag_pfmemalloc  reused, v5.10 dropped
page_frag_oversize    corrupts, v5.10 refused, v5.15 corrupts, v6.1 refused
free_pages_tails      leaked, v5.10 freed
page_signature        none, v5.15 unchecked, v6.12 checked
pool_alloc            ring_first, v5.4 cache_in_softirq, v5.10 cache_first
pool_refill_lock      consumer_lock, v6.1 none
pool_slow             single, v5.15 bulk_local, v6.1 bulk_nid
pool_accounting       no, v5.4 yes
pool_pfmemalloc       recycled, v5.10 refused
pool_direct           serving_softirq, v6.1 in_softirq, v6.12 trusted
pool_frag             none, v5.15 frag_count, v6.12 ref_count
pool_skb_recycle      no, v5.15 yes
pool_skb_direct       never, v6.6 napi
pool_unlink           never, v6.6 at_destroy
pool_shutdown         at_once, v5.4 patient, v6.1 patient_sane
pool_users            uncounted, v5.4 counted
pool_scrub            every_round, v5.15 first_round
pool_ring_limit       refused, v6.1 clamped, v6.6 refused, v6.12 clamped
pool_dma_map          syncs, v5.4 skips_sync
pool_dma_sync         no, v5.10 yes
pool_dma_dir_check    always, v5.10 when_mapping
skb_napi_cache        free_only, v5.15 reuse
skb_small_head        page_frag, v5.15 kmalloc, v6.1 slices
netdev_frag_cache     irqs_off, v5.4 by_context
skb_coalesce          any, v5.15 equal, v6.1 not_cloned, v6.12 pool_refs
skb_gro_mark          any, v6.1 equal
skb_defer             never, v6.1 alloc_cpu
xdp_frame_sz          unknown, v5.10 known
xdp_frame_struct      bytes32, v6.1 bytes40
xdp_multi_buffer      no, v6.1 cpumap_only, v6.6 devices
xdp_xmit_failure      driver_frees, v5.15 core_frees
xdp_return            single, v5.15 bulk
xdp_mem_lookup        id_or_put, v5.4 id, v6.1 page
cpumap_pages          kept, v5.4 released, v6.6 recycled
cpumap_skbs           single, v5.4 bulk
xdp_redirect_dev      at_once, v5.10 bulk
xdp_redirect_flags    refused, v5.4 fallback
mlx5_rx_cache         fifo256, v6.6 none
mlx5_page_drop        put_page, v5.4 release_page
mlx5_refill           bulks, v6.1 partial, v6.6 units
mlx5_jumbo_skb        copied_head, v6.1 in_place
mlx5_skb_build        build_skb, v6.6 napi_build_skb
netsec_rx             netdev_alloc_skb, v5.0 napi_alloc_frag, v5.4 page_pool
netsec_poll           shared, v5.0 repeats, v5.4 one_pass
netsec_pool_sync      driver, v5.10 pool
netsec_pool_node      cpu0, v5.10 any
netsec_xdp_bytes      uncounted, v5.10 counted
netsec_skb_recycle    release_page, v6.1 mark
"""


def _row(line: str) -> tuple[str, list[str]]:
    """A switch and its value in each era."""
    name, changes = line.split(maxsplit=1)
    first, *later = changes.split(", ")
    values = dict.fromkeys(COLUMNS, first)
    for change in later:
        era, value = change.split()
        values |= dict.fromkeys(COLUMNS[COLUMNS.index(era) :], value)
    return name, list(values.values())


TABLE = dict(_row(line) for line in _ROWS.strip().splitlines())
