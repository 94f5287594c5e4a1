"""Emulated network cards as interfaces of this host, between programs that know nothing of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netemu import NetemuError
from netemu.pcap import packets
from netemu.pipeline import Tap

OWN = os.getpid()
"""Keeps test processes that run at the same time apart."""
NAMES = (f"nt{OWN}a", f"nt{OWN}b")
SPACES = (f"netemu-test-{OWN}-left", f"netemu-test-{OWN}-right")
ADDRESSES = ("10.199.7.1", "10.199.7.2")
TIMEOUT_S = 120
DROP_UDP53 = Path(__file__).parent / "programs" / "drop_udp53.o"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def _reason_to_skip() -> str | None:
    if sys.platform != "linux" or not os.access("/dev/net/tun", os.R_OK | os.W_OK) or os.geteuid() != 0:
        return "needs root and /dev/net/tun"
    if shutil.which("ip") is None:
        return "needs the ip command (iproute2)"
    probe = subprocess.run(["ip", "netns", "add", f"netemu-probe-{OWN}"], capture_output=True, check=False)
    if probe.returncode != 0:
        return f"network namespaces cannot be made here: {probe.stderr.decode().strip()}"
    _run("ip", "netns", "del", f"netemu-probe-{OWN}")
    return None


SKIP = _reason_to_skip()
needs_root = pytest.mark.skipif(SKIP is not None, reason=SKIP or "")


class Bridge:
    """``netemu tap`` between two namespaces."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "netemu.cli", "tap", *NAMES, "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "there; Ctrl-C ends it" in line:
                break
        for name, space, address in zip(NAMES, SPACES, ADDRESSES, strict=True):
            _run("ip", "netns", "add", space)
            _run("ip", "link", "set", name, "netns", space)
            _run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", name)
            _run("ip", "-n", space, "link", "set", name, "up")

    def stop(self, signum: int = signal.SIGTERM) -> dict[str, dict[str, Any]]:
        """End it; what it counted, by interface."""
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, err
        return {port["interface"]: port for port in json.loads(out)["ports"]}

    def clean_up(self) -> None:
        """Whatever happened."""
        self.process.kill()
        self.process.communicate()
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


@pytest.fixture
def bridge(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    made = Bridge(*getattr(request, "param", ()))
    yield made
    made.clean_up()


def inside(space: str, script: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program in a namespace."""
    return subprocess.Popen(
        ["ip", "netns", "exec", space, sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )


SERVER = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], 5000)) as listening:
    print("ready", flush=True)
    connection, _ = listening.accept()
    digest, count = hashlib.sha256(), 0
    while data := connection.recv(1 << 20):
        digest.update(data)
        count += len(data)
print(count, digest.hexdigest())
"""
CLIENT = """
import hashlib, random, socket, sys
block, digest = random.Random(1).randbytes(1_000_000), hashlib.sha256()
with socket.create_connection((sys.argv[1], 5000)) as connection:
    for _ in range(100):
        connection.sendall(block)
        digest.update(block)
print(100 * len(block), digest.hexdigest())
"""


@needs_root
@pytest.mark.skipif(shutil.which("ping") is None, reason="needs the ping command (iputils-ping)")
def test_a_thousand_pings_go_through_without_loss(bridge: Bridge) -> None:
    told = _run("ip", "netns", "exec", SPACES[0], "ping", "-q", "-c", "1000", "-i", "0.002", ADDRESSES[1])
    assert "1000 packets transmitted, 1000 received, 0% packet loss" in told
    counted = bridge.stop()
    assert all(counted[name]["transmitted"] >= 1000 for name in NAMES)
    assert all(counted[name]["out_of_buffer"] == counted[name]["oversize"] == 0 for name in NAMES)


@needs_root
def test_a_hundred_megabytes_over_tcp_arrive_intact(bridge: Bridge) -> None:
    server = inside(SPACES[1], SERVER, ADDRESSES[1])
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    sent, _ = inside(SPACES[0], CLIENT, ADDRESSES[1]).communicate(timeout=TIMEOUT_S)
    received, _ = server.communicate(timeout=TIMEOUT_S)
    assert sent == received
    assert sent.startswith("100000000 ")
    assert bridge.stop()[NAMES[0]]["arrived"] > 100_000_000 // 1500


@needs_root
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_interfaces_away(bridge: Bridge, signum: int) -> None:
    for name, space in zip(NAMES, SPACES, strict=True):
        assert name in _run("ip", "-n", space, "-o", "link")
    bridge.stop(signum)
    for name, space in zip(NAMES, SPACES, strict=True):
        assert name not in _run("ip", "-n", space, "-o", "link")


@needs_root
@pytest.mark.parametrize("bridge", [("--xdp", "drop")], indirect=True)
def test_an_xdp_program_that_drops_everything_lets_nothing_through(bridge: Bridge) -> None:
    told = inside(
        SPACES[0],
        "import socket\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        f"    for _ in range(50): s.sendto(b'x', ('{ADDRESSES[1]}', 9))\n",
    )
    told.communicate(timeout=TIMEOUT_S)
    counted = bridge.stop()
    assert counted[NAMES[0]]["xdp_drop"] == counted[NAMES[0]]["arrived"] > 0
    assert counted[NAMES[1]]["transmitted"] == 0


LISTENER = """
import json, select, socket, sys
address, ports = sys.argv[1], [53, 54, 5353]
open_udp = {socket.socket(socket.AF_INET, socket.SOCK_DGRAM): port for port in ports}
for udp, port in open_udp.items():
    udp.bind((address, port))
counts = {port: 0 for port in ports}
with socket.create_server((address, 53)) as listening:
    print("ready", flush=True)
    connection, _ = listening.accept()
    connection.sendall(b"go")
    while connection not in (ready := select.select([*open_udp, connection], [], [])[0]):
        for udp in ready:
            counts[open_udp[udp]] += len(udp.recv(100)) == 40
    for udp, port in open_udp.items():
        udp.setblocking(False)
        try:
            while udp.recv(100):
                counts[port] += 1
        except BlockingIOError:
            pass
    tcp = connection.recv(100).decode()
print(json.dumps({"udp": counts, "tcp": tcp}))
"""
SENDER = """
import socket, sys, time
address = sys.argv[1]
with socket.create_connection((address, 53)) as connection:
    connection.recv(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_port:
        for _ in range(100):
            for port in (53, 54, 5353):
                any_port.sendto(bytes(40), (address, port))
            time.sleep(0.001)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as from_53:
        from_53.bind(("", 53))
        for _ in range(20):
            from_53.sendto(bytes(40), (address, 54))
    time.sleep(0.5)
    connection.sendall(b"over TCP port 53")
"""


@needs_root
@pytest.mark.parametrize("bridge", [("--xdp", str(DROP_UDP53))], indirect=True)
def test_a_program_that_drops_udp_port_53_drops_nothing_else(bridge: Bridge) -> None:
    listener = inside(SPACES[1], LISTENER, ADDRESSES[1])
    assert listener.stdout is not None
    assert listener.stdout.readline() == "ready\n"
    inside(SPACES[0], SENDER, ADDRESSES[1]).communicate(timeout=TIMEOUT_S)
    told, _ = listener.communicate(timeout=TIMEOUT_S)
    assert json.loads(told) == {"udp": {"53": 0, "54": 120, "5353": 100}, "tcp": "over TCP port 53"}
    counted = bridge.stop()
    assert counted[NAMES[0]]["xdp_drop"] == 100
    assert counted[NAMES[1]]["xdp_drop"] == 0
    assert counted[NAMES[0]]["xdp_pass"] == counted[NAMES[0]]["arrived"] - 100 == counted[NAMES[1]]["transmitted"]


@needs_root
def test_what_goes_out_is_captured_with_an_interface_for_each(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    done = subprocess.run(
        [sys.executable, "-m", "netemu.cli", "tap", NAMES[0], "--seconds", "0.5", "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    assert NAMES[0] in done.stdout
    assert all(len(data) >= 14 for _ts, data, _wire in packets(out))


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EPERM, "takes root"), (errno.EBUSY, "there is one of this name"), (errno.ENODEV, "load the tun module")],
)
def test_an_interface_that_cannot_be_made_is_a_clear_message(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(os, "open", lambda *arguments: os.dup(0))
    with pytest.raises(NetemuError, match=said) as refused:
        Tap("ntest0")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a name", "a/b", "sixteen-letters-"])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    with pytest.raises(NetemuError, match="is no interface name"):
        Tap(name)
