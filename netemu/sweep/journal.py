"""The journal of a sweep: a line for each finished point, written before the next is counted as done.

A sweep that was interrupted, however hard, finds in it what it need not run again.  A line that was cut off is
left out, and so are lines of other sweeps and of another netemu: their keys are not asked for.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import NetemuError

Row = dict[str, Any]


class Journal:
    """The file, held by one sweep at a time.  Raises NetemuError when another one has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise NetemuError(f"{path} is being written by another sweep") from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def rows(self, keys: Collection[str]) -> dict[str, Row]:
        """What earlier runs have found for these keys.  A torn last line is cut off, so that the next one is whole."""
        self._file.seek(0)
        found: dict[str, Row] = {}
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("key") in keys:
                found[entry["key"]] = entry["row"]
        self._file.truncate(end)
        return found

    def write(self, key: str, row: Row) -> None:
        """Keep a result, on the disk when this returns."""
        self._file.write(json.dumps({"key": key, "row": row}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
