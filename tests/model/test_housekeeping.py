"""What is learned and tidied in the background, and that it is in nobody's way."""

from __future__ import annotations

from typing import Any

from tests.model.faults import lost
from tests.model.play import (
    CONFIRM,
    NEW_KEY,
    NOTICE,
    RECIPIENT,
    WITHHELD,
    Play,
)

LEARN = "withheld_read_mailboxes"
TIDY = "withheld_delete_superseded"
OTHER = {**NOTICE, "from_device": "another"}


def test_a_mailbox_is_learned_after_its_first_notice_was_stored() -> None:
    """Nobody waits for that, and what is redundant goes."""
    play = Play()
    play.fill("R", [NOTICE] * 3)
    first = play.begin(NOTICE)
    assert not first.waited
    play.hs.take_step()
    play.hs.take_step()
    assert first.ended is not None
    assert [LEARN] == play.steps()
    play.hs.come_to_rest()

    assert [4] == play.queued()


def test_what_was_stored_is_believed_before_its_mailbox_is_learned() -> None:
    """Learning finds only what is older."""
    play = Play()
    play.begin(NOTICE)
    play.hs.take_step()
    play.hs.take_step()
    learning = play.step(LEARN)
    learning.hangs = True
    duplicate = play.begin(NOTICE)
    assert duplicate.waited
    play.hs.take_step()

    assert duplicate.left_out


def test_a_notice_below_2000_other_rows_is_found() -> None:
    """However many mailboxes are learned after a restart, and however often."""
    play = Play()
    devices = [f"D{number}" for number in range(10)]
    for device in devices:
        play.hs.add_device(RECIPIENT, device)
        play.fill(device, [NOTICE])
        play.fill(device, [{"n": 1}] * 2000, type="m.dummy")
    for _ in range(3):
        play.load()
        play.send(NOTICE, devices)
        play.fill("D0", [{"n": 1}] * 2000, type="m.dummy")

    for device in devices:
        assert 1 == play.contents(device).count(NOTICE)


def test_a_page_is_never_shallower_than_1000_rows() -> None:
    """A statement is about two mailboxes on SQLite."""
    play = Play()
    devices = [f"D{number}" for number in range(20)]
    for device in devices:
        play.hs.add_device(RECIPIENT, device)
        play.fill(device, [NOTICE])
        play.fill(device, [{"n": 1}] * 990, type="m.dummy")
    play.begin(NOTICE, devices)

    # The first one does not wait for others.
    assert 11 == play.hs.come_to_rest().count(LEARN)
    assert [1] * 20 == [play.contents(device).count(NOTICE) for device in devices]


def test_invented_devices_are_not_remembered() -> None:
    """A mailbox that is learned and does not exist is forgotten."""
    play = Play()
    play.send(NOTICE, [f"invented {number}" for number in range(500)])

    assert 0 == len(play.memory)
    assert 0 == play.memory.pairs


def test_one_who_has_at_most_a_thousand_mailboxes_to_be_learned() -> None:
    """What does not fit is forgotten; others' are learned after one statement."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    for number in range(18):
        devices = [f"invented {number} {device}" for device in range(250)]
        play.begin(
            NOTICE, devices, sender=f"@u{number}:there", edu=("there", devices[0])
        )
    play.begin(OTHER, "R2", sender="@honest:here")
    while any(not step.is_ours for step in play.hs.steps):
        play.hs.answer(next(step for step in play.hs.steps if not step.is_ours))
    assert 1000 + 1 + 900 >= len(play.memory)
    for _ in range(8):
        for step in play.hs.ours():
            play.hs.answer(step)
        play.hs.pass_time(0.01)
    mailbox = play.memory.get((RECIPIENT, "R2"))

    assert mailbox is not None
    assert mailbox.learned


def test_a_failed_statement_is_tried_again_three_times() -> None:
    """After a rest; what was learned or to be deleted is not lost."""
    play = Play()
    play.fill("R", [NOTICE] * 3)
    play.begin(NOTICE)
    play.hs.take_step()
    play.hs.take_step()
    for name in (LEARN, TIDY):
        for _ in range(2):
            play.hs.answer(play.step(name), lost())
            assert [] == play.steps()
            play.hs.pass_time(1.01)
        play.hs.answer(play.step(name))
        play.hs.pass_time(0.1)

    assert [4] == play.queued()


def test_a_failed_look_up_of_devices_is_tried_again() -> None:
    """All of a user's mailboxes would stay as they are otherwise."""
    play = Play()
    play.fill("R", [NOTICE] * 2)
    play.begin(NOTICE, "*")
    play.hs.take_step()
    play.hs.take_step()
    play.hs.answer(play.step("withheld_read_devices"), lost())
    play.hs.come_to_rest()

    assert [3] == play.queued()


def test_after_three_failures_the_next_notice_has_it_learned() -> None:
    """Nothing is lost but time."""
    play = Play()
    play.fill("R", [NOTICE] * 3)
    play.begin(NOTICE)
    for _ in range(10):
        for step in list(play.hs.steps):
            play.hs.answer(step, lost() if step.is_ours else None)
        play.hs.pass_time(1.01)
    assert [] == play.steps()
    assert [1, 2, 3, 4] == play.queued()

    play.send(OTHER)
    assert [4, 5] == play.queued()


def test_learning_that_hangs_holds_up_no_duplicate() -> None:
    """Others are confirmed beside it, and it is cancelled or goes on some day."""
    play = Play()
    play.send(NOTICE)
    play.hs.add_device(RECIPIENT, "R2")
    play.begin(NOTICE, "R2")
    play.hs.take_step()
    play.hs.take_step()
    play.step(LEARN).hangs = True
    for _ in range(20):
        play.hs.pass_time(1)
        duplicate = play.begin(NOTICE)
        assert duplicate.waited
        play.hs.answer(play.step(CONFIRM))
        assert duplicate.left_out
    assert 2 >= play.hs.most_of_ours


def test_nothing_is_learned_while_a_confirmation_is_overdue() -> None:
    """The database is slow enough."""
    play = Play()
    play.send(NOTICE)
    play.hs.add_device(RECIPIENT, "R2")
    play.begin(NOTICE)
    play.step(CONFIRM).hangs = True
    play.hs.pass_time(0.6)
    play.begin(NOTICE, "R2")
    play.hs.take_all_steps()
    play.hs.pass_time(1)
    play.hs.take_all_steps()
    assert [CONFIRM] == play.steps()

    play.step(CONFIRM).hangs = False
    play.hs.come_to_rest()
    assert play.knows("R2")


def test_after_each_statement_it_rests_four_times_as_long() -> None:
    """On SQLite there is one thread for everybody."""
    play = Play()
    for number in range(4):
        play.hs.add_device(RECIPIENT, f"D{number}")
    play.begin(NOTICE, [f"D{number}" for number in range(4)])
    play.hs.take_step()
    play.hs.take_step()
    play.hs.pass_time(0.25)
    play.hs.answer(play.step(LEARN))
    play.hs.pass_time(0.99)
    assert [] == play.steps()
    play.hs.pass_time(0.02)

    assert 1 == len(play.hs.ours())


def test_a_superseded_row_goes_only_when_readers_see_the_newer_one() -> None:
    """An earlier position may still be in flight."""
    play = Play()
    play.send(NOTICE)
    slow = play.begin({"n": 1}, message_type="m.dummy")
    store = play.step("store")
    store.hangs = True
    play.begin(NEW_KEY)
    play.hs.take_all_steps()
    play.hs.pass_time(1)
    play.hs.take_all_steps()
    assert [1, 3] == play.queued()

    store.hangs = False
    play.hs.come_to_rest()
    assert slow.ended is not None
    assert [2, 3] == play.queued()


def test_a_row_whose_newer_one_became_redundant_goes_with_it() -> None:
    """The deletion names what made that one so."""
    play = Play()
    play.send(NOTICE)
    slow = play.begin({"n": 1}, message_type="m.dummy")
    play.step("store").hangs = True
    play.begin(NEW_KEY)
    play.hs.take_all_steps()
    play.begin({**NOTICE, "sender_key": "newest"})
    play.hs.take_all_steps()
    play.step("store").hangs = False
    play.hs.come_to_rest()

    assert slow.ended is not None
    assert [2, 4] == play.queued()


def test_a_place_that_occurs_twice_is_left_alone() -> None:
    """It is unique by habit alone, and a deletion would take both."""
    play = Play()
    play.fill("R", [NOTICE])
    play.hs.insert_message((RECIPIENT, "R"), 1, '{"n":1}')
    play.send(NOTICE)

    assert [1, 1, 2] == play.queued()


def test_a_wildcard_has_only_what_is_not_remembered_learned() -> None:
    """What others said to the user is believed as before."""
    play = Play()
    play.send(NOTICE)
    for number in range(10):
        play.begin(OTHER, "*", sender=f"@stranger{number}:here")
        play.hs.take_all_steps()
    duplicate = play.begin(NOTICE)
    assert duplicate.waited
    play.hs.come_to_rest()

    assert duplicate.left_out


def test_a_wildcard_has_the_other_mailboxes_of_the_user_learned() -> None:
    """And old copies in them deleted."""
    play = Play()
    for device in ("R1", "R2"):
        play.hs.add_device(RECIPIENT, device)
        play.fill(device, [NOTICE] * 2)
    play.send(NOTICE, "*")

    assert [[5], [5], [5]] == [play.queued(device) for device in ("R", "R1", "R2")]


def test_what_was_learned_and_is_a_spoof_deletes_no_genuine_notice() -> None:
    """It lay there before an upgrade; an equal key takes it away with the rest."""
    play = Play()
    play.fill("R", [NOTICE])
    play.fill("R", [NEW_KEY])
    play.send(OTHER)
    assert [1, 2, 3] == play.queued()

    play.send(NOTICE)
    assert [3, 4] == play.queued()


def test_two_statements_at_most_are_out_at_once() -> None:
    """One confirms, one keeps house."""
    play = Play()
    play.send(NOTICE)
    for number in range(30):
        play.hs.add_device(RECIPIENT, f"D{number}")
        play.begin(NOTICE, ["R", f"D{number}"])
        play.begin(NOTICE, sender=f"@t{number}:here", message_type=WITHHELD)
        play.begin_abroad(NOTICE, f"D{number}")
    kinds: set[tuple[Any, ...]] = set()
    while play.hs.steps:
        kinds.add(tuple(sorted(step.name for step in play.hs.ours())))
        play.hs.take_step(-1)

    assert all(len(kind) <= 2 for kind in kinds)
