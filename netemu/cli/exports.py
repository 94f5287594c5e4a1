"""Options that write a result to files in other formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from netemu.cli import outputs

HELP = {
    "html": "Write a report with pictures, one file that needs nothing else.",
    "folded": "Write folded stacks, for flame graph tools.",
    "speedscope": "Write JSON for speedscope, a profile for each CPU.",
    "perfetto": "Write JSON for Perfetto and chrome://tracing: polls and gauges over virtual time.",
    "perf-script": "Write text as perf script prints it.",
    "ftrace": "Write the kernel's tracepoints as its trace file has them. Runs interpreted.",
    "ethtool": "Write the counters as ethtool -S prints them.",
    "netlink": "Write the page_pools as page-pool-get and page-pool-stats-get answer.",
}


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option ``--FORMAT FILE`` for each format."""
    for form in reversed(HELP):
        command = click.option(f"--{form}", metavar="FILE", help=HELP[form])(command)
    return command


def taken_from(given: dict[str, Any]) -> dict[str, str]:
    """The files asked for, by format, taken out of a command's options."""
    files = {form: given.pop(form.replace("-", "_")) for form in HELP}
    return {form: path for form, path in files.items() if path is not None}


def need_timeline(files: Mapping[str, str]) -> bool:
    """Does one of the formats show virtual time passing?"""
    from netemu.report.formats import NEED_TIMELINE

    return any(form in NEED_TIMELINE for form in files)


def need_tracepoints(files: Mapping[str, str]) -> bool:
    """Does one of the formats show tracepoints?"""
    from netemu.report.formats import NEED_TRACEPOINTS

    return any(form in NEED_TRACEPOINTS for form in files)


def write(files: Mapping[str, str], result: Mapping[str, Any]) -> bool:
    """Write every file that was asked for; False when one of them could not be."""
    from netemu.report import formats

    failed = [path for form, path in files.items() if not outputs.write(path, formats.text(result, form))]
    return not failed
