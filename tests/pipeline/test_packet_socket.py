"""Packet sockets on a veth pair: what arrives comes in whole, what is sent goes out, and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
import trio

from netemu import Machine, NetemuError
from netemu.pcap import Batch
from netemu.pipeline import Frames, Packet, PacketSocket, Pipeline
from tests.pipeline.networks import leaks

OWN = os.getpid()
HERE, THERE = f"nv{OWN}a", f"nv{OWN}b"
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33


def _reason_to_skip() -> str | None:
    if not hasattr(socket, "AF_PACKET") or os.geteuid() != 0:
        return "needs root and AF_PACKET"
    if shutil.which("ip") is None:
        return "needs the ip command (iproute2)"
    probe = subprocess.run(
        ["ip", "link", "add", f"np{OWN}a", "type", "veth", "peer", "name", f"np{OWN}b"],
        capture_output=True,
        check=False,
    )
    if probe.returncode != 0:
        return f"veth pairs cannot be made here: {probe.stderr.decode().strip()}"
    subprocess.run(["ip", "link", "del", f"np{OWN}a"], check=True)
    return None


SKIP = _reason_to_skip()
needs_root = pytest.mark.skipif(SKIP is not None, reason=SKIP or "")


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """A raw socket at the far end of a veth pair whose near end is HERE; the host says nothing of its own on it."""
    subprocess.run(["ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE], check=True)
    for name in (HERE, THERE):
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as switch:
            switch.write("1")
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as far:
        far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        far.bind((THERE, ETH_P_ALL))
        far.settimeout(10)
        yield far
    subprocess.run(["ip", "link", "del", HERE], check=True)


def frame(number: int, length: int = 60, kind: bytes = b"\x88\xb5") -> bytes:
    return b"\x02\x00\x00\x00\x00\x09\x02\x00\x00\x00\x00\x01" + kind + bytes(length - 18) + number.to_bytes(4, "big")


async def received(near: PacketSocket, count: int) -> list[bytes]:
    """The next ``count`` frames."""
    batch, got = Batch(), []
    with trio.fail_after(20):
        while len(got) < count:
            for row in range(await near.receive_into(batch)):
                start, length = int(batch.records["offset"][row]), int(batch.records["caplen"][row])
                assert batch.records["wirelen"][row] == length
                got.append(batch.data[start : start + length].tobytes())
    return got


@needs_root
def test_frames_that_arrive_are_received_in_order_and_whole(wire: socket.socket) -> None:
    sent = [frame(n, 60 + 7 * n) for n in range(200)]

    async def main() -> list[bytes]:
        near = PacketSocket(HERE)
        for data in sent:
            wire.send(data)
        got = await received(near, len(sent))
        await near.aclose()
        return got

    assert trio.run(main) == sent


@needs_root
def test_a_vlan_tag_that_the_kernel_took_out_is_put_back(wire: socket.socket) -> None:
    tagged = frame(1, kind=b"\x81\x00\x60\x05\x88\xb5")

    async def main() -> list[bytes]:
        near = PacketSocket(HERE)
        wire.send(tagged)
        got = await received(near, 1)
        await near.aclose()
        return got

    assert trio.run(main) == [tagged]


@needs_root
def test_frames_are_sent_and_not_received_again(wire: socket.socket) -> None:
    sent = [frame(n, 60 + n) for n in range(300)]

    async def main() -> list[bytes]:
        near = PacketSocket(HERE)
        await near.send(Frames.of([Packet(0, data, len(data), 0) for data in sent]))
        wire.send(frame(1000))
        got = await received(near, 1)
        await near.aclose()
        return got

    assert trio.run(main) == [frame(1000)]
    assert [wire.recv(2000) for _ in sent] == sent


@needs_root
def test_an_emulated_card_answers_on_a_real_interface(wire: socket.socket) -> None:
    machine = Machine(memory_mb=32, skbs=1 << 14)
    nic = machine.netdev("mlx5", xdp="tx")
    sent = [frame(n) for n in range(100)]

    async def main() -> list[bytes]:
        near = PacketSocket(HERE)
        async with trio.open_nursery() as nursery:
            await nursery.start(Pipeline(machine, realtime=True).plug(nic, source=near, sinks=near).run)
            for data in sent:
                wire.send(data)
            got = [await trio.to_thread.run_sync(wire.recv, 2000) for _ in sent]
            nursery.cancel_scope.cancel()
        return got

    assert trio.run(main) == sent
    assert nic.xdp_verdicts()["tx"] == 100
    assert leaks(machine) == []


@needs_root
def test_an_interface_that_is_not_there_is_a_clear_message() -> None:
    with pytest.raises(NetemuError, match="interface netemu-none cannot be listened to: there is no such interface"):
        PacketSocket("netemu-none")


def test_without_rights_the_message_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(NetemuError, match="takes root"):
        PacketSocket("eth0")
