"""Tracepoints as ftrace text: read back by the layout of the kernel's trace file, and held against the counters."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

import netemu
from netemu.errors import UsageError
from netemu.report.ftrace import ftrace
from tests.replay.runs import DNS, IMIX, run

ERAS = ("v4.19", "v5.0", "v5.4", "v5.10", "v5.15", "v6.1", "v6.6", "v6.12")
LINE = re.compile(
    r"^ *(?P<task>\S.*)-(?P<pid>\d+) +\[(?P<cpu>\d{3})\] (?P<flags>\S{4,5}) +(?P<time>\d+\.\d{6}): "
    r"(?P<event>\w+): (?P<args>.*)$"
)
POINTER = "[0-9a-f]{16}"
PACKET = rf"dev=eth\d+ skbaddr={POINTER} len=\d+"
ARGUMENTS = {
    "mm_page_alloc": rf"page={POINTER} pfn=PFN order=\d+ migratetype=\d+ gfp_flags=[A-Z_|]+",
    "mm_page_alloc_zone_locked": rf"page={POINTER} pfn=PFN order=\d+ migratetype=\d+ percpu_refill=[01]",
    "mm_page_free": rf"page={POINTER} pfn=PFN order=\d+",
    "mm_page_pcpu_drain": rf"page={POINTER} pfn=PFN order=\d+ migratetype=\d+",
    "page_pool_inflight": rf"page_pool={POINTER} inflight=-?\d+ hold=\d+ release=\d+",
    "page_pool_release": rf"page_pool={POINTER} inflight=-?\d+ hold=\d+ release=\d+ cnt=\d+",
    "napi_poll": rf"napi poll on napi struct {POINTER} for device eth\d+ work \d+ budget 64",
    "netif_receive_skb": PACKET,
    "net_dev_queue": PACKET,
    "net_dev_xmit": rf"{PACKET} rc=\d+",
    "softirq_entry": r"vec=[23] \[action=NET_[RT]X\]",
    "softirq_exit": r"vec=[23] \[action=NET_[RT]X\]",
    "tracing_mark_write": "netemu: .*",
}
SINCE = {
    "consume_skb": {"v4.19": rf"skbaddr={POINTER}", "v6.6": rf"skbaddr={POINTER} location=\w+\+0x0/0x100"},
    "kfree_skb": {
        "v4.19": rf"skbaddr={POINTER} protocol=\d+ location={POINTER}",
        "v6.1": rf"skbaddr={POINTER} protocol=\d+ location={POINTER} reason: NOT_SPECIFIED",
        "v6.6": rf"skbaddr={POINTER} protocol=\d+ location=\w+\+0x0/0x100 reason: NOT_SPECIFIED",
        "v6.12": rf"skbaddr={POINTER} rx_sk={POINTER} protocol=\d+ location=\w+\+0x0/0x100 reason: NOT_SPECIFIED",
    },
    "page_pool_state_hold": {
        "v5.4": rf"page_pool={POINTER} page={POINTER} hold=\d+",
        "v5.10": rf"page_pool={POINTER} page={POINTER} pfn=PFN hold=\d+",
        "v6.12": rf"page_pool={POINTER} netmem={POINTER} is_net_iov=0, pfn=PFN hold=\d+",
    },
    "page_pool_state_release": {
        "v5.4": rf"page_pool={POINTER} page={POINTER} release=\d+",
        "v5.10": rf"page_pool={POINTER} page={POINTER} pfn=PFN release=\d+",
        "v6.12": rf"page_pool={POINTER} netmem={POINTER} is_net_iov=0 pfn=PFN release=\d+",
    },
    "xdp_exception": {"v4.19": r"prog_id=\d+ action=[A-Z]+ ifindex=\d+"},
    "xdp_redirect": {
        "v4.19": r"prog_id=\d+ action=REDIRECT ifindex=\d+ to_ifindex=\d+ err=-?\d+",
        "v5.10": r"prog_id=\d+ action=REDIRECT ifindex=\d+ to_ifindex=\d+ err=-?\d+ map_id=\d+ map_index=\d+",
    },
    "xdp_devmap_xmit": {
        "v5.10": r"ndo_xdp_xmit from_ifindex=\d+ to_ifindex=\d+ action=REDIRECT sent=\d+ drops=\d+ err=-?\d+",
    },
}


def arguments_of(event: str, era: str) -> str:
    """The pattern of an event's arguments in an era."""
    if event in ARGUMENTS:
        pattern = ARGUMENTS[event]
    else:
        (*_, pattern) = [p for since, p in SINCE[event].items() if ERAS.index(since) <= ERAS.index(era)]
    return pattern.replace("PFN", "0x[0-9a-f]+" if ERAS.index(era) >= ERAS.index("v5.15") else r"\d+")


def read(data: dict[str, Any]) -> list[dict[str, str]]:
    """The events of the text: every line is a comment or an event."""
    text = "".join(ftrace(data))
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.match(line)
            assert match is not None, line
            found.append(match.groupdict())
    assert text.startswith("# tracer: nop\n#\n# entries-in-buffer/entries-written: ")
    assert f" {len(found)}/{len(found)}   #P:{data['cpus']}\n" in text
    return found


def followed(**options: Any) -> dict[str, Any]:
    result = netemu.replay(options.pop("trace", IMIX), **{"packets": 300, "tracepoints": True, **options})
    assert result["leaks"] == []
    return result.to_dict()


def before_the_end(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each CPU did before the device went down."""
    over: set[Any] = set()
    kept = []
    for event in events:
        if event["args"] == "netemu: the run ends":
            over.add(event["cpu"])
        elif event["cpu"] not in over:
            kept.append(event)
    return kept


OTHER_WAYS: list[dict[str, Any]] = [{"action": "drop"}, {"xdp": "aborted"}, {"driver": "netsec", "trace": DNS}]


@pytest.mark.parametrize(
    ("era", "options"),
    [
        *((era, options) for era in ERAS for options in ({}, {"xdp": "redirect"})),
        *((era, options) for era in ("v5.4", "v6.1", "v6.12") for options in OTHER_WAYS),
    ],
    ids=str,
)
def test_every_line_is_in_the_layout_of_its_era(era: str, options: dict[str, Any]) -> None:
    data = followed(era=era, packets=80, **options)
    events = read(data)
    for event in events:
        assert re.fullmatch(arguments_of(event["event"], era), event["args"]), event
        assert len(event["flags"]) == (5 if ERAS.index(era) >= ERAS.index("v5.15") else 4)
    times = [float(event["time"]) for event in events]
    assert times == sorted(times)


@pytest.mark.parametrize("era", ["v5.4", "v6.1", "v6.6", "v6.12"])
@pytest.mark.parametrize("driver", ["mlx5", "netsec"])
def test_holds_and_releases_are_those_of_the_report(era: str, driver: str) -> None:
    data = followed(era=era, driver=driver, packets=300)
    events = read(data)
    counted = Counter(event["event"] for event in before_the_end(events))
    inflight = sum(pool["inflight"] for pool in data["page_pool"])
    assert counted["page_pool_state_hold"] - counted["page_pool_state_release"] == inflight > 0
    numbers = [int(e["args"].rpartition("hold=")[2]) for e in events if e["event"] == "page_pool_state_hold"]
    assert numbers == list(range(1, len(numbers) + 1))
    after = Counter(event["event"] for event in events)
    assert after["page_pool_state_hold"] == after["page_pool_state_release"]  # the device is gone


def test_packets_and_pages_are_those_of_the_report() -> None:
    data = followed(era="v4.19", cpus=2, packets=600)
    counted = Counter(event["event"] for event in data["tracepoints"])
    packets = data["packets"]
    assert counted["netif_receive_skb"] == packets["received"] == 600
    assert counted["net_dev_queue"] == counted["consume_skb"] == packets["forwarded"]
    during = Counter(event["event"] for event in before_the_end(data["tracepoints"]))
    assert during["mm_page_alloc"] == data["pages"]["allocated"]  # each of order 0, none in bulk
    assert during["mm_page_free"] == data["pages"]["freed"]
    assert {event["cpu"] for event in data["tracepoints"]} == {0, 1}


def test_kernels_before_v53_have_no_tracepoints_in_page_pool() -> None:
    events = {event["event"] for event in followed(era="v5.0")["tracepoints"]}
    assert not any(event.startswith("page_pool") for event in events)


def test_polls_say_how_many_packets_they_took() -> None:
    events = read(followed(era="v6.1"))
    work = [int(e["args"].split(" work ")[1].split()[0]) for e in events if e["event"] == "napi_poll"]
    assert sum(work) == 300
    assert max(work) <= 64


def test_flags_tell_the_softirq_and_zone_lock_from_the_reader() -> None:
    events = read(followed(era="v6.1", action="local"))
    flags = {event["event"]: event["flags"] for event in events}
    assert flags["mm_page_alloc_zone_locked"] == "d.s1."
    assert flags["napi_poll"] == "..s.."
    consumed = [event for event in events if event["event"] == "consume_skb"]
    assert {(event["task"], event["flags"]) for event in consumed} == {("reader", ".....")}


def test_a_result_without_tracepoints_is_refused() -> None:
    with pytest.raises(UsageError, match="has no tracepoints: replay with --tracepoints"):
        list(ftrace(run(IMIX, packets=20)))
