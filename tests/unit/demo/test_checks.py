"""The demonstration's checks: each holds where it should, and only there."""

from __future__ import annotations

import json
from typing import Any

from tests.demo import checks
from tests.demo.checks import Check
from tests.harness.clients.messages import (
    ENCRYPTED,
    OLDER_WITHHELD,
    WITHHELD,
    make_message,
    make_notice,
)
from tests.harness.metrics.samples import ACTIVE, FAILURES

SENDER = "@a:withheld.test"
PAIR = (SENDER, "device DEV", WITHHELD)


def row(message: dict[str, Any]) -> str:
    """Return a message as a row."""
    return json.dumps(message)


def notice(key: str = "k", device: str | None = "DEV", **more: Any) -> str:
    """Return a row with a notice."""
    return row(make_message(SENDER, make_notice(key, device, **more)))


def other(body: Any) -> dict[str, Any]:
    """Return a message that is no notice."""
    return make_message(SENDER, {"body": body}, ENCRYPTED)


def test_verdict_says_what_was_found() -> None:
    """A fact that does not hold is followed by what was found instead."""
    assert Check("fact", "").verdict == "ok: fact"
    assert Check("fact", "trouble").verdict == "FAILED: fact: trouble"


def test_two_notices_of_a_pair_are_found() -> None:
    """A new key on a named device is the same pair; scopes make no difference."""
    rows = [notice("k1"), notice("k2", room_id="!r"), notice("k1", device=None)]
    assert checks.copies(rows) == {PAIR: 2}
    assert not checks.one_notice_per_pair({"AWAY": rows}).holds
    assert checks.one_notice_per_pair({"AWAY": rows[1:], "TABLET": rows[1:]}).holds


def test_the_two_types_are_two_pairs() -> None:
    """Neither stands for the other, and neither counts as another message."""
    older = row(make_message(SENDER, make_notice("k", "DEV"), OLDER_WITHHELD))
    assert checks.copies([notice(), older]) == {}
    assert not checks.one_notice_per_pair({"AWAY": [older, older]}).holds
    assert not checks.newest_of_each_pair(
        {"AWAY": [older]}, {"AWAY": {PAIR: "k"}}
    ).holds
    assert checks.same_rows([older], [], 0).holds


def test_other_messages_are_no_copies() -> None:
    """Only notices count."""
    assert checks.copies([row(other(1)), row(other(1))]) == {}


def test_lost_notice_and_dead_key_are_found() -> None:
    """It is not enough that some notice of the pair is there."""
    sent = {"AWAY": {PAIR: "k2"}}
    assert checks.newest_of_each_pair({"AWAY": [notice("k2")]}, sent).holds
    assert not checks.newest_of_each_pair({"AWAY": [notice("k1")]}, sent).holds
    assert not checks.newest_of_each_pair({"AWAY": []}, sent).holds


def test_changed_rows_are_found() -> None:
    """Lost, changed, exchanged and re-encoded rows all show; notices do not matter."""
    one, two = row(other(1)), row(other(2))
    assert checks.same_rows([one, notice(), two], [one, two, notice()], 2).holds
    for wrong in ([one], [two, one], [one, row(other(3))], [one, two.replace(" ", "")]):
        assert not checks.same_rows([one, two], wrong, 2).holds


def test_rows_missing_on_both_are_found() -> None:
    """That both servers agree proves nothing if neither has them."""
    assert not checks.same_rows([], [], 2).holds


def test_changed_delivery_is_found() -> None:
    """What arrives is compared with what was sent, on both servers."""
    sent = [other(1), other(2)]
    withheld = make_message(SENDER, make_notice("k", "DEV"), WITHHELD)
    assert checks.same_delivery(sent, [withheld, *sent], sent).holds
    assert not checks.same_delivery(sent, sent[::-1], sent).holds
    assert not checks.same_delivery(sent[:1], sent, sent).holds


def test_failed_sends_are_found() -> None:
    """One is enough, on either server."""
    assert checks.no_failed_sends({"stock": 0, "module": 0}).holds
    assert not checks.no_failed_sends({"stock": 0, "module": 1}).holds


def test_module_that_fails_or_does_not_act_is_found() -> None:
    """No failures are no good sign where the module does nothing."""
    stage = f'{FAILURES}{{stage="decide"}}'
    assert checks.module_acted({ACTIVE: 1, stage: 0}).holds
    assert not checks.module_acted({ACTIVE: 1, stage: 1}).holds
    assert not checks.module_acted({ACTIVE: 0, stage: 0}).holds
    assert not checks.module_acted({}).holds
