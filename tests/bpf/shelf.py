"""The programs of ``tests/bpf/programs``, what their maps hold at the start, and which maps are not compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Example:
    """A program: which of its object's, its maps' first entries, and maps that hold what no two machines agree on."""

    program: str | None = None
    entries: dict[str, dict[Any, Any]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def _dns_hash(labels: bytes) -> int:
    value = 14695981039346656037
    for letter in labels:
        value = (value ^ (letter | 0x20)) * 1099511628211 % (1 << 64)
    return value


def _vip(address: int, port: int, protocol: int) -> bytes:
    return bytes([192, 168, 0, address]) + port.to_bytes(2, "big") + bytes([protocol, 0])


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


EXAMPLES = {
    "adjust_tail": Example(),
    "arithmetic": Example(),
    "atomics": Example(),
    "connections": Example(),
    "core_fields": Example(),
    "cpumap": Example(entries={"cpus": {0: 192, 1: 192}}),
    "decapsulate": Example(),
    "devmap": Example(entries={"by_index": {0: 1, 2: 1, 5: 1}, "by_number": {1: 1, 9: 1, 14: 1}}),
    "dns_filter": Example(
        entries={"blocked": {_dns_hash(b"\7ads\7tracker\3net"): 0, _dns_hash(b"\7Bad\7example"): 5}},
    ),
    "encapsulate": Example(),
    "firewall_lpm": Example(
        entries={
            "sources4": {
                "10.0.0.0/8": _words(2, 0), "10.1.0.0/16": _words(1, 0), "10.1.2.0/24": _words(2, 0),
                "10.1.2.5/32": _words(3, 7), "10.2.2.0/23": _words(1, 0), "0.0.0.0/0": _words(2, 0),
            },
            "sources6": {"2001:db8::/63": _words(2, 0), "2001:db8:0:2::/64": _words(1, 1), "::/0": _words(2, 0)},
            "blocked_ports": {22: 0, 443: 0, 65535: 9},
        },
    ),
    "globals": Example(),
    "icmp_echo": Example(),
    "legacy_maps": Example(),
    "load_balancer": Example(
        entries={
            "vips": {_vip(1, 80, 6): _words(0, 4), _vip(2, 53, 17): _words(4, 3), _vip(3, 443, 6): _words(7, 9)},
            "backends": {
                n: bytes([172, 16, 0, n + 1, 2, 0, 0, 0, 9, n, 0, 0]) for n in range(14)
            },
        },
    ),
    "load_store_bytes": Example(),
    "metadata": Example(),
    "nat": Example(entries={"translations": {"192.168.0.1": "203.0.113.9", "192.168.1.4": "198.51.100.77"}}),
    "parse_count": Example(),
    "parse_deep": Example(),
    "rate_limiter": Example(ignored=("refilled_at",)),
    "subprograms": Example(),
    "tail_calls": Example(program="sort"),
    "vlan_swap": Example(),
}  # fmt: skip


def object_file(name: str) -> Path:
    return PROGRAMS / f"{name}.o"
