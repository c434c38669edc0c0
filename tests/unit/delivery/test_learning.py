"""Learning what mailboxes hold: who is asked about when, and what becomes of it."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock, call

import pytest

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping import learning, users
from synapse_withheld.delivery.housekeeping.learning import Learning
from synapse_withheld.delivery.housekeeping.tidying import Tidying
from synapse_withheld.delivery.shares import MOST_TRIES, Work
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Row
from tests.model.faults import LostError
from tests.model.play import ABROAD, NEW_KEY, NOTICE, RECIPIENT, SENDER, Play
from tests.unit.delivery.conftest import Asked
from tests.unit.delivery.played import having, keeper, said, store
from tests.unit.memory import naming

LEARN, LOOK_OVER = "withheld_read_mailboxes", "withheld_read_ends"
DEVICES = "withheld_read_devices"
OTHER = "@q:here"
FROM_THERE: dict[str, Any] = {"sender": ABROAD, "edu": ("there", "1")}
R = (RECIPIENT, "R")


def test_of_what_is_redundant_its_owners_share_is_tidied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = Mock()
    monkeypatch.setattr(Tidying, "add", add)
    play = Play()
    play.fill("R", [NOTICE] * 2, sender=ABROAD)
    play.send(NOTICE, **FROM_THERE)

    add.assert_called_once_with([Superseded(R, 1, 3), Superseded(R, 2, 3)], "there")


def test_so_many_pages_are_read(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older stays, and is delivered: not all is known then."""
    monkeypatch.setattr(learning, "MOST_PAGES", 2)
    play = Play()
    play.fill("R", [NOTICE])
    play.fill("R", [{}] * 2000, type="m.dummy")
    play.send(NOTICE)

    assert 2 == play.contents().count(NOTICE)
    assert 2 == [name for name, _ in asked].count(LEARN)
    mailbox = play.memory.peek(R)
    assert mailbox is not None
    assert (True, False, False) == (mailbox.learned, mailbox.is_whole, mailbox.is_due)


@pytest.mark.parametrize(("page", "expected"), [(0, True), (1, False), (2, False)])
def test_what_is_doubted_while_it_is_read_is_not_known(
    page: int, expected: bool
) -> None:
    """From the first page on, and it can be learned again."""
    play = Play()
    play.fill("R", [{}] * 1000, type="m.dummy")
    mailbox = play.memory.open(R, 0)
    if page == 0:
        mailbox.doubt()
    store(play, NOTICE)
    if page == 1:
        mailbox.doubt()
    play.hs.answer(play.until(LEARN))
    play.until(LEARN)
    if page == 2:
        mailbox.doubt()
    play.hs.come_to_rest()

    assert (expected, expected) == (mailbox.learned, mailbox.is_whole)
    play.send(NEW_KEY)
    assert mailbox.learned


def test_what_is_doubted_while_it_is_looked_over_is_not_known() -> None:
    play = having(*"ABCD")
    play.begin(NOTICE, [*"ABCD"])
    play.until(LOOK_OVER)
    mailbox = play.memory.open((RECIPIENT, "D"), 0)
    mailbox.doubt()
    play.hs.come_to_rest()

    assert (False, False) == (mailbox.learned, mailbox.is_whole)


def test_what_was_forgotten_meanwhile_is_not_asked_about(asked: Asked) -> None:
    """Unless it was opened again; then it is asked about once."""
    play = having("A", "B")
    keeper(play).turn.acquire()
    for device in "AB":
        store(play, NOTICE, device)
        play.memory.forget((RECIPIENT, device))
    store(play, NOTICE, "B")
    keeper(play).turn.release()
    play.hs.come_to_rest()

    below = [about[0] for name, about in asked if name == LEARN]
    assert [[(RECIPIENT, "B")]] == [list(each) for each in below]
    assert play.knows("B")


def test_a_mailbox_is_queued_once_and_an_empty_one_that_does_not_fit_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "MOST_OF_ONE", 1)
    play = having("A", "B", "C")
    keeper(play).turn.acquire()
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    store(play, NOTICE, "B")
    keeper(play).learn("inbox", play.memory.open((RECIPIENT, "D"), 0), SENDER)
    store(play, NOTICE, "C", sender="@t:here")

    assert [*"ABC"] == play.memory.devices_of(RECIPIENT)
    assert 2 == keeper(play).to_learn


@pytest.mark.parametrize(("statement", "devices"), [(LEARN, "A"), (LOOK_OVER, "ABCD")])
def test_what_fails_is_tried_again_and_given_up_in_the_end(
    statement: str, devices: str
) -> None:
    """Then it is forgotten, and can be queued once more."""
    play = having(*devices)
    store(play, NOTICE, [*devices])
    for _ in range(MOST_TRIES):
        assert [*devices] == play.memory.devices_of(RECIPIENT)
        play.hs.answer(play.until(statement), LostError())
    play.hs.come_to_rest()

    assert [*devices[:-1]] == play.memory.devices_of(RECIPIENT)
    assert 0 == keeper(play).to_learn
    play.send(NOTICE, devices[-1])
    assert play.knows(devices[-1])


def test_a_page_that_was_read_ends_the_count_of_failures() -> None:
    play = Play()
    play.fill("R", [{}] * 2000, type="m.dummy")
    store(play, NOTICE)
    for _ in range(3):
        for _ in range(MOST_TRIES - 1):
            play.hs.answer(play.until(LEARN), LostError())
        play.hs.answer(play.until(LEARN))

    assert play.knows()


def test_where_many_come_at_once_all_is_known_of_each() -> None:
    """Also in the outbox, where none is looked over."""
    play = having(*"ABCD")
    play.send(NOTICE, [*"ABCD"])
    play.send_abroad(NOTICE, [*"ABCD"])

    for memory, user_id in (
        (play.memory, RECIPIENT),
        (play.traffic.outbox.memory, ABROAD),
    ):
        mailboxes = [memory.open((user_id, device), 0) for device in "ABCD"]
        assert [(True, True, False)] * 4 == [
            (each.learned, each.is_whole, each.is_due) for each in mailboxes
        ]


def test_what_does_not_fit_among_those_that_are_read_is_left_unlearned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = having(*"ABCD")
    play.fill("D", [NEW_KEY])
    play.begin(NOTICE, [*"ABCD"])
    play.until(LOOK_OVER)
    monkeypatch.setattr(Work, "queue", lambda *_: False)
    play.hs.come_to_rest()

    assert [True, True, True, False] == [play.knows(each) for each in "ABCD"]
    assert 0 == keeper(play).to_learn


@pytest.mark.parametrize(
    ("ends", "row_id", "seen_id", "few", "is_known"),
    [
        # It is empty.
        ((0, 0), None, None, 1, True),
        # Its only row was stored for all devices of the user, or seen arriving.
        ((7, 7), 7, None, 1, True),
        ((7, 7), None, 7, 1, True),
        # It has others, or another one.
        ((5, 7), 7, None, 1, False),
        ((7, 7), 6, None, 1, False),
        ((7, 7), None, 6, 1, False),
        ((7, 7), None, None, 1, False),
        # Few records are looked through.
        ((7, 7), None, 7, 0, False),
    ],
)
def test_a_mailbox_whose_only_row_is_known_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
    ends: tuple[int, int],
    row_id: int | None,
    seen_id: int | None,
    few: int,
    is_known: bool,
) -> None:
    monkeypatch.setattr(learning, "FEW", few)
    memory = naming.memory()
    if seen_id is not None:
        naming.store(memory, naming.no_olm(), seen_id)
    row = None if row_id is None else Row(row_id, naming.no_olm())
    item = learning._Unlearned("who", memory.open(naming.R1, 0), row)

    # What is remembered already is not told again.
    told = [row] if row is not None and is_known else []
    assert (told if is_known else None) == learning._all_of(item, *ends)


@pytest.mark.parametrize(("count", "slept"), [(1, []), (2, [call(0)] * 2)])
def test_others_have_their_turn_where_a_page_has_many_notices(
    monkeypatch: pytest.MonkeyPatch, count: int, slept: list[Any]
) -> None:
    """After they were recognised, and after they were learned."""
    monkeypatch.setattr(learning, "MOST_AT_ONCE", 1)
    play = Play()
    sleep = keeper(play).learning["inbox"].sleep = AsyncMock()
    play.fill("R", [NOTICE] * (count - 1))
    play.send(NOTICE)

    assert slept == sleep.await_args_list


# Where something was sent to all devices of a user.


def test_all_devices_of_a_user_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """From where the stream is, on behalf of who sent to them, with the row."""
    add = Mock()
    monkeypatch.setattr(Learning, "add", add)
    play = having("R2")
    play.send(NOTICE, "*", **FROM_THERE)

    mailboxes = [play.memory.peek((RECIPIENT, device)) for device in ("R", "R2")]
    row = Row(1, said(ABROAD))
    assert [call(mailbox, "there", row) for mailbox in mailboxes] == add.mock_calls
    assert [1, 1] == [each.handed_out for each in mailboxes if each is not None]


def test_a_user_is_asked_about_once(asked: Asked) -> None:
    """And again once there is an answer; then what is remembered is not learned again.

    Of an unknown one it is known that nothing was stored.
    """
    play = Play()
    keeper(play).turn.acquire()
    for user_id in (RECIPIENT, RECIPIENT, "@nobody:here"):
        store(play, NOTICE, "*", to_user=user_id)
    keeper(play).turn.release()
    play.hs.come_to_rest()
    play.send(NOTICE, "*")

    expected = [[RECIPIENT], [RECIPIENT]]
    assert expected == [[*about[0]] for name, about in asked if name == DEVICES]
    assert 1 == [name for name, _ in asked].count(LEARN)


def test_of_so_many_users_one_statement_asks(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "MOST_USERS", 1)
    monkeypatch.setattr(users, "MOST_DEVICES", 1)
    play = having("R2")
    play.hs.add_device(OTHER, "A")
    keeper(play).turn.acquire()
    for user_id in (RECIPIENT, OTHER):
        store(play, NOTICE, "*", to_user=user_id)
    keeper(play).turn.release()
    play.hs.come_to_rest()

    expected = [[RECIPIENT], [OTHER]]
    assert expected == [[*about[0]] for name, about in asked if name == DEVICES]
    assert ["R"] == play.memory.devices_of(RECIPIENT)


def test_a_user_who_does_not_fit_is_not_waited_for(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play()
    with monkeypatch.context() as patched:
        patched.setattr(shares, "MOST_OF_ONE", 0)
        play.send(NOTICE, "*")
    assert [] == asked
    play.send(NOTICE, "*")

    assert play.knows()


def test_of_whom_asking_fails_it_is_given_up_in_the_end() -> None:
    """They can be queued once more then."""
    play = Play()
    store(play, NOTICE, "*")
    for _ in range(MOST_TRIES):
        play.hs.answer(play.until(DEVICES), LostError())
    play.hs.come_to_rest()
    assert (0, 0) == (len(play.memory), keeper(play).to_learn)

    play.send(NOTICE, "*")
    assert play.knows()
