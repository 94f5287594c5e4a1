"""When are two runs of a point the same?  When its words, the files that they name and netemu itself are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .spec import Point

_SHOWN = 20
"""Digits of a key."""


def key(point: Point) -> str:
    """Names the point's result: another key, another result (perhaps)."""
    files = {word: _digest(Path(word.partition(":")[0])) for word in point.words if _is_file(word)}
    text = json.dumps({"words": point.words, "files": files, "netemu": _netemu()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_SHOWN]


def _is_file(word: str) -> bool:
    try:
        return Path(word.partition(":")[0]).is_file()
    except (OSError, ValueError):
        return False


@cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _netemu() -> str:
    """Digest of everything that comes with netemu, and of what computes."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {metadata.version('numpy')}".encode())
    for package in ("netemu", "netemu.drivers"):
        for path in sorted(_sources(package)):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(package: str) -> Iterable[Path]:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for ending in ("*.py", "*.toml"):
            yield from Path(folder).rglob(ending)
