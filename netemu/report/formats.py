"""The formats that a result can be written in, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import ftrace, html, stacks, tracks, views

Result = Mapping[str, Any]


def _netlink(result: Result) -> str:
    return json.dumps(views.netlink(result), indent=2)


FORMATS: dict[str, Callable[[Result], str | Iterable[str]]] = {
    "folded": stacks.folded,
    "perf-script": stacks.perf_script,
    "speedscope": stacks.speedscope,
    "perfetto": tracks.perfetto,
    "ftrace": ftrace.ftrace,
    "ethtool": views.ethtool,
    "netlink": _netlink,
    "html": html.replay_page,
}
NEED_TIMELINE = ("perfetto", "html")
"""Formats that show virtual time passing."""
NEED_TRACEPOINTS = ("ftrace",)
"""Formats that show every tracepoint."""


def text(result: Result, form: str) -> str:
    """``result`` in one of the formats."""
    made = FORMATS[form](result)
    return made if isinstance(made, str) else "".join(made)
