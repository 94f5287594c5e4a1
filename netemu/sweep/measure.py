"""Running one point: a replay, and the row that it gives.  What processes and Dask workers call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

Row = dict[str, Any]

_ONE_AT_A_TIME = threading.Lock()
"""Code is compiled by one thread of a process only."""


def start_worker() -> None:
    """A process that measures: it leaves Ctrl-C to the one that hands out the points, and ends with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def measure(words: tuple[str, ...]) -> Row:
    """The figures of ``netemu replay WORDS``; ``error`` says why there are none."""
    from ..errors import NetemuError

    with _ONE_AT_A_TIME:
        try:
            return {"error": None, **_replayed(words)}
        except (NetemuError, OSError) as error:
            return {"error": " ".join(str(error).splitlines())}


def _replayed(words: tuple[str, ...]) -> Row:
    import netemu
    from netemu.cli import scenario
    from netemu.report.metrics import metrics

    result = netemu.replay(**scenario.parse(words[0], words[1:]))
    return {"error": result.error, **metrics(result.to_dict())}
