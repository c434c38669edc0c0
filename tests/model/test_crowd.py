"""Where many mailboxes are to be learned at once, few of them have to be read."""

from __future__ import annotations

from tests.model.faults import lost
from tests.model.play import NEW_KEY, NOTICE, RECIPIENT, Play

LOOK_OVER, READ = "withheld_read_ends", "withheld_read_mailboxes"
MANY = [f"D{number}" for number in range(100)]


def crowded() -> Play:
    """Return a play with many devices."""
    play = Play()
    for device in MANY:
        play.hs.add_device(RECIPIENT, device)
    return play


def until(play: Play, name: str) -> None:
    """Take steps until a statement waits."""
    while name not in play.steps():
        if play.steps():
            play.hs.take_step()
        else:
            play.hs.pass_time(0.01)


def statements(play: Play, devices: list[str]) -> list[str]:
    """Send a notice; return the statements about mailboxes that follow."""
    play.begin(NOTICE, devices)
    return [each for each in play.hs.come_to_rest() if each in (LOOK_OVER, READ)]


def test_mailboxes_that_hold_nothing_else_are_not_read() -> None:
    """All but the first are looked over together, and are learned then."""
    play = crowded()

    assert [READ, LOOK_OVER, READ] == statements(play, MANY)
    assert all(play.knows(device) for device in MANY)
    assert [] == statements(play, MANY)


def test_devices_that_do_not_exist_are_not_read() -> None:
    """However many are made up."""
    play = Play()
    invented = [f"invented {number}" for number in range(250)]

    assert [LOOK_OVER] * 2 + [READ] * 2 == sorted(statements(play, invented))
    assert 0 == len(play.memory)


def test_what_was_stored_for_all_devices_is_not_read() -> None:
    """It is known what it was; the next one takes its place."""
    play = crowded()

    assert [LOOK_OVER, READ] == statements(play, ["*"])
    assert all(play.knows(device) for device in MANY)
    play.send(NOTICE, MANY)
    assert all([NOTICE] == play.contents(device) for device in MANY)


def test_a_few_mailboxes_are_read_at_once() -> None:
    """Looking them over would be a statement more."""
    assert [READ, READ] == statements(crowded(), MANY[:2])


def test_what_else_a_mailbox_holds_is_read() -> None:
    """Below what was stored just now."""
    play = crowded()
    play.fill("D50", [NEW_KEY])
    play.fill("D60", [NOTICE])
    play.begin(NOTICE, MANY)
    play.hs.come_to_rest()

    assert [NOTICE] == play.contents("D50") == play.contents("D60")
    assert play.knows("D50")
    assert play.knows("D60")


def test_the_only_row_is_read_where_nobody_saw_it_stored() -> None:
    """What was stored just now may be acknowledged, and another one be there."""
    play = crowded()
    play.begin(NOTICE, MANY)
    until(play, LOOK_OVER)
    play.sync("D50")
    play.fill("D50", [NEW_KEY])
    play.hs.come_to_rest()
    play.send(NEW_KEY, "D50")

    assert [NEW_KEY] == play.contents("D50")


def test_an_empty_mailbox_is_known_to_be_empty() -> None:
    """What was stored just now is acknowledged."""
    play = crowded()
    play.begin(NOTICE, MANY)
    until(play, LOOK_OVER)
    play.sync("D50")
    play.hs.come_to_rest()

    assert play.knows("D50")
    assert [] == play.contents("D50")


def test_a_failure_is_tried_again() -> None:
    """As with every other statement."""
    play = crowded()
    play.begin(NOTICE, MANY)
    until(play, LOOK_OVER)
    play.hs.answer(play.step(LOOK_OVER), lost())
    play.hs.come_to_rest()

    assert all(play.knows(device) for device in MANY)
