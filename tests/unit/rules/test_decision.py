"""What can become of a notice, as metrics name it."""

from __future__ import annotations

from synapse_withheld.operators.wording import WHY
from synapse_withheld.rules import decision

DELIVER = (
    "first unknown_device not_repeated read not_queued released overdue resting limit "
    "spoofed_sender already_received failed"
)
SUPERSEDE = (
    "new_key rearmed scope device_changed never_acknowledged wildcard new_code "
    "repeated cancelled"
)


def test_the_names_are_those_that_operators_know() -> None:
    """Dashboards and alerts are written with them; each has words of its own."""
    assert [
        *(("deliver", reason) for reason in DELIVER.split()),
        *(("supersede", reason) for reason in SUPERSEDE.split()),
        ("collapse", "duplicate"),
        ("collapse", "held"),
    ] == [(each.action, each.reason) for each in decision.ALL]
    assert set(decision.ALL) == WHY.keys()
    assert len(decision.ALL) == len(set(WHY.values()))
