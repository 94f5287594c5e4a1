"""docs/drivers.md: its Python runs, its command works, and its table lists every operation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from netemu.net.plugin_loader import OPERATIONS
from tests.drivers.authoring import TEMPLATE, replay_interpreted

ROOT = TEMPLATE.parents[2]
PAGE = (ROOT / "docs" / "drivers.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_python_blocks_run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"NETEMU_JIT": "0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_copy_the_template_and_replay_with_it(tmp_path: Path) -> None:
    (commands,) = [code for language, code in BLOCKS if language == "sh"]
    copy, replay = commands.splitlines()
    assert copy.split()[:2] == ["cp", str(TEMPLATE.relative_to(ROOT))]
    words = replay.split()
    assert words[:2] + words[3:] == ["netemu", "replay", "--driver", copy.split()[2]]
    mine = tmp_path / copy.split()[2]
    mine.write_text(TEMPLATE.read_text())
    assert replay_interpreted(ROOT / words[2], mine).returncode == 0


def test_every_operation_is_described() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [
        "hw_receive",
        "rx_poll_one",
        "rx_refill",
        "xmit",
        "tx_poll_one",
    ]
    assert set(OPERATIONS.values()) == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
