"""A packet socket (AF_PACKET): the traffic of an interface that this host has.

Source: packet(7), Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import errno
import socket
import struct

import trio

from ..errors import NetemuError
from ..pcap import Batch
from .frames import Frames

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_PACKET_MR_PROMISC = 1
_TP_STATUS_VLAN_VALID = 1 << 4
_TP_STATUS_VLAN_TPID_VALID = 1 << 6
_AUXDATA = struct.Struct("=IIIHHHH")
_MAC_ADDRESSES = 12
_VLAN_TAG = 4

LARGEST_FRAME = 65_536


class PacketSocket:
    """What arrives at ``interface`` can be received, and frames be sent on it.

    ``promiscuous``: also what is addressed to others.  The host's own stack still sees everything.  Switch off generic
    receive offload (``ethtool -K IFACE gro off``) to get frames as they were on the wire.  Raises NetemuError.
    """

    def __init__(self, interface: str, *, promiscuous: bool = True) -> None:
        self.name = interface
        self._sent = 0
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        except PermissionError as error:
            raise NetemuError(
                f"interface {interface} cannot be listened to: that takes root (CAP_NET_RAW); run it with sudo"
            ) from error
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            self._socket.bind((interface, _ETH_P_ALL))
            if promiscuous:
                membership = struct.pack("iHH8x", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0)
                self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        except OSError as error:
            self._socket.close()
            what = "there is no such interface" if error.errno == errno.ENODEV else error.strerror
            raise NetemuError(f"interface {interface} cannot be listened to: {what}") from error

    async def receive_into(self, batch: Batch) -> int:
        """Wait for frames; never at an end."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            count = self._read(batch)
            if count:
                return count

    async def send(self, frames: Frames) -> None:
        """Send ``frames`` out of the interface."""
        view = frames.data.data
        for offset, length in frames.records[["offset", "caplen"]].tolist()[self._sent :]:
            while not self._write(view[offset : offset + length]):
                await trio.lowlevel.wait_writable(self._socket)
            self._sent += 1
        self._sent = 0

    async def aclose(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _read(self, batch: Batch) -> int:
        view = batch.data.data
        used = count = 0
        while count < len(batch.records) and used + LARGEST_FRAME + _VLAN_TAG <= len(view):
            try:
                length, ancillary, _flags, _address = self._socket.recvmsg_into(
                    [view[used : used + LARGEST_FRAME]], socket.CMSG_SPACE(_AUXDATA.size)
                )
            except BlockingIOError:
                break
            tag = _vlan_tag(ancillary)
            if tag:  # the kernel has taken it out of the frame
                rest = bytes(view[used + _MAC_ADDRESSES : used + length])
                length += len(tag)
                view[used + _MAC_ADDRESSES : used + length] = tag + rest
            batch.records[count] = (0, used, length, length, 0, 0)
            used += length
            count += 1
        batch.count = count
        return count

    def _write(self, frame: memoryview) -> bool:
        """False when it has to be tried again."""
        try:
            self._socket.send(frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            raise
        return True


def _vlan_tag(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The tag that the kernel keeps beside the frame, or nothing."""
    for level, kind, data in ancillary:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _len, _snaplen, _mac, _net, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _TP_STATUS_VLAN_VALID:
                return struct.pack("!HH", tpid if status & _TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
    return b""
