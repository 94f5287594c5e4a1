"""A driver file with a mistake: one line that says what and where, or a leak that names the pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netemu import UsageError, traces
from netemu.engine import jit
from netemu.machine import Machine
from netemu.net.plugin_loader import load_driver
from tests.drivers.authoring import TEMPLATE, edited, replay_interpreted

DNS = traces.path("dns.pcap")

WRONG_FILES = {
    "no DRIVER": (("DRIVER = Template()", "OTHER = Template()"), "DRIVER is not an instance of netemu.Driver"),
    "a class as DRIVER": (("DRIVER = Template()", "DRIVER = Template"), "DRIVER is not an instance of netemu.Driver"),
    "syntax error": (("    q.cq_head += 1", "    q.cq_head +== 1"), ", line 1[0-9][0-9]: invalid syntax"),
    "an import that is not there": (
        ("import tx_post", "import tx_poste"),
        ", line [0-9]+: ImportError: cannot import name 'tx_poste'",
    ),
    "an operation that is missing": (("    xmit = xmit\n", ""), "xmit is missing"),
    "an operation with too few parameters": (
        ("def rx_refill(k: Kernel, cpu: int, rxq: int, _unused: int)", "def rx_refill(k: Kernel, cpu: int, rxq: int)"),
        r"rx_refill takes \(k, cpu, rxq\): it has to take \(k, cpu, queue, argument\)",
    ),
    "an operation with other parameters": (
        ("def rx_refill(k: Kernel, cpu: int, rxq: int,", "def rx_refill(cpu: int, k: Kernel, rxq: int,"),
        r"rx_refill takes \(cpu, k, rxq, _unused\)",
    ),
    "an operation that returns nothing": (
        ("skb, budget)\n    return 1", "skb, budget)"),
        "tx_poll_one can end without a result",
    ),
    "an operation that returns nothing on one way out": (
        (
            "    if ring.taken == ring.posted:\n        return NO_DESCRIPTOR",
            "    if ring.taken == ring.posted:\n        return",
        ),
        "hw_receive can end without a result",
    ),
    "an operation that is no entry point": (
        ('@kernel_function(name="template_start_xmit", entry=True)', '@kernel_function(name="template_start_xmit")'),
        "xmit cannot be called by netemu",
    ),
    "no link speed": (("    link_gbps = 10.0\n", ""), "link_gbps has to be set to a number"),
    "a name that is no text": (('    name = "template"\n', "    name = 7\n"), "name has to be set to a text"),
    "no way down": (("    def stop(", "    def halt("), "abstract method stop"),
}


@pytest.mark.parametrize("mistake", WRONG_FILES)
def test_a_wrong_file_is_refused_before_anything_runs(tmp_path: Path, mistake: str) -> None:
    change, said = WRONG_FILES[mistake]
    path = edited(tmp_path, f"{mistake.replace(' ', '_')}.py", change)
    with pytest.raises(UsageError, match=said) as refused:
        load_driver(str(path))
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py: No such file"):
        load_driver("nowhere.py")


def test_an_unknown_name_lists_the_drivers() -> None:
    with pytest.raises(UsageError, match=r"unknown driver 'e1000'; installed are mlx5, netsec, or give a \.py file"):
        load_driver("e1000")


def test_the_same_file_is_loaded_once(tmp_path: Path) -> None:
    path = edited(tmp_path, "once.py")
    assert load_driver(str(path)) is load_driver(str(path))


def test_a_module_that_was_forgotten_is_back_when_its_driver_is_asked_for(tmp_path: Path) -> None:
    path = edited(tmp_path, "forgotten.py")
    name = type(load_driver(str(path))).__module__
    module = sys.modules.pop(name)  # as pytest's pytester does with what is first imported during an inner run
    load_driver(str(path))
    assert sys.modules[name] is module


def test_files_of_one_name_are_modules_of_their_own(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    drivers = [type(load_driver(str(edited(folder, "same.py")))).__module__ for folder in folders]
    assert [sys.modules[name].__file__ for name in drivers] == [str(folder / "same.py") for folder in folders]


def test_kept_code_is_not_used_where_functions_have_other_numbers() -> None:
    script = (
        "import sys, netemu.kernel\n"
        "from netemu.engine.kernel import cost_point\n"
        "from netemu.net.plugin_loader import load_driver\n"
        "for name in sys.argv[2:]:\n"
        "    cost_point(name)\n"
        "print(load_driver(sys.argv[1]).rx_refill.generation())\n"
    )

    def generation(*declared: str) -> str:
        command = [sys.executable, "-c", script, str(TEMPLATE), *declared]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert generation() == generation()
    assert generation() != generation("one more")


def test_a_file_that_changed_under_a_running_process_is_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, "changing.py")
    load_driver(str(path))
    edited(tmp_path, "changing.py", ("RX_DESCRIPTORS = 256", "RX_DESCRIPTORS = 512"))
    with pytest.raises(UsageError, match=r"changing\.py has changed"):
        load_driver(str(path))


@pytest.mark.skipif(not jit.JIT, reason="what the compiler refuses is met while running otherwise")
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("field", ("ring.taken == ring.posted", "ring.taken == ring.placed"), "Unknown attribute 'placed' of type"),
        ("global", ("ring.taken += 1", "ring.taken += ONE"), "'ONE' is not defined"),
    ],
)
def test_what_does_not_compile_is_one_line_with_the_place(
    tmp_path: Path, name: str, change: tuple[str, str], said: str
) -> None:
    path = edited(tmp_path, f"{name}.py", change)
    with pytest.raises(UsageError, match=said) as refused:
        Machine(memory_mb=8).netdev(str(path))
    assert str(refused.value).startswith(f"driver template: hw_receive cannot be compiled: {path.name}, line ")
    assert len(str(refused.value)) < 200


METHODS = {
    "open": (("nic.add_private(RING, 1)", "nic.add_private(RINGS, 1)"), "open: {}, line [0-9]+: NameError: .*'RINGS'"),
    "statistics": (("rxq.packets,", "rxq.pakets,"), "statistics: {}, line [0-9]+: AttributeError: .*'pakets'"),
    "pages_held": (
        ("page_column(nic.private(BUFFER))", "iter(nic.held)"),
        "pages_held: {}, line [0-9]+: AttributeError",
    ),
}


@pytest.mark.parametrize("mistake", METHODS)
def test_a_method_that_fails_is_one_line_and_status_2(tmp_path: Path, mistake: str) -> None:
    change, said = METHODS[mistake]
    path = edited(tmp_path, "failing.py", change)
    done = replay_interpreted(DNS, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert re.search(said.format(re.escape(path.name)), done.stderr)


def test_memory_that_does_not_hold_the_receive_ring_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="driver mlx5: the machine's memory is too small for receive queue 0"):
        Machine(memory_mb=4).netdev("mlx5", mtu=9000)


LEAKS = {
    "a ring that is not emptied": (
        ("            page_pool_put_page(k, cpu, q.pool, b.page - 1, BUFFER_SIZE, 0)\n", ""),
        256,
    ),
    "an extra reference": (
        (
            "        part_with_page(k, cpu, rxq, skb, pfn)\n",
            "        part_with_page(k, cpu, rxq, skb, pfn)\n        k.pages[pfn].refcount += 1\n",
        ),
        None,
    ),
}


@pytest.mark.parametrize("mistake", LEAKS)
def test_pages_that_nobody_gives_back_are_named(tmp_path: Path, mistake: str) -> None:
    change, count = LEAKS[mistake]
    done = replay_interpreted(DNS, edited(tmp_path, "leaking.py", change), "--json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    leaks = result["leaks"]
    expected = result["packets"]["received"] if count is None else count
    assert result["leaks_found"] == expected
    assert f"{expected} leaks" in done.stderr
    assert len(leaks) == min(expected, 21)
    if expected > 20:
        assert leaks.pop() == f"and {expected - 20} more"
    assert all(leak.startswith("page ") and leak.endswith(": nobody holds it") for leak in leaks)


def test_a_checked_replay_names_the_broken_rule_and_fails(tmp_path: Path) -> None:
    wrong = edited(tmp_path, "wrong.py", ("    skb_mark_for_recycle(k, cpu, skb)\n", ""))
    assert replay_interpreted(DNS, wrong, "--packets", "20").returncode == 0
    done = replay_interpreted(DNS, wrong, "--packets", "20", "--check", "every")
    assert done.returncode == 1
    assert "\n  leak: SK-06 (error): " in done.stdout
    assert "  history, oldest first:" in done.stdout
    assert "leaks or broken rules; the first: SK-06" in done.stderr


@pytest.mark.parametrize(
    ("era", "found"),
    [
        ("v6.1", "reference dropped, but it had 0"),  # when the page comes round again
        ("v6.12", "template_clean_tx -> napi_consume_skb"),  # when the packet lets go of a page that is still signed
    ],
)
def test_a_page_given_back_while_a_packet_holds_it_is_a_kernel_bug(tmp_path: Path, era: str, found: str) -> None:
    early = "        page_pool_put_page(k, cpu, k.rxq[rxq].pool, pfn, BUFFER_SIZE, 1)\n"
    path = edited(tmp_path, "early.py", ("        part_with_page(k, cpu, rxq, skb, pfn)\n", early))
    done = replay_interpreted(DNS, path, "--era", era)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert ("page_pool leak: page " in done.stderr) == (era == "v6.12")
    assert found in done.stderr
