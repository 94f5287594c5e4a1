"""A TAP device: an interface of this host whose other end is here.

Source: Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from ..errors import NetemuError, UsageError
from .host_interface import HostInterface

_CLONE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFNAMSIZ = 16
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFMTU = 0x8913, 0x8914, 0x8922
_IFF_UP = 0x1


class Tap(HostInterface):
    """An interface that is made here and gone after :meth:`aclose`; what programs send on it can be received.

    It may be moved to another network namespace.  ``name`` may hold ``%d`` for the next free number; the attribute is
    the name that it got.  ``unsent``: frames that the host did not take because the interface was down.  Raises
    NetemuError, which says what is missing: the right to make it (CAP_NET_ADMIN), or the kernel's tun module.
    """

    def __init__(self, name: str = "netemu%d", *, mtu: int = 1500) -> None:
        if not 0 < len(name.encode()) < _IFNAMSIZ or "/" in name or any(c.isspace() for c in name):
            raise UsageError(f"{name!r} is no interface name: those have 1 to {_IFNAMSIZ - 1} bytes, no blank and no /")
        super().__init__()
        self.unsent = 0
        self._fd = _open(name)
        try:
            made = fcntl.ioctl(self._fd, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _IFF_TAP | _IFF_NO_PI))
            self.name = made[:_IFNAMSIZ].rstrip(b"\0").decode()
            _bring_up(self.name, mtu)
        except OSError as error:
            os.close(self._fd)
            raise _explained(name, error) from error

    async def aclose(self) -> None:
        """Take the interface away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _descriptor(self) -> int:
        return self._fd

    def _take(self, room: memoryview) -> int:
        return os.readv(self._fd, [room])

    def _give(self, frame: memoryview) -> bool:
        try:
            os.write(self._fd, frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EINVAL):  # the interface is down; too short for a header
                raise
            self.unsent += 1
        return True


def _open(name: str) -> int:
    try:
        return os.open(_CLONE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _explained(name, error) from error


def _explained(name: str, error: OSError) -> NetemuError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return NetemuError(
            f"interface {name} cannot be made: that takes root (CAP_NET_ADMIN); run it with sudo, "
            "or in a namespace of your own: unshare -rn"
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return NetemuError(
            f"interface {name} cannot be made: this host has no {_CLONE}; load the tun module, "
            "or give the container this device"
        )
    if error.errno == errno.EBUSY:
        return NetemuError(f"interface {name} cannot be made: there is one of this name; choose another")
    return NetemuError(f"interface {name} cannot be made: {error.strerror}")


def _bring_up(name: str, mtu: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si12x", name.encode(), mtu))
        (flags,) = struct.unpack_from(
            "H", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16s16x", name.encode())), 16
        )
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | _IFF_UP))
