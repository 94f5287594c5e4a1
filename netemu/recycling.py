"""How recycling is decided on a machine: by mechanism, by a probability, or by a policy."""

from __future__ import annotations

from .errors import UsageError
from .machine import Machine
from .net.policy_loader import Policy, load_policy


def set_recycling(machine: Machine, recycle: str | float) -> Policy | None:
    """Apply ``"mechanism"``, a probability from 0 to 1, or the policy of that name or file; before devices are made.

    Returns the policy, if it is one.  Raises :class:`netemu.UsageError`.
    """
    if recycle == "mechanism":
        return None
    probability = _number(recycle)
    if probability is None:
        policy = load_policy(str(recycle))
        policy.install(machine.k)
        return policy
    if not 0.0 <= probability <= 1.0:
        raise UsageError(f"recycle is mechanism, a probability from 0 to 1 or a policy, not {recycle!r}")
    r = machine.k.recycle[0]
    r.forced = 1
    r.threshold = round(probability * 2**32)
    return None


def _number(text: str | float) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
