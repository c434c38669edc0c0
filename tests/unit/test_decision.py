"""The rule, clause by clause."""

from __future__ import annotations

import attrs
import pytest

from synapse_withheld import decision
from synapse_withheld.decision import Decision, decide
from synapse_withheld.notice import Notice, Pair
from synapse_withheld.statements import Row
from synapse_withheld.watch import Link, Watch

PAIR = Pair("@s:hs", "device:S", "m.room_key.withheld")
NOTICE = Notice(PAIR, "key", scoped=False)
ROW = Row(device_list_id=5)


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
    queued: Watch, row: Row | None, expected: Decision
) -> None:
    """One clause by itself keeps a notice from collapsing."""
    assert expected == decide(NOTICE, queued, row)


DOUBTS = [
    (watch(), None),
    (watch(complete=False), ROW),
    (watch(attrs.evolve(NOTICE, sender_key="dead")), ROW),
    (watch(rearmed_directly=True), ROW),
    (watch(link=Link(olm_messages=1)), ROW),
    (watch(attrs.evolve(NOTICE, scoped=True)), ROW),
    (watch(), attrs.evolve(ROW, device_list_id=6)),
    (watch(), attrs.evolve(ROW, kept_by_reader=True)),
]


def test_a_delivered_notice_may_be_repeated() -> None:
    """With `repeat: queued` nothing is held."""
    delivered = attrs.evolve(ROW, queued=False)

    assert decision.NOT_QUEUED == decide(NOTICE, watch(), delivered)


def test_within_the_hold_a_delivered_notice_stands_for_later_ones() -> None:
    """With `repeat: session`; a queued one is a duplicate as ever."""
    delivered = attrs.evolve(ROW, queued=False)

    assert decision.HELD == decide(NOTICE, watch(), delivered, held=True)
    assert decision.DUPLICATE == decide(NOTICE, watch(), ROW, held=True)


@pytest.mark.parametrize(("earlier", "row"), DOUBTS)
def test_each_doubt_ends_the_hold(earlier: Watch, row: Row | None) -> None:
    """There is nothing to supersede any more, so the notice is just delivered."""
    delivered = row and attrs.evolve(row, queued=False)

    assert decision.NOT_QUEUED == decide(NOTICE, earlier, delivered, held=True)


def test_a_scoped_copy_of_an_unscoped_notice_collapses() -> None:
    """The unscoped one applies to everything."""
    assert decision.DUPLICATE == decide(attrs.evolve(NOTICE, scoped=True), watch(), ROW)
