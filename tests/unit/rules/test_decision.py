"""The rule, clause by clause."""

from __future__ import annotations

import pytest
from attrs import evolve

from synapse_withheld.rules import decision
from synapse_withheld.rules.deciding import decide
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import Remembered, RowState
from synapse_withheld.rules.no_olm import SCOPED, WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair

PAIR = Pair("@s:hs", "device:S", "m.room_key.withheld")
NOTICE = Notice(NoOlm(), PAIR, "key")
ROW = RowState(device_list_id=5)


# A queued notice of which nothing is in doubt.
QUEUED = Remembered(
    stream_id=3,
    same_key=True,
    variant=WHOLE,
    rearmed=False,
    watched_since_stored=True,
    device_list_id=5,
    undelivered_s=0.0,
)


def test_a_duplicate_of_a_queued_notice_collapses() -> None:
    """Nothing is in doubt, so a copy adds nothing."""
    assert decision.DUPLICATE == decide(NOTICE, QUEUED, ROW)


@pytest.mark.parametrize(
    ("queued", "row", "expected"),
    [
        (QUEUED, None, decision.NOT_QUEUED),
        (QUEUED._replace(watched_since_stored=False), ROW, decision.UNWATCHED),
        (QUEUED._replace(same_key=False), ROW, decision.NEW_KEY),
        (QUEUED._replace(rearmed=True), ROW, decision.REARMED),
        (QUEUED._replace(variant=SCOPED), ROW, decision.SCOPE),
        (QUEUED, evolve(ROW, device_list_id=6), decision.DEVICE_CHANGED),
        (QUEUED, evolve(ROW, never_acknowledged=True), decision.NEVER_ACKNOWLEDGED),
    ],
)
def test_each_doubt_is_enough(
    queued: Remembered, row: RowState | None, expected: Decision
) -> None:
    """One clause by itself keeps a notice from collapsing."""
    assert expected == decide(NOTICE, queued, row)


DOUBTS = [
    (QUEUED, None),
    (QUEUED._replace(watched_since_stored=False), ROW),
    (QUEUED._replace(same_key=False), ROW),
    (QUEUED._replace(rearmed=True), ROW),
    (QUEUED._replace(variant=SCOPED), ROW),
    (QUEUED, evolve(ROW, device_list_id=6)),
    (QUEUED, evolve(ROW, never_acknowledged=True)),
]


def test_a_delivered_notice_may_be_repeated() -> None:
    """With `repeat: queued` nothing is held."""
    delivered = evolve(ROW, queued=False)

    assert decision.NOT_QUEUED == decide(NOTICE, QUEUED, delivered)


def test_within_the_hold_a_delivered_notice_stands_for_later_ones() -> None:
    """With `repeat: session`; a queued one is a duplicate as ever."""
    delivered = evolve(ROW, queued=False)

    assert decision.HELD == decide(NOTICE, QUEUED, delivered, held=True)
    assert decision.DUPLICATE == decide(NOTICE, QUEUED, ROW, held=True)


@pytest.mark.parametrize(("earlier", "row"), DOUBTS)
def test_each_doubt_ends_the_hold(earlier: Remembered, row: RowState | None) -> None:
    """There is nothing to supersede any more, so the notice is just delivered."""
    delivered = row and evolve(row, queued=False)

    assert decision.NOT_QUEUED == decide(NOTICE, earlier, delivered, held=True)


def test_a_scoped_copy_of_an_unscoped_notice_collapses() -> None:
    """The unscoped one applies to everything."""
    assert decision.DUPLICATE == decide(evolve(NOTICE, variant=SCOPED), QUEUED, ROW)
