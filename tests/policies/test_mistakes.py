"""A policy that loops, raises, strays or answers rubbish ends in one error with the packet's number; never worse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netemu
from netemu.net.policy_loader import load_policy
from tests.policies.files import written
from tests.replay.runs import IMIX, run

WHILE_IT_RUNS = {
    "loops": (
        """
        def put(k, cpu, rxq, pfn):
            n = 1
            while n > 0:
                n = 2
            return KEEP
        """,
        r"packet 2: the policy has not come to an end after 100000 rounds",
    ),
    "raises": (
        """
        def put(k, cpu, rxq, pfn):
            if kept(k, rxq) > 3:
                raise ValueError(f"too many for {pfn}")
            return KEEP
        """,
        r"packet 10: the policy raises an error in line 4",
    ),
    "asserts": (
        """
        def put(k, cpu, rxq, pfn):
            assert others(k, cpu, pfn) < 0
            return KEEP
        """,
        r"packet 2: the policy raises an error in line 3",
    ),
    "divides": (
        """
        def put(k, cpu, rxq, pfn):
            return 1 + 3 // kept(k, rxq)
        """,
        r"packet 2: the policy raises an error in line 3",
    ),
    "answers rubbish": (
        """
        def put(k, cpu, rxq, pfn):
            return 77
        """,
        r"packet 2: put\(\) of the policy answers 77, which is no verdict",
    ),
    "chooses nothing": (
        """
        def put(k, cpu, rxq, pfn):
            return KEEP

        def get(k, cpu, rxq, count):
            return count
        """,
        r"packet 0: get\(\) of the policy chooses place 0, where no page is kept",
    ),
    "hands out a held page": (
        """
        def put(k, cpu, rxq, pfn):
            return KEEP

        def get(k, cpu, rxq, count):
            return count - 1 if count > 0 else NONE
        """,
        r"packet \d+: get\(\) of the policy chooses page \d+, which somebody still holds",
    ),
    "never lets go": (
        """
        def put(k, cpu, rxq, pfn):
            return KEEP

        def get(k, cpu, rxq, count):
            return NONE
        """,
        r"packet 819\d: the policy keeps more than 4096 pages",
    ),
}

BEFORE_IT_RUNS = {
    "def put(k, cpu, rxq, pfn)\n    return KEEP": r"line 2: expected ':'",
    "x = 1": r"has no function put\(k, cpu, rxq, pfn\)",
    "def put(k, cpu, rxq):\n    return KEEP": r"put has to be put\(k, cpu, rxq, pfn\)",
    "def put(cpu, k, rxq, pfn):\n    return KEEP": r"line 2: put\(cpu, k, rxq, pfn\) has to take \(k, cpu, ...\)",
    "def put(k, cpu, rxq, pfn):\n    if pfn:\n        return KEEP": r"put\(\) can end without a result",
    "def put(k, cpu, rxq, pfn):\n    return": r"line 3: return needs a value",
    "def put(k, cpu, rxq, pfn):\n    import os\n    return KEEP": r"line 3: a policy has no use for import os",
    "def put(k, cpu, rxq, pfn):\n    return max([1, 2])": r"line 3: a policy has no use for \[1, 2\]",
    "def put(k, cpu, rxq, pfn):\n    return KEEP if pfn > 0.5 else RING": r"whole numbers, not with 0.5",
    "def put(k, cpu, rxq, pfn):\n    return pfn / 2": r"line 3: a policy calculates with whole numbers: \+, -",
    "def put(k, cpu, rxq, pfn):\n    k.pages[pfn].refcount = 7\n    return KEEP": r"line 3: a policy writes",
    "def put(k, cpu, rxq, pfn):\n    p = k.pages[pfn]\n    p.refcount += 1\n    return KEEP": r"line 4: a policy",
    "def put(k, cpu, rxq, pfn):\n    print(pfn)\n    return KEEP": r"line 3: print\(\) is nothing",
    "def put(k, cpu, rxq, pfn):\n    for x in (1, 2):\n        pass\n    return KEEP": r"loops over range",
    "def a(k, cpu):\n    return put(k, cpu, 0, 0)\ndef put(k, cpu, rxq, pfn):\n    return a(k, cpu)": r"calls itself",
    "STATE = 5\ndef put(k, cpu, rxq, pfn):\n    return KEEP": r"STATE is made by policy_state",
    "PARTS = 3\ndef put(k, cpu, rxq, pfn):\n    return KEEP": r"PARTS is 1, 2, 4 or 8, not 3",
    "STATE = policy_state(a=0.5)\ndef put(k, cpu, rxq, pfn):\n    return KEEP": r"line 2: TypeError: a=0.5",
    "1 / 0": r"line 2: ZeroDivisionError",
}


@pytest.mark.parametrize("mistake", WHILE_IT_RUNS)
def test_what_goes_wrong_while_it_runs_is_told_with_the_packet(mistake: str, tmp_path: Path) -> None:
    text, message = WHILE_IT_RUNS[mistake]
    with pytest.raises(netemu.KernelBug, match=message) as raised:
        run(IMIX, era="v4.19", options={"rq": "legacy"}, recycle=written(tmp_path, text), packets=10_000)
    assert "recycle_policy_" in str(raised.value)


def test_the_interpreter_says_the_same(tmp_path: Path) -> None:
    told = [mistake for mistake in WHILE_IT_RUNS if mistake != "never lets go"]
    files = [written(tmp_path, WHILE_IT_RUNS[mistake][0], f"mine{at}") for at, mistake in enumerate(told)]
    script = (
        "import sys, netemu\n"
        "for file in sys.argv[2:]:\n"
        "    try:\n"
        "        netemu.replay(sys.argv[1], era='v4.19', options={'rq': 'legacy'}, recycle=file, packets=200)\n"
        "    except netemu.KernelBug as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(IMIX), *files],
        env={**os.environ, "NETEMU_JIT": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(told)
    for line, mistake in zip(lines, told, strict=True):
        assert re.search(WHILE_IT_RUNS[mistake][1], line), (mistake, line)


def test_a_stray_index_is_caught(tmp_path: Path) -> None:
    text = """
    def put(k, cpu, rxq, pfn):
        return KEEP + k.pages[10_000_000 + pfn].refcount
    """
    with pytest.raises(netemu.KernelBug, match=r"packet 2: the policy (looks at row 100\d+|raises an error in line 3)"):
        run(IMIX, era="v4.19", options={"rq": "legacy"}, recycle=written(tmp_path, text), packets=100)


def test_an_unknown_field_is_found_before_anything_runs(tmp_path: Path) -> None:
    text = """
    def put(k, cpu, rxq, pfn):
        return k.pages[pfn].nosuch
    """
    with pytest.raises((netemu.UsageError, netemu.KernelBug), match="line 3"):
        run(IMIX, era="v4.19", options={"rq": "legacy"}, recycle=written(tmp_path, text), packets=100)


@pytest.mark.parametrize("text", BEFORE_IT_RUNS)
def test_what_cannot_be_a_policy_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(netemu.UsageError, match=BEFORE_IT_RUNS[text]) as raised:
        load_policy(written(tmp_path, text))
    assert "mine.py" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "unknown recycle policy 'nosuch'; there are forced, half_flip, lifo"),
        ("nosuch.py", "policy file nosuch.py: No such file or directory"),
        ("lifo:siz=3", "policy lifo has no parameter 'siz'; it has: size=512, scan=16"),
        ("lifo:size=many", "policy lifo: size=many is not a whole number"),
        ("lifo:full=1", "policy lifo has no parameter 'full'"),
        ("none:x=1", "policy none has no parameter 'x'; it has: none"),
    ],
)
def test_a_wrong_name_says_what_there_is(name: str, message: str) -> None:
    with pytest.raises(netemu.UsageError, match=re.escape(message)):
        load_policy(name)


def test_a_policy_with_helpers_state_and_parameters_runs(tmp_path: Path) -> None:
    text = """
    STATE = policy_state(size=10, seen=0, halves=0)

    def room(k, cpu, rxq):
        return STATE(k, rxq).size - kept(k, rxq)

    def put(k, cpu, rxq, pfn):
        s = STATE(k, rxq)
        s.seen += 1
        s.halves = s.seen // 2 + s.seen % 2
        return KEEP if room(k, cpu, rxq) > 0 else PAGE_ALLOCATOR
    """
    file = written(tmp_path, text)
    for size in (4, 20):
        data = run(IMIX, era="v4.19", options={"rq": "legacy"}, recycle=f"{file}:size={size}", packets=1000)
        policy = data["policy"]
        assert policy["name"] == "mine"
        assert policy["parameters"] == {"size": size}
        assert policy["counters"]["seen"] == sum(policy["verdicts"].values())
        assert policy["counters"]["halves"] == (policy["counters"]["seen"] + 1) // 2
        assert policy["kept"] <= size
    assert load_policy(file).parameters == {"size": 10}
