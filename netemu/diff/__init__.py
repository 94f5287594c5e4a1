"""Comparing captures packet by packet, as streams: which packets are missing, and what differs in the others."""

from __future__ import annotations

from .comparison import Comparison, compare
from .pairing import by_content, by_order

__all__ = ["Comparison", "by_content", "by_order", "compare"]
