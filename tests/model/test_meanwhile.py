"""What happens to a mailbox while it is learned or tidied."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping import tidying
from synapse_withheld.memory.memory import Mailbox
from synapse_withheld.rules.mailbox import Superseded
from tests.model.faults import LostError
from tests.model.play import CONFIRM, NEW_KEY, NOTICE, RECIPIENT, Play

LOOK_OVER, LEARN = "withheld_read_ends", "withheld_read_mailboxes"
OTHER = {**NOTICE, "from_device": "another"}
MANY = [f"D{number}" for number in range(12)]
PARTS = [MANY[:5], MANY[5:10], MANY[10:]]


def test_what_is_stored_while_a_crowd_is_looked_over_makes_older_copies_go() -> None:
    """The only row of a mailbox was seen, and has a newer copy by the answer."""
    play = Play(devices=MANY)
    play.begin(NOTICE, "*")
    play.until(LOOK_OVER).carry_out()
    play.step(LOOK_OVER).hangs = True
    play.begin(NOTICE, MANY[-1])
    play.hs.take_all_steps()
    play.step(LOOK_OVER).hangs = False
    play.hs.come_to_rest()

    assert [2] == play.queued(MANY[-1])
    assert play.knows(MANY[-1])


def test_what_may_have_been_stored_for_all_meanwhile_leaves_no_copies() -> None:
    """It was, but the answer was lost: the mailbox was read before it was there."""
    play = Play()
    for_all = play.begin(NOTICE, "*")
    for_all.answer.addErrback(Failure.trap, LostError)
    play.step("store").hangs = True
    play.begin(NOTICE)
    play.hs.take_all_steps()
    play.hs.pass_time(1)
    assert play.knows()
    play.hs.answer(play.step("store"), LostError(), carried_out=True)
    play.hs.come_to_rest()

    assert [2] == play.queued()
    assert play.knows()


def test_what_is_told_while_something_for_all_is_stored_is_believed_no_more() -> None:
    """It may be older, in a mailbox that was opened meanwhile."""
    play = Play()
    play.begin(NEW_KEY, "*")
    play.step("store").hangs = True
    play.begin(NOTICE)
    play.hs.take_all_steps()
    play.step("store").hangs = False
    play.hs.take_all_steps()

    assert not play.begin(NOTICE).waited


@pytest.mark.parametrize("while_read", [False, True])
def test_what_is_stored_for_all_while_a_mailbox_is_learned_leaves_no_copies(
    while_read: bool,
) -> None:
    """The mailbox was opened meanwhile; all copies but the newest go."""
    play = Play()
    play.fill("R", [NOTICE] * 2)
    play.begin(NOTICE, "*")
    play.step("store").hangs = True
    play.begin(OTHER, sender="@other:here")
    if while_read:
        learning = play.until(LEARN)
        learning.carry_out()
        learning.hangs = True
    else:
        play.hs.take_all_steps()
        play.hs.pass_time(1)
        assert play.knows()
    play.step("store").hangs = False
    play.hs.take_all_steps()
    play.hs.pass_time(0.01)
    for step in play.hs.steps:
        step.hangs = False
    play.hs.come_to_rest()

    assert [3, 4] == play.queued()
    assert play.knows()


def test_what_is_stored_into_a_mailbox_opened_meanwhile_leaves_no_copies() -> None:
    """It was forgotten and opened again, and is read as the row comes."""
    play = Play()
    play.begin(NOTICE)
    play.step("store").hangs = True
    play.memory.forget((RECIPIENT, "R"))
    play.fill("R", [NOTICE])
    play.begin(OTHER, sender="@other:here")
    learning = play.until(LEARN)
    learning.carry_out()
    learning.hangs = True
    play.step("store").hangs = False
    play.hs.take_all_steps()
    learning.hangs = False
    play.hs.come_to_rest()

    assert [2, 3] == play.queued()
    assert play.knows()


@pytest.mark.parametrize("crowded", ["learning", "tidying"])
def test_whoever_has_a_full_share_has_nothing_of_others_forgotten(
    monkeypatch: pytest.MonkeyPatch, crowded: str
) -> None:
    """Their duplicates are found as before, and what did not fit is found later."""
    monkeypatch.setattr(shares, "MOST_OF_ONE", 5)
    play = Play(devices=MANY)
    play.send(NOTICE, MANY, sender="@honest:here")
    for some in PARTS:
        play.send(NOTICE, some)
    for device in MANY if crowded == "learning" else ():
        mailbox = play.memory.peek((RECIPIENT, device))
        assert mailbox is not None
        mailbox.doubt()
    play.begin(NEW_KEY, MANY)
    play.hs.take_all_steps()
    duplicate = play.begin(NOTICE, MANY, sender="@honest:here")
    play.hs.answer(play.step(CONFIRM))
    play.hs.come_to_rest()

    assert len(MANY) == len(duplicate.left_out)
    for some in PARTS:
        play.send({**NOTICE, "sender_key": "newer"}, some)
    assert {2} == {len(play.queued(device)) for device in MANY}


@pytest.mark.parametrize("devices", [MANY[:2], MANY])
def test_where_learning_one_fails_the_others_are_learned_all_the_same(
    monkeypatch: pytest.MonkeyPatch, devices: list[str]
) -> None:
    """It is forgotten: of what it holds not all may be remembered."""
    play = Play(devices=devices)
    learn, fails = play.memory.learn, {devices[0]: True}

    def fail(mailbox: Mailbox, *args: Any, **kwargs: Any) -> Any:
        if fails.pop(mailbox.key[1], False):
            raise LostError
        return learn(mailbox, *args, **kwargs)

    monkeypatch.setattr(play.memory, "learn", fail)
    play.send(NOTICE, devices)
    assert [False] + [True] * len(devices[1:]) == [play.knows(each) for each in devices]

    play.send(NOTICE, devices)
    assert all(play.knows(each) for each in devices)


def test_a_row_goes_for_what_made_the_newer_one_redundant_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That went first, in the share of somebody who has less to be tidied."""
    monkeypatch.setattr(tidying, "MOST_DELETED", 1)
    play = Play()
    play.fill("R", [OTHER] * 3 + [NOTICE] * 3)
    rows = [Superseded((RECIPIENT, "R"), older, older + 1) for older in (1, 2, 4, 5)]
    housekeeper = play.traffic.settler.housekeeper
    housekeeper.tidy("inbox", rows[:3], "@other:here")
    housekeeper.tidy("inbox", rows[3:], "@s:here")
    play.hs.come_to_rest()

    assert [3, 6] == play.queued()
    assert 0 == len(housekeeper.tidying["inbox"]._named)
