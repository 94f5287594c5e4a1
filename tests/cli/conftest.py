"""Commands run in this process, over a stand-in for the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

import netemu
from netemu import cli
from tests.cli.stand_in import Engine, Warm

Run = Callable[..., Result]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in = Engine()
    monkeypatch.setattr(netemu, "replay", stand_in.replay, raising=False)
    return stand_in


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> Warm:
    stand_in = Warm(warm=True)
    monkeypatch.setattr(netemu, "warm", stand_in, raising=False)
    monkeypatch.setitem(sys.modules, "netemu.warm", stand_in)
    return stand_in


@pytest.fixture
def run(engine: Engine, warm: Warm) -> Run:
    """``run("replay", "x.pcap")``: exit status, standard output and standard error of a command."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.COMMANDS, arguments, prog_name="netemu")

    return invoke
