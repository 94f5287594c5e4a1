"""The report of one replay for people: headline, packets, time, call graph, counters, pages.

Everything comes from the result mapping that ``netemu replay --json`` prints.  The layout is plain text in at
most 100 columns; a terminal adds colour, a pipe gets the same text without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from netemu.report.callgraph import tree
from netemu.report.findings import findings, recycled_percent
from netemu.report.quantities import count, duration, percent, rate, ratio

WIDTH = 100
CALL_GRAPH_LIMIT = 0.1
"""Percent of busy time below which a call path is left out."""

_MAX_POOL_COLUMNS = 5
_NAME_COLUMN = 26
_POOL_IDENTITY = ("id", "ifindex", "napi-id")

Result = Mapping[str, Any]


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
        self._packets(result)
        self._time(result)
        self._call_graph(result, call_graph_limit)
        self._page_pools(result["page_pool"])
        self._ethtool(result["ethtool"])
        self._zone_lock(result)
        self._pages(result)
        self._emulator(result)

    def _line(self, text: str = "", style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _title(self, text: str) -> None:
        self._line()
        self._line(text, "bold")

    def _rows(self, rows: Iterable[tuple[str, str]]) -> None:
        for name, value in rows:
            self._line(f"  {name:<{_NAME_COLUMN}}{value:>16}")

    def _headline(self, result: Result) -> None:
        cpus = result["cpus"]
        self._paragraph(
            f"{result['trace']}: {result['driver']}, kernel {result['era']}, {result['platform']}, "
            f"{cpus} CPU{'s' if cpus != 1 else ''}, seed {result['seed']}",
            indent="",
        )
        self._title("What netemu found")
        for number, sentence in enumerate(findings(result)):
            self._paragraph(sentence, indent="  ", style="bold yellow" if number == 0 else "")

    def _paragraph(self, text: str, *, indent: str, style: str = "") -> None:
        lines = wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
        for line in lines:
            self._line(line, style)

    def _packets(self, result: Result) -> None:
        packets = result["packets"]
        self._title("Packets")
        self._rows((name, count(packets[name])) for name in ("offered", "received", "forwarded"))
        dropped = packets["dropped"]
        self._rows([("dropped", count(sum(dropped.values())))])
        self._rows((f"  {reason}", count(number)) for reason, number in dropped.items() if number)
        self._rows((f"xdp {verdict}", count(number)) for verdict, number in result["xdp"].items() if number)

    def _time(self, result: Result) -> None:
        virtual_ns = result["virtual_ns"]
        offered = result["packets"]["offered"]
        received = result["packets"]["received"]
        busy = 100.0 * ratio(result["busy_ns"], result["busy_ns"] + result["idle_ns"])
        self._title("Throughput (virtual time)")
        self._rows(
            [
                ("duration", duration(virtual_ns)),
                ("packets", rate(result["pps"], "pps")),
                ("data offered", rate(8e9 * ratio(result["bytes"], virtual_ns), "bit/s")),
                ("mean packet", f"{ratio(result['bytes'], offered):.0f} bytes"),
                ("busy time per packet", _mean_duration(result["busy_ns"], received)),
                ("CPUs busy", percent(busy)),
            ]
        )

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
            self._line(f"  {count(hidden)} call paths below {limit:g} % are not shown", "dim")

    def _page_pools(self, pools: Sequence[Mapping[str, Any]]) -> None:
        if not pools:
            return
        shown = pools if 1 < len(pools) <= _MAX_POOL_COLUMNS else []
        self._title("page_pool" if len(pools) == 1 else f"page_pool ({len(pools)} pools)")
        names = [name for name in pools[0] if name not in _POOL_IDENTITY]
        if shown:
            heads = "".join(f"{'id ' + str(pool['id']):>12}" for pool in shown)
            self._line(f"  {'':<{_NAME_COLUMN}}{'all':>16}{heads}", "dim")
        for name in names:
            total = sum(pool[name] for pool in pools)
            columns = "".join(f"{count(pool[name]):>12}" for pool in shown)
            self._line(f"  {name:<{_NAME_COLUMN}}{count(total):>16}{columns}")
        recycled = recycled_percent(list(pools))
        if recycled is not None:
            self._rows([("recycled", percent(recycled))])

    def _ethtool(self, counters: Mapping[str, Any]) -> None:
        counted = [(name, count(value)) for name, value in counters.items() if value]
        if counted:
            self._title("Driver counters (ethtool -S, those that are not zero)")
            self._rows(counted)

    def _zone_lock(self, result: Result) -> None:
        lock = result["zone_lock"]
        received = result["packets"]["received"]
        self._title("zone->lock")
        self._rows(
            [
                ("acquisitions", count(lock["acquisitions"])),
                ("  to free pages", count(lock["acquisitions_free"])),
                ("  to allocate pages", count(lock["acquisitions_alloc"])),
                ("per page freed", f"{ratio(lock['acquisitions_free'], lock['pages_freed']):.3f}"),
                ("per packet", f"{ratio(lock['acquisitions'], received):.3f}"),
                ("pages per hold", f"{lock['pages_per_hold']:.2f}"),
                ("held", duration(lock["hold_ns"])),
                ("contended", count(lock["contended"])),
                ("waited for", duration(lock["wait_ns"])),
            ]
        )

    def _pages(self, result: Result) -> None:
        pages = result["pages"]
        self._title("Pages")
        self._rows((name, count(pages[name])) for name in ("allocated", "freed", "in_use", "initial_in_use"))
        self._rows((f"  {place}", count(number)) for place, number in pages["places"].items() if number)
        if not result["leaks"]:
            self._line("  no leaks")
        for leak in result["leaks"]:
            self._paragraph(f"leak: {_described(leak)}", indent="  ", style="bold red")

    def _emulator(self, result: Result) -> None:
        wall = result["wall_s"]
        running = wall["read"] + wall["emulate"]
        self._title("The emulator itself (wall time)")
        self._rows(
            [
                ("speed", rate(ratio(result["packets"]["offered"], running), "packets/s")),
                ("reading the capture", duration(1e9 * wall["read"])),
                ("emulating", duration(1e9 * wall["emulate"])),
                ("compiling or loading code", duration(1e9 * wall["compile"])),
            ]
        )


def _mean_duration(nanoseconds: float, packets: int) -> str:
    """``389.2 ns``: the mean share of one packet, and a dash when there was none."""
    return f"{nanoseconds / packets:.1f} ns" if packets else "-"


def _heat(share: float) -> str:
    if share >= 20:
        return "bold red"
    return "yellow" if share >= 5 else ""


def _described(leak: object) -> str:
    if isinstance(leak, Mapping):
        return ", ".join(f"{name} {value}" for name, value in leak.items())
    return str(leak)
