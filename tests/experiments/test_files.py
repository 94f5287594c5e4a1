"""Experiment files: what is chosen, what the defaults are, and how every mistake is told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from netemu.experiments.files import Experiment, ExperimentError, load_experiments, read_experiments, shipped_files
from netemu.experiments.keys import KINDS, keys_of

ONE = '[[experiment]]\nname = "a"\nkind = "page_alloc"\nmetric = "ns_per_op"\n'
TRAFFIC = '[a]\nkind = "traffic"\nmetric = "pps"\n'
REPRODUCE = ONE + 'cpus = 1\n[reproduce]\nid = "X"\nwhat = "w"\nsource = "s"\n'


def only(text: str) -> Experiment:
    (experiment,) = read_experiments("x.toml", tomllib.loads(text)).experiments
    return experiment


def test_what_is_not_set_has_its_default() -> None:
    settings = only(ONE).settings()
    assert settings == {key.name: key.default for key in KINDS["page_alloc"]}


def test_defaults_of_the_file_are_for_experiments_that_have_the_key() -> None:
    text = '[defaults]\ncpus = 4\nflows = 3\nmetric = "busy_percent"\n'
    text += '[a]\nkind = "traffic"\n[b]\nkind = "atomic"\ncpus = 2\n'
    a, b = read_experiments("x.toml", tomllib.loads(text)).experiments
    assert (a.name, a.chosen) == ("a", {"cpus": 4, "flows": 3})
    assert (b.name, b.chosen) == ("b", {"cpus": 2})
    assert str(a.metrics[0].reading) == "busy_percent"


@pytest.mark.parametrize(
    "keys",
    [
        'hold_us = 5\nsweep = { action = ["forward", "local"] }',
        'hold_us = 5\nbase = { action = "drop" }\ntest = { action = "local" }',
        'window = 5\naction = "drop"',
        'window = 5\nxdp = "tx"',
        "hold_us = 0",
    ],
)
def test_a_key_that_has_an_effect_in_some_run_may_be_set(keys: str) -> None:
    assert only(TRAFFIC + keys).name == "a"


def test_an_experiment_may_override_a_default_that_excludes_its_keys() -> None:
    defaults = "[defaults]\nhold_us = 5\npackets = 10\nflows = 3\nwithin = 5\n"
    experiment = only(defaults + TRAFFIC + 'trace = "x.pcap"\ntolerance = 1')
    assert experiment.chosen == {"hold_us": 5, "trace": "x.pcap"}
    assert (experiment.tolerance, experiment.within) == (1, None)


def test_a_sweep_is_every_combination() -> None:
    points = list(only(ONE + "sweep = { cpus = [1, 2], order = [0, 3] }").points())
    assert points == [{"cpus": c, "order": o} for c in (1, 2) for o in (0, 3)]


def test_without_a_sweep_there_is_one_point() -> None:
    assert list(only(ONE).points()) == [{}]


def test_a_side_of_a_comparison_changes_single_switches() -> None:
    text = ONE + 'switches = { page_frag_free = "buddy", pcp_refill = "batch" }\n'
    experiment = only(text + 'test = { switches = { page_frag_free = "pcp" }, cpus = 2 }')
    assert experiment.base == {}
    changed = experiment.settings({}, experiment.test or {})
    assert changed["switches"] == {"page_frag_free": "pcp", "pcp_refill": "batch"}
    assert changed["cpus"] == 2


@pytest.mark.parametrize(
    "sweep",
    [
        'sweep = { switches = { page_frag_free = ["buddy", "pcp"] } }',
        'sweep = { "switches.page_frag_free" = ["buddy", "pcp"] }',
    ],
)
def test_a_sweep_can_be_over_a_switch(sweep: str) -> None:
    experiment = only(ONE + sweep)
    values = [experiment.settings(point)["switches"] for point in experiment.points()]
    assert values == [{"page_frag_free": "buddy"}, {"page_frag_free": "pcp"}]


def test_numbers_and_booleans_in_tables_count_as_their_text_wherever_they_stand() -> None:
    traffic = '[a]\nkind = "traffic"\nmetric = "pps"\n'
    written = ["256", "yes"]
    for options in (
        "driver_options = { rx_ring = 256, page_per_packet = true }",
        "test = { driver_options = { rx_ring = 256, page_per_packet = true } }",
        "sweep = { driver_options = { rx_ring = [256], page_per_packet = [true] } }",
        'sweep = { "driver_options.rx_ring" = [256], "driver_options.page_per_packet" = [true] }',
        "sweep = { driver_options = [{ rx_ring = 256, page_per_packet = true }] }",
    ):
        experiment = only(traffic + options)
        (point,) = experiment.points()
        assert list(experiment.settings(point, experiment.sides[-1])["driver_options"].values()) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no experiment in it"),
        ("x = 1", "x stands outside every table"),
        ("experiment = 3", "as tables"),
        ('[[experiment]]\nname = "a"', "kind is missing: it is one of page_alloc"),
        ('[[experiment]]\nname = "a"\nkind = "foo"', "kind is one of page_alloc, .*; it says 'foo'"),
        ('[[experiment]]\nname = "a"\nkind = "atomic"', "it needs a metric"),
        (ONE.replace("ns_per_op", "pps"), r"pps is a figure of traffic; loops have ns_per_op.* \(kind page_alloc\)"),
        (ONE + "ordr = 3", r"no key is called 'ordr'; did you mean order\? \(kind page_alloc\)"),
        (ONE + "cpus = 0", "cpus is a whole number from 1 to 128; it says 0"),
        (ONE + "cpus = true", "cpus is a whole number from 1 to 128; it says True"),
        (ONE + 'era = "v9"', "era is one of v4.19, .*; it says 'v9'"),
        (ONE + 'switches = { a = "b" }', "switches is a table of switches: unknown switch 'a'"),
        (ONE + "fragmented = 1", "fragmented is true or false; it says 1"),
        (ONE + "flows = 1", "no key is called 'flows'.*kind page_alloc"),
        (ONE + "sweep = { cpus = [] }", r"sweep.cpus is a list that is not empty; it says \[\]"),
        (ONE + "sweep = { cpus = [0] }", "sweep.cpus is a whole number from 1 to 128; it says 0"),
        (ONE + "sweep = {}", "sweep is a table of keys with lists of values"),
        (ONE + "sweep = { cpu = [1] }", r"did you mean cpus\? \(kind page_alloc in sweep\)"),
        (
            ONE + f"sweep = {{ count = {list(range(1, 102))}, seed = {list(range(100))} }}",
            "10100 points; at most 10000",
        ),
        (ONE + "test = { ordr = 1 }", r"did you mean order\? \(kind page_alloc in test\)"),
        (ONE + "test = 3", "test is a table of what is different in that run; it says 3"),
        (ONE + 'compare = "ratio"', "compare needs a table base or test"),
        (ONE + "published = 'x'", r"published is a number, or a range such as \[55.5, 62.1\]; it says 'x'"),
        (ONE + "published = [3, 1]", "published is a number, or a range"),
        (ONE.replace("ns_per_op", "nsperop"), "metric is one of ns_per_op, .*a path into the JSON report"),
        (ONE.replace('"ns_per_op"', "{ share = 'f', slef = true }"), "slef means nothing there"),
        (ONE.replace('"ns_per_op"', "{ share = 'f', self = 1 }"), "a table in which self is true or false"),
        (ONE.replace('"ns_per_op"', "{ share = 'f', key = 'g' }"), "exactly one of share, ns_of"),
        (ONE.replace('metric = "ns_per_op"', "metrics = []"), "metrics is a list of metrics"),
        (ONE + 'metrics = ["ns_per_op"]', "a metric, or a list of metrics, and not both"),
        ('[[experiment]]\nkind = "traffic"\nmetric = "pps"\nmix = { "10" = 1 }', "mix is a table of packet sizes"),
        (
            '[[experiment]]\nkind = "traffic"\nmetric = "pps"\nflows = 3\nstreams = 2',
            "flows and streams exclude each other: leave one of them out",
        ),
        (TRAFFIC + 'trace = "x.pcap"\npacket_size = 64', "trace and packet_size exclude each other"),
        (TRAFFIC + 'trace = "x.pcap"\nsweep = { flows = [1, 2] }', "trace and flows exclude each other"),
        (ONE + "tolerance = 1\nwithin = 1", "tolerance and within exclude each other"),
        (TRAFFIC + "hold_us = 5", "hold_us has no effect .*: leave it out, or set action to local"),
        (TRAFFIC + 'action = "local"\nxdp = "drop"\nhold_us = 5', "hold_us has no effect"),
        (TRAFFIC + 'test = { consumer_cpu = "shift:1" }\naction = "drop"', "consumer_cpu has no effect"),
        (TRAFFIC + 'window = 8\nsweep = { action = ["local", "forward"] }', "a window is closed for good"),
        (
            '[[experiment]]\nkind = "traffic"\nmetric = "pps"\nrate = "fast"',
            "rate is one of recorded, max, or a number",
        ),
        ("reproduce = 3\n" + ONE, r"write \[reproduce\] as a table with id, what, source"),
        (REPRODUCE.replace('what = "w"\n', ""), r"\[reproduce\] needs what = a text"),
        (REPRODUCE.replace('"X"', "1"), r"\[reproduce\] needs id = a text"),
        (REPRODUCE + 'sauce = "s"\n', r"\[reproduce\]: no key is called 'sauce'; did you mean source"),
        (REPRODUCE + "inputs = 3\n", r"\[reproduce.inputs\] is a table of keys and texts; it says 3"),
        (REPRODUCE + 'inputs = { order = "why" }\n', r"\[reproduce.inputs\]: order is set by no experiment"),
        (REPRODUCE + "inputs = { cpus = 3 }\n", r"\[reproduce.inputs\]: cpus is a text that says why; it says 3"),
        ("[defaults]\nfoo = 1\n" + ONE, r"\[defaults\]: no key is called 'foo'"),
        ('[a]\nkind = "traffic"\nmetric = "pps"\nconsumer_cpu = "shift:x"', "consumer_cpu is same, or shift:N"),
        ('[a]\nkind = "traffic"\nmetric = "pps"\nrecycle = "1.5"', "recycle is a number from 0 to 1, mechanism, or"),
        ('[a]\nkind = "traffic"\nmetric = "pps"\nstreams = 5000', "streams is a whole number from 1 to 4096"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ExperimentError, match=said) as caught:
        read_experiments("x.toml", tomllib.loads(text))
    assert str(caught.value).startswith("x.toml: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[experiment]\n")
    with pytest.raises(ExperimentError, match=r"not TOML: .*line 1"):
        load_experiments(str(tmp_path / "bad.toml"))


def test_a_byte_order_mark_is_not_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(ONE, encoding="utf-8-sig")
    assert load_experiments(str(tmp_path / "x.toml")).experiments[0].name == "a"


def test_a_name_that_is_no_file_names_those_that_come_with_netemu() -> None:
    with pytest.raises(ExperimentError, match="calibration, s1, s2, s3, s4"):
        load_experiments("calibratoin")


@pytest.mark.parametrize("name", shipped_files())
def test_every_file_that_comes_with_netemu_can_be_read(name: str) -> None:
    file = load_experiments(name)
    assert file.experiments
    assert file.about
    for experiment in file.experiments:
        assert keys_of(experiment.kind).keys() == experiment.settings().keys()
