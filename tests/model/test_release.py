"""Nothing that its sender sends to a user overtakes what waits for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import RulesConfig
from tests.model.door import Batch
from tests.model.play import (
    CONFIRM,
    CONFIRM_ABROAD,
    NEW_KEY,
    NOTICE,
    RECIPIENT,
    SENDER,
    SESSION,
    Play,
)

BLACKLISTED = {**SESSION, "code": "m.blacklisted"}


def test_a_new_key_does_not_overtake_a_duplicate_of_the_old_one() -> None:
    """Otherwise the old key would be stored last, and delete the new one."""
    play = Play()
    play.send(NOTICE)
    old = play.begin(NOTICE)
    new = play.begin(NEW_KEY)

    assert old.waited
    assert [old, new] == play.door.handed_on[1:]
    assert set() == old.left_out
    play.hs.come_to_rest()
    assert [NEW_KEY] == play.contents()


def test_a_repeated_code_does_not_delete_the_newer_one_that_passed_it() -> None:
    """`m.unverified` waits, `m.blacklisted` comes: that is what counts."""
    play = Play(rules=RulesConfig(withheld=True))
    play.send(SESSION)
    repeat = play.begin(SESSION)
    blacklisted = play.begin(BLACKLISTED)

    assert repeat.waited
    assert [repeat, blacklisted] == play.door.handed_on[1:]
    play.hs.come_to_rest()
    assert [BLACKLISTED] == play.contents()


@pytest.mark.parametrize("kind", ["m.dummy", "m.room.encrypted", "m.room_key_request"])
def test_whatever_a_sender_sends_to_a_user_releases_what_waits(kind: str) -> None:
    """Of any type, to any device of the user."""
    play = Play()
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    other = play.begin({"n": 1}, "another device", message_type=kind)

    assert [notice, other] == play.door.handed_on[1:]


def test_a_batch_of_notices_and_others_releases_what_waits() -> None:
    """As long as it is not nothing but believed duplicates."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    more = play.begin(NOTICE, ["R", "R2"])
    assert [notice] == play.door.handed_on[1:]
    assert more.waited
    play.hs.come_to_rest()

    assert ([2], [3]) == (play.queued(), play.queued("R2"))


def test_what_goes_to_others_or_comes_from_others_releases_nothing() -> None:
    """A look-up by sender and user."""
    play = Play()
    play.send(NOTICE)
    notice = play.begin(NOTICE)
    play.begin({"n": 1}, to_user="@other:here", message_type="m.dummy")
    play.begin({"n": 1}, sender="@other:here", message_type="m.dummy")
    play.begin_abroad({"n": 1}, message_type="m.dummy")

    assert notice.handed is None
    play.hs.come_to_rest()
    assert {(RECIPIENT, "R")} == notice.left_out


def test_duplicates_do_not_release_each_other() -> None:
    """One statement answers all that came before it."""
    play = Play()
    play.send(NOTICE)
    duplicates = [play.begin(NOTICE) for _ in range(5)]
    play.hs.take_all_steps()

    assert all(duplicate.left_out for duplicate in duplicates)
    assert [1] == play.queued()


def test_a_spoofed_sender_releases_nothing() -> None:
    """A server does not decide how long the users of others wait."""
    play = Play()
    play.send(NOTICE, sender="@s:there", edu=("there", "1"))
    notice = play.begin(NOTICE, sender="@s:there", edu=("there", "2"))
    spoofed: dict[str, Any] = {"sender": "@s:there", "edu": ("elsewhere", "3")}
    play.begin({"n": 1}, message_type="m.dummy", **spoofed)

    assert notice.handed is None


def test_of_what_is_stored_after_all_the_order_stays() -> None:
    """Duplicates of a row that was read in between are stored as they came."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    first = play.begin(NOTICE, ["R", "R2"])
    second = play.begin(NOTICE, ["R2", "R"])
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.hs.come_to_rest()

    assert [first, second] == play.door.handed_on[1:]
    assert 1 == len(play.queued())
    assert 1 == len(play.queued("R2"))


def test_what_waits_for_another_server_is_not_overtaken_either() -> None:
    """Neither by a new key nor by anything else."""
    play = Play()
    play.send_abroad(NOTICE)
    notice = play.begin_abroad(NOTICE)
    assert [CONFIRM_ABROAD] == play.steps()
    new = play.begin_abroad(NEW_KEY)

    assert [notice, new] == play.door.handed_on[1:]
    play.hs.come_to_rest()
    assert [3] == play.outbox()


def test_what_one_sender_sends_is_handed_on_in_the_order_in_which_it_came() -> None:
    """Named types and others in turn, to a mailbox that is known or not."""
    play = Play()
    for _ in range(2):
        for number in range(20):
            edu = ("there", f"{number} {len(play.door.batches)}")
            content: dict[str, Any] = NOTICE if number % 2 else {"n": number}
            kind = "m.room_key.withheld" if number % 2 else "m.dummy"
            play.begin(content, message_type=kind, sender="@s:there", edu=edu)
        play.hs.come_to_rest()

    assert play.door.batches == play.door.handed_on


def test_a_batch_for_both_queues_waits_for_both_and_is_written_once() -> None:
    """Up to Synapse 1.153 there is one call for both."""
    play = Play()
    play.send(NOTICE)
    play.send_abroad(NOTICE)
    local, remote = play.door.batches
    both = Batch(SENDER, local.message_type, local.local, remote.edus)
    play.door.begin(play.traffic, both)
    assert [CONFIRM] == play.steps()
    play.hs.answer(play.step(CONFIRM))
    assert both.handed is None
    play.hs.answer(play.step(CONFIRM_ABROAD))

    assert both.left_out == {(RECIPIENT, "R"), ("@a:there", "A")}
    assert ([1], [2]) == (play.queued(), play.outbox())


def test_what_is_stored_after_its_answer_overtakes_nothing_that_came_before() -> None:
    """The other one goes first, though it is not answered yet."""
    play = Play()
    other = {**NOTICE, "from_device": "S2"}
    play.send(NOTICE)
    play.send(other)
    play.hs.acknowledge(RECIPIENT, "R", 2)
    first = play.begin(NOTICE)
    second = play.begin(other)
    third = play.begin(NOTICE)
    assert [CONFIRM] == play.steps()
    play.hs.answer(play.step(CONFIRM))

    # The first one's row is gone, so the third one repeats nothing.
    assert [first, second, third] == play.door.handed_on[2:]
    play.hs.come_to_rest()
    assert 2 == len(play.queued())


def test_what_is_released_overtakes_nothing_either() -> None:
    """It may be for more users than what released it."""
    play = Play()
    users = [f"@u{number}:here" for number in range(250)]
    for user_id in users:
        play.hs.add_device(user_id, "U")
    play.begin_all({(user_id, "U"): NOTICE for user_id in users})
    play.hs.come_to_rest()
    chain = [
        play.begin_all({(users[number + each], "U"): NOTICE for each in range(2)})
        for number in range(249)
    ]
    play.begin({"n": 1}, "U", to_user=users[-1], message_type="m.dummy")

    assert play.door.batches == play.door.handed_on
    assert all(batch.waited for batch in chain)
