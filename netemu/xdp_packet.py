"""A packet as an XDP program in Python sees it: its bytes, where its headers are, and ways to move its bounds.

Offsets count from the first byte of the packet; bytes are big-endian.  Only what lies in the packet's first buffer can
be read and written, as in the kernel; anything else is a fault.  Where a header is not there, whole, the parsing
methods answer -1 and raise nothing.
"""

from __future__ import annotations

from typing import Any

from .engine.guest import GuestFault, guest_class, note, settled
from .engine.layout import Kernel
from .net.redirect import bpf_redirect, bpf_redirect_map
from .net.xdp import bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail
from .net.xdp_guest import READ_OUTSIDE
from .net.xdp_headers import (
    ETH_P_8021AD,
    ETH_P_8021Q,
    IPPROTO_TCP,
    IPPROTO_UDP,
    ethertype_at,
    ipv4_at,
    ipv6_at,
    transport_at,
)


class OutsideOfPacket(GuestFault, IndexError):
    """Bytes that are not in the packet."""


@guest_class(
    "k",
    "cpu",
    "row",
    renew="_moved",
    memory=lambda packet: packet.k.memory,
    data=lambda packet: packet.k.xdp_buff[packet.row].data,
    data_end=lambda packet: packet.k.xdp_buff[packet.row].data_end,
)
class XdpPacket:
    """What a program gets.  ``cpu`` is the one it runs on."""

    __slots__ = ("cpu", "data", "data_end", "k", "memory", "row")

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.cpu: int = 0
        self.row: int = 0
        self.data: int = 0
        self.data_end: int = 0
        self.memory: Any = k.arrays["memory"].data

    # -- what it is --------------------------------------------------------------------------------------------------

    def length(self) -> int:
        """Bytes of the packet, all its buffers together."""
        return self.data_end - self.data + self.k.xdp_buff[self.row].frags_size

    def linear(self) -> int:
        """Bytes in its first buffer, which can be read and written."""
        return self.data_end - self.data

    def number(self) -> int:
        """Its number among all that arrived, from 0."""
        return self.k.xdp_buff[self.row].packet

    def queue(self) -> int:
        """The device's receive queue that it came in by."""
        return self.k.rxq[self.k.xdp_buff[self.row].rxq].index

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _at(self, at: int, count: int) -> int:
        """Where the bytes are in memory; a fault unless all of them are in the packet."""
        at = settled(at)
        if at < 0 or at > self.data_end - self.data - count:
            note(READ_OUTSIDE, at)
            raise OutsideOfPacket
        return self.data + at

    def _u16(self, start: int) -> int:
        return self.memory[start] * 256 + self.memory[start + 1]

    def _set_u16(self, start: int, value: int) -> None:
        self.memory[start] = (value >> 8) & 255
        self.memory[start + 1] = value & 255

    def u8(self, at: int) -> int:
        """One byte."""
        return self.memory[self._at(at, 1)] + 0

    def u16(self, at: int) -> int:
        """Two bytes."""
        return self._u16(self._at(at, 2))

    def u32(self, at: int) -> int:
        """Four bytes."""
        start = self._at(at, 4)
        return self._u16(start) * 65536 + self._u16(start + 2)

    def u48(self, at: int) -> int:
        """Six bytes, such as a hardware address."""
        start = self._at(at, 6)
        return (self._u16(start) * 65536 + self._u16(start + 2)) * 65536 + self._u16(start + 4)

    def set_u8(self, at: int, value: int) -> None:
        """Write one byte."""
        self.memory[self._at(at, 1)] = value & 255

    def set_u16(self, at: int, value: int) -> None:
        """Write two bytes."""
        self._set_u16(self._at(at, 2), value)

    def set_u32(self, at: int, value: int) -> None:
        """Write four bytes."""
        start = self._at(at, 4)
        self._set_u16(start, value >> 16)
        self._set_u16(start + 2, value)

    def set_u48(self, at: int, value: int) -> None:
        """Write six bytes."""
        start = self._at(at, 6)
        self._set_u16(start, value >> 32)
        self._set_u16(start + 2, value >> 16)
        self._set_u16(start + 4, value)

    # -- headers -----------------------------------------------------------------------------------------------------

    def ethertype(self) -> int:
        """The EtherType behind VLAN tags, or -1."""
        at = ethertype_at(self.k, self.data, self.data_end)
        return -1 if at < 0 else self.u16(at)

    def vlan(self) -> int:
        """The VLAN of the outermost tag, or -1."""
        if self.linear() < 18:
            return -1
        kind = self.u16(12)
        return self.u16(14) & 0xFFF if kind in (ETH_P_8021Q, ETH_P_8021AD) else -1

    def ipv4(self) -> int:
        """Where the IPv4 header is, which is there with its options, or -1."""
        return ipv4_at(self.k, self.data, self.data_end)

    def ipv6(self) -> int:
        """Where the IPv6 header is, or -1."""
        return ipv6_at(self.k, self.data, self.data_end)

    def transport(self, protocol: int, size: int) -> int:
        """Where a header of ``size`` bytes of that IP protocol is, or -1; none in fragments behind the first.

        IPv6 extension headers are not looked behind.
        """
        return transport_at(self.k, self.data, self.data_end, protocol, size)

    def udp(self) -> int:
        """Where the UDP header is, or -1; its ports are ``u16(udp)`` and ``u16(udp + 2)``."""
        return transport_at(self.k, self.data, self.data_end, IPPROTO_UDP, 8)

    def tcp(self) -> int:
        """Where the TCP header is, or -1."""
        return transport_at(self.k, self.data, self.data_end, IPPROTO_TCP, 20)

    # -- bounds and redirect -----------------------------------------------------------------------------------------

    def _moved(self) -> None:
        """Its bounds may have changed."""
        self.data = self.k.xdp_buff[self.row].data
        self.data_end = self.k.xdp_buff[self.row].data_end

    def adjust_head(self, offset: int) -> int:
        """``bpf_xdp_adjust_head``: 0 or a negative error number."""
        result = bpf_xdp_adjust_head(self.k, self.cpu, self.row, offset)
        self._moved()
        return result

    def adjust_tail(self, offset: int) -> int:
        """``bpf_xdp_adjust_tail``: 0 or a negative error number."""
        result = bpf_xdp_adjust_tail(self.k, self.cpu, self.row, offset)
        self._moved()
        return result

    def adjust_meta(self, offset: int) -> int:
        """``bpf_xdp_adjust_meta``: 0 or a negative error number."""
        return bpf_xdp_adjust_meta(self.k, self.cpu, self.row, offset)

    def redirect(self, ifindex: int) -> int:
        """``bpf_redirect``: the verdict that sends the packet out of device number ``ifindex - 1``."""
        return bpf_redirect(self.k, self.cpu, ifindex, 0)

    def redirect_map(self, number: int, key: int, flags: int) -> int:
        """``bpf_redirect_map``: the verdict that sends it by ``key`` of the redirect map with that number."""
        return bpf_redirect_map(self.k, self.cpu, number, key, flags)
