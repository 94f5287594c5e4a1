"""What paths of files say about each other."""

from __future__ import annotations

import os


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Do two paths name one file, which may not be there yet?"""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return os.path.realpath(one) == os.path.realpath(other)
