"""Replays with an XDP program: every packet is accounted for, every page comes home, frames go out as they came in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import netemu
from netemu.cli import COMMANDS
from netemu.net.xdp_layout import VERDICTS
from netemu.pcap import packets
from netemu.programs import BUILT_IN
from tests.drivers.xdp_stepping import Program, frame_of, to_map

FRAMES = [frame_of(60 + n % 1400) for n in range(400)]
DEVICES = [("mlx5", "v4.19"), ("mlx5", "v6.12"), ("netsec", "v6.1")]
every_device = pytest.mark.parametrize(("driver", "era"), DEVICES)


def replayed(driver: str, era: str, xdp: Any, **options: Any) -> netemu.ReplayResult:
    return netemu.replay(FRAMES, driver=driver, era=era, xdp=xdp, memory_mb=32, **options)


def test_every_verdict_has_a_program_that_always_gives_it() -> None:
    assert tuple(BUILT_IN) == VERDICTS


@every_device
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_packet_is_counted_once(driver: str, era: str, verdict: str) -> None:
    result = replayed(driver, era, verdict)
    counts = result["packets"]
    assert result["xdp"] == {name: len(FRAMES) * (name == verdict) for name in VERDICTS}
    assert counts["offered"] == counts["received"] == len(FRAMES)
    left = counts["forwarded"] + counts["delivered"] + result["xdp"]["tx"] + result["xdp"]["redirect"]
    assert left + sum(counts["dropped"].values()) == len(FRAMES)
    assert result["leaks"] == []


@every_device
@pytest.mark.parametrize("verdict", ["tx", "redirect", "pass"])
def test_what_is_sent_is_what_came_in(tmp_path: Path, driver: str, era: str, verdict: str) -> None:
    out = tmp_path / "out.pcap"
    replayed(driver, era, verdict, out=out)
    assert [data for _ts, data, _wire in packets(out)] == FRAMES


def test_verdicts_under_the_names_of_ethtool() -> None:
    sent = replayed("mlx5", "v6.1", "tx")["ethtool"]
    assert (sent["rx_xdp_tx_xmit"], sent["rx_xdp_tx_cqe"], sent["rx0_xdp_tx_xmit"]) == (400, 400, 400)
    assert sent["rx0_xdp_tx_cqes"] == 400
    assert not {"rx_xdp_tx_cqes", "rx0_xdp_tx_cqe"} & sent.keys()
    dropped = replayed("mlx5", "v6.1", "drop")["ethtool"]
    assert (dropped["rx_xdp_drop"], dropped["rx_packets"], dropped["rx_xdp_tx_xmit"]) == (400, 0, 0)
    redirected = replayed("mlx5", "v6.1", "redirect")["ethtool"]
    assert (redirected["rx_xdp_redirect"], redirected["tx_xdp_xmit"], redirected["tx_xdp_cqes"]) == (400, 400, 400)


def test_several_queues_send_back_on_their_own_channels() -> None:
    result = netemu.replay("traces/dns.pcap", cpus=2, queues=2, xdp="tx", memory_mb=64)
    own = [result["ethtool"][f"rx{i}_xdp_tx_xmit"] for i in (0, 1)]
    assert min(own) > 0
    assert sum(own) == result["xdp"]["tx"] == result["packets"]["offered"]
    assert result["leaks"] == []


class ToSocket(Program):
    """Redirects everything to a socket that Python reads."""

    def __init__(self) -> None:
        super().__init__(to_map)

    def attach(self, device: netemu.NetDevice) -> tuple[int, bool]:
        self.socket = device.machine.xskmap(2).add(1, slots=128)
        return super().attach(device)


@every_device
def test_a_socket_that_is_read_in_time_gets_every_packet(driver: str, era: str) -> None:
    program = ToSocket()
    result = replayed(driver, era, program)
    assert [received.data for received in program.socket.received] == FRAMES
    assert [received.packet for received in program.socket.received] == list(range(len(FRAMES)))
    assert result["packets"]["dropped"] == {}
    assert result["leaks"] == []


def run(*arguments: str) -> Any:
    return CliRunner().invoke(COMMANDS, ["replay", "traces/dns.pcap", *arguments])


def test_the_command_takes_a_verdict() -> None:
    result = run("--xdp", "drop", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["xdp"]["drop"] == report["packets"]["offered"] == 800


def test_a_program_that_there_is_not_and_an_mtu_that_is_too_large_are_one_line() -> None:
    for arguments, reason in (
        (
            ["--xdp", "explode"],
            "an XDP program is one of aborted, drop, pass, tx, redirect, FILE.py, FILE.py:NAME or FILE.o",
        ),
        (["--xdp", "drop", "--mtu", "9000"], "mlx5: an MTU of 9000 is too large for an XDP program: 3498 is"),
        (["--xdp", "drop", "--driver", "netsec", "--era", "v5.0"], "netsec has no XDP in this kernel"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"netemu: error: {reason}")
        assert result.stderr.count("\n") == 1
