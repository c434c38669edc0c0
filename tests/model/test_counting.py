"""What operators see of a request: each decision and its reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

from synapse_withheld.operators import series
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


class Counted:
    """What was counted of a play since this was made."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.before = self._so_far()

    def _so_far(self) -> Counter[str]:
        read = self.play.traffic.metrics.read
        counts: Counter[str] = Counter()
        for labels, times in [*read(series.DECISIONS), *read(series.FAILURES)]:
            reason = labels.get("reason") or f"failure: {labels['stage']}"
            if labels.get("queue") != "outbox":
                counts[reason] += int(times)
        return counts

    @property
    def decisions(self) -> dict[str, int]:
        """Return the decisions about the inbox by their reason, and the failures."""
        return dict(self._so_far() - self.before)


def test_why_a_believed_duplicate_was_stored_is_counted() -> None:
    """Released, overdue, failed, resting, and not queued any more."""
    play = Play()
    play.send(NOTICE)
    counted = Counted(play)
    play.begin(NOTICE)
    play.begin({"n": 1}, message_type="m.dummy")
    play.hs.come_to_rest()
    assert {"released": 1} == counted.decisions

    play.begin(NOTICE)
    play.hs.pass_time(0.6)
    play.begin(NOTICE)
    play.hs.come_to_rest()
    assert {"released": 1, "overdue": 2} == counted.decisions

    play.begin(NOTICE)
    play.begin(NOTICE)
    play.hs.answer(play.step(CONFIRM), lost())
    play.begin(NOTICE)
    play.hs.come_to_rest()
    play.hs.pass_time(1)
    play.hs.acknowledge(RECIPIENT, "R", play.hs.stream_token())
    play.send(NOTICE)
    assert {
        "released": 1,
        "overdue": 2,
        "failed": 1,
        "resting": 2,
        "not_queued": 1,
        "failure: statement": 1,
    } == counted.decisions


def test_why_a_notice_was_stored_at_once_is_counted() -> None:
    """Read, new, re-armed, found in the database, or beside something in flight."""
    play = Play(sees_reads=True)
    play.fill("R", [NOTICE])
    counted = Counted(play)
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

    assert {
        "first": 1,
        "repeated": 1,
        "new_key": 3,
        "rearmed": 1,
        "not_repeated": 1,
        "read": 1,
    } == counted.decisions


def test_what_nobody_decides_about_is_counted() -> None:
    """A wildcard, too much at once, a spoof, a repeated EDU, a device that is gone."""
    edu: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}
    play = Play()
    play.send(NOTICE)
    play.send(NOTICE, **edu)
    counted = Counted(play)
    play.send(NOTICE, "*")
    play.send(NOTICE, [f"invented {number}" for number in range(1200)])
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "1"))
    play.load()
    play.send(NOTICE, **edu)
    play.send(NOTICE)
    play.hs.remove_device(RECIPIENT, "R")
    play.send(NOTICE)

    assert {
        "wildcard": 1,
        "limit": 1200,
        "spoofed_sender": 1,
        "already_received": 1,
        "first": 1,
        "unknown_device": 1,
    } == counted.decisions
    # The sweep cannot know of the spoof.
    play.is_tidy = False


def test_in_observe_what_would_collapse_is_counted() -> None:
    """Though all of it is stored; what is not answered counts as delivered."""
    play = Play(mode="observe")
    play.send(NOTICE)
    counted = Counted(play)
    play.send(NOTICE, ["R", "R2"])
    assert {"duplicate": 1, "first": 1} == counted.decisions

    play.begin(NOTICE)
    play.hs.answer(play.step("store"))
    play.hs.answer(play.step("stored"))
    # What is stored already is overtaken by nothing.
    play.begin({"n": 1}, message_type="m.dummy")
    assert {"duplicate": 1, "first": 1} == counted.decisions
    play.hs.pass_time(1.1)
    assert {"duplicate": 1, "first": 1, "overdue": 1} == counted.decisions
