"""Nothing overtakes what waits for an answer, and little has to wait for one.

That nothing overtakes is held in every play, see `door.py`; here is what does not let
go what waits, and that who waits does so for one statement, and not for long.
"""

from __future__ import annotations

from synapse_withheld.config import RulesConfig
from tests.model.faults import LostError
from tests.model.play import (
    ABROAD,
    CONFIRM,
    CONFIRM_ABROAD,
    NOTICE,
    RECIPIENT,
    SESSION,
    Play,
)


def test_a_repeated_code_does_not_delete_the_newer_one_that_passed_it() -> None:
    """`m.unverified` waits, `m.blacklisted` comes: that is what counts."""
    play = Play(rules=RulesConfig(withheld=True))
    play.send(SESSION)
    repeat = play.begin(SESSION)
    blacklisted = play.begin({**SESSION, "code": "m.blacklisted"})

    assert repeat.waited
    assert [repeat, blacklisted] == play.handed_on[1:]
    play.hs.come_to_rest()
    assert ["m.blacklisted"] == [each["code"] for each in play.contents()]


def test_what_goes_to_others_or_comes_from_others_releases_nothing() -> None:
    """Nor what a server says of users of another one."""
    play = Play()
    senders = ["@s:here", "@s:there"]
    for sender in senders:
        play.send(NOTICE, sender=sender)
    notices = [play.begin(NOTICE, sender=sender) for sender in senders]
    play.begin({}, to_user="@other:here", message_type="m.dummy")
    play.begin({}, sender="@other:here", message_type="m.dummy")
    play.begin_abroad({}, message_type="m.dummy")
    spoof = ("elsewhere", "1")
    play.begin({}, sender="@s:there", message_type="m.dummy", edu=spoof)
    assert [None, None] == [each.handed for each in notices]
    play.hs.come_to_rest()

    assert all(each.left_out for each in notices)


def test_one_statement_is_in_flight_and_one_gathers_what_comes_meanwhile() -> None:
    """A duplicate is never answered by a statement that was sent before it came."""
    play = Play()
    play.send(NOTICE)
    first, *rest = [play.begin(NOTICE) for _ in range(11)]
    assert play.steps() == [CONFIRM]
    play.hs.take_step()
    assert first.left_out
    assert [None] * 10 == [batch.handed for batch in rest]
    assert play.steps() == [CONFIRM]
    play.hs.take_step()

    assert all(batch.left_out for batch in rest)


def test_a_batch_for_both_queues_waits_for_both_and_is_written_once() -> None:
    """Up to Synapse 1.153 there is one call for both."""
    play = Play()
    play.send(NOTICE)
    play.send_abroad(NOTICE)
    both = play.begin_all({(RECIPIENT, "R"): NOTICE, (ABROAD, "A"): NOTICE})
    assert [CONFIRM] == play.steps()
    play.hs.answer(play.step(CONFIRM))
    assert both.handed is None
    play.hs.answer(play.step(CONFIRM_ABROAD))

    assert both.left_out == both.said.keys()
    assert ([1], [2]) == (play.queued(), play.outbox())


def test_what_is_stored_after_its_answer_overtakes_nothing_that_came_before() -> None:
    """The other one goes first, though it is not answered yet."""
    play = Play()
    other = {**NOTICE, "from_device": "S2"}
    play.send(NOTICE)
    play.send(other)
    play.hs.acknowledge(RECIPIENT, "R", 2)
    waiting = [play.begin(each) for each in (NOTICE, other, NOTICE)]
    assert [CONFIRM] == play.steps()
    play.hs.answer(play.step(CONFIRM))

    # The first one's row is gone, so the third one repeats nothing.
    assert waiting == play.handed_on[2:]
    play.hs.come_to_rest()
    assert 2 == len(play.queued())


def test_everybody_goes_when_a_statement_is_out_for_half_a_second() -> None:
    """And whoever comes until it is back does not wait at all."""
    play = Play()
    play.send(NOTICE)
    waiting = [play.begin(NOTICE) for _ in range(3)]
    play.hs.pass_time(0.49)
    assert [None] * 3 == [batch.handed for batch in waiting]
    play.hs.pass_time(0.02)
    assert all(batch.handed for batch in waiting)
    assert not play.begin(NOTICE).waited
    play.hs.come_to_rest()

    assert 1 == len(play.queued())
    assert play.begin(NOTICE).waited


def test_after_a_failure_everybody_passes_for_a_second() -> None:
    """And is remembered as always."""
    play = Play()
    play.send(NOTICE)
    failed = play.begin(NOTICE)
    play.hs.answer(play.step(CONFIRM), LostError())
    assert failed.handed is not None
    play.hs.pass_time(0.95)
    assert not play.begin(NOTICE).waited
    play.hs.take_all_steps()
    play.hs.pass_time(0.06)

    assert play.begin(NOTICE).waited
    play.hs.come_to_rest()
    assert [3] == play.queued()
