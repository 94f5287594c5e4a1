"""What the master table of releases says, transcribed by hand: a value of each switch for v4.19 to v6.12."""

from __future__ import annotations

_COLUMNS = "v4.19 v5.0 v5.4 v5.10 v5.15 v6.1 v6.6 v6.12"

# One row per switch; = repeats the release before.
_ROWS = """
page_frag_free        buddy            pcp             =                =            =          =            =     =
pcp_orders            order0           =               =                =            costly     =            =     =
pcp_high              batch            =               =                =            watermark  =            =     auto
pcp_free              batch            =               =                =            factor     scale        =     count
pcp_refill            batch            =               =                =            =          =            =     scaled
pcp_drain             before_lock      =               =                =            =          under_lock   =     =
pcp_empty             fails            =               =                =            =          buddy        =     =
page_frag_bias        size             max             =                =            =          =            =     =
page_frag_pfmemalloc  reused           =               =                dropped      =          =            =     =
page_frag_oversize    corrupts         =               =                refused      corrupts   refused      =     =
page_signature        none             =               =                =            unchecked  =            =     checked
pool_alloc            ring_first       =               cache_in_softirq cache_first  =          =            =     =
pool_refill_lock      consumer_lock    =               =                =            =          none         =     =
pool_slow             single           =               =                =            bulk_local bulk_nid     =     =
pool_accounting       no               =               yes              =            =          =            =     =
pool_pfmemalloc       recycled         =               =                refused      =          =            =     =
pool_direct           serving_softirq  =               =                =            =          in_softirq   =     trusted
pool_frag             none             =               =                =            frag_count =            =     ref_count
pool_skb_recycle      no               =               =                =            yes        =            =     =
pool_skb_direct       never            =               =                =            =          =            napi  =
pool_shutdown         at_once          =               patient          =            =          patient_sane =     =
pool_users            uncounted        =               counted          =            =          =            =     =
pool_scrub            every_round      =               =                =            first_round =           =     =
pool_ring_limit       refused          =               =                =            =          clamped      refused clamped
pool_dma_map          syncs            =               skips_sync       =            =          =            =     =
pool_dma_sync         no               =               =                yes          =          =            =     =
pool_dma_dir_check    always           =               =                when_mapping =          =            =     =
skb_napi_cache        free_only        =               =                =            reuse      =            =     =
skb_small_head        page_frag        =               =                =            kmalloc    slices       =     =
mlx5_rx_cache         fifo256          =               =                =            =          =            none  =
mlx5_page_drop        put_page         =               release_page     =            =          =            =     =
mlx5_skb_build        build_skb        =               =                =            =          =            napi_build_skb =
netsec_rx             netdev_alloc_skb napi_alloc_frag page_pool        =            =          =            =     =
netsec_pool_sync      driver           =               =                pool         =          =            =     =
netsec_skb_recycle    release_page     =               =                =            =          mark         =     =
"""


def _row(line: str) -> tuple[str, list[str]]:
    name, *cells = line.split()
    values: list[str] = []
    for cell in cells:
        values.append(values[-1] if cell == "=" else cell)
    return name, values


COLUMNS = _COLUMNS.split()
TABLE: dict[str, list[str]] = dict(_row(line) for line in _ROWS.strip().splitlines())
