"""The rule `verification_requests`: what was cancelled goes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from synapse_withheld.rules.verification import VerificationRequests
from tests.model.play import Play

REQUEST, CANCEL = "m.key.verification.request", "m.key.verification.cancel"
CONTENT = {"transaction_id": "1"}


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


@pytest.mark.parametrize("content", [None, [], {}, {"transaction_id": 1}])
def test_what_is_malformed_is_not_named(content: Any) -> None:
    """It is stored as it is."""
    assert VerificationRequests().read("@s:hs", REQUEST, content) is None
