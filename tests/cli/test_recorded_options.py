"""A saved result says how it was made: every option that can change it is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netemu import cli
from netemu.cli import exports, tracing
from netemu.cli.replay import command
from netemu.cli.scenario import OUTPUTS
from tests.bpf.shelf import object_file
from tests.replay.runs import IMIX

RECORDED_AS = {"no_bql": "bql", "safety": "xdp_safety", "maps": "xdp_maps", "rq": "driver", "options": "driver"}
"""Where a parameter of the command has another name in the result."""


def result(*options: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli.COMMANDS, ["replay", str(IMIX), "--packets", "20", *options, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_option_but_those_of_outputs_is_in_the_result() -> None:
    outputs = {*OUTPUTS, *tracing.OPTIONS, "trace"}
    outputs |= {name.replace("-", "_") for name in exports.HELP}
    names = {str(parameter.name) for parameter in command.params} - outputs
    made = result()
    recorded = {*made, *made["options"]}
    assert {name for name in names if RECORDED_AS.get(name, name) not in recorded} == set()


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ("--inject page=every:50 --inject tx=5", {"inject": ["page=every:50", "tx=5"]}),
        ("--rx-usecs 3 --rx-frames 7 --tx-usecs 4 --tx-frames 8", {"rx_usecs": 3.0, "rx_frames": 7, "tx_frames": 8}),
        ("--link-gbps 10 --no-bql --xps rxq", {"link_gbps": 10.0, "bql": False, "xps": "rxq"}),
        ("--cpus 2 --irq-affinity 1,0", {"irq_affinity": [1, 0]}),
        ("--pcp-batch 16 --pcp-high 96", {"pcp_batch": 16, "pcp_high": 96}),
    ],
)
def test_they_are_recorded_as_they_were_given(options: str, recorded: dict[str, Any]) -> None:
    made = result(*options.split())["options"]
    assert {name: made[name] for name in recorded} == recorded


def test_a_program_is_recorded_with_its_file_and_what_it_started_with(tmp_path: Path) -> None:
    program = str(object_file("vlan_swap"))
    made = result("--xdp", program, "--xdp-safety", "strict")["options"]
    assert (made["xdp"], made["xdp_safety"], made["xdp_maps"]) == (program, "strict", {})
