"""The one exception of this room."""

from __future__ import annotations

from netemu.errors import NetemuError


class CaptureError(NetemuError, ValueError):
    """A capture that cannot be read or written, told in one line: what, where, what to do.

    ``path``: the capture's name.  ``offset``: byte at which the faulty header, block or record starts, None when
    the capture could not even be opened.  ``packet``: number of whole packets before it, None likewise.
    """

    def __init__(
        self, what: str, remedy: str, *, path: str, offset: int | None = None, packet: int | None = None
    ) -> None:
        self.path = path
        self.offset = offset
        self.packet = packet
        shown = path if path.isprintable() else repr(path)
        where = "" if offset is None else f", at byte {offset}"
        if packet:
            where += f" after packet {packet}"
        super().__init__(f"{shown}: {what}{where}; {remedy}")
