"""Redirect maps as Python holds them: what a program's ``bpf_redirect_map`` looks keys up in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .errors import UsageError
from .net.xdp_layout import TO_CPUMAP, TO_DEVMAP, TO_XSKMAP, XSK_CHUNK
from .net.xdp_setup import create_cpumap_entry, create_redirect_map, create_socket

if TYPE_CHECKING:
    from .machine import Machine
    from .netdevice import NetDevice

LARGEST_MAP = 1 << 16
SOCKET_SLOTS = 1024


class _RedirectMap:
    """A map from keys 0 to ``size`` - 1; ``number`` is what ``bpf_redirect_map`` takes."""

    kind: int

    def __init__(self, machine: Machine, size: int) -> None:
        if not 1 <= size <= LARGEST_MAP:
            raise UsageError(f"a redirect map has 1 to {LARGEST_MAP} entries, not {size}")
        self.machine = machine
        self.size = size
        self.number = create_redirect_map(machine.k, self.kind, size)

    def _slot(self, key: int) -> int:
        if not 0 <= key < self.size:
            raise KeyError(key)
        base: int = self.machine.k.redirect_map[self.number].base
        return base + key

    def __contains__(self, key: int) -> bool:
        return 0 <= key < self.size and self.machine.k.redirect_slot[self._slot(key)] != 0

    def __delitem__(self, key: int) -> None:
        if key not in self:
            raise KeyError(key)
        self.machine.k.redirect_slot[self._slot(key)] = 0


class DevMap(_RedirectMap):
    """BPF_MAP_TYPE_DEVMAP: keys lead to devices of the machine."""

    kind = TO_DEVMAP

    def __setitem__(self, key: int, device: NetDevice) -> None:
        self.machine.k.redirect_slot[self._slot(key)] = device.number + 1


class CpuMapStatistics(NamedTuple):
    """What an entry of a cpumap did: frames put into its ring, dropped because it was full, and taken out."""

    enqueued: int
    drops: int
    processed: int


class CpuMap(_RedirectMap):
    """BPF_MAP_TYPE_CPUMAP: keys lead to kthreads on other CPUs, each with a ring in front of it."""

    kind = TO_CPUMAP

    def add(self, key: int, *, cpu: int, queue_size: int = 192) -> None:
        """A kthread on ``cpu`` behind ``key``, with a ring of ``queue_size`` frames."""
        slot = self._slot(key)
        if not 0 <= cpu < self.machine.cpus:
            raise UsageError(f"the machine has CPUs 0 to {self.machine.cpus - 1}, not {cpu}")
        self.machine.k.redirect_slot[slot] = create_cpumap_entry(self.machine.k, cpu, queue_size) + 1

    def statistics(self, key: int) -> CpuMapStatistics:
        """Counters of the entry behind ``key``."""
        if key not in self:
            raise KeyError(key)
        e = self.machine.k.cpumap_entry[self.machine.k.redirect_slot[self._slot(key)] - 1]
        return CpuMapStatistics(e.enqueued, e.drops, e.processed)


class Received(NamedTuple):
    """A packet that came to a socket.  ``data`` is None when contents are not kept."""

    packet: int
    rxq: int
    length: int
    data: bytes | None


class Socket:
    """A socket behind a key of an XSKMAP; packets are copied into it.  ``received`` keeps them, oldest first."""

    def __init__(self, machine: Machine, slots: int) -> None:
        if slots < 1 or slots & (slots - 1):
            raise UsageError(f"a socket has a power of two of slots, not {slots}")
        self.machine = machine
        self.received: deque[Received] = deque()
        self.row = create_socket(machine.k, slots)

    @property
    def drops(self) -> int:
        """Packets that found the ring full."""
        count: int = self.machine.k.xsk[self.row].drops
        return count

    def drain(self) -> None:
        """Move what is in the ring to ``received``."""
        k = self.machine.k
        s = k.xsk[self.row]
        data = k.arrays["xsk_data"]
        kept = bool(k.run[0].keep_contents)
        while s.head != s.tail:
            row = s.base + (s.head & s.mask)
            slot = k.xsk_slot[row]
            at = row * XSK_CHUNK
            content = data[at : at + slot.length].tobytes() if kept else None
            self.received.append(Received(slot.packet, slot.rxq, slot.length, content))
            s.head += 1


class XskMap(_RedirectMap):
    """BPF_MAP_TYPE_XSKMAP: keys lead to sockets that hand packets to Python."""

    kind = TO_XSKMAP

    def add(self, key: int, *, slots: int = SOCKET_SLOTS) -> Socket:
        """A socket behind ``key``."""
        slot = self._slot(key)
        socket = Socket(self.machine, slots)
        self.machine.sockets.append(socket)
        self.machine.k.redirect_slot[slot] = socket.row + 1
        return socket
