"""Frames that go to another CPU by a cpumap, followed there."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import netemu
from tests.net.test_cpumap import FRAMES, ToCpu


@pytest.mark.parametrize("era", ["v5.4", "v6.12"])
def test_a_frame_is_followed_to_the_kthread_and_the_events_say_where_it_went(era: str) -> None:
    result = netemu.replay(
        FRAMES[:100],
        era=era,
        xdp=ToCpu(1, queue_size=48),
        memory_mb=32,
        queues=1,
        cpus=2,
        action="local",
        trace_packets=range(100),
        tracepoints=True,
    )
    assert result["leaks"] == []
    steps = [step for step in result["lives"]["steps"] if step["packet"] == 3]
    collected = next(s for s in steps if s["what"] == "collected for the kthread of cpumap entry 0")
    made = next(s for s in steps if s["what"].startswith("the kthread makes sk_buff"))
    freed = next(s for s in steps if s["what"].startswith("freed through"))
    assert (collected["cpu"], made["cpu"], freed["cpu"]) == (0, 1, 1)
    assert made["path"] == ["cpu_map_kthread_run"]

    events = result["tracepoints"]
    counted = Counter(event["event"] for event in events)
    redirect = "xdp_redirect_map" if era == "v5.4" else "xdp_redirect"
    assert counted[redirect] == result["xdp"]["redirect"] == 100
    assert all(e["args"].endswith("map_id=1 map_index=0") for e in events if e["event"] == redirect)
    moved = [e["args"] for e in events if e["event"] == "xdp_cpumap_enqueue"]
    shape = re.compile(r"enqueue cpu=0 map_id=1 action=REDIRECT processed=(\d+) drops=(\d+) to_cpu=1")
    numbers = [shape.fullmatch(arguments) for arguments in moved]
    sums = [sum(int(n[i]) for n in numbers if n) for i in (1, 2)]
    assert sums == [result["packets"]["delivered"], result["packets"]["dropped"].get("xdp_cpumap", 0)]
    tasks = {(e["task"], e["cpu"]) for e in events if e["event"] == "netif_receive_skb"}
    assert tasks == {("cpumap/1", 1)}
