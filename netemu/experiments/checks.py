"""What can be told of experiments before the first of them runs: mistakes in any of their points end all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from netemu.engine.era import set_switch
from netemu.engine.layout import Kernel
from netemu.errors import NetemuError, UsageError
from netemu.experiments.files import Experiment
from netemu.experiments.loop import burst_of
from netemu.experiments.metrics import WrongMetric, check_functions
from netemu.experiments.replays import device_settings, driver_options
from netemu.experiments.values import integer
from netemu.net.plugin import Nic
from netemu.net.plugin_loader import load_driver
from netemu.net.policy_loader import load_policy
from netemu.pipeline.sources import open_source
from netemu.profiles.eras import era_switches
from netemu.profiles.platforms import load_platform

Settings = Mapping[str, Any]

_OF_LOOPS = ("platform", "era", "switches", "cpus", "order", "bulk", "build", "shared", "hold_ns")
_OF_TRAFFIC = (
    *("platform", "era", "switches", "cpus", "driver", "driver_options", "rq", "queues", "mtu", "trace", "rate", "xdp"),
    *("recycle", "irq_affinity", "xps", "rx_usecs", "tx_usecs", "rx_frames", "tx_frames", "bql", "link_gbps"),
)
"""Keys that checks look at: points that differ in others are checked once."""


def check_experiments(experiments: Iterable[Experiment]) -> None:
    """Look for what cannot be run, without a machine.  Raises ExperimentError for the first that is found."""
    for experiment in experiments:
        check = _check_traffic if experiment.kind == "traffic" else _check_loop
        for settings in _different(experiment):
            try:
                check(experiment, settings)
            except NetemuError as error:
                raise experiment.error(error) from None
        for metric in experiment.metrics:
            try:
                check_functions(metric.reading)
            except WrongMetric as error:
                raise experiment.error(f"{metric.reading} cannot be told: {error}") from None


def _different(experiment: Experiment) -> Iterable[Settings]:
    """The settings of every run, those left out that checks cannot tell from others."""
    looked_at = _OF_TRAFFIC if experiment.kind == "traffic" else _OF_LOOPS
    runs = (experiment.settings(point, side) for point in experiment.points() for side in experiment.sides)
    return {repr([run.get(name) for name in looked_at]): run for run in runs}.values()


def _check_loop(experiment: Experiment, settings: Settings) -> None:
    load_platform(settings["platform"])
    burst_of(experiment.kind, settings)
    kernel = {**era_switches(settings["era"]), **settings["switches"]}
    if experiment.kind == "page_alloc" and settings["bulk"] and kernel["pool_slow"] == "single":
        raise UsageError("there is no __alloc_pages_bulk before v5.13: take a later era, or no bulk")
    if settings.get("build") == "napi_build_skb" and kernel["skb_napi_cache"] == "free_only":
        raise UsageError("there is no napi_build_skb before v5.12: take a later era, or build_skb")
    meet = experiment.kind == "spinlock" and settings["shared"] and settings["cpus"] > 1
    if meet and settings["hold_ns"] == 0:
        raise UsageError("CPUs at one lock that nobody holds for any time never meet: say with hold_ns for how long")


def _check_traffic(experiment: Experiment, settings: Settings) -> None:
    load_platform(settings["platform"])
    _check_device(settings)
    if isinstance(settings["recycle"], str) and settings["recycle"] != "mechanism":
        load_policy(settings["recycle"])
    if settings["trace"] is not None:
        _check_trace(experiment.folder / settings["trace"])
    elif settings["rate"] == "recorded":
        raise UsageError("generated packets have no recorded times: rate is max or packets per second")


def _check_trace(path: Path) -> None:
    """What comes out of a pipe comes once: only files are opened."""
    if path.is_file() or not path.exists():
        with closing(open_source(str(path))):
            pass


def _check_device(settings: Settings) -> None:
    """Does the driver take the options, queues, MTU and program, and the machine the interrupts?"""
    driver = load_driver(settings["driver"])
    options = driver.check_options(driver_options(settings))
    queues = min(settings["cpus"], driver.max_queues) if settings["queues"] is None else settings["queues"]
    for name, value, check in (
        ("queues", queues, integer(1, driver.max_queues)),
        ("mtu", settings["mtu"], integer(68, driver.max_mtu)),
    ):
        _check_value(f"{name} of driver {driver.name}", value, check)
    k = Kernel({})  # tables alone: nothing runs on it
    for name, value in {**era_switches(settings["era"]), **settings["switches"]}.items():
        set_switch(k, name, value)
    administered = device_settings(settings)
    administered.apply(k.netdev[0], driver)
    administered.cpu_of(0, settings["cpus"])
    if settings["xdp"] is not None:
        driver.check_xdp(Nic(k, 0, queues, settings["mtu"], options))


def _check_value(name: str, value: Any, check: Callable[[Any], Any]) -> None:
    try:
        check(value)
    except ValueError as error:
        raise UsageError(f"{name} is {error}, not {value}") from None
