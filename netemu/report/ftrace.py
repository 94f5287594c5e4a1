"""Tracepoints in the text that the kernel's ``trace`` file and ``trace-cmd report`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UsageError

Result = Mapping[str, Any]

BOOT_NS = 10**9
"""Where the run begins, as time since boot: the device is opened before it."""

_MIGRATE_DISABLE = (5, 15)  # a fifth flag
_BH_DISABLED = (5, 18)  # shown with the interrupts
_WIDE_PIDS = (5, 9)


def ftrace(result: Result) -> Iterator[str]:
    """A header, then ``TASK-PID [CPU] FLAGS SECONDS: EVENT: ARGUMENTS`` for each event, in the layout of its era.

    Raises UsageError for a result without tracepoints.
    """
    if "tracepoints" not in result:
        raise UsageError("this result has no tracepoints: replay with --tracepoints, or from Python tracepoints=True")
    events = result["tracepoints"]
    major, minor = result["era"].removeprefix("v").split(".")
    version = int(major), int(minor)
    width = 7 if version >= _WIDE_PIDS else 5
    yield from _header(len(events), result["cpus"], version, width)
    before = max([0, *(-event["time_ns"] for event in events[:1])])
    boot = BOOT_NS * (1 + int(before // BOOT_NS))
    for event in events:
        seconds, rest = divmod(round((boot + event["time_ns"]) / 1000), 10**6)
        task = f"{event['task']:>16}-{event['pid']:<{width}}"
        time = f"{seconds:5d}.{rest:06d}"
        yield f"{task} [{event['cpu']:03d}] {_flags(event, version)} {time}: {event['event']}: {event['args']}\n"


def _header(count: int, cpus: int, version: tuple[int, int], width: int) -> Iterator[str]:
    names = ["irqs-off/BH-disabled" if version >= _BH_DISABLED else "irqs-off"]
    names += ["need-resched", "hardirq/softirq", "preempt-depth"]
    if version >= _MIGRATE_DISABLE:
        names.append("migrate-disable")
    yield "# tracer: nop\n#\n"
    yield f"# entries-in-buffer/entries-written: {count}/{count}   #P:{cpus}\n#\n"
    margin = "#" + " " * (23 + width)
    for place, name in enumerate(names):
        lead = "  " if place == 0 else "|" * (place - 1) + " / "
        yield f"{margin}{lead}_{'-' * (5 - place)}=> {name}\n"
    yield f"{margin}{'|' * (len(names) - 1)} /     delay\n"
    columns = "|" * len(names)
    yield f"#           TASK-PID{'':{width - 2}}CPU#  {columns}  TIMESTAMP  FUNCTION\n"
    yield f"#              | |{'':{width + 2}}|   {columns}     |         |\n"


def _flags(event: Mapping[str, Any], version: tuple[int, int]) -> str:
    context = event["context"]
    off = "."
    if event["locked"] or context == "hardirq":
        off = "d"
    elif context == "bottom halves off" and version >= _BH_DISABLED:
        off = "b"
    inside = {"hardirq": "h", "softirq": "s"}.get(context, ".")
    depth = "1" if event["locked"] else "."
    return f"{off}.{inside}{depth}" + ("." if version >= _MIGRATE_DISABLE else "")
