"""Writes docs/reference.md from the docstrings of what authors of policies and drivers call.

    .venv/bin/python docs/build_reference.py

A test holds the page equal to what this prints.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import netemu
import netemu.kernel
from netemu import policies
from netemu.engine.kernel import KernelFunction
from netemu.net import contents, dma, driver, page_pool, plugin, rx_pages, skbuff, stack
from netemu.net.policy import policy_get, policy_put

PAGE = Path(__file__).resolve().parent / "reference.md"

DRIVER_CALLS: dict[Any, tuple[str, ...]] = {
    driver: (
        "arriving_length",
        "dma_frame",
        "post_completion",
        "ring_rx_doorbell",
        "deliver",
        "take_transmitted",
    ),
    page_pool: (
        "page_pool_alloc_pages",
        "page_pool_put_page",
        "page_pool_recycle_direct",
        "page_pool_release_page",
    ),
    rx_pages: ("rx_page", "part_by_policy", "put_kept_pages"),
    skbuff: ("napi_build_skb", "build_skb", "skb_reserve", "skb_put", "skb_mark_for_recycle", "napi_consume_skb"),
    dma: ("dma_map_page_attrs", "dma_unmap_page_attrs", "dma_sync_single_range_for_cpu"),
    contents: ("address_of_page",),
    stack: ("tx_post",),
}
"""What a driver's data path calls, by the module that it imports it from."""


def reference() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference: policies and drivers"
    yield ""
    yield "Made from the docstrings by `docs/build_reference.py`; [policies.md](policies.md) and"
    yield "[drivers.md](drivers.md) say how the parts work together."
    yield ""
    yield "## What a policy imports from `netemu.policies`"
    yield ""
    for name in policies.__all__:
        yield from _entry(name, getattr(policies, name), _text_after(inspect.getmodule(policy_put), name))
    yield "## When a policy is asked"
    yield ""
    for function in (policy_put, policy_get):
        yield from _entry(function.__name__, function, "")
    yield "## What a driver is: `netemu.Driver`"
    yield ""
    yield from _class(netemu.Driver)
    yield "## What a driver sees of its device: `netemu.Nic`"
    yield ""
    yield from _class(netemu.Nic)
    yield "## What a driver's data path calls"
    yield ""
    for module, names in DRIVER_CALLS.items():
        yield f"### `{module.__name__}`"
        yield ""
        for name in names:
            yield from _entry(name, getattr(module, name), "")
    yield f"Operations: `{plugin.Operation.__module__}.Operation`, {_flat(_text_after(plugin, 'Operation'))}"


def _entry(name: str, value: Any, text: str) -> Iterator[str]:
    if callable(value):
        yield f"- `{name}{_signature(value)}`: {_flat(inspect.getdoc(_plain(value)) or '')}"
    else:
        yield f"- `{name}`: {_flat(text) or 'no page, no place'}"
    yield ""


def _class(kind: type) -> Iterator[str]:
    yield _flat(inspect.getdoc(kind) or "")
    yield ""
    for name, value in vars(kind).items():
        if name.startswith("_") or not (callable(value) or isinstance(value, property)):
            continue
        text = _flat(inspect.getdoc(value) or "")
        if isinstance(value, property):
            yield f"- `{name}`: {text}"
        elif inspect.isfunction(value):
            yield f"- `{name}{_signature(value)}`: {text}"
        yield ""


def _plain(value: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = value.function if isinstance(value, KernelFunction) else value
    return made


def _signature(value: Any) -> str:
    names = []
    for parameter in inspect.signature(_plain(value)).parameters.values():
        if parameter.name == "self":
            continue
        stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
        names.append(f"{stars}{parameter.name}")
    return f"({', '.join(names)})"


def _text_after(module: Any, name: str) -> str:
    """The text that stands below the assignment of a constant in its module."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in pairwise(body):
        assigned = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        if assigned and statement.targets[0].id == name and isinstance(after, ast.Expr):  # type: ignore[union-attr]
            return str(ast.literal_eval(after.value))
    return ""


def _flat(text: str) -> str:
    """Docstring markup as Markdown, in one line."""
    flat = " ".join(text.split())
    for role in (":class:", ":func:", ":meth:", ":mod:"):
        flat = flat.replace(role, "")
    return flat.replace("``", "`").replace("`~", "`")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
