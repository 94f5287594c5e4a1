"""What can be read off the result of a run: throughput, time per operation, shares of functions, hit rates, any key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from netemu.engine.kernel import NAMES
from netemu.experiments.values import Check, number, one_of, published, text, yes_or_no
from netemu.mm.page_frag import PAGE_FRAG_CACHE_MAX_ORDER
from netemu.profiles.eras import newest_names
from netemu.profiles.platforms import load_platform
from netemu.results import DROP_REASONS

Result = Mapping[str, Any]

SLOWPATH = "queued_spin_lock_slowpath"
FRAGMENT_BLOCK = "__page_frag_cache_refill"
"""Allocates the block that page fragments are cut from."""
DROPPED = "packets.dropped."


class NoValue(ValueError):
    """A run has no such figure, though others may have it; the text says why."""


class WrongMetric(ValueError):
    """No run has such a figure: a mistake in the metric; the text says which."""


def _units(result: Result) -> int:
    """Operations of a loop, packets of a replay."""
    done: int = result["operations"] if "operations" in result else result["packets"]["received"]
    if done == 0:
        raise NoValue("no packet was received")
    return done


def _per(total: float, parts: float, what: str) -> float:
    if not parts:
        raise NoValue(f"there were no {what}")
    return float(total) / float(parts)


def _ns_per_op(result: Result) -> float:
    value: float = result["ns_per_op"]
    return value


def _ops(result: Result) -> float:
    value: float = result["ops_per_second"]
    return value


def _pps(result: Result) -> float:
    value: float = result["pps"]
    return value


def _ns_per_packet(result: Result) -> float:
    return float(result["busy_ns"]) / _units(result)


def _cycles(nanoseconds: Callable[[Result], float]) -> Callable[[Result], float]:
    def cycles(result: Result) -> float:
        ghz = load_platform(result["platform"]).ghz
        if ghz is None:
            raise NoValue(f"platform {result['platform']} does not state its clock (ghz)")
        return float(nanoseconds(result) * ghz)

    return cycles


def _gbps(result: Result) -> float:
    return 8 * float(result["received_bytes"]) / result["virtual_ns"] if result["received_bytes"] else 0.0


def _drops(result: Result) -> float:
    return float(sum(result["packets"]["dropped"].values()))


def _pages_allocated(result: Result) -> int:
    pages = result["pages"]
    allocated: int = pages["allocated"] - pages.get("initial_in_use", 0)
    return allocated


def _blocks_allocated(result: Result) -> float:
    """Page fragments are cut from blocks of an order of their own; all others have the loop's, or are single pages."""
    fragmented = _calls(result, (FRAGMENT_BLOCK,), None)
    others: int = _pages_allocated(result) - (fragmented << PAGE_FRAG_CACHE_MAX_ORDER)
    return fragmented + others / float(1 << result["pages"].get("order", 0))


def _pcp_hits(result: Result) -> float:
    missed = _per(result["zone_lock"]["acquisitions_alloc"], _blocks_allocated(result), "pages allocated")
    return 100 * (1 - missed)


def _holds_per_page(result: Result) -> float:
    moved = _pages_allocated(result) + result["pages"]["freed"]
    return _per(result["zone_lock"]["acquisitions"], moved, "pages allocated or freed")


def _pages_per_hold(result: Result) -> float:
    if not result["zone_lock"]["acquisitions"]:
        raise NoValue("zone->lock was never taken")
    value: float = result["zone_lock"]["pages_per_hold"]
    return value


def _pool_hits(result: Result) -> float:
    hits, misses = (
        sum(pool[f"alloc-{how}"] for pool in result["page_pool"] for how in ways)
        for ways in (("fast", "refill"), ("slow", "slow-high-order"))
    )
    return 100 * _per(hits, hits + misses, "allocations from a page_pool")


def _cache_hits(result: Result) -> float:
    counters = result.get("ethtool", {})
    if "rx_cache_reuse" not in counters:
        raise NoValue("the driver of this era has no receive page cache")
    asked = sum(counters[f"rx_cache_{name}"] for name in ("reuse", "empty", "busy"))
    return 100 * _per(counters["rx_cache_reuse"], asked, "requests to the receive page cache")


def _time(result: Result) -> float:
    """Time of all CPUs, those included that never ran: a report has the idle time of a CPU until it last ran."""
    return max(float(result["cpus"] * result["virtual_ns"]), float(result["busy_ns"] + result["idle_ns"]))


def _busy(result: Result) -> float:
    return 100 * _per(result["busy_ns"], _time(result), "CPUs that ran")


@dataclass(frozen=True)
class Named:
    """A figure with a name of its own."""

    unit: str
    about: str
    value: Callable[[Result], float]
    of: str = ""
    """What runs have it: LOOPS, TRAFFIC, or all."""


LOOPS = "loops"
TRAFFIC = "traffic"

NAMED: dict[str, Named] = {
    "ns_per_op": Named("ns", "time of one operation on one CPU, waiting included", _ns_per_op, LOOPS),
    "cycles_per_op": Named("cycles", "the same in cycles of the platform's clock", _cycles(_ns_per_op), LOOPS),
    "ops_per_second": Named("/s", "operations per second of all CPUs", _ops, LOOPS),
    "ops_per_second_per_cpu": Named("/s", "and of one CPU", lambda r: _ops(r) / r["cpus"], LOOPS),
    "pps": Named("/s", "packets received per second of virtual time", _pps, TRAFFIC),
    "pps_per_cpu": Named("/s", "the same for each CPU", lambda r: _pps(r) / r["cpus"], TRAFFIC),
    "gbps": Named("Gbit/s", "bits of received packets per second, frame check sequence left out", _gbps, TRAFFIC),
    "ns_per_packet": Named("ns", "busy time of all CPUs per received packet", _ns_per_packet, TRAFFIC),
    "cycles_per_packet": Named(
        "cycles", "the same in cycles of the platform's clock", _cycles(_ns_per_packet), TRAFFIC
    ),
    "drops": Named("packets", "packets dropped, whatever the reason", _drops, TRAFFIC),
    "drop_percent": Named(
        "%", "share of dropped packets", lambda r: 100 * _per(_drops(r), r["packets"]["offered"], "packets"), TRAFFIC
    ),
    "busy_percent": Named("%", "share of the time of all CPUs in which they are busy", _busy),
    "lock_wait_percent": Named("%", f"share of {SLOWPATH} in busy time", lambda r: Share((SLOWPATH,)).value(r)),
    "holds_per_page": Named("", "zone->lock holds per page allocated or freed", _holds_per_page),
    "pages_per_hold": Named("pages", "pages moved per zone->lock hold", _pages_per_hold),
    "pcp_hit_percent": Named("%", "blocks allocated without taking zone->lock", _pcp_hits),
    "pool_hit_percent": Named("%", "page_pool allocations served without its slow path", _pool_hits),
    "cache_hit_percent": Named("%", "requests that the mlx5 receive page cache served", _cache_hits, TRAFFIC),
}


@dataclass(frozen=True)
class Share:
    """Percent of time in a function: with what it calls, or (``own``) itself; ``of``: busy, time, or a function."""

    function: tuple[str, ...]
    below: str | None = None
    own: bool = False
    of: str = "busy"

    unit = "%"

    def __str__(self) -> str:
        return f"share of {_described(self)}, % of " + {"busy": "busy time", "time": "all time"}.get(self.of, self.of)

    def value(self, result: Result) -> float:
        spent = _ns(result, self.function, self.below, self.own)
        if self.of == "busy":
            return 100 * _per(spent, result["busy_ns"], "busy CPUs")
        if self.of == "time":
            return 100 * _per(spent, _time(result), "CPUs that ran")
        return 100 * _per(spent, _ns(result, (self.of,), None, False), f"calls of {self.of}")


@dataclass(frozen=True)
class TimeOf:
    """Nanoseconds in a function per operation or packet, or per call of it."""

    function: tuple[str, ...]
    below: str | None = None
    own: bool = False
    per: str = "op"

    unit = "ns"

    def __str__(self) -> str:
        return f"ns in {_described(self)} per {'operation' if self.per == 'op' else 'call'}"

    def value(self, result: Result) -> float:
        spent = _ns(result, self.function, self.below, self.own)
        if self.per == "op":
            return spent / _units(result)
        return _per(spent, _calls(result, self.function, self.below), f"calls of {_described(self)}")


@dataclass(frozen=True)
class Calls:
    """Calls of a function per operation or packet."""

    function: tuple[str, ...]
    below: str | None = None

    unit = "calls"
    own = False

    def __str__(self) -> str:
        return f"calls of {_described(self)} per operation"

    def value(self, result: Result) -> float:
        return _calls(result, self.function, self.below) / _units(result)


@dataclass(frozen=True)
class JsonKey:
    """A number of the JSON report by its path; ``*`` adds up a list or a table."""

    path: str

    unit = ""

    def __str__(self) -> str:
        return self.path

    def value(self, result: Result) -> float:
        return _look_up(result, self.path.split("."), self.path)


@dataclass(frozen=True)
class Figure:
    """A figure by its name."""

    name: str

    @property
    def unit(self) -> str:
        return NAMED[self.name].unit

    def __str__(self) -> str:
        return self.name

    def value(self, result: Result) -> float:
        return float(NAMED[self.name].value(result))

    def check(self, kind: str) -> None:
        """Raise WrongMetric unless runs of a kind of experiment have it."""
        of = TRAFFIC if kind == "traffic" else LOOPS
        if NAMED[self.name].of not in ("", of):
            own = [name for name, figure in NAMED.items() if figure.of == of]
            raise WrongMetric(f"{self.name} is a figure of {NAMED[self.name].of}; {of} have {', '.join(own)}")


Reading = Share | TimeOf | Calls | JsonKey | Figure


@dataclass(frozen=True)
class Metric:
    """One figure to report, and what was published for it, if anything was."""

    reading: Reading
    published: Any = None
    source: str = ""
    label: str = ""
    within: float | None = None


def _described(reading: Share | TimeOf | Calls) -> str:
    words = f"{' + '.join(reading.function)}{' itself' if reading.own else ''}"
    return f"{words} below {reading.below}" if reading.below else words


# -- the call graph ---------------------------------------------------------------------------------------------------


def _names(name: str) -> set[str]:
    """Every name that a function has had, so that any of them finds it, whatever the era calls it."""
    renamed = newest_names()
    newest = renamed.get(name, name)
    names = {newest, *(old for old, function in renamed.items() if function == newest)}
    if names.isdisjoint(NAMES):
        near = get_close_matches(name, sorted({*NAMES, *renamed}), 3)
        hint = f"; did you mean {', '.join(near)}" if near else ""
        raise WrongMetric(f"{name} is no function that netemu emulates{hint}")
    return names


def check_functions(reading: Reading) -> None:
    """Raise WrongMetric for a function that there is not; those of a driver are there when it has been loaded."""
    if isinstance(reading, Share | TimeOf | Calls):
        whole = [reading.of] if isinstance(reading, Share) and reading.of not in ("busy", "time") else []
        for name in (*reading.function, *([reading.below] if reading.below else []), *whole):
            _names(name)


def _nodes(result: Result, functions: tuple[str, ...], below: str | None) -> Iterator[Mapping[str, Any]]:
    """Nodes of the call graph that are calls of a function, perhaps only those below another one."""
    names = set().union(*(_names(function) for function in functions))
    above = _names(below) if below is not None else set()
    for node in result["callgraph"]:
        *path, last = node["path"]
        if last in names and (below is None or not above.isdisjoint(path)):
            yield node


def _ns(result: Result, functions: tuple[str, ...], below: str | None, own: bool) -> float:
    if own:
        return float(sum(node["self_ns"] for node in _nodes(result, functions, below)))
    names = set().union(*(_names(function) for function in functions))
    # of functions that are called below each other, the outer call has the whole
    outermost = (node for node in _nodes(result, functions, below) if names.isdisjoint(node["path"][:-1]))
    return float(sum(node["total_ns"] for node in outermost))


def _calls(result: Result, functions: tuple[str, ...], below: str | None) -> int:
    return sum(node["calls"] for node in _nodes(result, functions, below))


# -- any key ----------------------------------------------------------------------------------------------------------


def _look_up(found: Any, rest: list[str], path: str) -> float:
    if not rest:
        if found is None:
            raise NoValue(f"{path} is null in this report")
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise WrongMetric(f"{path} is not a number in this report")
        return float(found)
    step, *after = rest
    if step == "*" and isinstance(found, list | Mapping):
        return sum(_look_up(entry, after, path) for entry in (found if isinstance(found, list) else found.values()))
    if isinstance(found, list):
        if step.isdecimal() and int(step) < len(found):
            return _look_up(found[int(step)], after, path)
        raise NoValue(f"{path}: there are {len(found)} entries, and {step} is none of them (* adds them up)")
    if isinstance(found, Mapping):
        if step in found:
            return _look_up(found[step], after, path)
        if path == DROPPED + step:
            return 0.0  # reports leave out reasons for which nothing was dropped
        reason = f"{path}: the report has no {step} there, but {', '.join(map(str, found)) or 'nothing'}"
        raise NoValue(reason) if path.startswith(_OF_SOME_RUNS) else WrongMetric(reason)
    raise WrongMetric(f"{path}: there is nothing below {found!r} in the report")


_OF_SOME_RUNS = ("ethtool.", "policy.")
"""Parts of reports whose keys depend on the driver, the era and the policy."""


def _path(path: str) -> JsonKey:
    """A path that a report may have.  Raises ValueError for a reason for which nothing is ever dropped."""
    reason = path.removeprefix(DROPPED)
    if reason != path and reason != "*" and reason not in DROP_REASONS:
        near = get_close_matches(reason, DROP_REASONS, 2)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"{DROPPED}REASON, of the reasons {', '.join(DROP_REASONS)}, or * for all of them{hint}")
    return JsonKey(path)


# -- as experiments write them ----------------------------------------------------------------------------------------

_EXTRA: dict[str, Check] = {"published": published, "source": text, "label": text, "within": number(0, 1e12)}
_FORMS: dict[str, tuple[Any, dict[str, Check]]] = {
    "share": (Share, {"below": text, "self": yes_or_no, "of": text}),
    "ns_of": (TimeOf, {"below": text, "self": yes_or_no, "per": one_of("op", "call")}),
    "calls_of": (Calls, {"below": text}),
    "key": (JsonKey, {}),
    "figure": (Figure, {}),
}


def read_metric(given: Any) -> Metric:
    """A metric as TOML gives it: a name, a path into the JSON report, or a table.  Raises ValueError."""
    if isinstance(given, str):
        return Metric(_named(given))
    if not isinstance(given, dict):
        raise ValueError('a name, a path into the JSON report, or a table such as { share = "napi_consume_skb" }')
    forms = [form for form in _FORMS if form in given]
    if len(forms) != 1:
        raise ValueError(f"a table with exactly one of {', '.join(_FORMS)}")
    reading, options = _FORMS[forms[0]]
    allowed = options | _EXTRA
    settings: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in given.items():
        if name == forms[0]:
            continue
        if name not in allowed:
            raise ValueError(f"a table with {', '.join((forms[0], *allowed))}; {name} means nothing there")
        try:
            checked = allowed[name](value)
        except ValueError as error:
            raise ValueError(f"a table in which {name} is {error}") from None
        (extra if name in _EXTRA else settings)["own" if name == "self" else name] = checked
    subject = given[forms[0]]
    if reading is Figure:
        return Metric(_named(text(subject)), **extra)
    if reading is JsonKey:
        return Metric(_path(text(subject)), **extra)
    functions = tuple(text(name) for name in (subject if isinstance(subject, list) and subject else [subject]))
    made: Reading = reading(functions, **settings)
    return Metric(made, **extra)


def _named(name: str) -> Reading:
    if name in NAMED:
        return Figure(name)
    if name in _REPORT_KEYS or "." in name:
        return _path(name)
    raise ValueError(f"one of {', '.join(NAMED)}, a path into the JSON report (with a dot), or a table")


_REPORT_KEYS = ("virtual_ns", "busy_ns", "idle_ns", "bytes", "operations", "cpus")
