"""What is learned and tidied in the background, and that it is in nobody's way."""

from __future__ import annotations

from tests.model.play import CONFIRM, NEW_KEY, NOTICE, Play

LOOK_OVER, LEARN = "withheld_read_ends", "withheld_read_mailboxes"
OTHER = {**NOTICE, "from_device": "another"}
MANY = [f"D{number}" for number in range(100)]


def learned(play: Play, devices: list[str]) -> list[str]:
    """Send a notice; return the statements that learn mailboxes after it."""
    play.begin(NOTICE, devices)
    return [each for each in play.hs.come_to_rest() if each in {LOOK_OVER, LEARN}]


def test_what_was_stored_is_believed_before_its_mailbox_is_learned() -> None:
    """Nobody waits for that; it finds only what is older, which goes."""
    play = Play()
    play.fill("R", [NOTICE] * 3)
    assert not play.begin(NOTICE).waited
    play.hs.take_step()
    play.hs.take_step()
    learning = play.step(LEARN)
    learning.hangs = True
    duplicate = play.begin(NOTICE)
    assert duplicate.waited
    play.hs.take_step()
    assert duplicate.left_out
    learning.hangs = False
    play.hs.come_to_rest()

    assert [4] == play.queued()


def test_a_notice_below_2000_other_rows_is_found() -> None:
    """However many mailboxes are learned after a restart, and however often."""
    play = Play(devices=MANY)
    devices = MANY[:10]
    for device in devices:
        play.fill(device, [NOTICE])
        play.fill(device, [{"n": 1}] * 2000, type="m.dummy")
    for _ in range(3):
        play.load()
        play.send(NOTICE, devices)
        play.fill("D0", [{"n": 1}] * 2000, type="m.dummy")

    for device in devices:
        assert 1 == play.contents(device).count(NOTICE)


def test_learning_that_hangs_holds_up_no_duplicate() -> None:
    """Others are confirmed beside it, and it is cancelled or goes on some day."""
    play = Play(devices=["R", "R2"])
    play.send(NOTICE)
    play.begin(NOTICE, "R2")
    play.hs.take_step()
    play.hs.take_step()
    play.step(LEARN).hangs = True
    for _ in range(20):
        play.hs.pass_time(1)
        duplicate = play.begin(NOTICE)
        play.hs.answer(play.step(CONFIRM))
        assert duplicate.left_out


def test_a_superseded_row_goes_only_when_readers_see_the_newer_one() -> None:
    """An earlier position may still be in flight."""
    play = Play()
    play.send(NOTICE)
    play.begin({"n": 1}, message_type="m.dummy")
    store = play.step("store")
    store.hangs = True
    play.begin(NEW_KEY)
    play.hs.take_all_steps()
    play.hs.pass_time(1)
    play.hs.take_all_steps()
    assert [1, 3] == play.queued()

    store.hangs = False
    play.hs.come_to_rest()
    assert [2, 3] == play.queued()


def test_a_wildcard_has_only_what_is_not_remembered_learned() -> None:
    """Old copies go there; what others said to the user is believed as before."""
    play = Play(devices=["R", "R2"])
    play.send(NOTICE)
    play.fill("R2", [OTHER] * 2, sender="@stranger0:here")
    for number in range(10):
        play.begin(OTHER, "*", sender=f"@stranger{number}:here")
        play.hs.take_all_steps()
    assert play.send(NOTICE).left_out

    assert [11, 10] == [len(play.queued(device)) for device in ("R", "R2")]


# Where many mailboxes are to be learned at once, few of them have to be read.


def test_mailboxes_that_hold_nothing_else_are_not_read() -> None:
    """All but the first are looked over together; a few would cost no less so."""
    play = Play(devices=MANY)
    assert [LEARN, LOOK_OVER, LEARN] == learned(play, MANY)
    assert all(play.knows(device) for device in MANY)
    assert [] == learned(play, MANY)

    assert [LOOK_OVER, LEARN] == learned(Play(devices=MANY), ["*"])
    assert [LEARN, LEARN] == learned(Play(devices=MANY), MANY[:2])


def test_devices_that_do_not_exist_are_not_remembered() -> None:
    """However many are made up; nor are their mailboxes read."""
    play = Play()
    invented = [f"invented {number}" for number in range(250)]

    assert [] == learned(play, invented)
    assert (0, 0) == (len(play.memory), play.memory.pairs)


def test_what_else_a_mailbox_holds_is_read() -> None:
    """Below what was stored just now, or in its place when that was acknowledged."""
    play = Play(devices=MANY)
    play.fill("D50", [NEW_KEY])
    play.fill("D60", [NOTICE])
    play.begin(NOTICE, MANY)
    play.until(LOOK_OVER)
    play.sync("D70")
    play.fill("D70", [NEW_KEY])
    play.sync("D80")
    play.hs.come_to_rest()
    assert [NOTICE] == play.contents("D50") == play.contents("D60")
    assert all(play.knows(device) for device in ("D50", "D60", "D70", "D80"))

    play.send(NEW_KEY, "D70")
    assert [NEW_KEY] == play.contents("D70")
