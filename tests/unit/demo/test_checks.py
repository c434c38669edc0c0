"""The demonstration's checks: each fails where it should, and only there."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from tests.demo.checks import Check
from tests.demo.demonstration import check
from tests.demo.measuring import Catchup, Measured
from tests.demo.traffic import (
    AWAY,
    FRIEND,
    REPEATS,
    TABLET,
    Round,
    Send,
    Traffic,
    make_traffic,
    user_id,
)
from tests.harness.clients.messages import OLDER_WITHHELD, WITHHELD
from tests.harness.clients.olm import OlmDevice
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.metrics.samples import ACTIVE, FAILURES

FAILED = f'{FAILURES}{{stage="decide"}}'

ONE_PER_PAIR = "at rest, no mailbox holds two notices of one pair"
NEWEST = "of every pair that sent any, a notice with its last key is queued"
SAME_ROWS = "every other message is stored byte for byte as on stock, in its order"
SAME_DELIVERY = "every other message reached the recipient as it was sent, in its order"
ANSWERED = "every request was answered 200"
ACTED = "the module acted, and counts no failure of its own"


def make_notice(key: str, message_type: str = WITHHELD, **more: str) -> Send:
    """Return a notice to all devices of the recipient."""
    content = {"code": "m.no_olm", "from_device": "DEV", "sender_key": key, **more}
    return Send(REPEATS, message_type, "*", content)


DEAD, NEWER = make_notice("k1"), make_notice("k2")
SCOPED, OLDER = make_notice("k2", room_id="!r"), make_notice("k2", OLDER_WITHHELD)
KEYS = tuple(make_traffic(SERVER_NAME).room_keys[:2])
TRAFFIC = Traffic(
    (Round(((DEAD, NEWER),), KEYS),), OlmDevice(user_id(FRIEND, SERVER_NAME), AWAY)
)


def message(send: Send) -> dict[str, Any]:
    """Return what the recipient gets."""
    sender = user_id(send.sender, SERVER_NAME)
    return {"content": send.content, "sender": sender, "type": send.message_type}


def measured(away: tuple[Send, ...], tablet: tuple[Send, ...]) -> Measured:
    """Return the measurements where that is queued, and delivered."""
    queued = {AWAY: away, TABLET: tablet}
    return Measured(
        {
            device: tuple(json.dumps(message(send)) for send in sends)
            for device, sends in queued.items()
        },
        failed=0,
        metrics={ACTIVE: 1, FAILED: 0},
        catchup=Catchup(tuple(map(message, away)), 1, 0.1),
    )


STOCK = measured((DEAD, NEWER, *KEYS), (DEAD, NEWER))
GOOD = measured((NEWER, *KEYS), (NEWER,))


def failing(stock: Measured, module: Measured) -> list[str]:
    """Return the facts that do not hold."""
    checks = check(TRAFFIC, stock, module)
    return [each.fact for each in checks if not each.holds]


def queued(away: tuple[Send, ...], tablet: tuple[Send, ...]) -> Measured:
    """Return good measurements except for what is queued."""
    return attrs.evolve(GOOD, mailboxes=measured(away, tablet).mailboxes)


def delivered(*sends: Send) -> Measured:
    """Return good measurements except for what was delivered."""
    return attrs.evolve(GOOD, catchup=measured(sends, ()).catchup)


def reencoded(rows: Measured) -> Measured:
    """Return measurements with the same messages in other bytes."""
    *others, last = rows.mailboxes[AWAY]
    mailboxes = {**rows.mailboxes, AWAY: (*others, last.replace(" ", ""))}
    return attrs.evolve(rows, mailboxes=mailboxes)


@pytest.mark.parametrize(
    ("facts", "module"),
    [
        ([], GOOD),
        # The two types are two pairs, and neither counts as another message.
        ([], queued((NEWER, OLDER, *KEYS), (NEWER,))),
        ([ONE_PER_PAIR], queued((DEAD, NEWER, *KEYS), (NEWER,))),
        ([ONE_PER_PAIR], queued((NEWER, *KEYS), (SCOPED, NEWER))),
        ([NEWEST], queued((DEAD, *KEYS), (NEWER,))),
        ([NEWEST], queued((NEWER, *KEYS), ())),
        ([NEWEST], queued((NEWER, *KEYS), (OLDER,))),
        ([SAME_ROWS], queued((NEWER, KEYS[0]), (NEWER,))),
        ([SAME_ROWS], queued((NEWER, *KEYS[::-1]), (NEWER,))),
        ([SAME_ROWS], reencoded(GOOD)),
        ([SAME_DELIVERY], delivered(NEWER, KEYS[0])),
        ([SAME_DELIVERY], delivered(NEWER, *KEYS[::-1])),
        ([SAME_DELIVERY], delivered(NEWER, *KEYS, KEYS[1])),
        ([ANSWERED], attrs.evolve(GOOD, failed=1)),
        ([ACTED], attrs.evolve(GOOD, metrics={ACTIVE: 1, FAILED: 1})),
        ([ACTED], attrs.evolve(GOOD, metrics={ACTIVE: 0, FAILED: 0})),
        ([ACTED], attrs.evolve(GOOD, metrics={})),
    ],
)
def test_each_fact_fails_by_itself(facts: list[str], module: Measured) -> None:
    """What is wrong is named, and nothing else is."""
    assert failing(STOCK, module) == facts


def test_stock_is_checked_too() -> None:
    """What stock lost, it may not lend to the comparison."""
    assert failing(attrs.evolve(STOCK, failed=1), GOOD) == [ANSWERED]
    lost = measured((DEAD, NEWER), (DEAD, NEWER))
    assert failing(lost, GOOD) == [SAME_ROWS, SAME_DELIVERY]
    assert failing(lost, measured((NEWER,), (NEWER,))) == [SAME_ROWS, SAME_DELIVERY]


def test_a_verdict_says_what_was_found() -> None:
    """A fact that does not hold is followed by what was found instead."""
    assert Check("fact", "").verdict == "ok: fact"
    assert Check("fact", "trouble").verdict == "FAILED: fact: trouble"
