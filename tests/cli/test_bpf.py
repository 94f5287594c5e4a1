"""``netemu run``, ``verify`` and ``bpf-plugin`` as a person or a script meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netemu.cli import COMMANDS
from netemu.cli.commands import FAILED, WRONG_USAGE
from tests.bpf.shelf import object_file

TRACE = Path(__file__).parents[2] / "traces" / "dns.pcap"
PACKET = bytes.fromhex("0200000000010200000000020800") + bytes(50)


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(COMMANDS, [str(a) for a in arguments], input=stdin, prog_name="netemu")


@pytest.fixture
def packet(tmp_path: Path) -> Path:
    file = tmp_path / "packet.bin"
    file.write_bytes(PACKET)
    return file


def test_a_run_says_verdict_and_duration_like_bpftool(packet: Path) -> None:
    result = run("run", object_file("vlan_swap"), "data_in", packet, "repeat", 100)
    assert result.exit_code == 0
    assert result.stdout.startswith("Return value: 3, duration (average): ")


@pytest.mark.parametrize("options", [(), ("--xdp-safety", "strict")])
def test_an_object_file_that_is_not_there_is_wrong_usage_as_every_named_file_is(options: tuple[str, ...]) -> None:
    result = run("replay", TRACE, "--xdp", "nofile.o", *options)
    assert result.exit_code == WRONG_USAGE
    assert result.stderr == "netemu: error: XDP program file nofile.o: No such file or directory\n"


def test_so_is_a_file_of_map_entries() -> None:
    result = run("replay", TRACE, "--xdp", object_file("vlan_swap"), "--xdp-maps", "none.json")
    assert result.exit_code == WRONG_USAGE
    assert "none.json: No such file or directory" in result.stderr


def test_a_program_with_maps_can_be_followed_event_by_event() -> None:
    result = run(
        "replay",
        TRACE,
        "--packets",
        5,
        "--xdp",
        object_file("vlan_swap"),
        "--xdp-safety",
        "strict",
        "--trace-packet",
        2,
    )
    assert result.exit_code == 0, result.stderr


def test_json_of_a_run_holds_the_packet(packet: Path) -> None:
    report = json.loads(run("run", object_file("vlan_swap"), "data_in", packet, "-j").stdout)
    assert report["retval"] == 3
    data = bytes(int(byte, 16) for byte in report["data_out"])
    assert data == PACKET[:12] + b"\x81\x00\x60\x64" + PACKET[12:]


def test_packet_and_context_go_to_files(packet: Path, tmp_path: Path) -> None:
    out, ctx_out, ctx_in = tmp_path / "out", tmp_path / "ctx_out", tmp_path / "ctx_in"
    ctx_in.write_bytes(bytes(24))
    words = ("data_in", packet, "data_out", out, "data_size_out", 20, "ctx_in", ctx_in, "ctx_out", ctx_out)
    assert run("run", object_file("metadata"), *words).exit_code == 0
    assert len(out.read_bytes()) == 20
    assert ctx_out.read_bytes()[:8] == (8).to_bytes(4, "little") + (72).to_bytes(4, "little")


def test_maps_and_globals_are_set_and_shown(packet: Path) -> None:
    maps = {"sources4": {"0.0.0.0/0": "hex:0100000000000000"}}
    arguments = ("--maps", json.dumps(maps), "--dump-maps", "-p")
    report = json.loads(run("run", object_file("firewall_lpm"), "data_in", packet, *arguments).stdout)
    assert report["action"] == "drop"
    assert report["maps"]["sources4"] == {"0.0.0.0/0": str((1 << 32) + 1)} or report["maps"]["sources4"] == {
        "0.0.0.0/0": (1 << 32) + 1
    }


def test_stepping_shows_instructions_registers_and_packet(packet: Path) -> None:
    result = run("run", object_file("vlan_swap"), "data_in", packet, "--xdp-step")
    assert result.exit_code == 0
    assert "call xdp_adjust_head" in result.stdout
    assert "packet, 68 bytes" in result.stdout
    assert result.stdout.endswith("Return value: 3\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["data_in"], WRONG_USAGE, "needs a value: FILE"),
        (["frobnicate", "x"], WRONG_USAGE, "is none of data_in"),
        ([], WRONG_USAGE, "say which packet"),
        (["data_in", "PACKET", "repeat", "0"], WRONG_USAGE, "is not a number from 1"),
        (["data_in", "no such file"], FAILED, "no such file"),
        (["data_in", "PACKET", "--maps", '{"nothing": {}}'], FAILED, "no map 'nothing'"),
        (["data_in", "PACKET", "--maps", "{"], WRONG_USAGE, "is no JSON"),
        (["data_in", "PACKET", "--set-global", "x=1"], FAILED, "no global variable 'x'"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(packet: Path, arguments: list[str], status: int, message: str) -> None:
    given = [str(packet) if a == "PACKET" else a for a in arguments]
    result = run("run", object_file("vlan_swap"), *given)
    assert result.exit_code == status
    assert message in result.stderr


def test_the_plugin_prints_r0_in_hexadecimal() -> None:
    code = "61 10 00 00 00 00 00 00 dc 00 00 00 20 00 00 00 95 00 00 00 00 00 00 00"
    assert run("bpf-plugin", "01020304", stdin=code).stdout == "1020304\n"
    assert run("bpf-plugin", "--interpret", "01 02 03 04 05", stdin=code).stdout == "1020304\n"
    assert run("bpf-plugin", stdin="b7000000ffffffff 9500000000000000").stdout == "ffffffffffffffff\n"


def test_the_plugin_takes_object_files() -> None:
    code = object_file("parse_count").read_bytes().hex()
    assert run("bpf-plugin", "--elf", "00" * 64, stdin=code).exit_code == 0


@pytest.mark.parametrize(
    ("code", "message"), [("zz", "hexadecimal"), ("95", "no program"), ("ff" * 8, "register beyond")]
)
def test_the_plugin_refuses_what_is_no_program(code: str, message: str) -> None:
    result = run("bpf-plugin", stdin=code)
    assert result.exit_code == FAILED
    assert message in result.stderr


def test_verify_finds_no_difference_or_says_why_it_cannot_look() -> None:
    result = run("verify", object_file("parse_deep"), "--pcap", TRACE, "--would-load", "--json")
    if result.exit_code == FAILED:
        assert "needs root" in result.stderr or "has no eBPF" in result.stderr
        return
    report = json.loads(result.stdout)
    assert (report["program"], report["would_load"], report["differences"]) == ("parse_deep", True, [])


def test_verify_wants_packets() -> None:
    result = run("verify", object_file("parse_deep"))
    assert result.exit_code == WRONG_USAGE
    assert "--pcap TRACE" in result.stderr
