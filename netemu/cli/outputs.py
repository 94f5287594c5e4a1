"""Files that a command writes: looked at before the run that they are about, and written after it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from netemu.cli.commands import complain


def check(outputs: Mapping[str, str], inputs: Iterable[str]) -> None:
    """See that each of ``outputs`` (paths by option) can be written, is no input and no other output.

    What is there stays as it is.  Raises UsageError for a file with two uses, OSError for one that cannot be written.
    """
    from netemu.errors import UsageError
    from netemu.files import same_file

    read = list(inputs)
    for option, path in outputs.items():
        if any(same_file(path, name) for name in read) and not _is_special(path):
            raise UsageError(f"{option} {path} is a file that this run reads: write to another file")
    for (one, path), (other, second) in combinations(outputs.items(), 2):
        if same_file(path, second) and not _is_special(path):
            raise UsageError(f"{one} and {other} are both {path}: give each its own file")
    for path in outputs.values():
        _try(path)


def write(path: str, text: str) -> bool:
    """Write a file; what goes wrong is only said, so that the rest of the results is not lost with it."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        complain(f"{path}: {error.strerror}; the file is not complete")
        return False
    return True


def _is_special(path: str) -> bool:
    """Is it a pipe or a device, which may be written to twice?"""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _try(path: str) -> None:
    if _is_special(path):  # opening a pipe waits for its reader
        return
    is_new = not os.path.exists(path)
    with open(path, "ab"):
        pass
    if is_new:
        os.unlink(os.path.realpath(path))
