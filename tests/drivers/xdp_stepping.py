"""One emulated device with an XDP program, driven operation by operation; and programs to attach."""

from __future__ import annotations

from typing import Any

from netemu import NetDevice
from netemu.checks.conservation import take_stock
from netemu.engine.kernel import kernel_function
from netemu.engine.layout import Kernel
from netemu.mm.layout import PAGE_SIZE
from netemu.net.redirect import bpf_redirect, bpf_redirect_map, xdp_do_flush
from netemu.net.xdp import bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail
from netemu.net.xdp_frame import xdp_flush_frame_bulk
from netemu.net.xdp_layout import XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX
from tests.drivers.stepping import Stepper


class Program:
    """A kernel function as a program that looks at the bytes of packets."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def attach(self, device: NetDevice) -> tuple[int, bool]:
        return self.function.address(device.machine.k), True


class Xdp(Stepper):
    """A device with a program.  Bytes are kept."""

    def __init__(self, driver: str, era: str, program: Any, **options: Any) -> None:
        super().__init__(driver, era, contents=True, xdp=program, **options)
        self.allocated = self.pages_allocated()

    def pages_allocated(self) -> int:
        return int(self.k.arrays["zone"]["allocated"].sum())

    def process(self, frame: int | bytes) -> None:
        """A frame arrives and is processed, redirects are flushed, and buffers are posted."""
        assert self.arrive(frame) == 0
        while self.k.rxq[self.rxq].cq_head != self.k.rxq[self.rxq].cq_tail:
            assert self.poll() == 1
        with self.machine.softirq():
            xdp_do_flush(self.k, 0)
        self.refill()

    def rings(self, device: NetDevice | None = None) -> list[int]:
        """Transmit queues that the first NAPI of a device cleans."""
        found = []
        row = (device or self.device).nic.txq(0)
        while row >= 0:
            found.append(row)
            row = self.k.txq[row].next - 1
        return found

    def posted(self, device: NetDevice | None = None) -> list[bytes]:
        """The XDP frames that wait to be transmitted by a device, oldest first."""
        frames = []
        for ring in self.rings(device):
            q = self.k.txq[ring]
            for at in range(q.head, q.tail):
                row = self.k.txd[q.base + (at & q.mask)]
                if row.kind:
                    frames.append(self.bytes_of(row.page))
        return frames

    def bytes_of(self, frame: int) -> bytes:
        """The bytes of a frame, from wherever they lie."""
        f = self.k.xdp_frame[frame]
        pieces = [(f.data, f.len)]
        pieces += [(f.frag_page[i] * PAGE_SIZE + f.frag_offset[i], f.frag_size[i]) for i in range(f.nr_frags)]
        memory = self.k.arrays["memory"]
        return b"".join(memory[at : at + size].tobytes() for at, size in pieces)

    def complete(self, device: NetDevice | None = None) -> int:
        """The wire has sent everything: clean it.  How many transmissions that were."""
        cleaned = 0
        made = device or self.device
        with self.machine.softirq():
            for ring in self.rings(device):
                while self.k.txq[ring].head != self.k.txq[ring].tail:
                    made.driver.tx_poll_one(self.k, 0, ring, 64)
                    cleaned += 1
            xdp_flush_frame_bulk(self.k, 0)
        self.machine.check()
        return cleaned

    def verdicts(self) -> dict[str, int]:
        """Verdicts that were given at all."""
        return {name: n for name, n in self.device.xdp_verdicts().items() if n}

    def assert_balance(self) -> None:
        """Every page in use has a holder, and no page is lost."""
        held = [page for device in self.machine.devices if device.is_open for page in device.pages_held()]
        books = take_stock(self.k, held)
        assert (books.leaks, books.errors) == ([], [])


def frame_of(length: int) -> bytes:
    """A frame whose bytes tell where they belong."""
    return bytes((i * 7 + i // 256) & 0xFF for i in range(length))


# The program is told what to do by the first bytes of the packet: how far to move what, in steps of 4 bytes.


@kernel_function(traced=False)
def wanted(k: Kernel, xdp: int) -> int:
    """How far to move, from the bytes 0..1 of the packet, in whichever buffer it begins: biased by 32768."""
    x = k.xdp_buff[xdp]
    at = x.data
    if x.data == x.data_end:
        at = x.frag_page[0] * PAGE_SIZE + x.frag_offset[0]
    return k.memory[at] * 256 + k.memory[at + 1] - 32768


def asking(length: int, offset: int) -> bytes:
    """A frame for the programs below that asks to move by ``offset`` bytes."""
    value = offset + 32768
    return bytes([value >> 8, value & 0xFF]) + frame_of(length)[2:]


@kernel_function(traced=False, entry=True)
def head_pass(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Move the start of the packet and let it through."""
    return XDP_ABORTED if bpf_xdp_adjust_head(k, cpu, xdp, wanted(k, xdp)) else XDP_PASS


@kernel_function(traced=False, entry=True)
def head_tx(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Move the start of the packet and send it back."""
    return XDP_ABORTED if bpf_xdp_adjust_head(k, cpu, xdp, wanted(k, xdp)) else XDP_TX


@kernel_function(traced=False, entry=True)
def tail_pass(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Move the end of the packet and let it through."""
    return XDP_ABORTED if bpf_xdp_adjust_tail(k, cpu, xdp, wanted(k, xdp)) else XDP_PASS


@kernel_function(traced=False, entry=True)
def tail_tx(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Move the end of the packet and send it back."""
    return XDP_ABORTED if bpf_xdp_adjust_tail(k, cpu, xdp, wanted(k, xdp)) else XDP_TX


@kernel_function(traced=False, entry=True)
def tail_drop(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Move the end of the packet and drop it."""
    return XDP_ABORTED if bpf_xdp_adjust_tail(k, cpu, xdp, wanted(k, xdp)) else XDP_DROP


@kernel_function(traced=False, entry=True)
def meta_pass(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Make room for metadata and let the packet through."""
    return XDP_ABORTED if bpf_xdp_adjust_meta(k, cpu, xdp, wanted(k, xdp)) else XDP_PASS


@kernel_function(traced=False, entry=True)
def seven(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """A verdict that there is not."""
    return 7


@kernel_function(traced=False, entry=True)
def to_device(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Redirect to the second device."""
    return bpf_redirect(k, cpu, 2, 0)


@kernel_function(traced=False, entry=True)
def to_map(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Redirect by map 0 at key 1."""
    return bpf_redirect_map(k, cpu, 0, 1, 0)


@kernel_function(traced=False, entry=True)
def to_map_or_pass(k: Kernel, cpu: int, rxq: int, xdp: int) -> int:
    """Redirect by map 0 at key 1; where there is none, let the packet through."""
    return bpf_redirect_map(k, cpu, 0, 1, XDP_PASS)
