"""The ``netemu`` command: one module per subcommand, imported when it is asked for."""

from __future__ import annotations

import io
import sys

from netemu.cli.commands import Commands

COMMANDS = Commands(
    name="netemu",
    modules=(
        "replay",
        "tap",
        "compare",
        "diff",
        "sweep",
        "export",
        "policies",
        "new",
        "eras",
        "platforms",
        "predict",
        "reproduce",
        "calibrate",
        "conformance",
        "run",
        "verify",
        "bpf-plugin",
        "museum",
        "exhaust",
        "bench",
        "warmup",
    ),
    help="Replay captures through emulated NIC drivers and see where pages and time go.",
)


def main() -> None:
    """Run the command line of this process and exit with its status.

    0: fine; 1: a check failed or the input was bad; 2: wrong usage; 130 or 143: interrupted or terminated.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold bytes that are no text
    COMMANDS(prog_name="netemu")
