"""``netemu replay``: what it asks of the engine, what it prints where, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netemu import DeviceSettings
from netemu.errors import EmulatorError, KernelBug, UsageError
from netemu.pcap import CaptureError
from tests.cli.conftest import Run
from tests.cli.stand_in import Engine, Result, Warm
from tests.report.sample_result import locked_frees


def test_defaults_are_those_of_the_python_function(run: Run, engine: Engine) -> None:
    assert run("replay", "x.pcap").exit_code == 0
    called = engine.called_with
    assert callable(called.pop("progress"))
    assert called.pop("settings") == DeviceSettings()
    assert called == {
        "trace": "x.pcap",
        "driver": "mlx5",
        "era": "v6.1",
        "switches": {},
        "platform": "xeon-e5-1650v4",
        "cpus": 1,
        "recycle": "mechanism",
        "action": "forward",
        "rate": "max",
        "repeat": 1,
        "seed": 1,
        "mtu": 1500,
        "hold_us": 0.0,
        "options": {},
        "inject": (),
        "check": "off",
        "timeline": False,
    }


def test_every_option_reaches_the_engine(run: Run, engine: Engine) -> None:
    command = (
        "replay x.pcap --driver netsec --era v4.19 --set page_frag_free=pcp --set bulk=1 --platform cortex-a53 "
        "--cpus 2 --queues 4 --recycle 0.35 --action local --rate x2.5 --repeat 3 --seed 9 --mtu 9000 --hold-us 12.5 "
        "--rq striding --driver-option ring=512 --rx-usecs 8 --tx-frames 64 --no-bql --irq-affinity 1,0 --nodes 2 "
        "--out y.pcap --check quiesce"
    )
    done = run(*command.split())
    assert done.exit_code == 0, done.stderr
    called = engine.called_with
    del called["progress"]
    assert called.pop("settings") == DeviceSettings(rx_usecs=8.0, tx_frames=64, bql=False, irq_affinity=[1, 0])
    assert called == {
        "trace": "x.pcap",
        "driver": "netsec",
        "era": "v4.19",
        "switches": {"page_frag_free": "pcp", "bulk": "1"},
        "platform": "cortex-a53",
        "cpus": 2,
        "queues": 4,
        "recycle": 0.35,
        "action": "local",
        "rate": "x2.5",
        "repeat": 3,
        "seed": 9,
        "mtu": 9000,
        "hold_us": 12.5,
        "options": {"ring": "512", "rq": "striding"},
        "nodes": 2,
        "inject": (),
        "check": "quiesce",
        "timeline": False,
        "out": "y.pcap",
    }


def test_a_dash_is_standard_input(run: Run, engine: Engine) -> None:
    run("replay", "-")
    assert engine.called_with["trace"] == "/dev/stdin"


@pytest.mark.parametrize("recycle", ["mechanism", "keep-hot"])
def test_recycle_takes_names(run: Run, engine: Engine, recycle: str) -> None:
    assert run("replay", "x", "--recycle", recycle).exit_code == 0
    assert engine.called_with["recycle"] == recycle


@pytest.mark.parametrize("rate", ["recorded", "max", "x2", "x0.5", "1000000", "1.5e6"])
def test_rate_takes_its_four_forms(run: Run, engine: Engine, rate: str) -> None:
    assert run("replay", "x", "--rate", rate).exit_code == 0
    assert engine.called_with["rate"] == rate


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["x.pcap", "y.pcap"],
        ["x.pcap", "--no-such-option"],
        ["x.pcap", "--cpus", "0"],
        ["x.pcap", "--queues", "two"],
        ["x.pcap", "--repeat", "0"],
        ["x.pcap", "--seed", "-1"],
        ["x.pcap", "--mtu", "10"],
        ["x.pcap", "--hold-us", "-1"],
        ["x.pcap", "--action", "bounce"],
        ["x.pcap", "--rq", "cyclic"],
        ["x.pcap", "--set", "page_frag_free"],
        ["x.pcap", "--set", "=pcp"],
        ["x.pcap", "--driver-option", "ring="],
        ["x.pcap", "--recycle", "1.5"],
        ["x.pcap", "--recycle", "nan"],
        ["x.pcap", "--rate", "fast"],
        ["x.pcap", "--rate", "x"],
        ["x.pcap", "--rate", "0"],
        ["x.pcap", "--rate", "x0.0"],
        ["x.pcap", "--rate", "-5"],
        ["x.pcap", "--rate", "1e999"],
        ["x.pcap", "--rate", "1e-9"],
        ["x.pcap", "--rate", "1e30"],
        ["x.pcap", "--rate", "nan"],
        ["x.pcap", "--call-graph-limit", "nan"],
        ["x.pcap", "--call-graph-limit", "101"],
        ["x.pcap", "--check", "sometimes"],
        ["x.pcap", "--out", "y.txt"],
        ["x.pcap", "--out", "y"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2_and_runs_nothing(run: Run, engine: Engine, wrong: list[str]) -> None:
    done = run("replay", *wrong)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
    assert engine.called_with == {}


@pytest.mark.parametrize("rate", ["1e-9", "1e30", "x1e30"])
def test_a_rate_out_of_range_is_told_the_range(run: Run, rate: str) -> None:
    said = " ".join(run("replay", "x.pcap", "--rate", rate).stderr.split())
    assert f"the number from 0.001 to 1e+12, not '{rate}'." in said


def test_a_run_that_is_followed_step_by_step_compiles_nothing(run: Run, engine: Engine, warm: Warm) -> None:
    warm.warm = False
    assert run("replay", "x.pcap", "--check", "every").exit_code == 0
    assert engine.called_with["check"] == "every"
    assert not warm.warm


def test_json_is_the_only_thing_on_standard_output(run: Run, warm: Warm) -> None:
    warm.warm = False
    done = run("replay", "x.pcap", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == locked_frees()
    assert "compiling the engine" in done.stderr


def test_the_text_report_is_plain_in_a_pipe(run: Run) -> None:
    stored = Path(__file__).parents[1] / "report" / "locked_frees.txt"
    assert run("replay", "x.pcap").stdout == stored.read_text(encoding="ascii")


def test_call_graph_limit_reaches_the_report(run: Run) -> None:
    assert "get_cqe" in run("replay", "x.pcap", "--call-graph-limit", "0").stdout


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_cut_capture_is_reported_as_far_as_it_was_read(run: Run, engine: Engine, as_json: list[str]) -> None:
    engine.result = Result(error="x.pcap: cut in packet 7\nat offset 640")
    done = run("replay", "x.pcap", *as_json)
    assert done.exit_code == 1
    assert "zone" in done.stdout
    assert done.stderr == "netemu: error: x.pcap: cut in packet 7 at offset 640\n"


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_leak_is_a_failed_check(run: Run, engine: Engine, as_json: list[str]) -> None:
    engine.result = Result(leaks=("page 3: nobody holds it",))
    done = run("replay", "x.pcap", *as_json)
    assert done.exit_code == 1
    assert "page 3: nobody holds it" in done.stdout
    assert done.stderr == "netemu: error: page 3: nobody holds it\n"


@pytest.mark.parametrize(
    ("failure", "status", "line"),
    [
        (CaptureError("empty file", "give a capture", path="x.pcap"), 1, "x.pcap: empty file; give a capture"),
        (KernelBug("bad page state", code="bad_page"), 1, "bad page state"),
        (UsageError("no era v9.9; try v6.1"), 2, "no era v9.9; try v6.1"),
        (PermissionError(13, "Permission denied", "y.pcap"), 1, "y.pcap: Permission denied"),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
    ],
)
def test_expected_errors_are_one_line(run: Run, engine: Engine, failure: Exception, status: int, line: str) -> None:
    engine.failure = failure
    done = run("replay", "x.pcap")
    assert done.exit_code == status
    assert done.stdout == ""
    assert done.stderr == f"netemu: error: {line}\n"


@pytest.mark.parametrize("failure", [ZeroDivisionError("division by zero"), EmulatorError("index 9 outside pages")])
def test_a_bug_is_owned_up_to_in_one_line(run: Run, engine: Engine, failure: Exception) -> None:
    engine.failure = failure
    done = run("replay", "x.pcap")
    assert done.exit_code == 1
    assert done.stderr == (
        f"netemu: error: this is a bug in netemu: {type(failure).__name__}: {failure} "
        "(NETEMU_DEBUG=1 shows the traceback)\n"
    )


def test_debugging_shows_the_traceback(run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETEMU_DEBUG", "1")
    engine.failure = ZeroDivisionError("division by zero")
    done = run("replay", "x.pcap")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_an_interrupt_before_the_replay_starts_is_status_130(run: Run, engine: Engine) -> None:
    engine.failure = KeyboardInterrupt()
    done = run("replay", "x.pcap")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "")


def test_nothing_is_said_about_compiling_when_it_was_done_before(run: Run) -> None:
    assert run("replay", "x.pcap").stderr == ""
