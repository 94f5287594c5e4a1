"""Reading to the end, with what went wrong at the end if something did."""

from __future__ import annotations

import io
from typing import IO

from netemu.pcap import Batch, CaptureError, open_capture
from tests.pcap.model import Damaged, Model, Packet

_BATCH = Batch()


def read_all(source: bytes | IO[bytes], batch: Batch = _BATCH) -> tuple[list[Packet], CaptureError | None]:
    """The packets before the end or the first fault, and the fault."""
    found: list[Packet] = []
    try:
        with open_capture(io.BytesIO(source) if isinstance(source, bytes) else source) as reader:
            while reader.read_into(batch):
                assert 0 < batch.count <= len(batch.records)
                for record in batch.records[: batch.count].tolist():
                    ts_ns, start, caplen, wirelen, interface, _ = record
                    assert 0 <= start <= start + caplen <= len(batch.data)
                    data = batch.data[start : start + caplen].tobytes()
                    found.append(Packet(ts_ns, data, wirelen, interface))
    except CaptureError as error:
        return found, error
    return found, None


def model_all(content: bytes) -> tuple[list[Packet], int | None]:
    """What the model reads: packets, and the offset of the fault."""
    found: list[Packet] = []
    walk = iter(Model(content))
    while True:
        try:
            found.append(next(walk))
        except StopIteration:
            return found, None
        except Damaged as damaged:
            return found, int(damaged.args[0])
