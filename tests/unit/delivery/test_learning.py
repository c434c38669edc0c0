"""Learning what mailboxes hold: who is asked about when, and what becomes of it."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, call

import pytest

from synapse_withheld.delivery import shares
from synapse_withheld.delivery.housekeeping import learning, users
from synapse_withheld.delivery.shares import MOST_TRIES, Work
from synapse_withheld.rules.redundant import Row
from tests.model.faults import LostError
from tests.model.play import ABROAD, NEW_KEY, NOTICE, RECIPIENT, SENDER, Play
from tests.unit.delivery.played import (
    DEVICES,
    LEARN,
    LOOK_OVER,
    OTHER,
    Asked,
    keeper,
    store,
)
from tests.unit.memory import naming

R = (RECIPIENT, "R")
PLAIN: dict[str, Any] = {"type": "m.dummy"}


def test_so_many_pages_are_read(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older stays, and is delivered: not all is known then."""
    monkeypatch.setattr(learning, "MOST_PAGES", 2)
    play = Play()
    play.fill("R", [NOTICE])
    play.fill("R", [{}] * 2000, **PLAIN)
    play.send(NOTICE)

    assert 2 == play.contents().count(NOTICE)
    assert 2 == len(asked(LEARN))
    mailbox = play.memory.open(R, 0)
    assert (True, False, False) == (mailbox.learned, mailbox.is_whole, mailbox.is_due)


@pytest.mark.parametrize(("page", "expected"), [(0, True), (1, False), (2, False)])
def test_what_is_doubted_while_it_is_read_is_not_known(
    page: int, expected: bool
) -> None:
    """From the first page on, and it can be learned again."""
    play = Play()
    play.fill("R", [{}] * 1000, **PLAIN)
    mailbox = play.memory.open(R, 0)

    def come_to(number: int) -> None:
        if number == page:
            mailbox.doubt()

    come_to(0)
    store(play, NOTICE)
    come_to(1)
    play.hs.answer(play.until(LEARN))
    play.until(LEARN)
    come_to(2)
    play.hs.come_to_rest()

    assert (expected, expected) == (mailbox.learned, mailbox.is_whole)
    play.send(NEW_KEY)
    assert mailbox.learned


def test_what_is_doubted_while_it_is_looked_over_is_not_known() -> None:
    play = Play(devices="ABCD")
    play.begin(NOTICE, [*"ABCD"])
    play.until(LOOK_OVER)
    mailbox = play.memory.open((RECIPIENT, "D"), 0)
    mailbox.doubt()
    play.hs.come_to_rest()

    assert (False, False) == (mailbox.learned, mailbox.is_whole)


def test_what_was_forgotten_meanwhile_is_not_asked_about(asked: Asked) -> None:
    """Unless it was opened again; then it is asked about once."""
    play = Play(devices="AB")
    keeper(play).turn.acquire()
    for device in "AB":
        store(play, NOTICE, device)
        play.memory.forget((RECIPIENT, device))
    store(play, NOTICE, "B")
    keeper(play).turn.release()
    play.hs.come_to_rest()

    assert [[(RECIPIENT, "B")]] == asked(LEARN)
    assert play.knows("B")


def test_a_mailbox_is_queued_once_and_an_empty_one_that_does_not_fit_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "MOST_OF_ONE", 1)
    play = Play(devices="ABC")
    keeper(play).turn.acquire()
    store(play, NOTICE, "A")
    store(play, NEW_KEY, "A")
    store(play, NOTICE, "B")
    keeper(play).learn("inbox", play.memory.open((RECIPIENT, "D"), 0), SENDER)
    store(play, NOTICE, "C", sender="@t:here")

    assert [*"ABC"] == play.memory.devices_of(RECIPIENT)
    assert 2 == keeper(play).to_learn


def test_a_page_that_was_read_ends_the_count_of_failures() -> None:
    play = Play()
    play.fill("R", [{}] * 2000, **PLAIN)
    store(play, NOTICE)
    for _ in range(3):
        for _ in range(MOST_TRIES - 1):
            play.hs.answer(play.until(LEARN), LostError())
        play.hs.answer(play.until(LEARN))

    assert play.knows()


def test_where_many_come_at_once_all_is_known_of_each() -> None:
    """Also in the outbox, where none is looked over."""
    play = Play(devices="ABCD")
    play.send(NOTICE, [*"ABCD"])
    play.send_abroad(NOTICE, [*"ABCD"])

    outbox = play.traffic.outbox.memory
    for memory, user_id in ((play.memory, RECIPIENT), (outbox, ABROAD)):
        mailboxes = [memory.open((user_id, device), 0) for device in "ABCD"]
        assert [(True, True, False)] * 4 == [
            (each.learned, each.is_whole, each.is_due) for each in mailboxes
        ]


def test_what_does_not_fit_among_those_that_are_read_is_left_unlearned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play(devices="ABCD")
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
    """And what is remembered already is not told again."""
    monkeypatch.setattr(learning, "FEW", few)
    memory = naming.memory()
    if seen_id is not None:
        naming.store(memory, naming.no_olm(), seen_id)
    row = None if row_id is None else Row(row_id, naming.no_olm())
    item = learning._Unlearned("who", memory.open(naming.R1, 0), row)

    told = [row] if row is not None else []
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


def test_a_user_is_asked_about_once(asked: Asked) -> None:
    """And again once there is an answer; then what is remembered is not learned again.

    Of an unknown one it is known that nothing was stored. Mailboxes are opened where
    the stream is by then.
    """
    play = Play()
    keeper(play).turn.acquire()
    for user_id in (RECIPIENT, RECIPIENT, "@nobody:here"):
        store(play, NOTICE, "*", to_user=user_id)
    keeper(play).turn.release()
    play.hs.come_to_rest()
    play.send(NOTICE, "*")

    assert [[RECIPIENT], [RECIPIENT]] == asked(DEVICES)
    assert 1 == len(asked(LEARN))
    assert 3 == play.memory.open(R, 0).handed_out


def test_of_so_many_users_one_statement_asks(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "MOST_USERS", 1)
    monkeypatch.setattr(users, "MOST_DEVICES", 1)
    play = Play(devices=["R", "R2"])
    keeper(play).turn.acquire()
    play.hs.add_device(OTHER, "A")
    for user_id in (RECIPIENT, OTHER):
        store(play, NOTICE, "*", to_user=user_id)
    keeper(play).turn.release()
    play.hs.come_to_rest()

    assert [[RECIPIENT], [OTHER]] == asked(DEVICES)
    assert ["R"] == play.memory.devices_of(RECIPIENT)


def test_a_user_who_does_not_fit_is_not_waited_for(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play()
    with monkeypatch.context() as full:
        full.setattr(shares, "MOST_OF_ONE", 0)
        play.send(NOTICE, "*")
    assert [] == asked(DEVICES)
    play.send(NOTICE, "*")

    assert play.knows()
