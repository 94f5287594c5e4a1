"""Generated traffic: packets of chosen sizes and flows as a source for replays, tens of millions a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from .errors import UsageError
from .net.rss import INDIRECTION, toeplitz_table
from .pcap import Batch

FCS = 4
"""Bytes of the frame check sequence, which sizes on the wire count and captures leave out."""
SMALLEST = 64
SNAPPED = 64
"""Bytes of a packet that are generated: its headers; the rest of a longer one is as if the capture had left it out."""
LARGEST = 65535
MOST_FLOWS = 1 << 16

ENDS = 12
"""Bytes of the addresses and ports of a flow."""

_BETWEEN = bytes([198, 18, 0, 0, 198, 19, 0, 1, 0, 0, 0, 9])
"""From 198.18.0.0/16 to port 9 of 198.19.0.1, in the network that RFC 2544 sets aside for benchmarks."""


class GeneratedTraffic:
    """``packets`` UDP packets of ``flows`` flows; sizes in bytes on the wire, frame check sequence included.

    ``mix`` gives the weight of each size; sizes are drawn at random, and flows too, or in turn if ``in_turn``.
    ``queues``: choose the flows so that receive-side scaling spreads them evenly over that many queues; 0: as they
    come.  The same ``seed`` gives the same packets on every machine.  Raises UsageError.
    """

    size: int | None = None

    def __init__(
        self,
        mix: Mapping[int, int],
        *,
        packets: int,
        flows: int = 1,
        in_turn: bool = False,
        queues: int = 0,
        seed: int = 1,
    ) -> None:
        if not mix or any(not SMALLEST <= size <= LARGEST for size in mix) or any(w < 1 for w in mix.values()):
            raise UsageError(f"packet sizes are {SMALLEST} to {LARGEST} bytes with weights from 1, not {dict(mix)}")
        if not 1 <= flows <= MOST_FLOWS:
            raise UsageError(f"traffic has 1 to {MOST_FLOWS} flows, not {flows}")
        if packets < 1:
            raise UsageError(f"traffic has at least 1 packet, not {packets}")
        self._packets = packets
        self._in_turn = in_turn
        self._seed = seed
        lengths = [size - FCS for size in sorted(mix)]
        self._lengths = np.array(lengths, np.int32)
        self._bounds = np.cumsum([mix[size] for size in sorted(mix)])
        self.rewind()
        ends = _ends(flows, queues, self._draw)
        self._frames = np.concatenate([_frames(length, ends) for length in lengths])
        self.rewind()

    def rewind(self) -> None:
        """Start again with the first packet."""
        self._done = 0
        self._random = np.random.PCG64(self._seed)
        self.offset = 0

    def close(self) -> None:
        """Nothing is open."""

    def _draw(self, count: int, below: int) -> npt.NDArray[np.int64]:
        """``count`` numbers from 0 to ``below`` - 1, from the generator's raw stream, which never changes."""
        raw = self._random.random_raw(count) >> np.uint64(32)
        return (raw * np.uint64(below) >> np.uint64(32)).astype(np.int64)

    def read_into(self, batch: Batch) -> int:
        """Fill the batch; 0 at the end."""
        count = min(len(batch.records), len(batch.data) // SNAPPED, self._packets - self._done)
        if count == 0:
            batch.count = 0
            return 0
        kinds, flows = len(self._lengths), len(self._frames) // len(self._lengths)
        if kinds == 1:
            kind = np.zeros(count, np.int64)
        else:
            kind = np.searchsorted(self._bounds, self._draw(count, int(self._bounds[-1])), side="right")
        if flows == 1:
            flow = np.zeros(count, np.int64)
        elif self._in_turn:
            flow = (self._done + np.arange(count)) % flows
        else:
            flow = self._draw(count, flows)
        frames = batch.data[: count * SNAPPED].reshape(count, SNAPPED)
        np.take(self._frames, kind * flows + flow, axis=0, out=frames, mode="clip")
        records = batch.records[:count]
        length = self._lengths[kind]
        records["ts_ns"] = 0
        records["offset"] = np.arange(count) * SNAPPED
        records["caplen"] = np.minimum(length, SNAPPED)
        records["wirelen"] = length
        records["interface"] = 0
        self._done += count
        self.offset += int(length.sum())
        batch.count = count
        return count


def _frames(length: int, ends: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The first bytes of one frame of ``length`` bytes for each flow: Ethernet, IPv4, UDP."""
    frames = np.zeros((len(ends), SNAPPED), np.uint8)
    ip_length = length - 14
    header = bytes.fromhex("020000000002 020000000001 0800 4500") + ip_length.to_bytes(2, "big")
    frames[:, :18] = np.frombuffer(header, np.uint8)
    frames[:, 22:24] = (64, 17)  # time to live, UDP
    frames[:, 26:38] = ends
    frames[:, 38:40] = np.frombuffer((ip_length - 20).to_bytes(2, "big"), np.uint8)
    words = frames[:, 14:34].astype(np.uint32)
    total = (words[:, 0::2] << 8 | words[:, 1::2]).sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    frames[:, 24] = (~total & 0xFFFF) >> 8
    frames[:, 25] = ~total & 0xFF
    return frames


def _ends(flows: int, queues: int, draw: Callable[[int, int], npt.NDArray[np.int64]]) -> npt.NDArray[np.uint8]:
    """Addresses and ports of each flow, 12 bytes as they stand in the packet, no two flows alike.

    With ``queues``, receive-side scaling sends flow i to queue i modulo ``queues``.
    """
    found: npt.NDArray[np.uint8] = np.zeros((flows, ENDS), np.uint8)
    wanted = np.arange(flows)
    seen: set[bytes] = set()
    while len(wanted):
        made = np.zeros((len(wanted), ENDS), np.uint8)
        made[:] = np.frombuffer(_BETWEEN, np.uint8)
        made[:, 2:4] = draw(2 * len(wanted), 256).reshape(-1, 2)  # the rest of the source address
        made[:, 8] = 4 + draw(len(wanted), 252)  # and its port, from 1024 on
        made[:, 9] = draw(len(wanted), 256)
        left = []
        queue = (_rss(made) & (INDIRECTION - 1)) % max(queues, 1)
        for flow, end, its_queue in zip(wanted, made, queue, strict=True):
            if end.tobytes() in seen or (queues > 0 and its_queue != flow % queues):
                left.append(flow)
            else:
                seen.add(end.tobytes())
                found[flow] = end
        wanted = np.array(left, np.int64)
    return found


def _rss(ends: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The Toeplitz hash of each flow (:func:`netemu.net.rss.toeplitz_hash`)."""
    table = toeplitz_table().reshape(-1, 256)
    hashes: npt.NDArray[np.uint32] = np.bitwise_xor.reduce([table[at, ends[:, at]] for at in range(ENDS)])
    return hashes
