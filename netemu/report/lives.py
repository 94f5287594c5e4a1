"""The lives of pages and packets as text: a step on a line, its call path below where that changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Step = Mapping[str, Any]


def lives(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines about each page and each packet that was to be traced."""
    found = result["lives"]
    for page in found["pages"]:
        yield from _life(f"page {page} (pfn {page:#x})", (s for s in found["steps"] if _is_about(s, page)), packet=True)
    for packet in found["packets"]:
        yield from _life(f"packet {packet}", (s for s in found["steps"] if s["packet"] == packet), packet=False)


def _is_about(step: Step, page: int) -> bool:
    return step["page"] is not None and step["page"] <= page < step["page"] + step["pages"]


def _life(whose: str, steps: Iterable[Step], *, packet: bool) -> Iterator[str]:
    """``packet``: say which packet a step is about, else which page."""
    path: list[str] = []
    count = 0
    yield whose
    for step in steps:
        count += 1
        cpu = "NIC" if step["cpu"] is None else f"CPU {step['cpu']}"
        about = ""
        if packet and step["packet"] is not None:
            about = f"  [packet {step['packet']}]"
        elif not packet and step["page"] is not None:
            about = f"  [page {step['page']}]"
        if step["path"] != path and step["path"]:
            yield f"{'':29}in {' > '.join(step['path'])}"
        path = step["path"]
        yield f"{step['time_ns'] / 1000:14.3f} us  {cpu:<7}  {step['what']}{about}"
    if count == 0:
        yield "  nothing happened to it in this run: it stayed where it was, on the buddy lists"
    yield ""
