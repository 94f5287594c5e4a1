"""The pytest plug-in: emulated machines as fixtures, checked at the end of every test that used one.

Loaded by every pytest that runs where netemu is installed, so nothing is imported here before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from netemu import Machine, NetDevice, PagePool
    from netemu.testing.factory import SkbFactory

OURS = ("machine", "page_pool", "netdev", "skb_factory")
CHECKED = pytest.StashKey["list[Machine]"]()

MARKS = (
    "netemu(**settings): settings of the machine: cpus, nodes, memory_mb, platform, switches, seed, check, skbs",
    "netemu_era(era): kernel release of the machine",
    "netemu_eras(*eras): run the test once for each of these releases, 'all' for every one",
    "netemu_cpus(n): CPUs of the machine",
    "netemu_driver(name, **settings): driver of the netdev fixture, and its queues, mtu and options",
    "netemu_drivers(*names): run the test once for each of these drivers",
    "netemu_pool(**parameters): parameters of the page_pool fixture",
    "netemu_allow_leak(reason): pages or packets may be left at the end of the test; rules are checked all the same",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netemu", "emulated network drivers (netemu)")
    group.addoption(
        "--netemu-check",
        choices=("every", "quiesce", "off"),
        default="every",
        help="how closely machines are followed: every operation with its history (default), at rest, or not at all",
    )
    group.addoption("--netemu-era", default="v6.1", metavar="ERA", help="kernel release of machines without a mark")
    group.addoption("--netemu-driver", default="mlx5", metavar="NAME", help="driver of netdev without a mark")
    group.addoption("--netemu-seed", type=int, default=1, metavar="N", help="seed of machines")


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for mark, fixture in (("netemu_eras", "netemu_era"), ("netemu_drivers", "netemu_driver")):
        found = metafunc.definition.get_closest_marker(mark)
        if found is None or fixture not in metafunc.fixturenames:
            continue
        values = list(found.args)
        if values == ["all"] and fixture == "netemu_era":
            from netemu.profiles.eras import era_names

            values = era_names()
        metafunc.parametrize(fixture, values)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    if op == "==" and type(left).__name__ == type(right).__name__ == "PoolStatistics":
        from netemu.testing.asserts import different_statistics

        return different_statistics(left, right)
    return None


# -- fixtures --------------------------------------------------------------------------------------------------------


def _mark(request: pytest.FixtureRequest, name: str) -> pytest.Mark | None:
    mark: pytest.Mark | None = request.node.get_closest_marker(name)
    return mark


@pytest.fixture
def netemu_era(request: pytest.FixtureRequest) -> str:
    """The kernel release of ``machine``."""
    mark = _mark(request, "netemu_era")
    era: str = mark.args[0] if mark else request.config.getoption("--netemu-era")
    return era


@pytest.fixture
def netemu_driver(request: pytest.FixtureRequest) -> str:
    """The driver of ``netdev``."""
    mark = _mark(request, "netemu_driver")
    name: str = mark.args[0] if mark else request.config.getoption("--netemu-driver")
    return name


@pytest.fixture
def machine(request: pytest.FixtureRequest, netemu_era: str) -> Iterator[Machine]:
    """An emulated machine with 64 MiB.  The test fails if it ends with a leak, or if any rule is broken meanwhile."""
    import netemu

    settings: dict[str, Any] = {"memory_mb": 64, "skbs": 1 << 13}
    settings["check"] = request.config.getoption("--netemu-check")
    settings["seed"] = request.config.getoption("--netemu-seed")
    cpus = _mark(request, "netemu_cpus")
    if cpus:
        settings["cpus"] = cpus.args[0]
    for mark in reversed(list(request.node.iter_markers("netemu"))):
        settings |= mark.kwargs
    made = netemu.Machine(era=settings.pop("era", netemu_era), **settings)
    waiting = request.node.stash.setdefault(CHECKED, [])
    waiting.append(made)
    yield made
    if made in waiting:  # somebody's fixture is built on it, and has given back by now what it held
        waiting.remove(made)
        _finish(request.node, made)


@pytest.fixture
def page_pool(request: pytest.FixtureRequest, machine: Machine) -> PagePool:
    """A page_pool of ``machine``, with 256 slots unless ``netemu_pool`` says otherwise."""
    mark = _mark(request, "netemu_pool")
    return machine.page_pool(**{"ring_size": 256, **(mark.kwargs if mark else {})})


@pytest.fixture
def netdev(request: pytest.FixtureRequest, machine: Machine, netemu_driver: str) -> NetDevice:
    """A device of ``machine`` that is up; it is stopped at the end, which has to bring its pages back."""
    mark = _mark(request, "netemu_driver")
    return machine.netdev(netemu_driver, **(mark.kwargs if mark else {}))


@pytest.fixture
def skb_factory(machine: Machine) -> SkbFactory:
    """Makes packets of all shapes on ``machine``."""
    from netemu.testing.factory import SkbFactory

    return SkbFactory(machine)


# -- the check -------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Check machines when the test function is over, unless other fixtures still hold something of them."""
    yield
    machines = item.stash.get(CHECKED, [])
    if machines and not _built_upon(item):
        for made in list(machines):
            machines.remove(made)
            _finish(item, made)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed by itself is not asked about its leaks too."""
    report = yield
    if call.when == "call" and call.excinfo is not None:
        item.stash.get(CHECKED, []).clear()
    return report


def _built_upon(item: pytest.Item) -> bool:
    """Do fixtures of others use ours, and perhaps give something back later?"""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return True
    return any(
        name not in OURS and not set(OURS).isdisjoint(definitions[-1].argnames)
        for name, definitions in info.name2fixturedefs.items()
    )


def _finish(item: pytest.Item, machine: Machine) -> None:
    """Stop devices, end pools, empty what the kernel keeps for later; then look at everything."""
    __tracebackhide__ = True
    from netemu.errors import KernelBug

    try:
        machine.wind_up()
        if item.get_closest_marker("netemu_allow_leak"):
            machine.quiesce()
        else:
            machine.assert_clean()
    except KernelBug as bug:
        message = str(bug)
    else:
        return
    pytest.fail(f"netemu: the test leaves its machine in disorder\n\n{message}", pytrace=False)
