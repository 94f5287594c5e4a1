"""Helpers that Python answers: text, events, and tables of devices and routes that the user gives."""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arena import host
from .map_kinds import D_TYPE, EINVAL, ENODEV, HANDLE, MapType
from .map_routines import descriptor, reachable
from .routine import LOW32, signed, wrap

if TYPE_CHECKING:
    from .vm import VirtualMachine

MAX_EVENTS = 65536
MAX_TEXT = 1024
ETH_HLEN = 14
_CONVERSION = re.compile(r"%([-+ #0]*)(\d*)(?:\.\d+)?(hh|h|ll|l|z|)([diuxXcps%])")

# Results of fib_lookup and check_mtu (enum bpf_fib_lookup and BPF_MTU_CHK_RET_*).
FIB_SUCCESS, FIB_BLACKHOLE, FIB_UNREACHABLE, FIB_PROHIBIT, FIB_NOT_FWDED, FIB_FWD_DISABLED = range(6)
FIB_NO_NEIGH, FIB_FRAG_NEEDED = 7, 8
MTU_FITS, MTU_FRAG_NEEDED = 0, 1
AF_INET, AF_INET6 = 2, 10


@dataclass(frozen=True)
class Event:
    """What a program sent with ``bpf_perf_event_output``: its own bytes, then those of the packet it asked for."""

    map: str
    cpu: int
    data: bytes


@dataclass(frozen=True)
class Device:
    """A device as ``check_mtu`` and ``fib_lookup`` see it."""

    mtu: int = 1500
    mac: str = "00:00:00:00:00:00"


@dataclass(frozen=True)
class Route:
    """A route: packets for ``prefix`` leave through device ``ifindex`` to the neighbour with MAC address ``via_mac``.

    Without ``via_mac`` the neighbour is unknown, and a lookup says so.
    """

    prefix: str
    ifindex: int
    via_mac: str | None = None
    mtu: int = 0


class PythonHelpers:
    """Answers the helpers of one virtual machine that need more than its memory."""

    def __init__(self, vm: VirtualMachine) -> None:
        self.vm = vm
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.lost_events = 0
        self.on_text: Callable[[str], None] | None = None
        self.texts: deque[str] = deque(maxlen=MAX_EVENTS)
        self.devices: Mapping[int, Device] = {1: Device(mtu=65536)}
        self.routes: Sequence[Route] = ()
        self._answers = {
            6: self._trace_printk,
            25: self._perf_event_output,
            69: self._fib_lookup,
            163: self._check_mtu,
            177: self._trace_vprintk,
        }

    def __call__(self, number: int, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
        return wrap(self._answers[number](r1, r2, r3, r4, r5))

    def _allowed(self, address: int, size: int, *, write: bool = False) -> bool:
        state = self.vm.state
        return not state.strict or bool(reachable(state, address, size, int(write)))

    def _read(self, address: int, size: int) -> bytes:
        return self.vm.arena.read(address & self.vm.state.mask, size)

    # -- text ------------------------------------------------------------------------------------------------------

    def _trace_printk(self, text: int, size: int, r3: int, r4: int, r5: int) -> int:
        size &= LOW32
        if size > MAX_TEXT or not self._allowed(text, size):
            return -EINVAL
        return self._print(self._read(text, size), [r3, r4, r5])

    def _trace_vprintk(self, text: int, size: int, data: int, length: int, _5: int) -> int:
        size, length = size & LOW32, length & LOW32
        if size > MAX_TEXT or length > 8 * 12 or length % 8:
            return -EINVAL
        if not (self._allowed(text, size) and self._allowed(data, length)):
            return 0
        raw = self._read(data, length)
        words = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, length, 8)]
        return self._print(self._read(text, size), words)

    def _print(self, text: bytes, words: list[int]) -> int:
        waiting = iter(words)

        def shown(match: re.Match[str]) -> str:
            flags, width, length, kind = match.groups()
            if kind == "%":
                return "%"
            word = next(waiting, 0)
            if kind == "s":
                return self._read(word, MAX_TEXT).split(b"\0")[0].decode(errors="replace")
            bits = {"hh": 8, "h": 16, "": 32}.get(length, 64) if kind != "p" else 64
            word &= (1 << bits) - 1
            if kind in "di" and word >> bits - 1:
                word -= 1 << bits
            if kind == "p":
                return f"{word:016x}"
            return f"%{flags}{width}{kind}" % word

        line = _CONVERSION.sub(shown, text.split(b"\0")[0].decode(errors="replace"))
        self.texts.append(line)
        if self.on_text is not None:
            self.on_text(line)
        return len(line) + 1

    # -- events ----------------------------------------------------------------------------------------------------

    def _perf_event_output(self, _ctx: int, handle: int, flags: int, data: int, size: int) -> int:
        state = self.vm.state
        place = descriptor(state, handle)
        if place == 0 or host.load64(place + D_TYPE) != MapType.PERF_EVENT_ARRAY:
            return -EINVAL
        if size > 0xFFFF or flags >> 52 or not self._allowed(data, size):
            return -EINVAL
        captured = flags >> 32 & 0xFFFFF
        if captured > state.data_end - state.data:
            return -14  # EFAULT
        wanted = flags & LOW32
        cpu = state.cpu if wanted == LOW32 else wanted
        if cpu != state.cpu:
            return -95  # EOPNOTSUPP
        if len(self.events) == MAX_EVENTS:
            self.lost_events += 1
        payload = self._read(data, size) + self._read(state.data, captured)
        self.events.append(Event(self.vm.map_names[handle ^ HANDLE], cpu, payload))
        return 0

    # -- devices and routes ----------------------------------------------------------------------------------------

    def _check_mtu(self, _ctx: int, ifindex: int, length_at: int, difference: int, flags: int) -> int:
        if flags or not self._allowed(length_at, 4, write=True):
            return -EINVAL
        state = self.vm.state
        device = self.devices.get(ifindex & LOW32 or state.ifindex)
        if device is None:
            return -ENODEV
        given = state.load32(length_at)
        length = given + ETH_HLEN if given else state.data_end - state.data
        difference = signed((difference & LOW32 ^ 0x80000000) - 0x80000000)
        state.store32(length_at, device.mtu)
        return MTU_FITS if length + difference <= device.mtu + ETH_HLEN else MTU_FRAG_NEEDED

    def _fib_lookup(self, _ctx: int, parameters: int, size: int, _flags: int, _5: int) -> int:
        if signed(size) < 64 or not self._allowed(parameters, 64, write=True):
            return -EINVAL
        state = self.vm.state
        family = state.load8(parameters)
        if family not in (AF_INET, AF_INET6):
            return -97  # EAFNOSUPPORT
        length = 4 if family == AF_INET else 16
        address = ipaddress.ip_address(self._read(parameters + 32, length))
        route = self._route(address)
        if route is None:
            return FIB_NOT_FWDED
        device = self.devices.get(route.ifindex, Device())
        mtu = route.mtu or device.mtu
        if state.load16(parameters + 6) > mtu:
            state.store16(parameters + 6, mtu)
            return FIB_FRAG_NEEDED
        state.store32(parameters + 8, route.ifindex)
        if route.via_mac is None:
            return FIB_NO_NEIGH
        macs = bytes.fromhex((device.mac + route.via_mac).replace(":", ""))  # source, then destination
        self.vm.arena.write((parameters & state.mask) + 52, macs)
        return FIB_SUCCESS

    def _route(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Route | None:
        best, longest = None, -1
        for route in self.routes:
            network = ipaddress.ip_network(route.prefix)
            if network.version == address.version and address in network and network.prefixlen > longest:
                best, longest = route, network.prefixlen
        return best
