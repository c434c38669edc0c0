"""What operators see of a request: each decision and its reason."""

from __future__ import annotations

from collections import Counter

from synapse_withheld.operators import series
from tests.model.faults import LostError
from tests.model.play import (
    CONFIRM,
    ENCRYPTED,
    NEW_KEY,
    NOTICE,
    OLM,
    RECIPIENT,
    Play,
)

EDU = ("there", "1")


def counted(play: Play) -> Counter[str]:
    """Return how often each reason was counted, of the inbox."""
    read = play.traffic.metrics.read
    counts: Counter[str] = Counter()
    for labels, times in read(series.DECISIONS):
        if labels["queue"] != "outbox":
            counts[labels["reason"]] += int(times)
    return counts


def test_why_a_believed_duplicate_was_stored_is_counted() -> None:
    """Released, overdue, failed, resting, and not queued any more."""
    play = Play()
    play.send(NOTICE)
    before = counted(play)
    play.begin(NOTICE)
    play.send({"n": 1}, message_type="m.dummy")

    play.begin(NOTICE)
    play.hs.pass_time(0.6)
    play.send(NOTICE)

    play.begin(NOTICE)
    play.begin(NOTICE)
    play.hs.answer(play.step(CONFIRM), LostError())
    play.send(NOTICE)
    play.hs.pass_time(1)
    play.hs.acknowledge(RECIPIENT, "R", play.hs.stream_token())
    play.send(NOTICE)

    expected = Counter(released=1, overdue=2, failed=1, resting=2, not_queued=1)
    assert expected == counted(play) - before


def test_why_a_notice_was_stored_at_once_is_counted() -> None:
    """Read, new, re-armed, found in the database, or beside something in flight."""
    play = Play(sees_reads=True)
    play.fill("R", [NOTICE])
    before = counted(play)
    play.send({**NOTICE, "from_device": "another"})
    play.send(NOTICE)
    play.send(NEW_KEY)
    play.send(OLM, message_type=ENCRYPTED)
    play.send(NOTICE)
    play.send(OLM, message_type=ENCRYPTED)
    play.send(NOTICE)
    play.begin(NEW_KEY)
    play.send(NOTICE)
    play.read()
    play.send(NOTICE)

    expected = Counter(
        first=1, repeated=1, new_key=3, rearmed=1, not_repeated=1, read=1
    )
    assert expected == counted(play) - before


def test_what_nobody_decides_about_is_counted() -> None:
    """A wildcard, too much at once, a spoof, a repeated EDU, a device that is gone."""
    play = Play()
    play.send(NOTICE)
    play.send(NOTICE, sender="@s:there", edu=EDU)
    before = counted(play)
    play.send(NOTICE, "*")
    play.send(NOTICE, [f"invented {number}" for number in range(1200)])
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "1"))
    play.load()
    play.send(NOTICE, sender="@s:there", edu=EDU)
    play.send(NOTICE)
    play.hs.remove_device(RECIPIENT, "R")
    play.send(NOTICE)

    expected = Counter(
        wildcard=1,
        limit=1200,
        spoofed_sender=1,
        already_received=1,
        repeated=1,
        unknown_device=1,
    )
    assert expected == counted(play) - before
    # The sweep cannot know of the spoof.
    play.is_tidy = False


def test_in_observe_what_would_collapse_is_counted() -> None:
    """Though all of it is stored; what is not answered counts as delivered."""
    play = Play(mode="observe", devices=("R", "R2"))
    play.send(NOTICE)
    before = counted(play)
    play.send(NOTICE, ["R", "R2"])
    assert Counter(duplicate=1, first=1) == counted(play) - before

    play.begin(NOTICE)
    play.hs.answer(play.step("store"))
    play.hs.answer(play.step("stored"))
    # What is stored already is overtaken by nothing.
    play.begin({"n": 1}, message_type="m.dummy")
    assert Counter(duplicate=1, first=1) == counted(play) - before
    play.hs.pass_time(1.1)
    assert Counter(duplicate=1, first=1, overdue=1) == counted(play) - before
