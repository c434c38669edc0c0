"""The rule `verification_requests`: what was cancelled goes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules import decision
from synapse_withheld.rules.mailbox import Remembered
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.verification import CANCELLATION as CANCELLED
from synapse_withheld.rules.verification import REQUEST as REQUESTED
from synapse_withheld.rules.verification import VerificationRequests
from synapse_withheld.sweep.walk import Counts, Options, Sweep
from tests.harness.databases.backlog import FakeRows, driven, other, text_of
from tests.model.play import Play

REQUEST, CANCEL = "m.key.verification.request", "m.key.verification.cancel"
CONTENT = {"transaction_id": "1"}
DAY_MS = 24 * 60 * 60 * 1000


def sent(*types: str, **rules: bool) -> Play:
    """Send messages of one transaction one after the other."""
    play = Play(rules=RulesConfig(**{"verification_requests": True, **rules}))
    for message_type in types:
        play.send(CONTENT, message_type=message_type)
    return play


def test_a_cancellation_takes_the_place_of_its_request() -> None:
    """It stays: the request may have been shown already."""
    assert [2] == sent(REQUEST, CANCEL).queued()


@pytest.mark.parametrize(
    "types", [(CANCEL, REQUEST), (REQUEST, REQUEST), (CANCEL, CANCEL)]
)
def test_nothing_else_goes(types: tuple[str, str]) -> None:
    """The proposal names requests that are cancelled."""
    assert [1, 2] == sent(*types).queued()


def test_a_request_of_another_transaction_stays() -> None:
    """And that of another user."""
    play = sent(REQUEST)
    play.send({"transaction_id": "2"}, message_type=CANCEL)
    play.send(CONTENT, message_type=CANCEL, sender="@t:here")

    assert [1, 2, 3] == play.queued()


def test_the_other_messages_of_a_verification_pass() -> None:
    """Whatever becomes of the request."""
    play = sent(REQUEST, "m.key.verification.start", CANCEL)

    assert [2, 3] == play.queued()


def test_without_the_rule_everything_stays() -> None:
    """That is the default."""
    assert [1, 2] == sent(REQUEST, CANCEL, verification_requests=False).queued()


def test_a_request_expires_after_ten_minutes_and_a_day() -> None:
    """Then every client ignores it, whatever its clock says."""
    content = {**CONTENT, "timestamp": 1000}
    found = VerificationRequests().read("@s:hs", REQUEST, content)

    assert found is not None
    expires_ts = 1000 + 10 * 60 * 1000 + DAY_MS
    assert [False, True] == [found.has_expired(expires_ts + n) for n in (-1, 0)]


def test_each_message_says_what_it_does_to_the_queued_one() -> None:
    """As metrics tell it."""
    rule = VerificationRequests()
    earlier = Remembered(1, True, REQUESTED, False, True, 0, 0.0)

    assert decision.CANCELLED == rule.news(CANCELLED, earlier)
    assert decision.NOT_REPEATED == rule.news(REQUESTED, earlier)
    assert decision.NOT_REPEATED == rule.news(
        CANCELLED, earlier._replace(variant=CANCELLED, same_key=False)
    )


def test_a_pair_is_of_a_transaction() -> None:
    """Of both types, whatever device it is of."""
    rule = VerificationRequests()
    found = [rule.read("@s:hs", kind, CONTENT) for kind in (REQUEST, CANCEL)]

    pair = Pair("@s:hs", "", "m.key.verification", ("1",))
    assert [
        Notice(rule, pair, "", REQUESTED),
        Notice(rule, pair, "", CANCELLED),
    ] == found


def test_the_latest_time_that_json_holds_counts() -> None:
    """What is later is no time."""
    found = [
        VerificationRequests().read(
            "@s:hs", REQUEST, {**CONTENT, "timestamp": 2**53 + more}
        )
        for more in (0, 1)
    ]

    assert [True, False] == [each and each.expires_ts is not None for each in found]


@pytest.mark.parametrize("timestamp", [None, True, "1000", 1.5, -1, 2**60])
def test_a_request_without_a_time_never_expires(timestamp: Any) -> None:
    """Nor does a cancellation."""
    content = {**CONTENT, "timestamp": timestamp}
    rule = VerificationRequests()
    found = [
        rule.read("@s:hs", REQUEST, content),
        rule.read("@s:hs", CANCEL, {**CONTENT, "timestamp": 0}),
    ]

    assert not any(each is None or each.has_expired(2**62) for each in found)


def test_what_has_expired_goes_when_its_mailbox_is_touched() -> None:
    """But for the newest row, beside which nothing else would be."""
    play = sent()
    for number in range(3):
        content = {"transaction_id": str(number), "timestamp": 0}
        play.send(content, message_type=REQUEST)
    play.hs.clock.advance(2 * DAY_MS / 1000)
    play.load()
    play.send({**CONTENT, "transaction_id": "new"}, message_type=REQUEST)

    assert [3, 4] == play.queued()


def test_the_sweep_takes_what_has_expired() -> None:
    """Where anything newer is in the mailbox, whatever that is."""
    rules = RulesConfig(verification_requests=True)
    old = text_of("@s:hs", REQUEST, {**CONTENT, "timestamp": 0})
    fresh = text_of("@s:hs", REQUEST, {**CONTENT, "timestamp": DAY_MS})
    rows = FakeRows(
        {
            ("@r:hs", "R", 1): old,
            ("@r:hs", "R", 2): fresh,
            ("@r:hs", "R", 3): other(),
            ("@r:hs", "Q", 4): old,
        }
    )
    options = Options(rules=Ruleset.of(Config(rules=rules)), now_ts=2 * DAY_MS)
    driven(Sweep(rows, options).step())

    assert [2, 3, 4] == sorted(stream_id for *_, stream_id in rows.table)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_sweep_takes_the_later_cancellation_too(batch_size: int) -> None:
    """Where anything newer is in the mailbox; once, however often it was asked."""
    rules = Ruleset.of(Config(rules=RulesConfig(verification_requests=True)))
    old = text_of("@s:hs", REQUEST, {**CONTENT, "timestamp": 0})
    cancellation = text_of("@s:hs", CANCEL, CONTENT)
    texts = [old, old, cancellation, other(), old]
    rows = FakeRows({("@r:hs", "R", n): text for n, text in enumerate(texts, 1)})
    sweep = Sweep(rows, Options(batch_size, rules, now_ts=2 * DAY_MS))
    while not sweep.progress.done:
        driven(sweep.step())

    assert [4, 5] == sorted(stream_id for *_, stream_id in rows.table)
    size = 2 * len(old) + len(cancellation)
    assert Counts(4, 3, deleted=3, bytes=size) == sweep.progress.total


def test_the_newest_row_stays_though_it_cancels_what_has_expired() -> None:
    """Beside it there would be nothing else."""
    rules = Ruleset.of(Config(rules=RulesConfig(verification_requests=True)))
    old = text_of("@s:hs", REQUEST, {**CONTENT, "timestamp": 0})
    texts = [old, text_of("@s:hs", CANCEL, CONTENT)]
    rows = FakeRows({("@r:hs", "R", n): text for n, text in enumerate(texts, 1)})
    driven(Sweep(rows, Options(rules=rules, now_ts=2 * DAY_MS)).step())

    assert [2] == sorted(stream_id for *_, stream_id in rows.table)


@pytest.mark.parametrize("content", [None, [], {}, {"transaction_id": 1}])
def test_what_is_malformed_is_not_named(content: Any) -> None:
    """It is stored as it is."""
    assert VerificationRequests().read("@s:hs", REQUEST, content) is None
