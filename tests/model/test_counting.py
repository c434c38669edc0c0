"""What operators see of a request: each message, each decision, and its cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import REGISTRY

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.model.faults import lost
from tests.model.play import (
    CONFIRM,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    WITHHELD,
    Play,
)


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


def counted_now(name: str, *labels: str) -> float:
    """Return the value of a gauge."""
    samples = Counted().before
    return sum(value for key, value in samples.items() if key == (name, *labels))


def test_each_notice_is_counted_once_for_each_mailbox() -> None:
    """With what was done and why."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    counted = Counted()
    play.send(NOTICE)
    play.send(NOTICE, ["R", "R2"])

    expected = {
        ("deliver", "inbox", "first", "no_olm"): 2,
        ("collapse", "inbox", "duplicate", "no_olm"): 1,
    }
    assert expected == counted.since("decisions_total")


def test_a_notice_for_a_device_that_is_gone_is_counted_as_that() -> None:
    """Once somebody asks: what is stored at once is not looked up."""
    play = Play()
    play.send(NOTICE)
    play.hs.remove_device(RECIPIENT, "R")
    counted = Counted()
    play.send(NOTICE)

    assert {"unknown_device": 1} == counted.decisions()


def test_a_wildcard_is_counted_for_each_mailbox_that_is_remembered() -> None:
    """What it repeats is stored all the same."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    counted = Counted()
    play.send(NOTICE, "*")
    assert {"wildcard": 1} == counted.decisions()

    # What the other one has was found and not seen arriving.
    play.send(NOTICE, "*")
    assert {"wildcard": 2, "repeated": 1} == counted.decisions()


def test_each_message_is_counted_with_its_code_and_where_it_came_from() -> None:
    """Whatever is decided about it."""
    play = Play()
    counted = Counted()
    play.send(NOTICE)
    play.send({**NOTICE, "code": "m.unverified"})
    play.send({**NOTICE, "code": "m.history_not_shared"})
    play.send({**NOTICE, "code": "org.own"})
    play.send({}, sender="@s:there", edu=("there", "1"))

    expected = {
        ("m.no_olm", "local"): 1,
        ("m.unverified", "local"): 1,
        ("m.history_not_shared", "local"): 1,
        ("other", "local"): 1,
        ("malformed", "federation"): 1,
    }
    assert expected == counted.since("messages_total")


def test_each_message_of_a_request_is_counted() -> None:
    """Several have one code."""
    play = Play()
    counted = Counted()
    play.send(NOTICE, ["R", "R2", "R3"])

    assert {("m.no_olm", "local"): 3} == counted.since("messages_total")


def test_a_spoofed_sender_is_counted_as_one() -> None:
    """With the rule that names what it sent, and not as a failure."""
    play = Play()
    counted = Counted()
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "1"))

    expected = {("deliver", "inbox", "spoofed_sender", "no_olm"): 1}
    assert expected == counted.since("decisions_total")
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


def test_why_a_believed_duplicate_was_stored_is_counted() -> None:
    """Released, overdue, failed, resting, and not queued any more."""
    play = Play()
    play.send(NOTICE)
    counted = Counted()
    play.begin(NOTICE)
    play.begin({"n": 1}, message_type="m.dummy")
    play.hs.come_to_rest()
    assert {"released": 1} == counted.decisions()

    play.begin(NOTICE)
    play.hs.pass_time(0.6)
    play.begin(NOTICE)
    play.hs.come_to_rest()
    assert {"released": 1, "overdue": 2} == counted.decisions()

    play.begin(NOTICE)
    play.begin(NOTICE)
    play.hs.answer(play.step(CONFIRM), lost())
    play.begin(NOTICE)
    play.hs.come_to_rest()
    expected = {"released": 1, "overdue": 2, "failed": 1, "resting": 2}
    assert expected == counted.decisions()
    assert {("statement",): 1} == counted.since("failures_total")

    play.hs.pass_time(1)
    play.hs.acknowledge(RECIPIENT, "R", play.hs.stream_token())
    play.send(NOTICE)
    assert {**expected, "not_queued": 1} == counted.decisions()


def test_why_a_notice_was_stored_at_once_is_counted() -> None:
    """Read, new, re-armed, found in the database, or beside something in flight."""
    play = Play(sees_reads=True)
    play.fill("R", [NOTICE])
    counted = Counted()
    play.send({**NOTICE, "from_device": "another"})
    play.send(NOTICE)
    play.send(NEW_KEY)
    play.send(OLM, message_type=ENCRYPTED)
    play.send(NOTICE)
    play.send(OLM, message_type=ENCRYPTED)
    play.send(NOTICE)
    play.begin(NEW_KEY)
    play.begin(NOTICE)
    play.hs.come_to_rest()
    play.read()
    play.send(NOTICE)

    expected = {
        "first": 1,
        "repeated": 1,
        "new_key": 3,
        "rearmed": 1,
        "not_repeated": 1,
        "read": 1,
    }
    assert expected == counted.decisions()


def test_in_observe_what_would_collapse_is_counted() -> None:
    """Though all of it is stored; what is not answered counts as delivered."""
    play = Play(mode="observe")
    play.send(NOTICE)
    counted = Counted()
    play.send(NOTICE)
    assert {"duplicate": 1} == counted.decisions()

    play.begin(NOTICE)
    play.hs.answer(play.step("store"))
    play.hs.answer(play.step("stored"))
    assert {"duplicate": 1} == counted.decisions()
    play.hs.pass_time(1.1)
    assert {"duplicate": 1, "overdue": 1} == counted.decisions()


def test_a_request_with_too_many_messages_is_counted_at_its_limit() -> None:
    """What nobody looked at is told."""
    play = Play()
    counted = Counted()
    play.send(NOTICE, [f"invented {number}" for number in range(1200)])

    assert {"limit": 1200} == counted.decisions()


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


def test_how_long_a_duplicate_waited_is_counted_apart_from_sorting() -> None:
    """In seconds; what is no notice is not decided about."""
    play = Play()
    play.send(NOTICE)
    counted = Counted()
    play.begin(NOTICE)
    play.hs.pass_time(0.25)
    play.hs.come_to_rest()
    play.send({**NOTICE, "code": "m.unverified"})

    assert {(): 1} == counted.since("confirm_seconds_count")
    assert {(): pytest.approx(0.25)} == counted.since("confirm_seconds_sum")
    assert {(): 1} == counted.since("decision_seconds_count")
    assert {} == counted.since("decision_seconds_sum")


def test_whether_it_acts_is_told() -> None:
    """It does not while it rests, nor while a statement is overdue."""
    play = Play()
    play.send(NOTICE)
    told = [counted_now("active")]
    play.begin(NOTICE)
    play.hs.pass_time(0.6)
    told.append(counted_now("active"))
    play.hs.answer(play.step(CONFIRM), lost())
    told.append(counted_now("active"))
    play.hs.take_all_steps()
    play.hs.pass_time(1.1)
    told.append(counted_now("active"))

    assert [1, 0, 0, 1] == told


def test_what_is_left_for_the_background_is_told() -> None:
    """Mailboxes to learn, and rows to delete."""
    play = Play()
    for number in range(5):
        play.hs.add_device(RECIPIENT, f"D{number}")
    play.begin(NOTICE, [f"D{number}" for number in range(5)])
    play.hs.take_step()
    play.hs.take_step()
    # One is being read.
    assert 4 == counted_now("housekeeping_queue", "learn")
    assert 0 == counted_now("housekeeping_queue", "tidy")


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
    settle, play.memory.settle = play.memory.settle, lambda *_, **__: 1 // 0  # type: ignore[assignment, method-assign]
    play.send(NEW_KEY)
    assert {("record",): 1} == counted.since("failures_total")

    play.memory.settle = settle  # type: ignore[method-assign]
    play.traffic.inbox.device_list_id = lambda: 1 // 0
    play.send({**NOTICE, "sender_key": "newest"})
    assert {("record",): 1, ("decide",): 1} == counted.since("failures_total")
    # A row that was stored unseen is found by the next notice, or by the sweep.
    play.is_tidy = False
