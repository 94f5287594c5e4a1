"""Pasted output of the kernel's benchmark modules becomes a cost profile, and every line of it is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu import cli
from netemu.profiles.benchmarks import BenchmarkError, calibrate, read_measurements
from netemu.profiles.platforms import load_platform

XEON = load_platform("xeon-e5-1650v4")
INTERVALS = " (step:0) - (measurement period time:0.1 sec time_interval:{0}) - (invoke count:1 tsc_interval:{1})"


def line(name: str, cycles: int, ns: str, *, ghz: float | None = 4.0) -> str:
    tail = INTERVALS.format(1000, round(1000 * ghz)) if ghz else ""
    return f"[  254.916197] time_bench: Type:{name} Per elem: {cycles} cycles(tsc) {ns} ns{tail}"


def made(*lines: str, ghz: float | None = None) -> dict[str, float]:
    return {name: price.ns for name, price in calibrate("\n".join(lines), XEON, file="b.txt", ghz=ghz).prices.items()}


def test_the_parts_of_a_measurement_add_up_to_it() -> None:
    prices = made(
        line("tasklet_page_pool01_fast_path", 20, "5.000"),
        line("tasklet_page_pool02_ptr_ring", 60, "15.000"),
        " alloc_pages order:0(4096B/x1) 240 cycles per-4096B 240 cycles",
        " alloc_pages order:1(8192B/x2) 400 cycles per-4096B 200 cycles",
    )
    pool = ("page_pool_alloc_pages", "__page_pool_put_page", "page_pool_put_defragged_page")
    assert sum(prices[name] for name in pool) == pytest.approx(5, abs=0.02)
    ring = ("ptr_ring_lock", "ptr_ring_unlock", "ptr_ring_slot", "ptr_ring_slot")
    assert sum(prices[name] for name in ring) == pytest.approx(10, abs=0.03)
    pages = ("__alloc_pages", "get_page_from_freelist", "rmqueue_pcplist", "__free_pages", "free_unref_page")
    assert sum(prices[name] for name in pages) == pytest.approx(60, abs=0.03)
    past = ("__alloc_pages", "get_page_from_freelist", "__free_pages", "__free_pages_ok", "free_one_page")
    past += ("buddy_page", "buddy_page", "_raw_spin_lock", "_raw_spin_lock", "tail_page", "tail_page")
    assert sum(prices[name] for name in past) == pytest.approx(100, rel=0.01)


def test_what_the_base_machine_measures_gives_back_the_base_profile() -> None:
    prices = made(line("tasklet_page_pool01_fast_path", 19, "5.400", ghz=3.6), line("atomic_inc", 17, "4.800", ghz=3.6))
    assert prices == pytest.approx({name: cost.ns for name, cost in XEON.costs.items()}, abs=0.011)


def test_what_is_not_measured_follows_by_the_ratio_of_what_is() -> None:
    result = calibrate(line("atomic_inc", 38, "9.600"), XEON, file="b.txt")
    assert result.prices["put_page"].origin == "b.txt, line 1: atomic_inc 9.6 ns"
    derived = result.prices["kmem_cache_alloc"]
    assert (derived.ns, derived.measured) == (31.6, False)
    assert derived.origin == "xeon-e5-1650v4 15.8 ns x 2"
    assert result.call.ns == 2.0


def test_the_clock_is_read_off_the_intervals_unless_it_is_a_timer() -> None:
    assert read_measurements(line("atomic_inc", 21, "5.260", ghz=4.0))[2] == 4.0
    assert read_measurements(line("atomic_inc", 0, "5.771", ghz=0.1))[2] is None


def test_cycles_without_a_clock_are_not_used() -> None:
    pages = " alloc_pages order:0(4096B/x1) 272 cycles per-4096B 272 cycles"
    with pytest.raises(BenchmarkError, match="the clock is not known"):
        made(pages)
    assert made(pages, ghz=4.0)["__alloc_pages"] == pytest.approx(68 * 11.4 / 56, abs=0.01)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (line("for_loop", 1, "0.250"), "line 2: for_loop is not needed for a profile"),
        (line("atomic_inc", 1, "0.250"), "line 2: atomic_inc was measured before, on line 1"),
        (line("tasklet_page_pool02_ptr_ring", 1, "0.250"), "line 2: tasklet_page_pool02_ptr_ring is not above"),
        ("time_bench: Type:x Per elem: oops", "line 2 is not understood: time_bench: Type:x Per elem: oops"),
        (" Parallel-CPUs:2 page order:0(4096B/x1) ave 283 cycles per-4096B 283 cycles", "line 2: Parallel-CPUs:2"),
    ],
)
def test_a_line_that_is_not_used_is_named_with_the_reason(text: str, note: str) -> None:
    result = calibrate(f"{line('atomic_inc', 20, '5.000')}\n{text}", XEON, file="b.txt")
    assert len(result.unused) == 1
    assert result.unused[0].startswith(note)


def test_the_slow_path_of_a_pool_prices_pages_that_were_not_measured_themselves() -> None:
    slow = line("tasklet_page_pool03_slow", 240, "60.000")
    assert made(slow)["__alloc_pages"] != pytest.approx(XEON.costs["__alloc_pages"].ns, rel=0.01)
    pages = " alloc_pages order:0(4096B/x1) 240 cycles per-4096B 240 cycles"
    result = calibrate(f"{pages}\n{slow}", XEON, file="b.txt")
    assert result.unused == ["line 2: tasklet_page_pool03_slow says what other lines have said already"]


# -- the command -------------------------------------------------------------------------------------------------------


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.COMMANDS, ["calibrate", *arguments], input=text, prog_name="netemu")


def test_the_profile_prices_a_machine(tmp_path: Path) -> None:
    source, target = tmp_path / "bench.txt", tmp_path / "mine.toml"
    source.write_text(line("lock", 45, "11.250") + "\n")
    result = run(str(source), "--out", str(target), "--description", 'a "quoted" machine')
    assert result.exit_code == 0
    assert result.stdout == ""
    platform = load_platform(str(target))
    assert platform.description == 'a "quoted" machine'
    assert platform.ghz == 4.0
    assert platform.costs["_raw_spin_lock"].origin == "bench.txt, line 1: lock 11.25 ns"
    assert platform.costs.keys() == XEON.costs.keys()


def test_standard_input_goes_to_standard_output() -> None:
    text = line("lock", 45, "11.250") + "\n" + line("for_loop", 1, "0.250")
    result = run("-", text=text)
    assert result.exit_code == 0
    assert '_raw_spin_lock = { ns = 11.25, source = "standard input, line 1: lock 11.25 ns" }' in result.stdout
    assert "not used: line 2: for_loop" in result.stderr
    assert json.loads(run("-", "--json", text=text).stdout)["costs"]["_raw_spin_lock"]["measured"] is True


def test_nothing_to_use_is_one_line_and_status_1() -> None:
    result = run("-", text="hello\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("netemu: error: standard input: nothing to make a profile of")
    assert len(result.stderr.splitlines()) == 1
