"""The rule `verification_requests`: what was cancelled goes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import ANY, Notice, Pair
from synapse_withheld.rules.requests import VerificationRequests
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Counts, Options, Sweep
from tests.harness.databases.backlog import FakeRows, driven, other, text_of

RULE = VerificationRequests()
REQUEST, CANCEL = "m.key.verification.request", "m.key.verification.cancel"
CONTENT = {"transaction_id": "1"}
DAY_MS = 24 * 60 * 60 * 1000


def read(kind: str, **more: Any) -> Notice:
    """Read what has to be a message of a verification."""
    found = RULE.read("@s:hs", kind, {**CONTENT, **more})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("queued", "kind", "expected"),
    [
        (REQUEST, CANCEL, decision.CANCELLED),
        (REQUEST, REQUEST, decision.REPEATED),
        (CANCEL, CANCEL, decision.NOT_REPEATED),
        (CANCEL, REQUEST, decision.NOT_REPEATED),
    ],
)
def test_each_is_stored_for_what_it_does_to_the_queued_one(
    queued: str, kind: str, expected: Decision
) -> None:
    """As metrics tell it; none collapses."""
    earlier, later = read(queued), read(kind)

    assert expected == RULE.why_stored(earlier, later)
    assert not RULE.says_as_much(earlier, later)


def test_a_request_that_says_something_else_repeats_nothing() -> None:
    """Copies may differ in how clients follow them."""
    queued = read(REQUEST, timestamp=1)
    other_time = read(REQUEST, timestamp=2)
    copy = read(REQUEST, timestamp=1, **{"org.matrix.msgid": "1"})

    assert decision.NOT_REPEATED == RULE.why_stored(queued, other_time)
    assert decision.REPEATED == RULE.why_stored(queued, copy)


def test_all_cancellations_say_the_same() -> None:
    """Whatever their reasons."""
    keys = {read(CANCEL, code=code).key for code in ("m.user", "m.timeout")}

    assert {ANY} == keys


def test_a_pair_is_of_a_transaction() -> None:
    """Of both types, whatever device it is of."""
    pair = Pair("@s:hs", "", "m.key.verification", ("1",))

    assert {pair} == {read(REQUEST).pair, read(CANCEL).pair}
    assert {pair} == {read(REQUEST, from_device="S").pair}


def test_only_a_request_waits_for_an_answer() -> None:
    """Of the device that asks, where it names one."""
    assert ("@s:hs", "S") == read(REQUEST, from_device="S").asker
    assert read(REQUEST).asker is None
    assert read(CANCEL, from_device="S").asker is None


def test_a_request_expires_after_ten_minutes_and_a_day() -> None:
    """Then every client ignores it, whatever its clock says."""
    content = {**CONTENT, "timestamp": 1000}
    found = VerificationRequests().read("@s:hs", REQUEST, content)

    assert found is not None
    expires_ts = 1000 + 10 * 60 * 1000 + DAY_MS
    assert [False, True] == [found.has_expired(expires_ts + n) for n in (-1, 0)]


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
def test_the_sweep_leaves_the_cancellation_of_what_has_expired(
    batch_size: int,
) -> None:
    """It may close a verification that clients open without a request."""
    rules = Ruleset.of(Config(rules=RulesConfig(verification_requests=True)))
    old = text_of("@s:hs", REQUEST, {**CONTENT, "timestamp": 0})
    cancellation = text_of("@s:hs", CANCEL, CONTENT)
    texts = [old, old, cancellation, other(), old]
    rows = FakeRows({("@r:hs", "R", n): text for n, text in enumerate(texts, 1)})
    sweep = Sweep(rows, Options(batch_size, rules, now_ts=2 * DAY_MS))
    while not sweep.progress.done:
        driven(sweep.step())

    assert [3, 4, 5] == sorted(stream_id for *_, stream_id in rows.table)
    counts = Counts(4, 2, deleted=2, bytes=2 * len(old))
    assert counts == sweep.progress.total


@pytest.mark.parametrize("content", [None, [], {}, {"transaction_id": 1}])
def test_what_is_malformed_is_not_named(content: Any) -> None:
    """It is stored as it is."""
    assert VerificationRequests().read("@s:hs", REQUEST, content) is None


def test_what_is_too_deep_to_be_compared_is_not_named() -> None:
    """It is stored as it is."""
    deep: dict[str, Any] = {}
    # Python 3.12 and newer go down some ten thousand levels.
    for _ in range(100_000):
        deep = {"deeper": deep}

    assert RULE.read("@s:hs", REQUEST, {**CONTENT, "more": deep}) is None
    assert RULE.read("@s:hs", CANCEL, {**CONTENT, "more": deep}) is not None
