"""The share of repeats that collapsed: one definition, wherever it is shown.

The recording rules and the dashboard say the same in PromQL; a test compares them.
"""

from __future__ import annotations

from typing import Iterable

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import COLLAPSE, SUPERSEDE, Decision

# Believed to be repeats and stored without an answer. What else is delivered is not
# repeated: it is the first, beyond a limit, or came after an earlier one was read. How
# many of those there are is up to the clients.
STORED_WITHOUT_ANSWER = (
    decision.FAILED,
    decision.OVERDUE,
    decision.RELEASED,
    decision.RESTING,
)

# Messages of these rules are always stored, so that they tell nothing about the share.
NEVER_COLLAPSE = "_requests"


def is_repeat(rule: str, decided: Decision) -> bool:
    """Say whether something of a rule is counted as a repeat, given its decision."""
    if rule.endswith(NEVER_COLLAPSE):
        return False
    return decided.action in (COLLAPSE, SUPERSEDE) or decided in STORED_WITHOUT_ANSWER


def collapsed_share(counts: Iterable[tuple[str, Decision, float]]) -> float | None:
    """Return the part of the repeats that collapsed; `None` where there was none."""
    repeats = collapsed = 0.0
    for rule, decided, count in counts:
        if is_repeat(rule, decided):
            repeats += count
            collapsed += count if decided.action == COLLAPSE else 0
    return collapsed / repeats if repeats else None
