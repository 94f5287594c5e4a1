"""The report of one replay for people: headline, packets, time, call graph, counters, pages.

Everything comes from the result mapping that ``netemu replay --json`` prints.  The layout is plain text in at
most 100 columns; a terminal adds colour, a pipe gets the same text without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from netemu.report.callgraph import tree
from netemu.report.findings import findings, leaks_found, recycled_percent
from netemu.report.quantities import count, duration, percent, rate, ratio

WIDTH = 100
CALL_GRAPH_LIMIT = 0.1
"""Percent of busy time below which a call path is left out."""

_MAX_POOL_COLUMNS = 4
_NAME, _VALUE = 28, 16
_CELL = 2 + _NAME + _VALUE
_GUTTER = "    "
_POOL_IDENTITY = ("id", "ifindex", "napi-id")

Result = Mapping[str, Any]
Row = tuple[str, str]


def render(result: Result, console: Console, *, call_graph_limit: float = CALL_GRAPH_LIMIT) -> None:
    """Print the report of ``result`` (the mapping of ``ReplayResult.to_dict()``) on ``console``.

    ``call_graph_limit``: call paths with a smaller inclusive share, in percent of busy time, are left out.
    """
    _Report(console).print(result, call_graph_limit)


class _Report:
    """One report on its way to one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def print(self, result: Result, call_graph_limit: float) -> None:
        self._headline(result)
        self._beside("Packets", _packets(result), "Throughput (virtual time)", _throughput(result))
        self._faults(result.get("xdp_faults", []))
        self._call_graph(result, call_graph_limit)
        self._page_pools(result["page_pool"])
        self._ethtool(result["ethtool"])
        self._beside("zone->lock", _zone_lock(result), "Pages", _pages(result))
        self._leaks(result["leaks"])
        self._emulator(result)

    def _line(self, text: str = "", style: str = "") -> None:
        self.console.print(Text(text.rstrip(), style=style), soft_wrap=True)

    def _title(self, text: str) -> None:
        self._line()
        self._line(text, "bold")

    def _paragraph(self, text: str, *, indent: str, style: str = "") -> None:
        lines = wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
        for line in lines:
            self._line(line, style)

    def _columns(self, left: Sequence[Row], right: Sequence[Row]) -> None:
        for one, other in zip_longest(left, right, fillvalue=("", "")):
            self._line(_cell(one) + _GUTTER + _cell(other))

    def _beside(self, left_title: str, left: Sequence[Row], right_title: str, right: Sequence[Row]) -> None:
        self._title(f"{left_title:<{_CELL}}{_GUTTER}{right_title}")
        self._columns(left, right)

    def _folded(self, rows: Sequence[Row]) -> None:
        """Rows in two columns, to be read downwards."""
        half = (len(rows) + 1) // 2
        self._columns(rows[:half], rows[half:])

    def _headline(self, result: Result) -> None:
        self._paragraph(
            f"{_printable(result['trace'])}: {_printable(result['driver'])}, kernel {result['era']}, "
            f"{result['platform']}, {_counted(result['cpus'], 'CPU')}, seed {result['seed']}",
            indent="",
        )
        self._title("What netemu found")
        for number, sentence in enumerate(findings(result)):
            self._paragraph(sentence, indent="  ", style="bold yellow" if number == 0 else "")

    def _call_graph(self, result: Result, limit: float) -> None:
        received = result["packets"]["received"]
        self._title(f"Call graph ({duration(result['busy_ns'])} of busy virtual time)")
        self._line(f"{'percent':>9}{'self ns':>16}{'self ns/pkt':>13}{'calls':>13}  function", "dim")
        hidden = 0
        for depth, node in tree(result["callgraph"]).walk():
            if node.percent < limit:
                hidden += 1
                continue
            figures = (
                f"{node.percent:>7.2f} %{count(node.self_ns):>16}"
                f"{ratio(node.self_ns, received):>13.2f}{count(node.calls):>13}  "
            )
            indent = " " * min(2 * depth, max(0, WIDTH - len(figures) - len(node.name)))
            self._line(figures + indent + node.name, _heat(node.percent))
        if hidden:
            self._line(f"  left out below {limit:g} %: {_counted(hidden, 'call path')}", "dim")

    def _page_pools(self, pools: Sequence[Mapping[str, Any]]) -> None:
        if not pools:
            return
        self._title(f"page_pool ({_counted(len(pools), 'pool')}, recycled {_recycled(pools)})")
        names = [name for name in pools[0] if name not in _POOL_IDENTITY]
        totals = {name: sum(pool[name] for pool in pools) for name in names}
        if not 1 < len(pools) <= _MAX_POOL_COLUMNS:
            self._folded([(name, count(total)) for name, total in totals.items()])
            return
        heads = "".join(f"{'id ' + str(pool['id']):>12}" for pool in pools)
        self._line(f"  {'':<{_NAME}}{'all':>{_VALUE}}{heads}", "dim")
        for name, total in totals.items():
            columns = "".join(f"{count(pool[name]):>12}" for pool in pools)
            self._line(_cell((name, count(total))) + columns)

    def _ethtool(self, counters: Mapping[str, Any]) -> None:
        counted = [(name, count(value)) for name, value in counters.items() if value]
        if counted:
            self._title("Driver counters (ethtool -S, those that are not zero)")
            self._folded(counted)

    def _faults(self, faults: Sequence[Mapping[str, Any]]) -> None:
        for fault in faults:
            runs = f"{_printable(fault['program'])}: {_counted(fault['runs'], 'run')} ended by a fault (aborted)"
            self._paragraph(
                f"{runs}; the first, on packet {fault['packet']}: {_printable(fault['first'])}",
                indent="  ",
                style="bold red",
            )

    def _leaks(self, leaks: Sequence[object]) -> None:
        for leak in leaks:
            first, *more = _described(leak).splitlines()
            self._paragraph(f"leak: {first}", indent="  ", style="bold red")
            for line in more:
                self._line(f"  {line}", "red")

    def _emulator(self, result: Result) -> None:
        wall = result["wall_s"]
        speed = ratio(result["packets"]["offered"], wall["read"] + wall["emulate"])
        self._title("The emulator itself (wall time)")
        self._paragraph(
            f"{rate(speed, 'packets/s')}; reading {duration(1e9 * wall['read'])}, emulating "
            f"{duration(1e9 * wall['emulate'])}, compiling or loading code {duration(1e9 * wall['compile'])}",
            indent="  ",
        )


def _cell(row: Row) -> str:
    """Name and value at the two ends of a cell; a name that leaves no room for its value is cut."""
    name, value = row
    room = _NAME + _VALUE - len(value) - 1
    if len(name) > room:
        name = name[: room - 2] + ".."
    return f"  {name}{value:>{_NAME + _VALUE - len(name)}}"


def _packets(result: Result) -> list[Row]:
    packets = result["packets"]
    rows = [(name, count(packets[name])) for name in ("offered", "received", "forwarded")]
    rows.append(("dropped", count(sum(packets["dropped"].values()))))
    rows += [(f"  {reason}", count(number)) for reason, number in packets["dropped"].items() if number]
    rows += [(f"xdp {verdict}", count(number)) for verdict, number in result["xdp"].items() if number]
    return rows


def _throughput(result: Result) -> list[Row]:
    virtual_ns, busy_ns = result["virtual_ns"], result["busy_ns"]
    return [
        ("duration", duration(virtual_ns)),
        ("packets", rate(result["pps"], "pps")),
        ("data", rate(8e9 * ratio(result["bytes"], virtual_ns), "bit/s")),
        ("busy time per packet", _mean_duration(busy_ns, result["packets"]["received"])),
        ("CPUs busy", percent(100.0 * ratio(busy_ns, busy_ns + result["idle_ns"]))),
    ]


def _zone_lock(result: Result) -> list[Row]:
    lock = result["zone_lock"]
    return [
        ("acquisitions", count(lock["acquisitions"])),
        ("  to free pages", count(lock["acquisitions_free"])),
        ("  to allocate pages", count(lock["acquisitions_alloc"])),
        ("per page freed", f"{ratio(lock['acquisitions_free'], lock['pages_freed']):.3f}"),
        ("per packet", f"{ratio(lock['acquisitions'], result['packets']['received']):.3f}"),
        ("pages per hold", f"{lock['pages_per_hold']:.2f}"),
        ("held", duration(lock["hold_ns"])),
        ("contended", count(lock["contended"])),
        ("waited for", duration(lock["wait_ns"])),
    ]


def _pages(result: Result) -> list[Row]:
    pages = result["pages"]
    rows = [(name, count(pages[name])) for name in ("allocated", "freed", "in_use", "initial_in_use")]
    rows += [(f"  {place}", count(number)) for place, number in pages["places"].items() if number]
    rows.append(("leaks", count(leaks_found(result)) if result["leaks"] else "none"))
    return rows


def _recycled(pools: Sequence[Mapping[str, Any]]) -> str:
    share = recycled_percent(pools)
    return "-" if share is None else percent(share)


def _counted(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def _mean_duration(nanoseconds: float, packets: int) -> str:
    """``389.2 ns``: the mean share of one packet, and a dash when there was none."""
    return f"{nanoseconds / packets:.1f} ns" if packets else "-"


def _printable(name: str) -> str:
    """A name that came from outside, without the power to move a cursor."""
    return name if name.isprintable() else repr(name)


def _heat(share: float) -> str:
    if share >= 20:
        return "bold red"
    return "yellow" if share >= 5 else ""


def _described(leak: object) -> str:
    if isinstance(leak, Mapping):
        return ", ".join(f"{name} {value}" for name, value in leak.items())
    return str(leak)
