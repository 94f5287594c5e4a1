"""Starting the command: what it imports, and help."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Run

COMMANDS = ("replay", "eras", "platforms", "bench", "warmup")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys, atexit\n"
        "heavy = {'numba', 'llvmlite', 'numpy', 'scapy', 'rich', 'dpkt', 'trio'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules))))\n"
        "from netemu.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: netemu")
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_output_that_the_locale_cannot_show_is_escaped() -> None:
    script = "import sys, atexit\natexit.register(lambda: print('\u20ac'))\nfrom netemu.cli import main\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout.endswith(b"\n\\u20ac\n")


def test_module_and_command_are_the_same(run: Run) -> None:
    done = subprocess.run([sys.executable, "-m", "netemu.cli", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == run("--help").stdout.split()


def test_help_lists_every_command(run: Run) -> None:
    listed = run("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in listed


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    done = run("repaly")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "repaly" in done.stderr
