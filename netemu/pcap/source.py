"""Where a capture's bytes come from: a path, or any open binary file object, seekable or not."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from typing import IO, Any

from netemu.pcap.errors import CaptureError

Source = str | os.PathLike[str] | IO[bytes]


class ByteSource:
    """Bytes in order, some of which can be given back to be read again.

    ``path``: name for messages.  ``size``: bytes in all, or None when unknown.  A file object that was handed in is
    left open by :meth:`close`.
    """

    def __init__(self, source: Source) -> None:
        self._given_back = memoryview(b"")
        self._taken = 0
        if isinstance(source, str | os.PathLike):
            self.path = os.fspath(source)
            self._file: Any = _open(self.path)
            self._owned = True
        elif callable(getattr(source, "read", None)):
            name = getattr(source, "name", None)
            self.path = name if isinstance(name, str) else "<stream>"
            self._file = source
            self._owned = False
        else:
            raise TypeError(f"a capture is read from a path or a binary file object, not {type(source).__name__}")
        self._start = self._file.tell() if self.seekable else 0
        self.size = _size(self._file, self._start)
        self._read_into = getattr(self._file, "readinto", None) or _read_into(self._file)

    @property
    def offset(self) -> int:
        """Bytes taken so far, those given back not counted."""
        return self._taken - len(self._given_back)

    @property
    def seekable(self) -> bool:
        """Whether the bytes can be read a second time."""
        try:
            return bool(self._file.seekable())
        except (AttributeError, ValueError):
            return False

    def take(self, into: memoryview) -> int:
        """Read up to ``len(into)`` bytes, at least one unless the end is reached; bytes given back come first."""
        if self._given_back:
            length = min(len(into), len(self._given_back))
            into[:length] = self._given_back[:length]
            self._given_back = self._given_back[length:]
            return length
        try:
            got = self._read_into(into)
        except (OSError, EOFError) as error:
            raise CaptureError(
                f"reading failed: {_reason(error)}", "check the source", path=self.path, offset=self.offset
            ) from error
        if got is None:
            raise CaptureError(
                "the source has no bytes yet and does not wait",
                "open it in blocking mode",
                path=self.path,
                offset=self.offset,
            )
        self._taken += got
        return int(got)

    def give_back(self, unread: bytes) -> None:
        """Have ``unread``, the last bytes taken, read again."""
        self._given_back = memoryview(unread + self._given_back)

    def rewind(self) -> None:
        """Start again from the first byte."""
        if not self.seekable:
            raise CaptureError(
                "a stream cannot be read a second time", "store it in a file first", path=self.path, offset=self.offset
            )
        self._file.seek(self._start)
        self._given_back = memoryview(b"")
        self._taken = 0

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned:
            self._file.close()


def _open(path: str) -> io.FileIO:
    try:
        return io.FileIO(path)
    except FileNotFoundError as error:
        raise CaptureError("no such file", "check the name", path=path) from error
    except IsADirectoryError as error:
        raise CaptureError("is a directory", "name one capture file in it", path=path) from error
    except PermissionError as error:
        raise CaptureError("no permission to read it", "change its mode or owner", path=path) from error
    except (OSError, ValueError) as error:
        raise CaptureError(f"cannot be opened: {_reason(error)}", "check the name", path=path) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _size(file: Any, start: int) -> int | None:
    """Bytes from ``start`` to the end, known without reading only for plain files and memory."""
    if isinstance(file, io.BytesIO):
        return file.getbuffer().nbytes - start
    if isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom):
        try:
            status = os.fstat(file.fileno())
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(status.st_mode):
            return status.st_size - start
    return None


def _read_into(file: Any) -> Callable[[memoryview], int | None]:
    """``readinto`` for file objects that only have ``read``."""

    def read_into(into: memoryview) -> int | None:
        found = file.read(len(into))
        if found is None:
            return None
        into[: len(found)] = found
        return len(found)

    return read_into
