"""A packet socket (AF_PACKET): the traffic of an interface that this host has.

Source: packet(7), Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import errno
import socket
import struct

from ..errors import NetemuError
from .host_interface import LARGEST_FRAME, HostInterface

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
_SO_RCVBUFFORCE = 33

BUFFER_BYTES = 8 << 20
"""What the kernel may keep of frames (as it counts them) that have not been received yet."""


class PacketSocket(HostInterface):
    """What arrives at ``interface`` can be received, and frames be sent on it.

    ``promiscuous``: also what is addressed to others.  The host's own stack still sees everything.  Switch off generic
    receive offload (``ethtool -K IFACE gro off``) to get frames as they were on the wire.  Raises NetemuError.
    """

    def __init__(self, interface: str, *, promiscuous: bool = True) -> None:
        super().__init__()
        self.name = interface
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        except PermissionError as error:
            raise NetemuError(
                f"interface {interface} cannot be listened to: that takes root (CAP_NET_RAW); run it with sudo"
            ) from error
        try:
            self._socket.setblocking(False)
            _enlarge(self._socket)
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

    async def aclose(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _descriptor(self) -> int:
        return self._socket.fileno()

    def _take(self, room: memoryview) -> int:
        length, ancillary, _flags, _address = self._socket.recvmsg_into(
            [room[: LARGEST_FRAME - _VLAN_TAG]], socket.CMSG_SPACE(_AUXDATA.size)
        )
        tag = _vlan_tag(ancillary)
        if tag:  # the kernel has taken it out of the frame
            rest = bytes(room[_MAC_ADDRESSES:length])
            length += len(tag)
            room[_MAC_ADDRESSES:length] = tag + rest
        return length

    def _give(self, frame: memoryview) -> bool:
        try:
            self._socket.send(frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            raise
        return True


def _enlarge(listening: socket.socket) -> None:
    """A large receive buffer; beyond the host's limit (net.core.rmem_max) that takes CAP_NET_ADMIN."""
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


def _vlan_tag(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The tag that the kernel keeps beside the frame, or nothing."""
    for level, kind, data in ancillary:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _len, _snaplen, _mac, _net, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _TP_STATUS_VLAN_VALID:
                return struct.pack("!HH", tpid if status & _TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
    return b""
