"""Answers in the short form in which those of a kernel are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from netemu.bpf.verify import Answers

RECORDED = Path(__file__).parent / "kernel_answers.json.gz"


def condensed(answers: Answers, packets: list[bytes]) -> dict[str, Any]:
    """Verdicts, a digest of every packet that changed, and the maps."""
    changed = {
        str(number): hashlib.sha256(after).hexdigest()[:16]
        for number, (before, after) in enumerate(zip(packets, answers.packets, strict=True))
        if before != after
    }
    return {"verdicts": answers.verdicts, "changed": changed, "maps": answers.maps}
