"""All packets that wait in a receive queue, as numpy arrays, for XDP programs under ``@netemu.xdp(batch=True)``.

A batch is formed when the driver comes to a packet that has no verdict yet: it is that packet and those behind it that
have completed by then.  The program sees them all at once; each gets its verdict when the driver comes to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .engine.guest import GuestFault
from .engine.layout import Kernel
from .errors import UsageError
from .net.xdp_batch import COLUMNS, xdp_batch_ipv4, xdp_batch_ipv6, xdp_batch_read, xdp_batch_transport
from .net.xdp_headers import IPPROTO_TCP, IPPROTO_UDP

Integers = npt.NDArray[np.int64]
Offsets = int | Integers


class OutsideOfPackets(GuestFault, IndexError):
    """Bytes that are not in one of the packets; ``packet`` is its number."""

    def __init__(self, at: int, packet: int, linear: int) -> None:
        super().__init__(f"byte {at} is outside of the packet, which has {linear}")
        self.packet = packet


class XdpBatch:
    """Packets of one receive queue: valid until the program returns.  Every array has one entry for each packet."""

    def __init__(self, k: Kernel) -> None:
        self._k = k
        self._columns: dict[str, Integers] = {name: k.arrays["xdp_batch"][name][0] for name in COLUMNS}
        self.queue = self.count = 0

    def look_at(self, queue: int, count: int) -> None:
        """The next batch."""
        self.queue, self.count = queue, count

    def __len__(self) -> int:
        return self.count

    def _copy(self, name: str) -> Integers:
        return self._columns[name][: self.count].copy()

    @property
    def length(self) -> Integers:
        """Bytes of each packet, all its buffers together."""
        return self._copy("length")

    @property
    def linear(self) -> Integers:
        """Bytes in its first buffer, which can be read."""
        return self._copy("linear")

    @property
    def number(self) -> Integers:
        """Its number among all that arrived, from 0."""
        return self._copy("number")

    def _put(self, name: str, values: Any, what: str) -> int:
        """Fill a column with an integer for each packet, or put one for all into its first row: the step, 1 or 0."""
        made = np.asarray(values)
        if made.shape not in ((), (self.count,)) or made.dtype.kind not in "iub":
            raise UsageError(f"{what} an integer or an array of {self.count}, not {made.dtype} of shape {made.shape}")
        self._columns[name][: self.count if made.ndim else 1] = made
        return made.ndim

    def judge(self, verdicts: Any) -> None:
        """Give each packet its verdict."""
        if not self._put("verdict", verdicts, "a batch program answers"):
            column = self._columns["verdict"]
            column[: self.count] = column[0]

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _read(self, at: Offsets, size: int, missing: int | None) -> Integers:
        step = self._put("offset", at, "an offset is")
        short = xdp_batch_read(self._k, self.count, step, size, 0 if missing is None else missing)
        if short >= 0 and missing is None:
            offset, number, linear = (
                int(self._columns[c][i]) for c, i in (("offset", short * step), ("number", short), ("linear", short))
            )
            raise OutsideOfPackets(offset, number, linear)
        return self._copy("value")

    def u8(self, at: Offsets, missing: int | None = None) -> Integers:
        """One byte of each packet.  One that does not have it: ``missing`` instead, or a fault."""
        return self._read(at, 1, missing)

    def u16(self, at: Offsets, missing: int | None = None) -> Integers:
        """Two bytes of each packet, big-endian; see :meth:`u8`."""
        return self._read(at, 2, missing)

    def u32(self, at: Offsets, missing: int | None = None) -> Integers:
        """Four bytes of each packet, big-endian; see :meth:`u8`."""
        return self._read(at, 4, missing)

    # -- headers -----------------------------------------------------------------------------------------------------

    def ipv4(self) -> Integers:
        """Where the IPv4 headers are, or -1."""
        xdp_batch_ipv4(self._k, self.count)
        return self._copy("value")

    def ipv6(self) -> Integers:
        """Where the IPv6 headers are, or -1."""
        xdp_batch_ipv6(self._k, self.count)
        return self._copy("value")

    def transport(self, protocol: int, size: int) -> Integers:
        """Where headers of ``size`` bytes of that IP protocol are, or -1; none in fragments behind the first."""
        xdp_batch_transport(self._k, self.count, protocol, size)
        return self._copy("value")

    def udp(self) -> Integers:
        """Where the UDP headers are, or -1."""
        return self.transport(IPPROTO_UDP, 8)

    def tcp(self) -> Integers:
        """Where the TCP headers are, or -1."""
        return self.transport(IPPROTO_TCP, 20)
