"""docs/calibration.md says which published primitives the emulated operations give back, and stays true."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from netemu import cli

DOCUMENT = Path(__file__).parents[2] / "docs" / "calibration.md"


def test_the_table_of_published_and_emulated_figures_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(cli.COMMANDS, ["predict", "calibration", "--check", "--markdown"]).stdout
    written = DOCUMENT.read_text().split("<!-- table -->\n")[1].strip()
    assert printed.strip() == written, (
        "docs/calibration.md is out of date: put what `netemu predict calibration --check --markdown` prints there"
    )
