"""The rule, clause by clause."""

from __future__ import annotations

import attrs
import pytest

from synapse_withheld import decision
from synapse_withheld.decision import Decision, decide
from synapse_withheld.notice import Notice, Pair
from synapse_withheld.statements import QueuedRow
from synapse_withheld.watch import Link, Watch

PAIR = Pair("@s:hs", "device:S", "m.room_key.withheld")
NOTICE = Notice(PAIR, "key", scoped=False)
ROW = QueuedRow(device_list_id=5, kept_by_reader=False)


def watch(notice: Notice = NOTICE, **overrides: object) -> Watch:
    """Return the watch of a queued notice of which nothing is in doubt."""
    made = Watch(("@r:hs", "R"), notice, 5, Link(), 0)
    for name, value in overrides.items():
        setattr(made, name, value)
    return made


def test_a_duplicate_of_a_queued_notice_collapses() -> None:
    """Nothing is in doubt, so a copy adds nothing."""
    assert decision.DUPLICATE == decide(NOTICE, watch(), ROW)


@pytest.mark.parametrize(
    ("queued", "row", "expected"),
    [
        (watch(), None, decision.NOT_QUEUED),
        (watch(complete=False), ROW, decision.UNWATCHED),
        (watch(attrs.evolve(NOTICE, sender_key="dead")), ROW, decision.NEW_KEY),
        (watch(rearmed_directly=True), ROW, decision.REARMED),
        (watch(link=Link(olm_messages=1)), ROW, decision.REARMED),
        (watch(attrs.evolve(NOTICE, scoped=True)), ROW, decision.SCOPE),
        (watch(), attrs.evolve(ROW, device_list_id=6), decision.DEVICE_CHANGED),
        (watch(), attrs.evolve(ROW, kept_by_reader=True), decision.NEVER_ACKNOWLEDGED),
    ],
)
def test_each_doubt_is_enough(
    queued: Watch, row: QueuedRow | None, expected: Decision
) -> None:
    """One clause by itself keeps a notice from collapsing."""
    assert expected == decide(NOTICE, queued, row)


def test_a_scoped_copy_of_an_unscoped_notice_collapses() -> None:
    """The unscoped one applies to everything."""
    assert decision.DUPLICATE == decide(attrs.evolve(NOTICE, scoped=True), watch(), ROW)
