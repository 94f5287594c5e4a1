"""The pytest plug-in, as its users see it: outcomes and failure texts."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


def test_a_clean_test_passes_with_every_fixture(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_recycling(machine, page_pool, skb_factory):
            skb = machine.napi_build_skb(page_pool.alloc_pages()).mark_for_recycle()
            machine.napi_consume_skb(skb)
            assert page_pool.statistics().recycle_ring == 1
            machine.consume_skb(skb_factory(200, frags=(1000, 500)))

        def test_device(netdev):
            assert netdev.pages_held()
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_leak_fails_the_test_and_says_who_holds_the_page(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_forgets(page_pool):
            kept = page_pool.alloc_pages()
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "netemu: the test leaves its machine in disorder",
            "PP-13 (error): page_pool leak: page * of page_pool 0 is never returned (1 out)*",
            "*share of the pool's page, held by the caller, taken by page_pool_alloc_pages at *.py:2 (CPU 0)",
            "  history, oldest first:",
            "*handed out by page_pool 0  (CPU 0, softirq, * ns)",
            "  rule: *",
            "  usual cause: *",
        ]
    )


def test_a_double_free_fails_where_it_happens(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_frees_twice(machine):
            skb = machine.alloc_skb(100)
            machine.kfree_skb(skb)
            machine.kfree_skb(skb)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*SK-01 (fatal): kfree_skb of sk_buff 0, which has been freed", "*kfree_skb  at *.py:3"]
    )


def test_a_packet_that_is_never_freed_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_forgets(machine):
            machine.alloc_skb(100)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["SK-BOOKS (error): sk_buff 0 is never freed", "*__alloc_skb  at *.py:2"])


def test_a_leak_that_is_allowed_does_not_fail_but_a_broken_rule_does(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.netemu_allow_leak("the page is inspected by hand")
        def test_leak(page_pool):
            page_pool.alloc_pages()

        @pytest.mark.netemu_allow_leak("the page is inspected by hand")
        def test_broken(page_pool):
            page = page_pool.alloc_pages()
            page_pool.put_page(page)
            page_pool.put_page(page)
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*PP-03 (fatal): page * is put into page_pool 0, but is there already"])


def test_a_failed_test_is_not_asked_about_its_leaks(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_fails(page_pool):
            page_pool.alloc_pages()
            assert False, "the real reason"
        """,
    )
    result.assert_outcomes(failed=1)
    assert "the real reason" in result.stdout.str()
    assert "PP-13" not in result.stdout.str()


def test_what_a_fixture_gives_back_later_is_no_leak(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def page(page_pool):
            page = page_pool.alloc_pages()
            yield page
            page_pool.put_page(page)

        def test_uses_it(page):
            assert page.refcount == 1
        """,
    )
    result.assert_outcomes(passed=1)


def test_eras_and_drivers_are_parametrized_in_one_line(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.netemu_eras("v4.19", "v6.1")
        @pytest.mark.netemu_drivers("netsec", "mlx5")
        def test_device(netdev, machine, netemu_era, netemu_driver):
            assert machine.era == netemu_era
            assert netdev.driver.name == netemu_driver

        @pytest.mark.netemu_eras("all")
        def test_eras(netemu_era):
            pass
        """,
        "-v",
    )
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["*test_device*v4.19*", "*test_eras?v6.12?*"])


def test_marks_and_options_set_the_machine_up(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.netemu_era("v5.15")
        @pytest.mark.netemu_cpus(4)
        @pytest.mark.netemu(nodes=2, switches={"skb_coalesce": "any"})
        @pytest.mark.netemu_driver("netsec", mtu=1000)
        @pytest.mark.netemu_pool(order=2)
        def test_marks(machine, netdev, page_pool):
            assert (machine.era, machine.cpus, machine.nodes) == ("v5.15", 4, 2)
            assert machine.switches["skb_coalesce"] == "any"
            assert netdev.driver.name == "netsec"
            assert page_pool.page_size == 16384

        def test_options(machine):
            assert (machine.era, machine.seed, machine.check_level) == ("v5.4", 7, "quiesce")
        """,
        "--netemu-era=v5.4",
        "--netemu-seed=7",
        "--netemu-check=quiesce",
    )
    result.assert_outcomes(passed=2)


def test_marks_are_registered(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.netemu_eras(*eras)*", "@pytest.mark.netemu_allow_leak(reason)*"])


def test_statistics_that_differ_are_shown_by_counter(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_compare(page_pool):
            before = page_pool.statistics()
            page_pool.put_page(page_pool.alloc_pages())
            assert page_pool.statistics() == before
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*page_pool statistics differ:", "*alloc_slow * 1 * != * 0 *(-1)", "*recycle_ring * 1 * != * 0 *(-1)"]
    )
    assert "recycle_cached" not in result.stdout.str()


def test_assertion_helpers_say_what_happened(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from netemu.testing.asserts import assert_lock_holds, assert_no_allocator_traffic, assert_recycled

        def test_good(machine, page_pool):
            page = page_pool.alloc_pages()
            with assert_recycled(page_pool), assert_no_allocator_traffic(machine):
                with assert_lock_holds(machine, at_most=0):
                    page_pool.put_page(page)

        def test_not_recycled(page_pool):
            page = page_pool.alloc_pages().get()
            with assert_recycled(page_pool):
                page_pool.put_page(page)

        def test_traffic(machine, page_pool):
            with assert_no_allocator_traffic(machine):
                page_pool.put_page(page_pool.alloc_pages())

        def test_holds(machine, page_pool):
            with assert_lock_holds(machine, at_most=0):
                page_pool.put_page(page_pool.alloc_pages())
        """,
    )
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: 1 of 1 pages were not recycled:",
            "*recycle_released_refcnt  +1",
            "*AssertionError: 64 pages were allocated and 0 freed; none should have been",
            "*AssertionError: zone->lock was taken * times; at most 0 were expected",
        ]
    )


def test_unused_it_imports_nothing_that_takes_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    program = (
        "import sys, pytest\n"
        "pytest.main(['-q', '-p', 'no:cacheprovider'])\n"
        "assert 'netemu.testing.pytest_plugin' in sys.modules\n"
        "print([name for name in ('numba', 'numpy', 'netemu.machine', 'netemu.kernel') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=pytester.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
