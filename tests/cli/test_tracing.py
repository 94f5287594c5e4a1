"""``netemu replay`` when it follows: options, what is printed where, and the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netemu import traces
from tests.cli.conftest import Run
from tests.cli.stand_in import Engine, Warm
from tests.cli.test_whole_runs import netemu, replayed

IMIX = traces.path("router-imix.pcap")


def test_numbers_come_one_by_one_or_with_commas_decimal_or_not(run: Run, engine: Engine) -> None:
    assert run("replay", "x.pcap", "--trace-page", "1,0x10", "--trace-page", "7", "--trace-packet", "3").exit_code == 0
    assert engine.called_with["trace_pages"] == (1, 16, 7)
    assert engine.called_with["trace_packets"] == (3,)


@pytest.mark.parametrize(
    "options", [["--trace-page", "5"], ["--trace-packet", "5"], ["--tracepoints"], ["--ftrace", "x"]]
)
def test_nothing_is_compiled_for_it(run: Run, engine: Engine, warm: Warm, options: list[str]) -> None:
    warm.warm = False
    run("replay", "x.pcap", *options)
    assert engine.called_with["trace"] == "x.pcap"
    assert not warm.warm


def test_what_is_no_number_is_wrong_usage(run: Run, engine: Engine) -> None:
    done = run("replay", "x.pcap", "--trace-page", "12,abc")
    assert done.exit_code == 2
    assert "numbers with commas between them, not '12,abc'" in done.stderr


def test_commands_that_run_several_replays_refuse_it(run: Run, engine: Engine) -> None:
    done = run("compare", "x.pcap", "--base", "--trace-page 5 --tracepoints", "--test", "")
    assert done.exit_code == 2
    assert "--trace-page, --tracepoints cannot be used here" in done.stderr


def test_lives_take_the_place_of_the_report() -> None:
    done = netemu("replay", IMIX, "--packets", "150", "--trace-packet", "100", "--trace-page", "13")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("page 13 (pfn 0xd)\n")
    assert "\npacket 100\n" in done.stdout
    assert "Call graph" not in done.stdout


def test_json_has_them_beside_the_report() -> None:
    data = replayed(IMIX, "--packets", "150", "--trace-packet", "100")
    assert data["packets"]["forwarded"] == 150
    assert data["lives"]["packets"] == [100]
    assert {step["packet"] for step in data["lives"]["steps"]} == {100}


def test_the_ftrace_file_is_what_export_makes_of_the_json(tmp_path: Path) -> None:
    text = tmp_path / "router.trace"
    data = replayed(IMIX, "--packets", "100", "--ftrace", text)
    kept = tmp_path / "router.json"
    kept.write_text(json.dumps(data))
    assert netemu("export", kept, "ftrace").stdout == text.read_text()


@pytest.mark.parametrize(
    ("option", "number", "complaint"),
    [
        ("--trace-page", "262144", "page 262144 is not in this machine, which has pages 0 to 262143"),
        ("--trace-packet", "100", "packet 100 is not in the trace: 100 packets came, 0 to 99"),
    ],
)
def test_what_is_not_there_is_one_clear_error(option: str, number: str, complaint: str) -> None:
    done = netemu("replay", IMIX, "--packets", "100", option, number)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"netemu: error: {complaint}\n"
