"""All packets that wait in a receive queue, as numpy arrays, for XDP programs under ``@netemu.xdp(batch=True)``.

A batch is formed when the driver comes to a packet that has no verdict yet: it is that packet and those behind it that
have completed by then.  The program sees them all at once; each gets its verdict when the driver comes to it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .engine.guest import GuestFault
from .engine.layout import Kernel
from .errors import UsageError
from .xdp_packet import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPPROTO_UDP, MOST_TAGS

Integers = npt.NDArray[np.int64]
Offsets = int | Integers


class OutsideOfPackets(GuestFault, IndexError):
    """Bytes that are not in one of the packets; ``packet`` is its number."""

    def __init__(self, at: int, packet: int, linear: int) -> None:
        super().__init__(f"byte {at} is outside of the packet, which has {linear}")
        self.packet = packet


class XdpBatch:
    """Packets of one receive queue; every array has one entry for each.

    ``length``: bytes; ``linear``: those in the first buffer, which can be read; ``number``: of the packet among all
    that arrived.
    """

    def __init__(self, k: Kernel, rxq: int) -> None:
        q = k.rxq[rxq]
        base, mask, head, tail = q.cq_base, q.cq_mask, q.batched, q.cq_tail
        start, count = head & mask, tail - head
        rows = k.arrays["cqe"]
        if start + count <= mask + 1:
            self._where: Any = slice(base + start, base + start + count)
        else:
            self._where = base + (np.arange(head, tail) & mask)
        self._rows = rows
        self._memory = k.arrays["memory"]
        self.count = count
        self.queue: int = q.index
        self.linear: npt.NDArray[np.int32] = self._rows["linear"][self._where]
        self._start: Integers = self._rows["address"][self._where]
        self._shortest = int(self.linear.min())

    def __len__(self) -> int:
        return int(self.count)

    @property
    def length(self) -> npt.NDArray[np.int32]:
        """Bytes of each packet, all its buffers together."""
        lengths: npt.NDArray[np.int32] = self._rows["length"][self._where]
        return lengths

    @property
    def number(self) -> Integers:
        """Numbers of the packets."""
        numbers: Integers = self._rows["packet"][self._where]
        return numbers

    def judge(self, verdicts: Any) -> None:
        """Give each packet its verdict."""
        made = np.asarray(verdicts)
        if made.shape not in ((), (self.count,)) or made.dtype.kind not in "iub":
            raise UsageError(
                f"a batch program answers an integer or an array of {self.count} verdicts, "
                f"not {made.dtype} of shape {made.shape}"
            )
        self._rows["verdict"][self._where] = made

    # -- bytes -------------------------------------------------------------------------------------------------------

    def holds(self, end: Offsets) -> npt.NDArray[np.bool_]:
        """Which packets have ``end`` bytes or more that can be read."""
        inside: npt.NDArray[np.bool_] = self.linear >= end
        return inside

    def _read(self, at: Offsets, count: int, missing: int | None) -> Integers:
        memory = self._memory
        where = self._start + at
        inside = None
        if not (isinstance(at, int) and at >= 0 and at + count <= self._shortest):
            inside = (np.asarray(at) >= 0) & self.holds(at + count)
            if inside.all():
                inside = None
            elif missing is None:
                first = int(np.argmin(inside))
                offset = int(np.broadcast_to(at, self.count)[first])
                raise OutsideOfPackets(offset, int(self.number[first]), int(self.linear[first]))
            else:
                where = np.where(inside, where, self._start)
        value: Integers = memory.take(where).astype(np.int64)
        for i in range(1, count):
            value = value << 8 | memory.take(where + i)
        return value if inside is None or missing is None else np.where(inside, value, missing)

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

    @cached_property
    def _network(self) -> tuple[Integers, Integers]:
        """Where the headers behind EtherType and VLAN tags are, and that EtherType; -1: the packet ends before."""
        kind, at = self.u16(12, -1), np.full(self.count, 14, np.int64)
        for _ in range(MOST_TAGS):
            tagged = (kind == ETH_P_8021Q) | (kind == ETH_P_8021AD)
            if not tagged.any():
                break
            at += 4 * tagged
            kind = np.where(tagged, self.u16(at - 2, -1), kind)
        return at, kind

    def ipv4(self) -> Integers:
        """Where the IPv4 headers are, or -1."""
        at, kind = self._network
        first = self.u8(at, 0)
        whole = (kind == ETH_P_IP) & (first >= 0x45) & (first <= 0x4F) & self.holds(at + np.maximum(first & 15, 5) * 4)
        return np.where(whole, at, -1)

    def ipv6(self) -> Integers:
        """Where the IPv6 headers are, or -1."""
        at, kind = self._network
        return np.where((kind == ETH_P_IPV6) & (self.u8(at, 0) >> 4 == 6) & self.holds(at + 40), at, -1)

    def transport(self, protocol: int, size: int) -> Integers:
        """Where headers of ``size`` bytes of that IP protocol are, or -1; none in fragments behind the first."""
        ip = self.ipv4()
        of_it = (ip >= 0) & (self.u8(ip + 9, -1) == protocol) & (self.u16(ip + 6, 0) & 0x1FFF == 0)
        at = np.where(of_it, ip + (self.u8(ip, 0) & 15) * 4, -1)
        if (ip < 0).any():
            six = self.ipv6()
            at = np.where((six >= 0) & (self.u8(six + 6, -1) == protocol), six + 40, at)
        return np.where((at >= 0) & self.holds(at + size), at, -1)

    def udp(self) -> Integers:
        """Where the UDP headers are, or -1."""
        return self.transport(IPPROTO_UDP, 8)

    def tcp(self) -> Integers:
        """Where the TCP headers are, or -1."""
        return self.transport(IPPROTO_TCP, 20)
