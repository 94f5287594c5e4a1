"""Experiments as data: what docs/experiments.md specifies, and ``netemu predict`` and ``netemu reproduce`` run."""
