"""CPUs that advance one packet at a time wait for locks as they do in an exact, event-driven order of operations."""

from __future__ import annotations

import heapq
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu import replayer
from netemu.cli.measurements import write_capture
from netemu.engine.jit import JIT
from netemu.engine.spinlock import HANDOFF, keep_journal
from netemu.machine import Machine
from netemu.netdevice import NetDevice
from netemu.pcap import packets as read_packets

PACKETS_PER_CPU = 400 if JIT else 60
CPUS = [2, 4, 8, 16, 32, 64] if JIT else [4, 8]


def exact_waits(holds: list[list[tuple[int, int, int]]], handoff: int) -> int:
    """All waiting (ps) when lock operations happen in the order of their times.

    ``holds``: for each CPU (think time before it, lock, length) of its holds, in order.
    """
    free: dict[int, int] = {}
    queue = [(cpu[0][0], number, 0) for number, cpu in enumerate(holds) if cpu]
    heapq.heapify(queue)
    waited = 0
    while queue:
        now, cpu, at = heapq.heappop(queue)
        _, lock, length = holds[cpu][at]
        start = max(now, free.get(lock, 0))
        if start > now:
            length += handoff
            waited += start - now + handoff
        free[lock] = start + length
        if at + 1 < len(holds[cpu]):
            heapq.heappush(queue, (start + length + holds[cpu][at + 1][0], cpu, at + 1))
    return waited


def without_waits(journal: Any, cpus: int) -> list[list[tuple[int, int, int]]]:
    """What :func:`exact_waits` takes, from a journal of holds."""
    holds: list[list[tuple[int, int, int]]] = [[] for _ in range(cpus)]
    released = [0] * cpus
    for cpu, lock, requested, length, wait in journal.tolist():
        holds[cpu].append((requested - released[cpu], lock, length))
        released[cpu] = requested + length + wait
    return holds


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captures") / "flood.pcap"
    write_capture(path, CPUS[-1] * PACKETS_PER_CPU)
    return path


@pytest.mark.parametrize("cpus", CPUS)
def test_the_share_of_waiting_is_that_of_the_exact_order(
    cpus: int, flood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_books, stop = replayer.start_books, NetDevice.stop

    def start_with_journal(machine: Machine) -> None:
        start_books(machine)
        keep_journal(machine.k, 40 * cpus * PACKETS_PER_CPU)

    def close_journal_and_stop(nic: NetDevice) -> None:
        nic.machine.k.lock_journal_use[0].room = 0
        stop(nic)

    monkeypatch.setattr(replayer, "start_books", start_with_journal)
    monkeypatch.setattr(NetDevice, "stop", close_journal_and_stop)
    packets = [data for _ts, data, _wire in islice(read_packets(flood), cpus * PACKETS_PER_CPU)]
    result = netemu.replay(
        packets, era="v4.19", recycle=0, cpus=cpus, options={"rq": "legacy", "page_per_packet": "yes"}, memory_mb=2048
    )
    assert result.machine is not None
    k = result.machine.k
    assert 0 < k.lock_journal_use[0].count < k.arrays["lock_journal"].size
    journal = k.arrays["lock_journal"][: k.lock_journal_use[0].count]
    waited = int(journal["wait"].sum())
    busy = result["busy_ns"] * 1000
    exact = exact_waits(without_waits(journal, cpus), k.cost[HANDOFF])
    assert 100 * waited / busy == pytest.approx(100 * exact / (busy - waited + exact), abs=1.5)
    if cpus >= 8:
        assert waited / busy > 0.02, "nothing to compare: the lock is hardly contended"
