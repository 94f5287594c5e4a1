"""Reports of a checked machine: what happened, to which page or packet, who held it, which rule that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .history import Event
from .rules import RULES, Rule


@dataclass
class Report:
    """One breach of a rule.  ``subject``: the object, ``state``: what is known of it, ``history``: its life, in
    order.
    """

    rule: Rule
    what: str
    subject: str
    found: Event
    state: Sequence[str] = ()
    history: Sequence[Event] = ()
    delivered: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """The rule's identifier."""
        return self.rule.id

    def __str__(self) -> str:
        lines = [f"{self.rule.id} ({self.rule.severity}): {self.what}"]
        lines += [f"  {line}" for line in self.found.lines()]
        lines += [f"  {self.subject}" + (":" if self.state else "")] if self.subject else []
        lines += [f"    {line}" for line in self.state]
        if self.history:
            lines.append("  history, oldest first:")
            for event in self.history:
                lines += [f"    {line}" for line in event.lines()]
        lines.append(f"  rule: {self.rule.statement}")
        lines.append(f"  usual cause: {self.rule.cause}")
        return "\n".join(lines)


def rule(id: str) -> Rule:
    """The rule of that name; one that nobody wrote down speaks for itself."""
    return RULES.get(id) or Rule(id, "error", "the emulated kernel complains", "see the message")
