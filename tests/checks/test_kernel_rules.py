"""Rules about the kernel and its drivers themselves: one that is broken on purpose is reported, a sound one is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import netemu
from netemu import KernelBug, Machine
from netemu.drivers.mlx5.layout import CACHE, MPWQE, RQ
from netemu.drivers.mlx5.pages import mlx5e_rx_cache_get
from netemu.drivers.netsec import DRIVER
from netemu.drivers.netsec.layout import DESC
from netemu.engine.kernel import KernelFunction
from netemu.mm import page_alloc, page_frag, pcp
from netemu.mm.layout import PAGE_SIZE
from netemu.net import redirect, xdp
from netemu.net.plugin import Nic
from netemu.testing.strategies import udp_frame

Breaking = Callable[[Machine], object]


def machine(era: str = "v6.1") -> Machine:
    return Machine(era=era, memory_mb=16, skbs=1 << 10, check="every", collect=True)


def broken(m: Machine, function: Any, hook: Callable[..., Any]) -> None:
    """Let ``hook`` stand for a kernel function: a bug that this kernel does not have."""
    assert m.k.watch is not None
    assert isinstance(function, KernelFunction)
    inner = m.k.watch.around.get(function)
    m.k.watch.around[function] = (
        hook if inner is None else lambda body, k, *a: inner(lambda k, *b: hook(body, k, *b), k, *a)
    )


def found(m: Machine) -> list[str]:
    """Rules that were broken, after a last look."""
    with suppress(KernelBug):
        m.quiesce()
    return [report.id for report in m.reports]


# -- per-CPU lists, page fragment caches ------------------------------------------------------------------------------


def churn(m: Machine) -> None:
    """Frees beyond the high mark, and refills, of two orders."""
    for order in (0, 2):
        pages = [m.alloc_pages(order) for _ in range(500 >> order)]
        for page in pages:
            assert page is not None
            page.free_pages()


def list_that_never_shrinks(m: Machine) -> None:
    broken(m, pcp.free_pcppages_bulk, lambda body, k, cpu, zone, count, index: None)
    m.alloc_pages()
    m.k.pcp[0].high = 8
    churn(m)


def bulk_free_that_stops_early(m: Machine) -> None:
    broken(m, pcp.free_pcppages_bulk, lambda body, k, cpu, zone, count, index: body(k, cpu, zone, count // 2, index))
    m.k.pcp[0].high = 8
    churn(m)


def refill_of_all_that_is_wanted(m: Machine) -> None:
    broken(m, pcp.nr_pcp_alloc, lambda body, k, row, order: 1000)
    churn(m)


def cache_page_that_others_have(m: Machine) -> None:
    def refill(body: Any, k: Any, cpu: int, row: int) -> int:
        pfn: int = body(k, cpu, row)
        page_alloc.page_ref_add(k, cpu, pfn, 1)
        return pfn

    broken(m, page_frag.__page_frag_cache_refill, refill)
    m.page_frag_alloc(100)


def counter_that_is_skipped(m: Machine) -> None:
    pool = m.page_pool()
    pool.put_page(pool.alloc_pages())
    m.k.pool[pool.number].recycle_ring -= 1


def hand_out_that_is_counted_twice(m: Machine) -> None:
    pool = m.page_pool()
    pool.put_page(pool.alloc_pages())
    m.k.pool[pool.number].alloc_slow += 1


@pytest.mark.parametrize(
    ("breaking", "rule", "era"),
    [
        (list_that_never_shrinks, "PC-02", "v5.4"),
        (list_that_never_shrinks, "PC-04", "v6.1"),
        (bulk_free_that_stops_early, "PC-04", "v5.4"),
        (bulk_free_that_stops_early, "PC-02", "v5.4"),
        (refill_of_all_that_is_wanted, "PC-05", "v5.4"),
        (refill_of_all_that_is_wanted, "PC-05", "v6.12"),
        (cache_page_that_others_have, "PF-04", "v6.1"),
        (counter_that_is_skipped, "PP-15", "v6.1"),
        (counter_that_is_skipped, "PP-15", "v4.19"),
        (hand_out_that_is_counted_twice, "PP-15", "v6.1"),
    ],
)
def test_a_broken_kernel_is_reported(breaking: Breaking, rule: str, era: str) -> None:
    m = machine(era)
    breaking(m)
    assert rule in found(m)


@pytest.mark.parametrize("era", ["v4.19", "v5.4", "v5.15", "v6.1", "v6.12"])
def test_a_sound_one_is_not(era: str) -> None:
    m = machine(era)
    m.k.pcp[0].high = 8
    churn(m)
    fragments = [m.page_frag_alloc(1500) for _ in range(60)]
    for fragment in fragments:
        fragment.frag_free()
    pool = m.page_pool(ring_size=16)
    pages = [pool.alloc_pages() for _ in range(90)]
    pool.put_page_bulk(pages[:40])  # more than the ring has room for
    for page in pages[40:]:
        pool.put_page(page)
    if era in ("v5.15", "v6.1", "v6.12"):
        splitting = m.page_pool(flags=4 if era != "v6.12" else 0)
        for piece in [splitting.alloc_frag(1500) for _ in range(9)]:
            splitting.put_page(piece)
    assert found(m) == []


# -- devices ----------------------------------------------------------------------------------------------------------


def device(era: str, driver: str, **options: Any) -> tuple[Machine, Nic]:
    m = machine(era)
    return m, m.netdev(driver, **options).nic


def free_page_in_the_cache(k: Any, nic: Nic) -> None:
    nic.private(RQ)["cache_tail"][0] = 1
    nic.private(CACHE)["page"][0] = next(pfn for pfn in range(k.machine[0].pages) if k.pages[pfn].refcount == 0)


def cache_past_its_end(k: Any, nic: Nic) -> None:
    nic.private(RQ)["cache_head"][0] = 256


def more_strides_than_there_are(k: Any, nic: Nic) -> None:
    nic.private(MPWQE)["consumed"][0] = 1 << 20


def descriptor_taken_from_the_nic(k: Any, nic: Nic) -> None:
    nic.private(DESC)["own"][7] = 0


def page_in_two_descriptors(k: Any, nic: Nic) -> None:
    nic.private(DESC)["where"][7] = nic.private(DESC)["where"][8]


def frame_that_nobody_counts(k: Any, nic: Nic) -> None:
    k.wire[nic.dev].packets += 1


@pytest.mark.parametrize(
    ("breaking", "rule", "driver", "era"),
    [
        (free_page_in_the_cache, "DR-02", "mlx5", "v5.15"),
        (cache_past_its_end, "DR-03", "mlx5", "v5.15"),
        (more_strides_than_there_are, "DR-05", "mlx5", "v6.1"),
        (descriptor_taken_from_the_nic, "DR-07", "netsec", "v4.19"),
        (page_in_two_descriptors, "DR-01", "netsec", "v6.1"),
        (frame_that_nobody_counts, "BOOK-01", "netsec", "v6.1"),
    ],
)
def test_a_driver_in_disorder_is_reported(
    breaking: Callable[[Any, Nic], None], rule: str, driver: str, era: str
) -> None:
    m, nic = device(era, driver, options={"rq": "striding"} if rule == "DR-05" else None)
    assert found(m) == []
    breaking(m.k, nic)
    assert rule in found(m)


def test_a_cache_that_gives_away_a_busy_page_is_reported() -> None:
    def hasty(body: Any, k: Any, cpu: int, rxq: int) -> int:
        r = RQ(k, k.rxq[rxq].dev, 0)
        r.cache_reuse += 1
        r.cache_head = 1
        return CACHE(k, k.rxq[rxq].dev, 0).page

    m, nic = device("v5.15", "mlx5")
    broken(m, mlx5e_rx_cache_get, hasty)
    page = m.alloc_pages()
    assert page is not None
    page.get()
    nic.private(RQ)["cache_tail"][0] = 1
    nic.private(CACHE)["page"][0] = page.pfn
    with m.softirq():
        mlx5e_rx_cache_get(m.k, 0, nic.rxq(0))
    assert "DR-04" in [report.id for report in m.reports]


def test_a_device_that_keeps_its_pages_when_it_goes_down_is_reported() -> None:
    m = machine()
    netdev = m.netdev("netsec")
    kept = netdev.pages_held()
    netdev.stop()
    assert found(m) == []
    rows = netdev.nic.private(DESC)
    rows["used"][0], rows["where"][0] = 1, kept[0] * 4096
    m.k.dql[netdev.nic.txq(0)].num_queued += 60
    assert found(m).count("DR-06") == 2


def looked_at(m: Machine, nic: Nic, length: int) -> int:
    """The page of a packet of ``length`` bytes that the device's program is to look at."""
    pfn = next(iter(DRIVER.pages_held(nic)))
    xdp.xdp_prepare_buff(m.k, 0, nic.rxq(0), pfn * PAGE_SIZE, 256, length, PAGE_SIZE)
    return pfn


def test_a_program_is_given_and_leaves_a_packet_inside_its_buffer() -> None:
    m, nic = device("v6.1", "netsec", xdp="pass")
    looked_at(m, nic, 3520)
    xdp.bpf_prog_run_xdp(m.k, 0, nic.rxq(0), 0)
    assert found(m) == []
    looked_at(m, nic, 3521)
    xdp.bpf_prog_run_xdp(m.k, 0, nic.rxq(0), 0)
    assert set(found(m)) == {"XD-01"}


def test_a_page_that_others_use_is_not_redirected() -> None:
    m, nic = device("v6.1", "netsec", xdp="redirect")
    pfn = looked_at(m, nic, 100)
    page_alloc.get_page(m.k, 0, pfn, 1)
    redirect.xdp_do_redirect(m.k, 0, 0)  # to nowhere, but that is seen later
    assert "XD-03" in found(m)


@pytest.mark.parametrize("driver", ["netsec", "mlx5"])
@pytest.mark.parametrize("era", ["v5.4", "v6.6"])
def test_traffic_that_is_dropped_sent_back_and_cut_off_breaks_none(driver: str, era: str) -> None:
    frames = [udp_frame(n % 7, 1, 60 + 97 * n % 1400) for n in range(30)]
    small = {"rx_ring": "128"} if driver == "mlx5" else None
    ways: list[dict[str, Any]] = [{"xdp": "tx"}, {"xdp": "redirect"}, {"inject": ["down=20"]}]
    for way in ways:
        result = netemu.replay(frames, driver=driver, era=era, memory_mb=16, check="every", options=small, **way)
        assert result["leaks"] == [], way
