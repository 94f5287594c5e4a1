"""Maps of XDP programs: like dictionaries from Python, the same map from a program."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu import ArrayMap, HashMap, LpmMap, UsageError

KEYS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 12))
STEPS = st.lists(st.tuples(st.sampled_from(["set", "del", "add"]), KEYS, st.integers(-5, 5)), max_size=60)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_a_hash_is_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    made, model = HashMap(64), dict[int, int]()
    for what, key, value in steps:
        if what == "set":
            made[key] = model[key] = value
        elif what == "add":
            made.add(key, value)
            model[key] = model.get(key, 0) + value
        else:
            assert made.discard(key) == (model.pop(key, None) is not None)
        assert key in made or key not in model
    assert dict(made) == model
    assert len(made) == len(model)
    assert all(made[key] == value == made.get(key, 99) for key, value in model.items())


NETWORKS = st.builds(
    lambda address, length: IPv4Network((address >> (32 - length) << (32 - length), length)),
    st.one_of(st.integers(0, 2**32 - 1), st.integers(0x0A000000, 0x0A0000FF)),
    st.integers(0, 32),
)


@given(
    networks=st.lists(NETWORKS, max_size=12), removed=st.integers(0, 4), addresses=st.lists(st.integers(0, 2**32 - 1))
)
@settings(max_examples=60, deadline=None)
def test_the_longest_prefix_counts(networks: list[IPv4Network], removed: int, addresses: list[int]) -> None:
    made = LpmMap(16)
    model = {network: number for number, network in enumerate(networks)}
    for network, number in model.items():
        made[str(network)] = number
    for network in list(model)[:removed]:
        del made[str(network)]
        del model[network]
    assert dict(made) == {str(network): number for network, number in model.items()}
    for address in [*addresses, *(int(n.network_address) for n in networks), *range(0x0A000000, 0x0A000008)]:
        inside = [n for n in model if IPv4Address(address) in n]
        longest = max(inside, key=lambda n: n.prefixlen, default=None)
        assert made.lookup(address, -1) == (-1 if longest is None else model[longest])


def test_what_is_not_there_and_what_does_not_fit_is_an_error_that_says_so() -> None:
    full, array, prefixes = HashMap(2), ArrayMap(2), LpmMap(2)
    full[1] = full[2] = 0
    full[2] = 5
    with pytest.raises(Exception, match="the map is full: no room for key 3"):
        full[3] = 0
    with pytest.raises(KeyError, match="the map has no key 9"):
        full[9]
    with pytest.raises(KeyError, match="the map has no key 9"):
        del full[9]
    with pytest.raises(IndexError, match="the array has no index 2"):
        array[2] = 1
    with pytest.raises(IndexError, match="the array has no index -1"):
        array[-1]
    with pytest.raises(KeyError):
        prefixes["10.0.0.0/8"]
    for prefix in ("10.0.0.1/8", "nowhere"):
        with pytest.raises(UsageError, match=r"a prefix is like 10\.0\.0\.0/8"):
            prefixes[prefix] = 1
    with pytest.raises(UsageError, match="a map has 1 to"):
        HashMap(0)


def test_an_array_starts_with_zeros_and_keeps_what_is_added() -> None:
    array = ArrayMap(3)
    array.add(1, 5)
    array[2] -= 1
    assert list(array) == [0, 5, -1]
    assert len(array) == 3


def test_all_keys_of_an_array_are_added_in_native_code() -> None:
    counts = HashMap(100)
    counts.add_all(np.array([80, 53, 80, 80]))
    counts.add_all(np.array([53, 7], np.int32), 10)
    assert dict(counts) == {80: 3, 53: 11, 7: 10}
