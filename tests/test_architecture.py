"""Who may import whom, and other rules that hold for the source text as a whole."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALLED_AS = {"netemu": "netemu", "drivers": "netemu.drivers", "traces": "netemu.traces"}
LONGEST_FILE = 600

# What each room may import from the rest of the package, by dotted prefix.  A room below never knows one above it.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "profiles": {"engine", "errors"},
    "traces": set(),
    "engine": {"errors"},
    "mm": {"engine", "errors"},
    "net": {"engine", "mm", "errors"},
    "bpf": {"engine", "mm", "net", "errors"},
    "policies": {"engine", "mm", "net", "errors"},
    "drivers": {"engine", "mm", "net", "errors"},
    "pcap": {"engine.jit", "errors"},
    "diff": {"pcap", "errors"},
    "pipeline": {"engine", "mm", "net", "pcap", "errors", "machine", "netdevice"},
    "starts": {"engine", "mm", "net", "policies", "errors"},
    "checks": {"engine", "mm", "net", "errors"},
    "tracing": {"engine", "mm", "net", "errors", "checks.history", "machine", "profiles"},
    "report": {"errors"},
}
# On top: they may import everything below, and nothing below imports them.
TOP = {"cli", "experiments", "museum", "sweep", "testing"}


def module_files() -> Iterator[tuple[str, Path]]:
    """Every installed module by its dotted name."""
    for folder, package in INSTALLED_AS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inside = file.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *(part for part in inside if part != "__init__"))), file


def room_of(module: str) -> str:
    """``netemu.mm.page_alloc`` is in ``mm``; ``netemu`` itself in the room without a name."""
    _, *inside = module.split(".")
    return inside[0] if inside else ""


def imported(source: str, module: str, *, is_package: bool) -> set[str]:
    """Dotted names of the modules, or of names in modules, that ``source`` imports anywhere, even inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                parent = here[: len(here) - node.level + is_package]
                base = ".".join([*parent, *base.split(".")] if base else parent)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def within(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def forbidden(module: str, source: str, *, is_package: bool) -> list[str]:
    """Imports of ``module`` that go against the arrows."""
    if module == "netemu.drivers.template":  # written to be copied: it imports what its copies import
        return []
    room = room_of(module)
    names = {name for name in imported(source, module, is_package=is_package) if within(name, {"netemu"})}
    inside = {name.removeprefix("netemu").removeprefix(".") for name in names}
    if room in ARROWS:
        wrong = {name for name in inside if not within(name, ARROWS[room] | {room})}
    elif room in TOP:
        wrong = set()
    else:  # the public surface: the package itself and the modules that it re-exports
        wrong = {name for name in inside if within(name, TOP)}
    return sorted(f"{module} imports netemu.{name}".rstrip(".") for name in wrong)


def test_every_import_follows_the_arrows() -> None:
    wrong = [
        line
        for module, file in module_files()
        for line in forbidden(module, file.read_text(), is_package=file.name == "__init__.py")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("netemu.mm.page_alloc", "from netemu.net import skbuff", ["netemu.mm.page_alloc imports netemu.net.skbuff"]),
        ("netemu.mm.page_alloc", "from ..net import skbuff", ["netemu.mm.page_alloc imports netemu.net.skbuff"]),
        ("netemu.mm.page_alloc", "from netemu import drivers", ["netemu.mm.page_alloc imports netemu.drivers"]),
        ("netemu.mm.page_alloc", "def f():\n    import netemu.cli", ["netemu.mm.page_alloc imports netemu.cli"]),
        ("netemu.mm.page_alloc", "import netemu", ["netemu.mm.page_alloc imports netemu"]),
        ("netemu.mm.page_alloc", "from netemu.engine.kernel import Kernel\nfrom . import page_frag", []),
        ("netemu.pcap.reader", "from netemu.engine.jit import native", []),
        ("netemu.pcap.reader", "from netemu.engine import jit", []),
        ("netemu.pcap.reader", "from netemu.engine import kernel", ["netemu.pcap.reader imports netemu.engine.kernel"]),
        ("netemu.report.html", "from netemu.net import napi", ["netemu.report.html imports netemu.net.napi"]),
        ("netemu.replay", "from netemu.cli import main", ["netemu.replay imports netemu.cli.main"]),
        ("netemu.cli.replay", "import netemu.report, netemu.drivers, click", []),
    ],
)
def test_an_import_against_the_arrows_is_found(module: str, source: str, found: list[str]) -> None:
    assert forbidden(module, source, is_package=False) == found


def test_a_relative_import_in_a_package_starts_at_the_package() -> None:
    assert imported("from . import x", "netemu.mm", is_package=True) == {"netemu.mm.x"}
    assert imported("from ..net.napi import x", "netemu.mm", is_package=True) == {"netemu.net.napi.x"}


def test_every_folder_of_the_package_has_its_place_in_the_order() -> None:
    rooms = {folder.name for folder in (ROOT / "netemu").iterdir() if any(folder.rglob("*.py"))}
    assert rooms - ARROWS.keys() - TOP == set()


def test_only_the_engine_imports_the_compiler_and_ebpf_the_half_below_it() -> None:
    compilers = {"engine": set(), "bpf": {"numba"}}
    users = {
        module
        for module, file in module_files()
        if any(
            within(name, compilers.get(room_of(module), {"numba", "llvmlite"}))
            for name in imported(file.read_text(), module, is_package=file.name == "__init__.py")
        )
    }
    assert users == set()


def test_every_package_on_disk_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    on_disk = {module for module, file in module_files() if file.name == "__init__.py"}
    assert set(listed) == on_disk


def test_no_source_file_is_too_long_to_read_at_once() -> None:
    lines = {
        module: len(file.read_text().splitlines()) for module, file in module_files() if room_of(module) != "traces"
    }
    assert {module: count for module, count in lines.items() if count > LONGEST_FILE} == {}


def project_texts() -> Iterator[Path]:
    """Every text file of the project that a reader may open."""
    for folder in (".ci", "benchmarks", "docs", "drivers", "examples", "netemu", "tests", "traces"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in {"", ".md", ".py", ".toml", ".txt", ".json", ".html"} and file.is_file():
                yield file
    for pattern in ("*.md", "*.toml", "Makefile", "LICENSE"):
        yield from sorted(ROOT.glob(pattern))


def test_no_text_names_a_folder_of_one_machine() -> None:
    machine_path = re.compile(r"(?<![\w.~/-])/(?:work|tmp|home|root|Users)/\w")
    named = {
        f"{file.relative_to(ROOT)}:{number}"
        for file in project_texts()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if machine_path.search(line)
    }
    assert named == set()
