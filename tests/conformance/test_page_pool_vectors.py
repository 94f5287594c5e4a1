"""page_pool answers as the real v6.1 did.  They run compiled, and interpreted with every index checked."""

import os
from pathlib import Path

import pytest

from netemu.testing.conformance import Tally, replay_vectors

COMPACT = sorted((Path(__file__).parent / "page_pool").glob("*.jsonl.gz"))
COMPLETE = os.environ.get("NETEMU_VECTORS", "")
"""A folder with the complete vectors, one subfolder for each family."""


def test_every_tier_is_in_the_compact_subset() -> None:
    assert [file.name.split("_")[0] for file in COMPACT] == [*(f"{tier:02}" for tier in range(1, 14)), "20"]


@pytest.mark.parametrize("file", COMPACT, ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_no_answer_differs_from_the_kernels(file: Path) -> None:
    tally = Tally()
    assert [str(divergence) for divergence in replay_vectors("page_pool", [file], tally)] == []
    assert tally.ops > 50


@pytest.mark.skipif(not COMPLETE, reason="NETEMU_VECTORS names no folder with the complete vectors")
def test_no_answer_differs_in_the_complete_vectors() -> None:
    tally = Tally()
    files = sorted(Path(COMPLETE, "page_pool").glob("*.jsonl*"))
    assert [str(divergence) for divergence in replay_vectors("page_pool", files, tally)] == []
    assert tally.ops > 100_000
