"""``netemu new``: a commented start for a recycle policy or a driver, in a file that runs as it is."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from importlib import resources
from pathlib import Path

import click


@click.group("new", short_help="Write a start for a recycle policy or a driver of your own.")
def command() -> None:
    """Write a file to start from: commented, and running as it is."""


@command.command("policy")
@click.argument("name")
def policy(name: str) -> None:
    """Write NAME.py, a recycle policy for replay --recycle NAME.py."""
    from netemu.net.policy_loader import policy_names

    stem, file = _target(name, ["mechanism", *policy_names()])
    text = resources.files("netemu.starts").joinpath("policy.py").read_text(encoding="utf-8")
    _write(file, text.replace("NAME:", f"{stem}:").replace("FILE.py", file.name))
    click.echo(f"wrote {file}; try it: netemu replay TRACE --recycle {file}")


@command.command("driver")
@click.argument("name")
def driver(name: str) -> None:
    """Write NAME.py, a network driver for replay --driver NAME.py."""
    from netemu.net.plugin_loader import driver_names

    stem, file = _target(name, driver_names())
    text = resources.files("netemu.drivers.template").joinpath("__init__.py").read_text(encoding="utf-8")
    text = text.replace("Copy this file, rename what is called ``template``, and run it::", "Run it::")
    text = text.replace("mydriver.py", file.name)
    kind = "".join(word.capitalize() for word in stem.split("_"))
    text = re.sub(r"\bclass Template\b|\bTemplate\(\)", lambda found: found[0].replace("Template", kind), text)
    _write(file, re.sub(r"template(?=_|\")", stem, text))
    click.echo(f"wrote {file}; try it: netemu replay TRACE --driver {file}")


def _target(name: str, taken: Collection[str]) -> tuple[str, Path]:
    """The name, and the file to write.

    Raises UsageError for a name that Python cannot take, one of those ``taken``, or a file that exists.
    """
    from netemu.errors import UsageError

    file = Path(name if name.endswith(".py") else f"{name}.py")
    if not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise UsageError(f"{file.stem!r} cannot be a name in Python: use letters, digits and _")
    if file.stem in taken:
        raise UsageError(f"{file.stem} is the name of one that is installed: choose another name")
    if file.exists():
        raise UsageError(f"{file} exists already: choose another name")
    return file.stem, file


def _write(file: Path, text: str) -> None:
    with file.open("x", encoding="utf-8") as out:
        out.write(text)
