"""Maps: dictionaries for Python, the same memory for programs."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.bpf import instructions as bpf
from netemu.bpf.errors import BpfError, MapError
from netemu.bpf.instructions import Instruction
from netemu.bpf.map_kinds import MapType
from netemu.bpf.maps import as_json
from tests.bpf.assembly import EXIT, a_map, add, call, imm, load, mov, program, store, the_map

UPDATE, DELETE, LOOKUP = 2, 3, 1
PACKET = bytes(64)


def only(*specs: Any, **options: Any) -> Any:
    """The maps of a machine whose program does nothing."""
    return program(imm(0, 2), EXIT, maps=specs, **options).maps


def test_an_array_has_all_its_entries_from_the_start() -> None:
    m = only(a_map(MapType.ARRAY, entries=3))["m"]
    m[1] = 7
    assert dict(m) == {0: 0, 1: 7, 2: 0}
    with pytest.raises(MapError, match="key out of range"):
        m[3] = 1
    with pytest.raises(MapError, match="cannot be deleted"):
        del m[0]


def test_a_hash_is_a_dictionary_until_it_is_full() -> None:
    m = only(a_map(entries=2))["m"]
    m[5], m[6] = 50, 60
    m[5] = 51
    assert dict(m) == {5: 51, 6: 60}
    with pytest.raises(MapError, match="no room"):
        m[7] = 1
    del m[5]
    m[7] = 70
    assert sorted(m.items()) == [(6, 60), (7, 70)]
    with pytest.raises(KeyError):
        m[5]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ud"),
            st.binary(min_size=5, max_size=5).map(
                lambda b: bytes(x & 3 for x in b[:1]) + b[1:] if b[0] & 1 else bytes(5)
            ),
            st.integers(0, 2**32 - 1),
        ),
        max_size=60,
    )
)
def test_a_hash_agrees_with_a_dictionary_through_any_history(history: list[tuple[str, bytes, int]]) -> None:
    m = only(a_map(key=5, value=4, entries=16))["m"]
    model: dict[bytes, int] = {}
    for what, key, value in history:
        if what == "u" and (key in model or len(model) < 16):
            m[key] = model[key] = value
        elif what == "d" and key in model:
            del m[key], model[key]
    assert dict(m) == model
    assert len(m) == len(model)


def test_an_lru_hash_gives_up_what_was_not_used_lately() -> None:
    m = only(a_map(MapType.LRU_HASH, entries=3))["m"]
    m[1], m[2], m[3] = 10, 20, 30
    m[1] = 11
    m[4] = 40
    assert dict(m) == {1: 11, 3: 30, 4: 40}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=20), st.integers(0, 2**32 - 1))
def test_a_trie_finds_the_longest_prefix(prefixes: list[tuple[int, int]], address: int) -> None:
    m = only(a_map(MapType.LPM_TRIE, key=8, entries=32))["m"]
    networks = [ipaddress.ip_network((bits & 0xFF000000 | bits & 3, length), strict=False) for bits, length in prefixes]
    for number, network in enumerate(networks):
        m[str(network)] = number
    wanted = ipaddress.ip_address(address)
    expected = max((n for n in networks if wanted in n), key=lambda n: n.prefixlen, default=None)
    last = {network: number for number, network in enumerate(networks)}
    assert m.lookup(str(wanted)) == (None if expected is None else last[expected])
    assert set(m) == {str(network) for network in networks}


def test_a_prefix_of_a_trie_can_be_taken_out_again() -> None:
    m = only(a_map(MapType.LPM_TRIE, key=20, entries=8))["m"]
    m["2001:db8::/32"] = 1
    m["2001:db8:1::/48"] = 2
    del m["2001:db8:1::/48"]
    assert m.lookup("2001:db8:1::7") == 1
    assert dict(m) == {"2001:db8::/32": 1}
    with pytest.raises(KeyError):
        m["2001:db8:1::/48"]


def test_a_per_cpu_map_has_a_value_for_each_cpu_and_a_program_sees_its_own() -> None:
    spec = a_map(MapType.PERCPU_ARRAY, entries=2)
    code = [imm(6, 0), store(10, -4, 6, bpf.W), the_map(1, 0), mov(2, 10), add(2, -4), call(LOOKUP)]
    code += [Instruction(bpf.JMP | bpf.JEQ, 0, 0, 3, 0), load(1, 0, 0), add(1, 1), store(0, 0, 1), EXIT]  # type: ignore[list-item]
    p = program(*code, maps=(spec,), cpus=3)
    p.maps["m"][0] = [10, 20, 30]
    p.run(PACKET, cpu=1)
    p.run(PACKET, cpu=1)
    assert p.maps["m"][0] == [10, 22, 30]
    p.maps["m"][1] = 4
    assert p.maps["m"][1] == [4, 4, 4]
    with pytest.raises(BpfError, match="2 values given for 3 CPUs"):
        p.maps["m"][0] = [1, 2]


@pytest.mark.parametrize("jit", [True, False])
def test_the_flags_of_an_update_are_obeyed(jit: bool) -> None:
    def update(flags: int, *, key: int) -> int:
        code = [
            imm(6, key),
            store(10, -4, 6, bpf.W),
            imm(6, 9),
            store(10, -16, 6),
            the_map(1, 0),
            mov(2, 10),
            add(2, -4),
        ]
        code += [mov(3, 10), add(3, -16), imm(4, flags), call(UPDATE), EXIT]
        p = program(*code, maps=(a_map(entries=1),), jit=jit)
        p.maps["m"][5] = 1
        verdict = p.run(PACKET).verdict
        return verdict - (1 << 32) if verdict >> 31 else verdict

    assert update(0, key=5) == 0
    assert update(1, key=5) == -17  # EEXIST
    assert update(2, key=6) == -2  # ENOENT
    assert update(0, key=6) == -7  # E2BIG
    assert update(3, key=5) == -22  # EINVAL


def test_maps_of_devices_cpus_and_programs_hold_entries() -> None:
    maps = only(
        a_map(MapType.DEVMAP, value=4, name="d"),
        a_map(MapType.DEVMAP_HASH, value=8, name="h"),
        a_map(MapType.CPUMAP, value=4, name="c"),
        a_map(MapType.PROG_ARRAY, value=4, name="p"),
    )
    maps["d"][2], maps["h"][1000], maps["c"][0], maps["p"][3] = 7, 9, 192, "test"
    assert [dict(maps[name]) for name in "dhcp"] == [{2: 7}, {1000: 9}, {0: 192}, {3: "test"}]
    del maps["h"][1000], maps["p"][3]
    assert not maps["h"]
    assert not maps["p"]


@pytest.mark.parametrize(
    ("text", "data"),
    [("10.0.0.1", b"\x0a\0\0\1"), ("258", b"\2\1\0\0"), ("hex:0a0b0c0d", b"\x0a\x0b\x0c\x0d"), ("0x10", b"\x10\0\0\0")],
)
def test_keys_can_be_written_as_people_write_them(text: str, data: bytes) -> None:
    m = only(a_map())["m"]
    m[text] = 1
    assert m.raw() == {data: [(1).to_bytes(8, "little")]}


def test_what_does_not_fit_is_refused_with_the_map_and_the_reason() -> None:
    m = only(a_map())["m"]
    for key in ("nonsense", 1 << 32, b"abc", 1.5):
        with pytest.raises(BpfError, match="map m: key"):
            m[key] = 1


def test_json_shows_bytes_in_hexadecimal() -> None:
    m = only(a_map(key=3, value=5))["m"]
    m[b"abc"] = b"hello"
    assert as_json(m) == {"hex:616263": "hex:68656c6c6f"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (a_map(entries=0), "0 entries"),
        (a_map(key=4000), "4,000 bytes of key"),
        (a_map(value=1 << 24), "bytes of value"),
        (a_map(MapType.ARRAY, key=8), "the key of this kind of map .array. has 4 bytes"),
        (a_map(MapType.ARRAY, value=1 << 20, entries=1 << 20), "do not fit"),
    ],
)
def test_a_map_that_cannot_be_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(BpfError, match=message):
        only(spec)
