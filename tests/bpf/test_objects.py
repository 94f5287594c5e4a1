"""Object files: what is in them, what can be changed before loading, and what is said of one that cannot be used."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from netemu.bpf.elf import load_object, read_object
from netemu.bpf.errors import BpfError
from netemu.bpf.map_kinds import MapType
from netemu.bpf.program import XdpProgram
from tests.bpf.shelf import EXAMPLES, object_file


def test_programs_are_found_by_name_and_by_section() -> None:
    obj = load_object(object_file("tail_calls"))
    assert set(obj.programs) == {"sort", "handle_ipv4", "handle_ipv6", "handle_last"}
    assert obj.program().name == "sort"
    assert obj.program("xdp/ipv6").name == "handle_ipv6"
    with pytest.raises(BpfError, match=r"no program or section 'x' \(there are: .*handle_ipv4"):
        obj.program("x")


def test_maps_are_read_from_type_information_and_the_old_way() -> None:
    maps = {
        m.name: (m.kind, m.key_size, m.value_size, m.max_entries) for m in load_object(object_file("firewall_lpm")).maps
    }
    assert maps == {
        "sources4": (MapType.LPM_TRIE, 8, 8, 128),
        "sources6": (MapType.LPM_TRIE, 20, 8, 128),
        "blocked_ports": (MapType.HASH, 2, 8, 64),
    }
    legacy = [(m.name, m.kind, m.key_size) for m in load_object(object_file("legacy_maps")).maps]
    assert legacy == [("counts", MapType.ARRAY, 4), ("macs", MapType.HASH, 6)]


def test_global_variables_can_be_set_before_loading() -> None:
    packet = bytes(70)
    assert XdpProgram(object_file("globals")).run(packet).action != "drop"
    strict = XdpProgram(object_file("globals"), variables={"minimum": 71, "seen": 5})
    assert strict.run(packet).action == "drop"
    assert strict.maps[".data"][0][:8] == (6).to_bytes(8, "little")
    for name, value, message in (("nothing", 1, "no global variable"), ("minimum", 1 << 32, "does not fit into the 4")):
        with pytest.raises(BpfError, match=message):
            XdpProgram(object_file("globals"), variables={name: value})


def test_source_lines_come_with_the_instructions() -> None:
    line = load_object(object_file("parse_count")).program().source_line(0)
    assert line is not None
    assert line.file.endswith("parse_count.c")
    assert line.text == "int parse_count(struct xdp_md *ctx)"


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"no object at all", bytes(4096)])
def test_what_is_no_object_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BpfError, match=r"^x\.o: is no eBPF object"):
        read_object(data, Path("x.o"))


def test_an_object_for_another_machine_is_refused() -> None:
    data = bytearray(object_file("globals").read_bytes())
    data[18] = 62  # e_machine: x86-64
    with pytest.raises(BpfError, match="is an object for EM_X86_64, not for eBPF"):
        read_object(bytes(data), Path("x.o"))


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_object_gets_one_clear_error_or_loads(seed: int) -> None:
    choose = random.Random(seed)
    data = bytearray(object_file(choose.choice(list(EXAMPLES))).read_bytes())
    for _ in range(choose.choice((1, 4, 30))):
        data[choose.randrange(len(data))] = choose.randrange(256)
    if choose.randrange(4) == 0:
        del data[choose.randrange(len(data)) :]
    with suppress(BpfError):  # anything else is a bug
        XdpProgram(read_object(bytes(data), Path("x.o")), jit=False)
