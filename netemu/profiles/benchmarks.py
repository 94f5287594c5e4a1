"""Cost profiles from the output of the kernel's benchmark modules.

Understood are the lines of time_bench (bench_page_pool_simple, time_bench_sample, slab_bulk_test and others) and of
page_bench01 and page_bench03; how each is turned into prices is in :data:`RULES`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from statistics import median

from ..errors import NetemuError
from .platforms import Platform

SLOWEST_CPU_GHZ = 0.4
"""A slower counter is a timer (as on ARM), and its ticks are not the CPU's cycles."""


class BenchmarkError(NetemuError):
    """The text holds nothing that a profile can be made of."""


_TIME_BENCH = re.compile(
    r"Type:(?P<name>\S.*?) Per elem: (?P<cycles>\d+) cycles\(tsc\) (?P<ns>\d+\.\d+) ns(?: \(step:(?P<step>-?\d+)\))?"
)
_INTERVALS = re.compile(r"time_interval:(?P<ns>\d+)\).*?tsc_interval:(?P<ticks>\d+)\)")
_PAGE_BENCH = re.compile(r"alloc_pages order:(?P<order>\d+)\(\d+B(?:/x\d+)?\) (?P<cycles>\d+) cycles")
_PARALLEL = re.compile(
    r"Parallel-CPUs:(?P<cpus>\d+) page order:(?P<order>\d+)\(\d+B(?:/x\d+)?\) ave (?P<cycles>\d+) cycles"
)
_LOOKS_LIKE_ONE = re.compile(r"Per elem:|alloc_pages order:|Parallel-CPUs:|cycles\(tsc\)")


@dataclass(frozen=True)
class Measurement:
    """One line of output: what it measured (``kind``), ns or cycles of one element, and where it stands."""

    kind: str
    name: str
    line: int
    ns: float | None
    cycles: float | None


@dataclass(frozen=True)
class Price:
    """One entry of a profile in the making."""

    ns: float
    measured: bool
    origin: str


@dataclass
class Calibration:
    """A profile made of measurements: prices by name, the machine's clock, and what was left aside."""

    base: str
    call: Price
    prices: dict[str, Price]
    ghz: float | None
    unused: list[str] = field(default_factory=list)

    def to_toml(self, description: str) -> str:
        """The profile as :func:`~netemu.profiles.platforms.load_platform` reads it."""
        lines = [
            f"# Made by netemu calibrate: measured entries name their line, others follow from {self.base} by the ratio"
            " stated.",
            "",
            f"description = {json.dumps(description)}",
            *([f"ghz = {self.ghz:g}"] if self.ghz is not None else []),
            f"call = {_entry(self.call)}",
            "",
            "[cost]",
            *(f"{name} = {_entry(price)}" for name, price in self.prices.items()),
        ]
        return "\n".join(lines) + "\n"


def _entry(price: Price) -> str:
    kind = "source" if price.measured else "derived"
    return f"{{ ns = {price.ns:g}, {kind} = {json.dumps(price.origin, ensure_ascii=False)} }}"


# -- reading -----------------------------------------------------------------------------------------------------------


def read_measurements(text: str) -> tuple[list[Measurement], list[str], float | None]:
    """Measurements in order, lines that look like some but are not understood, and the clock in GHz if it shows."""
    found: list[Measurement] = []
    unknown: list[str] = []
    clocks: list[float] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TIME_BENCH.search(line):
            ns = float(match["ns"])
            intervals = _INTERVALS.search(line)
            if intervals and int(intervals["ns"]):
                clocks.append(int(intervals["ticks"]) / int(intervals["ns"]))
            elif ns > 10:
                clocks.append(int(match["cycles"]) / ns)
            found.append(Measurement(_kind(match["name"], match["step"]), match["name"], number, ns, None))
        elif match := _PAGE_BENCH.search(line):
            order = match["order"]
            found.append(
                Measurement(f"pages {order}", f"alloc_pages order:{order}", number, None, float(match["cycles"]))
            )
        elif match := _PARALLEL.search(line):
            name = f"Parallel-CPUs:{match['cpus']} page order:{match['order']}"
            kind = f"pages {match['order']}" if match["cpus"] == "1" else "parallel pages"
            found.append(Measurement(kind, name, number, None, float(match["cycles"])))
        elif _LOOKS_LIKE_ONE.search(line):
            unknown.append(f"line {number} is not understood: {line.strip()}")
    clock = median(clocks) if clocks else None
    return found, unknown, clock if clock is None or clock >= SLOWEST_CPU_GHZ else None


def _kind(name: str, step: str | None) -> str:
    """What a line of time_bench measured, by the name that it prints; an empty text: something else."""
    for kind, pattern in _NAMES.items():
        if re.search(pattern, name):
            return f"{kind} {step}" if kind == "bulk structs" else kind
    return ""


_NAMES = {
    "loop": r"^for_loop$",
    "atomic": r"^atomic_inc$",
    "lock": r"^(spin_)?lock(_unlock)?$",
    "irq lock": r"^(spin_)?lock.*irqsave",
    "call": r"^func(t?ion|ion)_call_cost$|^funcion_call_cost$",
    "pointer call": r"^func_ptr_call_cost$",
    "pool fast": r"page_pool01",
    "pool ring": r"page_pool02",
    "pool slow": r"page_pool03",
    "structs": r"^kmem fastpath reuse$",
}


# -- prices ------------------------------------------------------------------------------------------------------------

PAGE_PAIR = ("__alloc_pages", "get_page_from_freelist", "rmqueue_pcplist", "__free_pages", "free_unref_page")
"""What allocating and freeing one page by the per-CPU list costs."""
POOL_PAIR = ("page_pool_alloc_pages", "__page_pool_put_page", "page_pool_put_defragged_page")
"""Taking a page out of a pool's cache, and putting it back there."""
RING = ("ptr_ring_lock", "ptr_ring_unlock", "ptr_ring_slot", "ptr_ring_slot")
"""What a return by the ring costs more: two slots, one written and one read."""
STRUCT_PAIR = ("kmem_cache_alloc", "kmem_cache_free")
BUDDY_PAIR = (
    "__alloc_pages",
    "get_page_from_freelist",
    "__free_pages",
    "_raw_spin_lock",
    "_raw_spin_lock",
    "__free_pages_ok",
    "free_one_page",
    "buddy_page",
    "buddy_page",
)
"""A block past the per-CPU lists, without its tail pages."""
ATOMICS = ("atomic_read_modify_write", "put_page")


@dataclass(frozen=True)
class Rule:
    """Turns the measurement of ``kind`` into prices: the measured ns, less ``known`` entries, split over ``parts``."""

    kind: str
    parts: tuple[str, ...]
    known: tuple[str, ...] = ()
    each: bool = False


RULES = (
    Rule("call", ("call",)),
    Rule("pointer call", ("empty_function_by_pointer",)),
    Rule("atomic", ATOMICS, each=True),
    Rule("lock", ("_raw_spin_lock",)),
    Rule("irq lock", ("_raw_spin_lock",)),
    Rule("pages 0", PAGE_PAIR),
    Rule("pool fast", POOL_PAIR),
    Rule("pool ring", RING, known=POOL_PAIR),
    Rule("pool slow", PAGE_PAIR[:3] + PAGE_PAIR[4:], known=(*POOL_PAIR, "put_page", "put_page")),
    Rule("structs", STRUCT_PAIR),
    Rule("pages 1", BUDDY_PAIR[5:], known=(*BUDDY_PAIR[:5], "tail_page", "tail_page")),
    Rule("pages 3", ("tail_page",) * 14, known=BUDDY_PAIR),
)
"""In order: what a later rule takes as known may come from an earlier one."""


def calibrate(text: str, base: Platform, *, file: str, ghz: float | None = None) -> Calibration:
    """A profile out of benchmark output, from ``file`` as far as sources are concerned.

    ``ghz``: the clock, for lines that give cycles only.  What was not measured follows from ``base``.  Raises
    BenchmarkError when no line can be used.
    """
    found, unused, seen = read_measurements(text)
    clock = ghz if ghz is not None else seen
    made = _Maker(base, file, clock)
    by_kind: dict[str, Measurement] = {}
    for measurement in found:
        if measurement.kind not in {rule.kind for rule in RULES}:
            unused.append(f"line {measurement.line}: {measurement.name} is not needed for a profile")
        elif measurement.kind in by_kind:
            unused.append(f"line {measurement.line}: {measurement.name} was measured before, on line "
                          f"{by_kind[measurement.kind].line}")  # fmt: skip
        elif measurement.ns is None and clock is None:
            unused.append(
                f"line {measurement.line}: {measurement.name} is in cycles, and the clock is not known (--ghz)"
            )
        else:
            by_kind[measurement.kind] = measurement
    for rule in RULES:
        if rule.kind in by_kind:
            problem = made.apply(rule, by_kind[rule.kind])
            if problem:
                unused.append(f"line {by_kind[rule.kind].line}: {by_kind[rule.kind].name} {problem}")
    if not made.measured:
        reason = f": {unused[0]}" if unused else ""
        raise BenchmarkError(
            f"{file}: nothing to make a profile of, no line of bench_page_pool_simple, time_bench_sample or "
            f"page_bench01 can be used{reason}"
        )
    made.derive()
    return Calibration(base.name, made.call, made.prices(), clock, sorted(unused, key=_line_of))


def _line_of(note: str) -> int:
    match = re.search(r"\d+", note)
    return int(match[0]) if match else 0


class _Maker:
    """Prices in the making."""

    def __init__(self, base: Platform, file: str, ghz: float | None) -> None:
        self.base = base
        self.file = file
        self.ghz = ghz
        self.measured: dict[str, Price] = {}
        self.derived: dict[str, Price] = {}
        self.covered: list[tuple[float, float]] = []  # ns here, ns in the base, of the same operation

    def _base(self, name: str) -> float:
        return self.base.call.ns if name == "call" else self.base.costs[name].ns

    def apply(self, rule: Rule, measurement: Measurement) -> str:
        """Use one measurement; what is wrong with it, if it cannot be used."""
        if self.measured.keys() >= set(rule.parts):
            return "says what other lines have said already"
        where = f"{self.file}, line {measurement.line}: {measurement.name}"
        ns = measurement.ns
        text = f"{ns:g} ns" if ns is not None else ""
        if ns is None:
            assert measurement.cycles is not None
            assert self.ghz is not None
            ns = measurement.cycles / self.ghz
            text = f"{measurement.cycles:g} cycles = {ns:.2f} ns at {self.ghz:.3g} GHz"
        known = sum(self._so_far(name) for name in rule.known)
        left = ns - known
        if left <= 0:
            return f"is not above the {known:.2f} ns of what else it consists of"
        if rule.each:
            for name in rule.parts:
                self.measured[name] = Price(round(ns, 2), True, f"{where} {text}")
            self.covered.append((ns, self._base(rule.parts[0])))
            return ""
        whole = sum(self._base(name) for name in rule.parts)
        less = f", less {known:.2f} for {', '.join(rule.known)}" if known else ""
        share = "" if len(rule.parts) == 1 else f", split as in {self.base.name}"
        for name in dict.fromkeys(rule.parts):
            price = round(left * self._base(name) / whole, 2)
            self.measured[name] = Price(price, True, f"{where} {text}{less}{share}")
        self.covered.append((left, whole))
        return ""

    def _so_far(self, name: str) -> float:
        """What ``name`` costs as far as it is known; from now on that stays so."""
        if name not in self.measured and name not in self.derived:
            self._derive(name)
        return (self.measured.get(name) or self.derived[name]).ns

    def _derive(self, name: str) -> None:
        ratio = round(self._ratio(), 3)
        ns = self._base(name)
        self.derived[name] = Price(round(ns * ratio, 2), False, f"{self.base.name} {ns:g} ns x {ratio:g}")

    def _ratio(self) -> float:
        """This machine's time over the base's, of all that was measured on both."""
        if not self.covered:
            return 1.0
        return sum(here for here, _ in self.covered) / sum(there for _, there in self.covered)

    def derive(self) -> None:
        """Everything else, from the base."""
        for name in ("call", *self.base.costs):
            if name not in self.measured and name not in self.derived:
                self._derive(name)

    @property
    def call(self) -> Price:
        """What a function without an entry costs."""
        return self.measured.get("call") or self.derived["call"]

    def prices(self) -> dict[str, Price]:
        """Every entry, in the order of the base."""
        return {name: self.measured.get(name) or self.derived[name] for name in self.base.costs}


__all__ = ["RULES", "BenchmarkError", "Calibration", "calibrate", "read_measurements"]
