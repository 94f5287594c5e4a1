"""Tables of state, the error record and the log, alike compiled and interpreted."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netemu import EmulatorError, KernelBug, Machine
from netemu.engine import jit
from netemu.engine.era import SWITCHES, set_switch
from netemu.engine.layout import TABLES, Kernel, record, table
from netemu.engine.log import LOG_ROWS
from netemu.profiles.eras import era_names, era_switches
from tests.engine.samples import sample_misuse, sample_narrow, sample_stray

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine() -> Machine:
    return Machine(memory_mb=4, skbs=16)


# -- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, -1, 200, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40 + 5, -(2**33) - 7])
def test_a_value_too_large_for_its_field_wraps_like_an_integer_of_c(machine: Machine, value: int) -> None:
    def wrapped(bits: int) -> int:
        return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)

    k = machine.k
    assert sample_narrow(k, 0, value) == wrapped(32)
    assert k.pages[1].refcount == wrapped(32)
    assert k.pages[1].order == wrapped(16)
    assert k.pool[0].hold_cnt == value % 2**32
    assert k.skb[0].cloned == wrapped(8)
    assert k.page_array[0] == wrapped(32)
    assert k.arrays["pages"]["refcount"][1] == wrapped(32)


def test_rows_of_python_and_the_array_are_the_same_memory(machine: Machine) -> None:
    machine.k.arrays["pages"]["refcount"][5] = 77
    assert machine.k.pages[5].refcount == 77
    machine.k.pages[5].refcount = 78
    assert machine.k.arrays["pages"]["refcount"][5] == 78


def test_a_row_has_its_memory_when_its_machine_is_gone() -> None:
    row = Machine(memory_mb=64, skbs=16).k.pcp[0]
    gc.collect()
    others = [Machine(memory_mb=64, skbs=16) for _ in range(3)]
    for other in others:
        other.k.arrays["pcp"]["batch"] = 7777
    assert row.batch not in (0, 7777)


@pytest.mark.parametrize("row", [-1, 1, 10**9])
def test_python_cannot_look_outside_a_table(machine: Machine, row: int) -> None:
    with pytest.raises(IndexError, match=rf"k.zone\[{row}\]: the table has 1 rows"):
        machine.k.zone[row]


def test_interpreted_code_cannot_reach_outside_a_table(machine: Machine) -> None:
    with pytest.raises(IndexError, match=r"k.zone\[7\]"):
        sample_stray.interpreted()(machine.k, 0, 7)  # type: ignore[attr-defined]


def test_the_checked_build_reports_a_row_outside_a_table() -> None:
    script = (
        "import netemu\n"
        "from tests.engine.samples import sample_stray\n"
        "machine = netemu.Machine(memory_mb=4, skbs=16)\n"
        "assert sample_stray(machine.k, 0, 0) == 1024\n"
        "machine.check()\n"
        "assert sample_stray(machine.k, 0, 7) == 1024\n"
        "for word in ('again', 'clean'):\n"
        "    try:\n"
        "        machine.check()\n"
        "        print(word)\n"
        "    except netemu.EmulatorError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "NETEMU_JIT": "1", "NETEMU_CHECKED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["netemu itself is wrong: k.zone has no row 7 (rows: 1)", "clean"]


def test_a_table_that_was_replaced_is_seen_by_the_code(machine: Machine) -> None:
    bigger = np.zeros(3, TABLES["zone"].dtype)
    bigger["managed"] = [1, 2, 3]
    machine.k.replace("zone", bigger)
    assert sample_stray(machine.k, 0, 2) == 3
    with pytest.raises(TypeError, match=r"k\.zone holds"):
        machine.k.replace("zone", np.zeros(3, np.int64))


def test_a_missing_table_is_named(machine: Machine) -> None:
    with pytest.raises(AttributeError, match=r"machine state has no table 'zoone'; declared are: .*zone"):
        _ = machine.k.zoone


def test_declarations_that_cannot_work_are_refused() -> None:
    with pytest.raises(TypeError, match="'count': type 'u8' is not one of"):
        record([("count", "u8")])
    with pytest.raises(TypeError, match="'zone' is declared twice"):
        table("zone", "i4")


def test_a_fresh_state_is_all_zeros() -> None:
    k = Kernel({"pages": 8})
    assert len(k.pages) == 8
    assert not any(array.tobytes().strip(b"\0") for name, array in k.arrays.items())


# -- the error record ------------------------------------------------------------------------------------------------


def test_the_first_condition_is_raised_once_with_its_call_path(machine: Machine) -> None:
    assert sample_misuse(machine.k, 0, 3, 4) == 7
    with pytest.raises(KernelBug, match=r"^T-01: sample 3 of 4 \(CPU 0, \d+ ns, in sample_misuse\)$") as caught:
        machine.check()
    assert (caught.value.code, caught.value.where) == ("T-01", ("sample_misuse",))
    machine.check()
    assert all(getattr(machine.k.error[0], field) == 0 for field in TABLES["error"].dtype.names or ())


def test_after_a_condition_the_machine_works_on(machine: Machine) -> None:
    sample_misuse(machine.k, 0, 1, 1)
    with pytest.raises(KernelBug):
        machine.check()
    page = machine.alloc_pages()
    assert page is not None
    page.put()
    assert machine.k.cpu[0].node == 0


def test_a_record_of_an_access_outside_is_a_bug_of_the_emulator(machine: Machine) -> None:
    error = machine.k.error[0]
    error.code, error.a, error.b, error.c = 1, list(TABLES).index("pcp"), 99, 2
    with pytest.raises(EmulatorError, match=r"netemu itself is wrong: k\.pcp has no row 99 \(rows: 2\)"):
        machine.check()
    error.code, error.a, error.b, error.c = 1, -3, 5, 4
    with pytest.raises(EmulatorError, match="private table 2 has no row 5"):
        machine.check()


# -- the log ---------------------------------------------------------------------------------------------------------


def test_messages_are_told_once_and_in_order(machine: Machine) -> None:
    for n in range(3):
        sample_misuse(machine.k, 0, n, -n)
    assert machine.messages() == [f"sample said {n} and {-n}" for n in range(3)]
    assert machine.messages() == []


def test_of_too_many_messages_the_newest_are_kept(machine: Machine) -> None:
    for n in range(LOG_ROWS + 5):
        sample_misuse(machine.k, 0, n, 0)
    told = machine.messages()
    assert len(told) == LOG_ROWS
    assert (told[0], told[-1]) == ("sample said 5 and 0", f"sample said {LOG_ROWS + 4} and 0")


# -- eras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", era_names())
def test_an_era_sets_every_switch_to_a_value_that_it_has(era: str) -> None:
    chosen = era_switches(era)
    assert chosen.keys() == SWITCHES.keys()
    machine = Machine(era=era, memory_mb=4, skbs=16)
    for name, value in chosen.items():
        assert SWITCHES[name].values[getattr(machine.k.era[0], name)] == value


def test_a_switch_is_set_by_the_name_of_its_value(machine: Machine) -> None:
    set_switch(machine.k, "page_frag_free", "buddy")
    assert machine.k.era[0].page_frag_free == 0


# -- compiled code on disk -------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the sources that the cache is keyed by, in their place."""
    copies = []
    for index, source in enumerate(jit._compiled_sources()):
        copy = tmp_path / str(index) / source.name
        copy.parent.mkdir()
        copy.write_bytes(source.read_bytes())
        copies.append(copy)
    monkeypatch.setattr(jit, "_compiled_sources", lambda: copies)
    return copies


def key(*arguments: object) -> str:
    """The key as a new process would find it."""
    found: str = jit.content_key.__wrapped__(*arguments)  # type: ignore[attr-defined]
    return found


def test_the_cache_is_keyed_by_the_text_of_every_kernel_source(sources: list[Path]) -> None:
    before = key()
    assert before == key()
    for source in sources:
        text = source.read_text()
        source.write_text(text + "# one comment more\n")
        assert key() != before, source
        source.write_text(text)
    assert key() == before


def test_the_cache_is_keyed_by_plugins_and_by_declarations(tmp_path: Path) -> None:
    plugin = tmp_path / "driver.py"
    plugin.write_text("a = 1\n")
    keys = {key(), key("declared"), key("", plugin)}
    plugin.write_text("a = 2\n")
    keys.add(key("", plugin))
    assert len(keys) == 4


def test_sources_of_every_compiled_room_are_in_the_key() -> None:
    names = {source.parent.name for source in jit._compiled_sources()}
    assert {"engine", "mm", "net", "pcap", "mlx5", "netsec"} <= names
    assert "cli" not in names


def test_without_a_writable_cache_everything_is_compiled_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "not-a-folder"
    file.touch()
    script = (
        "import netemu\n"
        "from netemu.net.page_pool import page_pool_fragment_page\n"
        "machine = netemu.Machine(memory_mb=4, skbs=16)\n"
        "page_pool_fragment_page(machine.k, 0, 3, 5)\n"
        "print(machine.k.pages[3].frag_count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "NETEMU_JIT": "1", "NETEMU_CACHE_DIR": str(file / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("5\n", "")


@pytest.mark.parametrize(
    "use",
    ["import netemu", "from netemu import Machine; Machine(memory_mb=4, skbs=16)", "import netemu.pcap"],
    ids=["the package", "a machine", "the capture reader"],
)
def test_the_compiler_is_imported_only_when_something_is_compiled(use: str) -> None:
    script = f"import sys\n{use}\nprint(sorted({{'numba', 'llvmlite'}} & set(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
