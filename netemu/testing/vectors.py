"""Vector files: scripts of operations with the recorded answers, one JSON object per line, gzip-compressed or not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from netemu.errors import NetemuError

GZIP_MAGIC = b"\x1f\x8b"


class VectorError(NetemuError):
    """A vector file that is damaged, or an operation in it that makes no sense."""


@dataclass(frozen=True)
class Script:
    """One script: where its header stands and how many operations follow."""

    file: str
    line: int
    name: str
    ops: int


Entry = tuple[int, dict[str, Any]]
"""An operation with its answer, and the line of the file that it stands in."""


def _open(path: Path) -> BufferedIOBase:
    with path.open("rb") as file:
        magic = file.read(2)
    return gzip.open(path) if magic == GZIP_MAGIC else path.open("rb")


def _objects(path: Path) -> Iterator[Entry]:
    number = 0
    try:
        with _open(path) as file:
            for text in file:
                number += 1
                entry = json.loads(text.decode())
                if not isinstance(entry, dict):
                    raise VectorError(f"{path}:{number}: a line must hold one JSON object")
                yield number, entry
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise VectorError(f"{path}:{number + 1}: damaged gzip data ({error}); fetch the file again") from None
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{path}:{number}: not JSON that can be read ({error})") from None


def scripts(path: Path) -> Iterator[tuple[Script, Iterator[Entry]]]:
    """Every script of a file with its entries, which must be used up before the next script is asked for.

    Raises VectorError, saying file and line, for a damaged file; OSError when it cannot be read.
    """
    lines = _objects(path)
    number = 0
    for number, header in lines:
        name, ops = header.get("script"), header.get("ops")
        if not isinstance(name, str) or not isinstance(ops, int) or isinstance(ops, bool) or ops < 1:
            raise VectorError(f'{path}:{number}: a script must start with {{"script": NAME, "ops": N}}, N at least 1')
        yield Script(str(path), number, name, ops), _entries(path, lines, name, ops)
    if not number:
        raise VectorError(f"{path}: there is no script in it; fetch the file again")


def _entries(path: Path, lines: Iterator[Entry], name: str, ops: int) -> Iterator[Entry]:
    for done in range(ops):
        entry = next(lines, None)
        if entry is None:
            raise VectorError(f"{path}: script {name} ends after {done} of {ops} operations; fetch the file again")
        if not isinstance(entry[1].get("op"), str):
            raise VectorError(f'{path}:{entry[0]}: an operation needs "op"')
        yield entry
