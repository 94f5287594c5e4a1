"""How mlx5 receives: shared pages, copied heads, posted bulks and whole work queue entries."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.drivers.mlx5.layout import MPWQE, RQ
from netemu.mm.layout import NONE, PAGE_SIZE
from netemu.net import dma
from netemu.net.device_layout import NO_DESCRIPTOR, OVERSIZE, RECEIVED
from tests.drivers.stepping import Stepper, refcounts

LEGACY = {"rq": "legacy"}
STRIDING = {"rq": "striding"}
KINDS = [LEGACY, STRIDING]
BY_KIND = pytest.mark.parametrize("options", KINDS, ids=["legacy", "striding"])


def a_frame(length: int) -> bytes:
    return bytes((7 * i + i // 256) & 0xFF for i in range(length))


def queue(nic: Stepper) -> Any:
    """The record of the receive queue."""
    return RQ(nic.k, 0, 0)


@BY_KIND
def test_two_frames_share_a_page_that_they_and_the_driver_hold(options: dict[str, str]) -> None:
    nic = Stepper("mlx5", "v5.0", options=options)
    first, second = nic.receive(60), nic.receive(60)
    page = nic.head_page(first)
    assert nic.head_page(second) == page
    assert refcounts(nic, [page]) == [3]
    nic.consume()
    assert refcounts(nic, [page]) == [1]
    third = nic.receive(60)
    assert nic.head_page(third) != page
    assert nic.leaks() == []


@pytest.mark.parametrize(("length", "truesize"), [(60, 704), (1514, 2176)])
@BY_KIND
def test_a_linear_skb_accounts_for_headroom_frame_shared_info_and_struct(
    options: dict[str, str], length: int, truesize: int
) -> None:
    skb = Stepper("mlx5", "v5.0", options=options).receive(length)
    assert (skb.len, skb.truesize) == (length, truesize)


def test_the_legacy_queue_posts_bulks_of_eight() -> None:
    nic = Stepper("mlx5", "v5.0", options=LEGACY)
    for received in range(1, 25):
        nic.receive(60)
        posted = queue(nic).pi
        nic.refill()
        now = queue(nic).pi
        assert now - posted == (8 if received % 8 == 0 else 0)


@pytest.mark.parametrize(
    ("era", "missing", "posted"),
    [
        ("v5.15", 7, 0),
        ("v5.15", 15, 8),
        ("v6.1", 7, 0),
        ("v6.1", 8, 8),
        ("v6.1", 13, 12),  # the last would share its page with a frame still posted
        ("v6.1", 15, 14),
        ("v6.6", 255, 0),
        ("v6.6", 256, 256),
        ("v6.6", 301, 300),
    ],
)
def test_a_refill_of_the_legacy_queue_posts_what_is_missing(era: str, missing: int, posted: int) -> None:
    nic = Stepper("mlx5", era, options=LEGACY)
    for _ in range(missing):
        nic.receive(60)
    before = queue(nic).pi
    assert nic.refill() == 0
    assert queue(nic).pi - before == posted
    assert nic.leaks() == []


@pytest.mark.parametrize(("era", "posted"), [("v5.15", 0), ("v6.1", 6), ("v6.6", 0)])
def test_what_a_refill_has_got_when_memory_runs_out_is_posted_in_v6_1(era: str, posted: int) -> None:
    """Three pages are to be had, two frames each; v6.6 undoes all of its first unit."""
    nic = Stepper("mlx5", era, options=LEGACY)
    r = queue(nic)
    missing = max(r.bulk, 8)
    for _ in range(missing):
        nic.arrive(60)
        nic.poll()  # held, so that the page is not to be had again
    taken = nic.exhaust_memory()
    nic.free(taken[:3])
    nic.pool.cache_count, kept = 0, nic.pool.cache_count
    before, errors = r.pi, r.buff_alloc_err
    assert nic.refill() == -1
    assert (r.pi - before, r.buff_alloc_err - errors) == (posted, 1)
    nic.pool.cache_count += kept
    nic.free(taken[3:])
    assert nic.refill() == 0
    assert r.wqes - (r.pi - r.ci) < r.bulk
    assert nic.leaks() == []


def test_a_page_that_a_posted_entry_uses_outlives_an_incomplete_one() -> None:
    """Three buffers of 2 KiB, 2 KiB and 1 byte: the second of two entries begins on the page that the first ends on."""
    nic = Stepper("mlx5", "v6.1", mtu=3691, options=LEGACY, contents=True, memory_mb=32)
    r = queue(nic)
    for _ in range(16):
        nic.receive(3700)
    taken = nic.exhaust_memory()
    nic.free(taken[:2])
    nic.pool.cache_count, kept = 0, nic.pool.cache_count
    before = r.pi
    assert nic.refill() == -1
    assert r.pi - before == 1
    assert nic.refill() == -1
    assert r.pi - before == 1
    nic.pool.cache_count += kept
    nic.free(taken[2:])
    assert nic.refill() == 0
    assert r.pi - before == 16
    nic.consume()
    frame = a_frame(3700)
    assert [nic.frame_of(nic.receive(frame)) for _ in range(r.wqes)] == [frame] * r.wqes
    assert nic.leaks() == []


@pytest.mark.parametrize(
    ("length", "sizes"),
    [
        (60, []),
        (256, []),
        (257, [1]),
        (2048, [1792]),
        (2049, [1792, 1]),
        (9018, [1792, 2048, 2048, 2874]),
    ],
)
def test_a_jumbo_frame_in_a_legacy_queue_has_a_copied_head_and_its_fragments(length: int, sizes: list[int]) -> None:
    nic = Stepper("mlx5", "v5.0", mtu=9000, options=LEGACY, memory_mb=32, contents=True)
    frame = a_frame(length)
    skb = nic.receive(frame)
    frags = nic.frags(skb)
    assert [size for _page, _offset, size in frags] == sizes
    assert nic.k.skb[skb.number].data_len == sum(sizes)
    assert skb.len - sum(sizes) == min(256, length)
    if frags:
        assert frags[0][1] == 256
    assert nic.frame_of(skb) == frame
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ["v6.1", "v6.6", "v6.12"])
@pytest.mark.parametrize(
    ("mtu", "length", "sizes", "truesize"),
    [
        (9000, 60, [1664, 2048, 2048, 3262], 2048),
        (9000, 1664, [1664, 2048, 2048, 3262], 2048),
        (9000, 1665, [1664, 2048, 2048, 3262], 4096),
        (9000, 9018, [1664, 2048, 2048, 3262], 10240),
        (9978, 9996, [3712, 4096, 2192], 12288),
        (3691, 3709, [1664, 2048, 1], 4096),
    ],
)
def test_the_skb_of_a_jumbo_frame_lies_over_its_first_buffer(
    era: str, mtu: int, length: int, sizes: list[int], truesize: int
) -> None:
    """6.1.192, mlx5e_skb_from_cqe_nonlinear: what a frame uses of its buffers counts with whole strides."""
    nic = Stepper("mlx5", era, mtu=mtu, options=LEGACY, memory_mb=64, contents=True)
    for number in range(3):
        frame = a_frame(length - number)
        skb = nic.receive(frame)
        used = [min(size, max(length - number - sum(sizes[:i]), 0)) for i, size in enumerate(sizes)]
        row = nic.k.skb[skb.number]
        assert row.len - row.data_len == used[0]
        assert [size for _page, _offset, size in nic.frags(skb)] == [size for size in used[1:] if size]
        assert nic.frame_of(skb) == frame
        if number == 0:
            assert row.truesize == truesize + 256
    assert nic.leaks() == []


@pytest.mark.parametrize("era", ["v5.15", "v6.1"])
def test_a_page_per_packet_changes_nothing_where_the_head_of_a_jumbo_frame_is_copied(era: str) -> None:
    options = LEGACY | {"page_per_packet": "yes"}
    nic = Stepper("mlx5", era, mtu=9000, options=options, memory_mb=32, contents=True)
    frame = a_frame(9000)
    assert nic.frame_of(nic.receive(frame)) == frame
    assert nic.leaks() == []


def test_fragments_of_one_page_are_counted_for_each_holder() -> None:
    nic = Stepper("mlx5", "v5.0", mtu=9000, options=LEGACY, memory_mb=32)
    skb = nic.receive(9018)
    pages = [page for page, _offset, _size in nic.frags(skb)]
    assert pages[0] == pages[1]
    assert len(set(pages)) == 3
    # the driver keeps one reference of each in its cache, every fragment has its own
    assert refcounts(nic, [pages[0], pages[2], pages[3]]) == [3, 2, 2]


@pytest.mark.parametrize(("xdp", "in_one_wqe"), [(None, 4096 // 141), ("pass", 64 // 3)], ids=["none", "xdp"])
def test_a_frame_that_does_not_fit_into_the_last_posted_wqe_is_not_taken(xdp: str | None, in_one_wqe: int) -> None:
    """Not even partly: what fits into the rest of that WQE still is, once a WQE follows so is every other."""
    nic = Stepper("mlx5", "v6.6", mtu=9000, options=STRIDING | {"rx_ring": "128"}, memory_mb=32, xdp=xdp)
    fit = in_one_wqe * queue(nic).wqes
    assert [nic.arrive(9000) for _ in range(fit + 1)] == [RECEIVED] * fit + [NO_DESCRIPTOR]
    assert nic.arrive(60) == RECEIVED
    assert nic.arrive(9000) == NO_DESCRIPTOR
    while nic.k.rxq[nic.rxq].cq_head != nic.k.rxq[nic.rxq].cq_tail:
        nic.poll()
    nic.consume()
    nic.refill()
    assert nic.receive(9000).len == 9000
    assert nic.leaks() == []


@pytest.mark.parametrize("length", [60, 256, 257, 4000, 4352, 5000, 9018])
def test_a_jumbo_frame_in_a_striding_queue_is_cut_at_page_ends(length: int) -> None:
    nic = Stepper("mlx5", "v6.1", mtu=9000, options=STRIDING, memory_mb=64, contents=True)
    nic.receive(a_frame(1000))  # so that the frame does not start with the page
    frame = a_frame(length)
    skb = nic.receive(frame)
    frags = nic.frags(skb)
    assert skb.len == length
    assert sum(size for _page, _offset, size in frags) == max(length - 256, 0)
    assert all(offset + size <= PAGE_SIZE for _page, offset, size in frags)
    assert all(offset + size == PAGE_SIZE for _page, offset, size in frags[:-1])
    assert nic.frame_of(skb) == frame
    assert nic.leaks() == []


def test_a_copied_head_may_begin_on_one_page_and_end_on_the_next() -> None:
    nic = Stepper("mlx5", "v6.1", mtu=9000, options=STRIDING, memory_mb=64, contents=True)
    nic.receive(PAGE_SIZE - 128)
    frame = a_frame(300)
    skb = nic.receive(frame)
    assert nic.frags(skb)[0][1:] == (128, 44)
    assert nic.frame_of(skb) == frame


def test_a_work_queue_entry_is_released_when_all_its_strides_are_used() -> None:
    nic = Stepper("mlx5", "v5.0", options=STRIDING)
    for _ in range(127):
        nic.receive(60)
    nic.consume()
    nic.refill()
    first = MPWQE(nic.k, 0, 0)
    r = queue(nic)
    assert (first.consumed, r.ci, r.pi, r.cache_tail) == (127, 0, 8, 0)
    page = nic.head_page(nic.receive(60))
    # 64 pages went to the cache; the last one is also held by the last two packets' skbs that are still there
    assert (r.ci, r.pi, r.cache_tail) == (1, 8, 64)
    assert refcounts(nic, [page]) == [2]
    nic.refill()
    assert (r.pi, r.cache_reuse, first.consumed) == (9, 63, 0)
    assert nic.leaks() == []


def test_a_frame_that_does_not_fit_leaves_a_filler_behind() -> None:
    nic = Stepper("mlx5", "v5.0", mtu=9000, options=STRIDING, memory_mb=64)
    strides = -(-9018 // 64)
    whole, rest = divmod(4096, strides)
    for _ in range(whole):
        nic.receive(9018)
    r = queue(nic)
    assert (r.ci, r.mpwqe_filler_cqes) == (0, 0)
    nic.receive(9018)
    assert (r.ci, r.mpwqe_filler_cqes, r.mpwqe_filler_strides) == (1, 1, rest)
    assert MPWQE(nic.k, 0, 1).consumed == strides


@BY_KIND
def test_a_queue_that_nobody_refills_takes_1024_frames(options: dict[str, str]) -> None:
    nic = Stepper("mlx5", options=options)
    assert [nic.arrive(60) for _ in range(1025)] == [RECEIVED] * 1024 + [NO_DESCRIPTOR]
    while nic.k.rxq[nic.rxq].cq_head != nic.k.rxq[nic.rxq].cq_tail:
        nic.poll()
    nic.refill()
    assert nic.arrive(60) == RECEIVED


@pytest.mark.parametrize(("options", "mtu"), [(LEGACY, 68), (LEGACY, 1500), (LEGACY, 9000), (STRIDING, 9000)])
def test_the_longest_frame_has_a_vlan_tag_and_one_more_byte_is_oversize(options: dict[str, str], mtu: int) -> None:
    nic = Stepper("mlx5", mtu=mtu, options=options, memory_mb=64)
    assert nic.arrive(mtu + 18) == RECEIVED
    assert nic.arrive(mtu + 19) == OVERSIZE


@pytest.mark.parametrize("era", ["v5.0", "v6.1", "v6.6"])
@pytest.mark.parametrize("xdp", [None, "pass"])
@pytest.mark.parametrize("mtu", [68, 1500])
def test_a_linear_striding_queue_takes_longer_frames_and_its_driver_drops_them(
    era: str, xdp: str | None, mtu: int
) -> None:
    """cqe_bcnt > hw_mtu, where the length is without and the MTU with the FCS (mlx5e_skb_from_cqe_mpwrq_linear)."""
    nic = Stepper("mlx5", era, mtu=mtu, options=STRIDING, xdp=xdp)
    assert nic.receive(mtu + 22).len == mtu + 22
    for length in (mtu + 23, 9000):
        assert nic.arrive(length) == RECEIVED
        nic.poll()
    assert len(nic.held()) == 1
    ethtool = nic.device.ethtool()
    assert (ethtool["rx_packets"], ethtool["rx_oversize_pkts_sw_drop"], ethtool["rx0_oversize_pkts_sw_drop"]) == (
        1,
        2,
        2,
    )
    assert nic.k.rxq[nic.rxq].oversize == 2
    r = queue(nic)
    strides = [(r.headroom + length + (1 << r.stride_log) - 1) >> r.stride_log for length in (mtu + 22, mtu + 23, 9000)]
    assert MPWQE(nic.k, 0, 0).consumed == sum(strides)
    assert nic.receive(60).len == 60
    assert nic.leaks() == []


@BY_KIND
@pytest.mark.parametrize("era", ["v4.19", "v6.1", "v6.6", "v6.12"])
def test_memory_that_runs_out_is_counted_and_nothing_is_lost(options: dict[str, str], era: str) -> None:
    nic = Stepper("mlx5", era, options=options)
    taken = nic.exhaust_memory()
    errors = nic.device.ethtool()["rx_buff_alloc_err"]
    for _ in range(1024):
        assert nic.arrive(60) == RECEIVED
        nic.poll()
    assert nic.refill() == -1
    assert nic.device.ethtool()["rx_buff_alloc_err"] > errors
    assert nic.arrive(60) == NO_DESCRIPTOR
    nic.free(taken)
    assert nic.refill() == 0
    assert nic.arrive(60) == RECEIVED
    assert nic.leaks() == []


def test_without_the_cache_pages_are_released_where_they_are_refilled() -> None:
    nic = Stepper("mlx5", "v6.6", options=LEGACY)
    for _ in range(1024):
        nic.receive(60)
    nic.consume()
    assert nic.pool.recycle_cached + nic.pool.recycle_ring == 0
    taken = nic.pool.hold_cnt
    nic.refill()
    assert nic.pool.recycle_cached == 512
    assert nic.pool.hold_cnt == taken


def test_without_the_cache_the_last_holder_returns_the_page() -> None:
    nic = Stepper("mlx5", "v6.6", options=LEGACY)
    pages = {nic.head_page(nic.receive(60)) for _ in range(1024)}
    assert len(pages) == 512
    assert set(refcounts(nic, sorted(pages))) == {1}
    nic.refill()  # the driver lets go, the skbs do not
    assert nic.pool.recycle_cached + nic.pool.recycle_ring == 0
    nic.consume()
    assert nic.pool.recycle_cached + nic.pool.recycle_ring == 512
    assert nic.leaks() == []


def test_a_small_head_of_a_nonlinear_skb_is_its_own_memory() -> None:
    nic = Stepper("mlx5", "v5.15", mtu=9000, options=LEGACY, memory_mb=32)
    assert nic.head_page(nic.receive(9018)) == NONE


@pytest.mark.parametrize(
    ("era", "options", "mtu", "length", "pieces"),
    [
        ("v5.0", LEGACY, 1500, 60, [128 + 320]),  # headroom and frame, and shared info
        ("v6.1", LEGACY, 1500, 1514, [1600 + 320]),
        ("v5.0", STRIDING, 1500, 60, [128 + 320]),
        ("v6.6", STRIDING, 1500, 1514, [1600 + 320]),
        ("v5.0", LEGACY, 9000, 61, [64]),  # a copied head, in whole words
        ("v5.0", LEGACY, 9000, 9000, [256, 1792, 2048, 2048, 2856]),
        ("v6.1", LEGACY, 9000, 60, [2048]),  # the whole first buffer
        ("v6.1", LEGACY, 9000, 9000, [2048, 2048, 2048, 3240]),
        ("v5.0", STRIDING, 9000, 9000, [256, 3840, 4096, 808]),
    ],
)
def test_a_received_frame_is_handed_to_the_cpu_with_what_surrounds_it(
    era: str, options: dict[str, str], mtu: int, length: int, pieces: list[int]
) -> None:
    """What dma_sync_single_range_for_cpu is asked for, in cache lines; they take time where DMA is not coherent."""
    nic = Stepper("mlx5", era, mtu=mtu, options=options, memory_mb=64)
    nic.k.cost[dma.CACHE_LINE] = a_lot = 1 << 40
    syncs, clock = nic.k.dma[0].cpu_syncs, nic.k.cpu[0].clock
    nic.receive(length)
    assert nic.k.dma[0].cpu_syncs - syncs == len(pieces)
    assert (nic.k.cpu[0].clock - clock) // a_lot == sum(-(-piece // 64) for piece in pieces)
