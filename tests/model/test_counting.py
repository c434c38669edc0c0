"""What operators see of a request: each decision and its reason."""

from __future__ import annotations

from typing import Any

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
    Play,
)


def samples() -> dict[tuple[str, ...], float]:
    """Return all of the module's: by name, and labels in order of their names."""
    ours = {SERVER_NAME_LABEL: "model"} if SERVER_NAME_LABEL else {}
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


class Counted:
    """What was counted since this was made."""

    def __init__(self) -> None:
        self.before = samples()

    def since(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what a counter rose by, for each of its labels."""
        return {
            key[1:]: value - self.before.get(key, 0)
            for key, value in samples().items()
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
    play.send(NOTICE, ["R", "R2"])

    expected = {
        ("deliver", "inbox", "first", "no_olm"): 2,
        ("collapse", "inbox", "duplicate", "no_olm"): 1,
    }
    assert expected == counted.since("decisions_total")


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


def test_what_nobody_decides_about_is_counted() -> None:
    """A wildcard, too much at once, a spoof, a repeated EDU, a device that is gone."""
    edu: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}
    play = Play()
    play.send(NOTICE)
    play.send(NOTICE, **edu)
    counted = Counted()
    play.send(NOTICE, "*")
    assert {"wildcard": 1} == counted.decisions()

    counted = Counted()
    play.send(NOTICE, [f"invented {number}" for number in range(1200)])
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "1"))
    play.load()
    play.send(NOTICE, **edu)
    play.send(NOTICE)
    play.hs.remove_device(RECIPIENT, "R")
    play.send(NOTICE)

    expected = {
        "limit": 1200,
        "spoofed_sender": 1,
        "already_received": 1,
        "first": 1,
        "unknown_device": 1,
    }
    assert expected == counted.decisions()
    assert {} == counted.since("failures_total")
    # The sweep cannot know of the spoof.
    play.is_tidy = False


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


def test_whether_it_acts_and_what_is_left_to_do_is_told() -> None:
    """It does not act while it rests, nor while a statement is overdue."""
    play = Play()
    for number in range(5):
        play.hs.add_device(RECIPIENT, f"D{number}")
    play.begin(NOTICE, [f"D{number}" for number in range(5)])
    play.hs.take_step()
    play.hs.take_step()
    # One is being read.
    assert 4 == samples()["housekeeping_queue", "learn"]
    assert 0 == samples()["housekeeping_queue", "tidy"]
    play.send(NOTICE)
    assert samples()["active",]
    play.begin(NOTICE)
    play.hs.pass_time(0.6)
    assert not samples()["active",]
    play.hs.answer(play.step(CONFIRM), lost())
    assert not samples()["active",]
    play.hs.take_all_steps()
    play.hs.pass_time(1.1)
    assert samples()["active",]
