"""What can become of a notice, as metrics name it."""

from __future__ import annotations

from synapse_withheld.operators.wording import WHY
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision


def test_every_decision_is_among_all() -> None:
    """And has a name of its own, and words."""
    named = {each for each in vars(decision).values() if isinstance(each, Decision)}

    assert named == set(decision.ALL) == WHY.keys()
    assert len(decision.ALL) == len({each.reason for each in decision.ALL})
    assert len(decision.ALL) == len(set(WHY.values()))


def test_the_names_are_those_that_operators_know() -> None:
    """Dashboards and alerts are written with them."""
    names: dict[str, list[str]] = {}
    for each in decision.ALL:
        names.setdefault(each.action, []).append(each.reason)

    assert names == {
        "deliver": [
            "first",
            "unknown_device",
            "not_repeated",
            "read",
            "not_queued",
            "released",
            "overdue",
            "resting",
            "limit",
            "spoofed_sender",
            "already_received",
            "failed",
        ],
        "supersede": [
            "new_key",
            "rearmed",
            "scope",
            "device_changed",
            "never_acknowledged",
            "wildcard",
            "new_code",
            "repeated",
            "cancelled",
        ],
        "collapse": ["duplicate", "held"],
    }
