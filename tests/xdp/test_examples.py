"""The programs under examples/ do what they say, over the sample traces."""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

import netemu
from netemu.pcap import packets

EXAMPLES = Path(__file__).parents[2] / "examples"


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def port_of(data: bytes) -> int:
    return int.from_bytes(data[36:38], "big")


def test_the_firewall_drops_what_its_rules_say() -> None:
    example = module("firewall")
    wanted = Counter[str]()
    for _ts, data, _wire in packets("traces/router-imix.pcap"):
        source = ip_address(data[26:30])
        inside, allowed = (source in ip_network(n) for n in ("10.0.0.0/12", "10.7.0.0/16"))
        if inside and not allowed:
            wanted["blocked"] += 1
        elif data[23] == 17 and port_of(data) == 4500:
            wanted["closed"] += 1
        else:
            wanted["passed"] += 1
    result = netemu.replay("traces/router-imix.pcap", xdp=example.firewall, driver="netsec", action="local")
    assert list(example.counters) == [wanted["blocked"], wanted["closed"], wanted["passed"], 0]
    assert min(wanted.values()) > 300
    assert example.closed_ports[4500] == wanted["closed"]
    assert result["xdp"]["drop"] == wanted["blocked"] + wanted["closed"]
    assert result["leaks"] == []


def test_the_load_balancer_keeps_a_connection_at_one_server(tmp_path: Path) -> None:
    example = module("load_balancer")
    out = tmp_path / "balanced.pcap"
    result = netemu.replay("traces/http.pcap", xdp=example.balance, action="local", out=out)
    servers = defaultdict(set)
    for _ts, data, _wire in packets(out):
        servers[data[26:30], data[34:36]].add(data[:6])
        assert (data[6:12].hex(), port_of(data)) == ("020000000001", 80)
    assert {len(of) for of in servers.values()} == {1}
    assert len(servers) == len(example.connections)
    spread = Counter(next(iter(of)) for of in servers.values())
    assert len(spread) == 3
    assert max(spread.values()) - min(spread.values()) <= 1
    assert result["xdp"]["tx"] == sum(example.packets_to) == sum(1 for _ in packets(out))
    assert result["leaks"] == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 60
