"""What operators see of a request: each message, each decision, and its cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import REGISTRY

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.model.play import NOTICE, RECIPIENT, WITHHELD, Play


class Counted:
    """What was counted since this was made."""

    def __init__(self) -> None:
        self.before = self._samples()

    def _samples(self) -> dict[tuple[str, ...], float]:
        ours = {SERVER_NAME_LABEL: "findings"} if SERVER_NAME_LABEL else {}
        return {
            (
                sample.name.replace("synapse_withheld_", ""),
                *(v for k, v in sorted(sample.labels.items()) if k not in ours),
            ): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if metric.name.startswith("synapse_withheld")
            and ours.items() <= sample.labels.items()
        }

    def since(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what a counter rose by, for each of its labels in order of name."""
        return {
            key[1:]: value - self.before.get(key, 0)
            for key, value in self._samples().items()
            if key[0] == name and value != self.before.get(key, 0)
        }

    def decisions(self) -> dict[str, float]:
        """Return the decisions about the inbox, by reason."""
        return {
            reason: times
            for (_, queue, reason, _), times in self.since("decisions_total").items()
            if queue == "inbox"
        }


def test_each_notice_is_counted_once_for_each_mailbox() -> None:
    """With what was done and why."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    counted = Counted()
    play.send(NOTICE)
    play.send(NOTICE, ["R", "R2", "GONE"])

    expected = {
        ("deliver", "inbox", "first", "no_olm"): 2,
        ("collapse", "inbox", "duplicate", "no_olm"): 1,
        ("deliver", "inbox", "unknown_device", "no_olm"): 1,
    }
    assert expected == counted.since("decisions_total")


def test_a_wildcard_that_one_device_needs_is_counted_so_for_the_others() -> None:
    """They have what it says, but it is stored whole."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    counted = Counted()
    play.send(NOTICE, "*")

    assert {"first": 1, "wildcard": 1} == counted.decisions()


def test_each_message_is_counted_with_its_code_and_where_it_came_from() -> None:
    """Whatever is decided about it."""
    play = Play()
    counted = Counted()
    play.send(NOTICE)
    play.send({**NOTICE, "code": "m.unverified"})
    play.send({}, sender="@s:there", edu=("there", "1"))

    expected = {
        ("m.no_olm", "local"): 1,
        ("m.unverified", "local"): 1,
        ("malformed", "federation"): 1,
    }
    assert expected == counted.since("messages_total")


def test_a_spoofed_sender_is_counted_as_one() -> None:
    """Not as a failure."""
    play = Play()
    counted = Counted()
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "1"))

    assert {"spoofed_sender": 1} == counted.decisions()
    assert {} == counted.since("failures_total")


def test_a_repeated_edu_is_counted_as_received_already() -> None:
    """Whatever would have been done with it."""
    play = Play()
    edu: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}
    play.send(NOTICE, **edu)
    play.load()
    counted = Counted()
    play.send(NOTICE, **edu)

    assert {"already_received": 1} == counted.decisions()


def test_a_decision_without_an_answer_is_counted_as_failed() -> None:
    """And so is the statement."""
    play = Play()
    play.send(NOTICE)
    counted = Counted()
    play.begin(NOTICE)
    play.hs.take_step(error=RuntimeError("the database failed"))
    play.hs.come_to_rest()

    assert {"failed": 1} == counted.decisions()
    assert {("statement",): 1} == counted.since("failures_total")


def test_a_decision_that_is_not_waited_for_is_counted_as_that() -> None:
    """It is no failure, so any number of them switches nothing off."""
    play = Play()
    play.send({**NOTICE, "from_device": "another"})
    counted = Counted()
    play.begin(NOTICE)
    play.begin(NOTICE)
    play.hs.clock.advance(3)
    play.hs.come_to_rest()

    assert {"first": 1, "waited": 1} == counted.decisions()
    assert {} == counted.since("failures_total")


def test_what_collapses_is_counted_in_bytes_of_its_row() -> None:
    """As Synapse would have stored it."""
    play = Play()
    play.send(NOTICE)
    counted = Counted()
    content = {**NOTICE, "reason": "é"}
    play.send(content)

    message = {"content": content, "type": WITHHELD, "sender": "@s:here"}
    size = len(json.dumps(message, separators=(",", ":")))
    assert {("inbox",): size} == counted.since("collapsed_bytes_total")


def test_the_time_to_a_decision_includes_the_statement() -> None:
    """In seconds; what is no notice is not decided about."""
    play = Play()
    play.hs.clock.advance(100)
    play.send(NOTICE)
    counted = Counted()
    play.begin(NOTICE)
    play.hs.clock.advance(1.5)
    play.hs.come_to_rest()
    play.send({**NOTICE, "code": "m.unverified"})

    assert {(): 1} == counted.since("decision_seconds_count")
    assert {(): pytest.approx(1.5)} == counted.since("decision_seconds_sum")


def test_what_cannot_be_encoded_is_counted_as_no_bytes() -> None:
    """However its sender managed that; it collapses like any other."""
    play = Play()
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    play.send(NOTICE)
    counted = Counted()
    play.send({**NOTICE, "reason": nested})

    assert {"duplicate": 1} == counted.decisions()
    assert {} == counted.since("collapsed_bytes_total")


def test_a_failure_is_counted_at_its_stage() -> None:
    """`decide` before anything is stored, `record` after."""
    play = Play()
    play.send(NOTICE)
    counted = Counted()
    settle, play.index.settle = play.index.settle, lambda *_: 1 // 0
    play.send({**NOTICE, "sender_key": "new"})
    assert {("record",): 1} == counted.since("failures_total")

    play.index.settle = settle
    play.traffic.inbox.device_list_id = lambda: 1 // 0
    play.send({**NOTICE, "sender_key": "newer"})
    assert {("record",): 1, ("decide",): 1} == counted.since("failures_total")
